package forensics_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

func TestCallShowsEverything(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	r := query(t, c, forensics.Query{KFL: "http && response.body != nil && src_pod != nil", Columns: []string{"call_id", "call_no", "response_body_size"}, Limit: 1})
	id := hex.EncodeToString(r.Rows[0][0].([]byte))
	for _, name := range []string{id, strings.ToUpper(id), id[:12], fmt.Sprintf("#%d", r.Rows[0][1]), fmt.Sprintf("0#%d", r.Rows[0][1])} {
		x, err := c.Call(ctx, name, forensics.CallOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if x.Call.Get("call_no") != r.Rows[0][1] || x.Client.Get("pod") == nil || x.Server == nil || x.Flow == nil || x.Connection == nil || x.Response == nil {
			t.Errorf("%s: %+v", name, x)
		}
		if int64(len(x.Response.Data)) != r.Rows[0][2] || x.Response.Truncated || !x.Response.Complete {
			t.Errorf("%s: body of %d bytes, want %d", name, len(x.Response.Data), r.Rows[0][2])
		}
		if int64(len(x.Packets)) != x.Cites.Count() || x.Packets[0].Frame == 0 || x.Packets[0].File == "" || x.MoreRefs != 0 {
			t.Errorf("%s: packets %+v", name, x.Packets)
		}
	}
	x, err := c.Call(ctx, id, forensics.CallOptions{MaxBody: 1})
	if err != nil || len(x.Response.Data) != 1 || !x.Response.Truncated || x.Response.Size != r.Rows[0][2] {
		t.Errorf("a body cut to one byte: %+v, %v", x.Response, err)
	}
}

// TestEachCallEqualsCall compares calls that are read together with calls that are read alone, in an
// order of its own, with one that is asked for twice and one that is not there.
func TestEachCallEqualsCall(t *testing.T) {
	two := []string{sample(t, "shop.pcapng"), sample(t, "http1.pcapng")}
	masked, err := forensics.Open(ctx, two, forensics.Options{MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer masked.Close()
	for _, c := range []*forensics.Case{open(t, two[0]), masked} {
		q := forensics.Query{KFL: "http", Columns: []string{"call_no"}, Order: "call_id"}
		if len(c.Bundles()) > 1 {
			q.Columns = append(q.Columns, "bundle")
		}
		var list []forensics.CallNo
		for _, row := range query(t, c, q).Rows {
			k := forensics.CallNo{No: row[0].(int64)}
			if len(row) > 1 {
				k.Bundle = int(row[1].(int64))
			}
			list = append(list, k)
		}
		list = slices.Concat(list, list[:1], []forensics.CallNo{{No: 1 << 40}})
		for _, most := range []int{0, 7} {
			o, n := forensics.CallOptions{MaxBody: most}, 0
			err := c.EachCall(ctx, list, o, func(x *forensics.Exchange) error {
				if n%nightly.Of(60, 9) == 0 { // alone takes long
					want, err := c.Call(ctx, fmt.Sprintf("%d#%d", list[n].Bundle, list[n].No), o)
					if err != nil {
						t.Fatal(err)
					}
					for _, pair := range [][2]any{{x.Call, want.Call}, {x.Request, want.Request}, {x.Response, want.Response}, {x.Cites, want.Cites}, {x.Bundle, want.Bundle}} {
						if !reflect.DeepEqual(pair[0], pair[1]) {
							t.Errorf("%v: %+v, want %+v", list[n], pair[0], pair[1])
						}
					}
				}
				n++
				return nil
			})
			if err != nil || n != len(list)-1 {
				t.Errorf("%d of %d calls: %v", n, len(list)-1, err)
			}
		}
	}
}

// TestACallIsARowOfItsProtocol compares one call of each protocol, alone and read with all others, with its row in the relation
// of its protocol.
func TestACallIsARowOfItsProtocol(t *testing.T) {
	one, two := sample(t, "shop.pcapng"), sample(t, "redis.pcap")
	for _, c := range []*forensics.Case{open(t, one), open(t, one, two)} {
		bundle := "0"
		if len(c.Bundles()) > 1 {
			bundle = "bundle"
		}
		late := query(t, c, forensics.Query{SQL: "SELECT * FROM receipts LIMIT 0"}).Columns // SELECT * of calls does not have them
		firsts := query(t, c, forensics.Query{SQL: "SELECT protocol, min(" + bundle + "), arg_min(call_no, (" + bundle + ", call_no)) FROM calls GROUP BY 1 ORDER BY 1"}).Rows
		var list []forensics.CallNo
		for _, row := range firsts {
			list = append(list, forensics.CallNo{Bundle: int(row[1].(int64)), No: row[2].(int64)})
		}
		if len(list) < 4 {
			t.Fatalf("%d protocols; the test needs several", len(list))
		}
		var together []*forensics.Exchange
		err := c.EachCall(ctx, list, forensics.CallOptions{}, func(x *forensics.Exchange) error {
			together = append(together, x)
			return nil
		})
		if err != nil || len(together) != len(list) {
			t.Fatalf("%d of %d calls: %v", len(together), len(list), err)
		}
		for i, k := range list {
			where := fmt.Sprintf(" WHERE call_no = %d", k.No)
			if len(c.Bundles()) > 1 {
				where += fmt.Sprintf(" AND bundle = %d", k.Bundle)
			}
			want := query(t, c, forensics.Query{SQL: fmt.Sprintf("SELECT * FROM %q", firsts[i][0].(string)+"_raw") + where})
			x, err := c.Call(ctx, fmt.Sprintf("%d#%d", k.Bundle, k.No), forensics.CallOptions{})
			if err != nil || len(want.Rows) != 1 {
				t.Fatalf("%v: %d rows, %v", k, len(want.Rows), err)
			}
			row := map[string]any{}
			for j, col := range want.Columns {
				row[col.Name] = want.Rows[0][j]
			}
			for _, got := range []*forensics.Exchange{x, together[i]} {
				here := map[string]any{}
				for _, f := range got.Call {
					_, there := row[f.Name]
					if there || !slices.ContainsFunc(late, func(col forensics.Column) bool { return col.Name == f.Name }) {
						here[f.Name] = f.Value
					}
				}
				if !reflect.DeepEqual(here, row) {
					t.Errorf("%v of %v: %v, want %v", k, firsts[i][0], here, row)
				}
			}
		}
	}
}

// TestCallsInAWindow selects a call by its id with windows that have it or not.
func TestCallsInAWindow(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	r := query(t, c, forensics.Query{KFL: "http", Columns: []string{"call_no", "ts_ns"}, Limit: 3})
	id, ts := fmt.Sprintf("#%d", r.Rows[2][0]), r.Rows[2][1].(int64)
	for _, w := range []struct {
		from, to int64
		in       bool
	}{{0, 0, true}, {ts, ts, true}, {0, ts, true}, {ts, 0, true}, {ts + 1, 0, false}, {0, ts - 1, false}} {
		report, err := c.Packets(ctx, forensics.Selection{CallIDs: []string{id}, From: w.from, To: w.to}, &bytes.Buffer{})
		if w.in && (err != nil || report.Calls != 1) || !w.in && !errors.Is(err, forensics.ErrNotFound) {
			t.Errorf("from %d to %d around %d: %+v, %v", w.from, w.to, ts, report, err)
		}
	}
}

func TestCallRefuses(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	for id, want := range map[string]error{
		"#999999": forensics.ErrNotFound, strings.Repeat("0", 32): forensics.ErrNotFound, "deadbeef00": forensics.ErrNotFound,
		"": forensics.ErrUsage, "#x": forensics.ErrUsage, "#-1": forensics.ErrUsage, "abc": forensics.ErrUsage, "nothexadecimal": forensics.ErrUsage,
		strings.Repeat("0", 33): forensics.ErrUsage, "7#1": forensics.ErrUsage,
	} {
		if _, err := c.Call(ctx, id, forensics.CallOptions{}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
	two := open(t, sample(t, "shop.pcapng"), sample(t, "http1.pcapng"))
	var several *forensics.AmbiguousError
	if _, err := two.Call(ctx, "#0", forensics.CallOptions{}); !errors.As(err, &several) || len(several.Some) != 2 {
		t.Errorf("#0 of two bundles: %v", err)
	}
	if x, err := two.Call(ctx, "1#0", forensics.CallOptions{}); err != nil || x.Bundle != 1 {
		t.Errorf("1#0: %v", err)
	}
}

func TestFollowGivesTheStream(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	r := query(t, c, forensics.Query{KFL: `http && method == "GET" && complete`, Columns: []string{"call_no"}, Limit: 1})
	s, err := c.Follow(ctx, fmt.Sprintf("#%d", r.Rows[0][0]), forensics.FollowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pieces) < 2 || s.Pieces[0].FromServer || !bytes.HasPrefix(s.Pieces[0].Data, []byte("GET ")) || !bytes.HasPrefix(s.Pieces[1].Data, []byte("HTTP/1.1 ")) {
		t.Errorf("%+v", s.Pieces)
	}
	s, err = c.Follow(ctx, fmt.Sprintf("#%d", r.Rows[0][0]), forensics.FollowOptions{MaxBytes: 10})
	if err != nil || s.Bytes != 10 || !s.Truncated {
		t.Errorf("ten bytes: %+v, %v", s, err)
	}
}

// TestFollowAgreesWithTheAccounts compares the bytes of every followed TCP connection with those of
// its flow.
func TestFollowAgreesWithTheAccounts(t *testing.T) {
	for _, name := range nightly.Some([]string{"http1.pcapng", "redis.pcap", "postgresql.pcapng", "shop.pcapng", "http2.pcap", "hard/gap.pcap", "hard/out-of-order.pcap", "hard/retransmission.pcap",
		"hard/wrap-around.pcap", "hard/overlap-conflict.pcap", "hard/mid-stream.pcap", "hard/one-sided.pcap", "hard/snaplen.pcap", "hard/vlan-vxlan.pcap"}, 6) {
		c := open(t, sample(t, name))
		r := query(t, c, forensics.Query{SQL: "select min(c.call_no), f.src_payload_bytes + f.dst_payload_bytes - f.duplicate_bytes, f.gap_bytes from calls c join flows f using (flow_id)" +
			" where c.transport = 'tcp' and f.anomaly_bytes = 0 and f.snap_cuts = 0 group by all order by 1"})
		for _, row := range r.Rows {
			s, err := c.Follow(ctx, fmt.Sprintf("#%d", row[0]), forensics.FollowOptions{MaxBytes: 64 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if s.Bytes != row[1] || s.Gaps != row[2] {
				t.Errorf("%s, call %d: %d bytes and %d missing, the tables say %d and %d", name, row[0], s.Bytes, s.Gaps, row[1], row[2])
			}
		}
	}
}
