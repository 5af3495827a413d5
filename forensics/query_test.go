package forensics_test

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/encode"
	"github.com/pcapsule/pcapsule/kfl"
)

func TestErrorsAreTellable(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	var syntax *forensics.SyntaxError
	var place *kfl.Error
	for _, x := range []struct {
		name string
		q    forensics.Query
		is   error
		as   any
	}{
		{"KFL with a typo", forensics.Query{KFL: "http && statsu == 3"}, nil, &place},
		{"SQL with a typo", forensics.Query{SQL: "select nosuch from calls"}, nil, &syntax},
		{"SQL that writes", forensics.Query{SQL: "copy calls to '/tmp/x'"}, forensics.ErrRefused, nil},
		{"SQL that reads a file", forensics.Query{SQL: "from '/etc/passwd'"}, forensics.ErrRefused, nil},
		{"SQL that runs too long", forensics.Query{SQL: "select count(*) from packets a, packets b, packets c, packets d, packets e", Deadline: 100 * time.Millisecond}, forensics.ErrDeadline, nil},
		{"SQL that needs too much", forensics.Query{SQL: "select list(r::varchar || repeat('x', 1000)) from range(100000000) t(r)"}, forensics.ErrMemory, nil},
		{"SQL and KFL", forensics.Query{SQL: "select 1", KFL: "http"}, forensics.ErrUsage, nil},
		{"SQL and a window", forensics.Query{SQL: "select 1", From: 5}, forensics.ErrUsage, nil},
		{"a missing table", forensics.Query{Table: "nosuch"}, forensics.ErrUsage, nil},
		{"a missing column", forensics.Query{Columns: []string{"nosuch"}}, forensics.ErrUsage, nil},
		{"an invalid order", forensics.Query{Order: "ts_ns; drop view calls"}, forensics.ErrUsage, nil},
		{"an order by a missing column", forensics.Query{Order: "nosuch desc"}, forensics.ErrUsage, nil},
		{"a window that ends before it begins", forensics.Query{From: 10, To: 5}, forensics.ErrUsage, nil},
		{"a limit below zero", forensics.Query{Limit: -1}, forensics.ErrUsage, nil},
		{"a cursor from nowhere", forensics.Query{Cursor: "eyJxIjoiMCJ9"}, forensics.ErrCursor, nil},
		{"an invalid cursor", forensics.Query{Cursor: "%%%"}, forensics.ErrCursor, nil},
		{"a text that is no cursor", forensics.Query{Cursor: "abc"}, forensics.ErrNoCursor, nil},
		{"a cursor that is cut", forensics.Query{Cursor: "eyJxIjoiMC"}, forensics.ErrNoCursor, nil},
		{"KFL on a table without calls", forensics.Query{Table: "clocks", KFL: "http"}, forensics.ErrUsage, nil},
	} {
		_, err := c.Query(ctx, x.q)
		if x.is != nil && !errors.Is(err, x.is) || x.as != nil && !errors.As(err, x.as) || err == nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// TestManyProcessors runs the statements that need most memory on machines of several sizes.
func TestManyProcessors(t *testing.T) {
	path := sample(t, "shop.pcapng")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, n := range []int{1, 8, 64} {
		runtime.GOMAXPROCS(n)
		for _, masked := range []bool{false, true} {
			c, err := forensics.Open(ctx, []string{path}, forensics.Options{MaskSecrets: masked})
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{"SELECT * FROM calls ORDER BY elapsed_us DESC LIMIT 100", "SUMMARIZE SELECT * EXCLUDE (headers) FROM calls", "SELECT DISTINCT * FROM calls LIMIT 3",
				"SELECT count(*) FROM (SELECT calls::VARCHAR AS v FROM calls) WHERE contains(v, 'abc') OR contains(v, 'def')"} {
				if _, err := c.Query(ctx, forensics.Query{SQL: sql}); err != nil {
					t.Errorf("%d processors, masked %v: %s: %v", n, masked, sql, err)
				}
			}
			c.Close()
		}
	}
}

func TestPagesAreTheWhole(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"), sample(t, "http1.pcapng"))
	for _, q := range []forensics.Query{
		{Columns: []string{"call_id"}},
		{KFL: "http", Columns: []string{"call_id", "ts"}},
		{KFL: "http", Columns: []string{"path"}, Order: "elapsed_us desc"},
		{Table: "flows", Columns: []string{"flow_id", "src_ip"}},
		{Table: "packets", Columns: []string{"packet_no"}},
		{Table: "endpoints", Columns: []string{"name"}},
		{GroupBy: []string{"path", "method"}},
		{SQL: "select call_no, bundle from calls where status_code > ? order by 1, 2", Args: []any{199}},
	} {
		whole := query(t, c, q)
		if whole.Next != "" || whole.Truncated {
			t.Fatalf("%+v: more than one answer", q)
		}
		q.Limit = 7
		var got [][]any
		for range 10000 {
			r := query(t, c, q)
			got = append(got, r.Rows...)
			if q.Cursor = r.Next; q.Cursor == "" {
				break
			}
		}
		if len(whole.Rows) < 8 || !reflect.DeepEqual(got, whole.Rows) {
			t.Errorf("%+v: %d rows in pages, %d as a whole", q, len(got), len(whole.Rows))
		}
	}
}

func TestACursorIsOfOneQuestion(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	next := query(t, c, forensics.Query{KFL: "http", Limit: 1}).Next
	if next == "" {
		t.Fatal("no cursor")
	}
	if _, err := open(t, sample(t, "http1.pcapng")).Query(ctx, forensics.Query{KFL: "http", Limit: 2, Cursor: next}); err != nil {
		t.Errorf("a different process and limit: %v", err)
	}
	for name, q := range map[string]forensics.Query{"KFL": {KFL: "dns", Cursor: next}, "window": {KFL: "http", From: 1, Cursor: next}} {
		if _, err := c.Query(ctx, q); !errors.Is(err, forensics.ErrCursor) {
			t.Errorf("a different %s: %v", name, err)
		}
	}
	if _, err := open(t, sample(t, "redis.pcap")).Query(ctx, forensics.Query{KFL: "http", Cursor: next}); !errors.Is(err, forensics.ErrCursor) {
		t.Errorf("a different case: %v", err)
	}
}

func TestLimitsTruncate(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	r := query(t, c, forensics.Query{MaxBytes: 3000})
	if !r.Truncated || r.Next == "" || len(r.Rows) == 0 {
		t.Errorf("%d rows in 3000 bytes, truncated %v", len(r.Rows), r.Truncated)
	}
	r = query(t, c, forensics.Query{SQL: "select range from range(1000000000)"})
	if !r.Truncated || len(r.Rows) != forensics.DefaultRows {
		t.Errorf("%d of 10^9 rows", len(r.Rows))
	}
}

func TestEachGivesWhatQueryGives(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	for _, q := range []forensics.Query{{}, {KFL: "http", Order: "path"}, {Table: "flows"}, {SQL: "select * from calls order by call_no"}, {KFL: "http", Limit: 3}} {
		want := query(t, c, q)
		var got [][]any
		begun := 0
		r, err := c.Each(ctx, q, func([]forensics.Column) error { begun++; return nil }, func(cols []forensics.Column, row []any) error {
			if len(cols) != len(row) {
				return fmt.Errorf("%d columns, %d values", len(cols), len(row))
			}
			got = append(got, append([]any(nil), row...))
			return nil
		})
		if err != nil || begun != 1 || !reflect.DeepEqual(got, want.Rows) || r.Next != "" || r.Truncated != want.Truncated || r.Cost.Rows != int64(len(got)) {
			t.Errorf("%+v: %d rows, want %d; %v", q, len(got), len(want.Rows), err)
		}
	}
	stop := errors.New("stop")
	if _, err := c.Each(ctx, forensics.Query{}, nil, func([]forensics.Column, []any) error { return stop }); err != stop {
		t.Errorf("%v, want the callback's error", err)
	}
}

func TestCoverageTellsNoMatchFromNotRecorded(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	first, last, ok := c.Window()
	if !ok {
		t.Fatal("no window")
	}
	for _, x := range []struct {
		name     string
		from, to int64
		want     forensics.CoverageState
	}{
		{"everything", 0, 0, forensics.Complete},
		{"exactly the recording", first, last, forensics.Complete},
		{"within it", first + 1, last - 1, forensics.Complete},
		{"from before it", first - 1e6, last, forensics.Partial},
		{"beyond it", first, last + 1e6 + 1, forensics.Partial},
		{"from less than a millisecond before it", first - 5, last, forensics.Complete},
		{"less than a millisecond beyond it", first, last + 5, forensics.Complete},
		{"before it", first - 10, first - 5, forensics.None},
		{"after it", last + 5, last + 10, forensics.None},
	} {
		r := query(t, c, forensics.Query{KFL: `host == "nobody"`, From: x.from, To: x.to})
		if r.Coverage.State != x.want || len(r.Rows) != 0 {
			t.Errorf("%s: %+v, want %s", x.name, r.Coverage, x.want)
		}
		if x.want == forensics.Partial && (len(r.Coverage.Holes) != 1 || r.Coverage.Holes[0].Reason != "not_recorded") {
			t.Errorf("%s: holes %+v", x.name, r.Coverage.Holes)
		}
	}
}

func TestJSONHasOneSpelling(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	r := query(t, c, forensics.Query{SQL: `select '<é"\' || chr(10) as a, 'ab'::blob b, timestamp '2026-01-02 03:04:05.6' c, [1, null] d, {'x': 1.50} e, map {'k': 2} f, 1e300 g, 'nan'::double h, sum(2::hugeint ** 70)::hugeint i, '{"z": [1]}'::json j, null k, true l, 0.1::double m`})
	want := `{"a":"<é\"\\\n","b":"6162","c":"2026-01-02T03:04:05.600000000Z","d":[1,null],"e":{"x":1.50},"f":[{"key":"k","value":2}],"g":1e+300,"h":"NaN","i":1180591620717411303424,"j":{"z": [1]},"k":null,"l":true,"m":0.1}`
	if got := string(encode.Row(nil, r.Columns, r.Rows[0])); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
