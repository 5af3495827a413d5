package forensics_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// nobody is a row of endpoints about which nothing is known but the address.
const nobody = `ip AS name, ip AS who, 'unknown' AS kind, 'none' AS how_known, NULL AS namespace, NULL AS pod, NULL AS pod_uid, NULL AS service, NULL AS services, NULL AS workload, NULL AS workload_kind,
	NULL AS container, NULL AS image, NULL AS node, NULL AS labels, NULL AS process, NULL AS pid, NULL AS owner_guess`

// told makes a bundle whose endpoints are those of a sample, or nobody, except for some that a recorder
// tells: SQL that replaces columns, by endpoint_id.
func told(t *testing.T, name string, known bool, some map[int64]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "told.pcapsule")
	if err := os.CopyFS(dir, os.DirFS(sample(t, name))); err != nil {
		t.Fatal(err)
	}
	rewrite(t, dir, "endpoints", func(from string) string {
		rest := "SELECT * FROM " + from + " WHERE true"
		if !known {
			rest = "SELECT * REPLACE (" + nobody + ") FROM " + from + " WHERE true"
		}
		sql := ""
		for id, replace := range some {
			rest += fmt.Sprintf(" AND endpoint_id <> %d", id)
			sql += fmt.Sprintf("SELECT * REPLACE (%s) FROM %s WHERE endpoint_id = %d UNION ALL BY NAME ", replace, from, id)
		}
		return sql + rest
	})
	return dir
}

// rewrite replaces the rows of a table by those of a query.
func rewrite(t *testing.T, dir, table string, query func(from string) string) {
	t.Helper()
	temp := t.TempDir() // the database may write to a folder in it only
	db, err := duck.Open(ctx, duck.Options{Dirs: []string{dir}, TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	parts, err := filepath.Glob(filepath.Join(dir, "data", "tables", table, "*.parquet"))
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	workers, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(workers) != 1 {
		t.Fatal(workers, err)
	}
	out := filepath.Join(workers[0], "part.parquet")
	from := "read_parquet(" + quote.SQL(parts[0]) + ", hive_partitioning=false)"
	if err := db.Exec(ctx, "COPY (SELECT * FROM "+from+" WHERE false UNION ALL BY NAME "+query(from)+") TO "+quote.SQL(out)+" (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(parts[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(parts[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// recorded is what a recorder states about a process in a pod of its node.
func recorded(pod, node string, pid int, how string) string {
	return fmt.Sprintf(`'%[1]s' AS name, 'shop/%[1]s' AS who, 'pod' AS kind, 'shop' AS namespace, '%[1]s' AS pod, 'uid-%[1]s' AS pod_uid, '%[2]s' AS node, 'talk' AS process, %[3]d AS pid,
		NULL AS service, NULL AS services, NULL AS workload, '%[4]s' AS how_known, %[4]s AS owner_guess`, pod, node, pid, how)
}

// A process that the kernel named, and one that is a guess.
func exactly(pod, node string, pid int) string {
	return strings.Replace(recorded(pod, node, pid, "writer"), "writer AS owner_guess", "false AS owner_guess", 1)
}

func guessed(pod, node string, pid int) string {
	return strings.Replace(recorded(pod, node, pid, "creator"), "creator AS owner_guess", "true AS owner_guess", 1)
}

// byAddress is what a dump states about a pod.
func byAddress(pod, workload string) string {
	return fmt.Sprintf(`'%[1]s' AS name, 'shop/%[2]s' AS who, 'pod' AS kind, 'shop' AS namespace, '%[1]s' AS pod, 'uid-%[1]s' AS pod_uid, NULL AS node, NULL AS process, NULL AS pid, NULL AS service, NULL AS services,
		'%[2]s' AS workload, 'kube' AS how_known, NULL AS owner_guess`, pod, workload)
}

// aCall is the ends of a call in a sample; both are rows of endpoints in every bundle of it.
func aCall(t *testing.T, name string) (client, server, calls int64) {
	t.Helper()
	r := query(t, open(t, sample(t, name)), forensics.Query{SQL: "SELECT src_id, dst_id, count(*) FROM calls WHERE protocol = 'http1' AND src_ip <> dst_ip GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1"})
	return r.Rows[0][0].(int64), r.Rows[0][1].(int64), r.Rows[0][2].(int64)
}

// TestEndsOfCopies has bundles of the same calls that know different ends, in every order.
func TestEndsOfCopies(t *testing.T) {
	client, server, calls := aCall(t, "http1.pcapng")
	type ends = map[int64]string
	for _, test := range []struct {
		name    string
		bundles []ends
		src     string // pod, node, process id and workload
		dst     string
		guess   bool // the server is a guess
		wrong   int  // anomalies
	}{
		{"each knows one end", []ends{{client: exactly("a", "n1", 1)}, {server: exactly("b", "n2", 2)}}, "a n1 1 -", "b n2 2 -", false, 0},
		{"a third knows neither", []ends{{client: exactly("a", "n1", 1)}, {}, {server: exactly("b", "n2", 2)}}, "a n1 1 -", "b n2 2 -", false, 0},
		{"a third knows names of both", []ends{{client: exactly("a", "n1", 1)}, {client: byAddress("a", "wa"), server: byAddress("b", "wb")}, {server: exactly("b", "n2", 2)}}, "a n1 1 wa", "b n2 2 wb", false, 0},
		{"exact against a guess", []ends{{server: guessed("c", "n3", 3)}, {server: exactly("b", "n2", 2)}}, "- - - -", "b n2 2 -", false, 0},
		{"a guess against an address", []ends{{server: byAddress("c", "wc")}, {server: guessed("b", "n2", 2)}}, "- - - -", "b n2 2 -", true, 0},
		{"an address against nothing", []ends{{server: byAddress("c", "wc")}, {client: byAddress("a", "wa")}}, "a - - wa", "c - - wc", false, 0},
		{"the same twice", []ends{{server: exactly("b", "n2", 2)}, {server: exactly("b", "n2", 2)}}, "- - - -", "b n2 2 -", false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var paths []string
			for _, some := range test.bundles {
				paths = append(paths, told(t, "http1.pcapng", false, some))
			}
			for _, order := range [][]string{paths, reversed(paths)} {
				c := open(t, order...)
				side := func(p string) string {
					return fmt.Sprintf("concat_ws(' ', coalesce(%[1]spod, '-'), coalesce(%[1]snode, '-'), coalesce(%[1]spid::VARCHAR, '-'), coalesce(%[1]sworkload, '-'))", p)
				}
				// The ids of the row and of its copies are those of one call in the sample.
				r := query(t, c, forensics.Query{SQL: "SELECT DISTINCT " + side("src_") + ", " + side("dst_") + ", coalesce(dst_owner_guess, false) FROM calls k WHERE call_id IN (SELECT call_id FROM sightings WHERE src_id = ? AND dst_id = ?) ORDER BY ALL", Args: []any{client, server}})
				if want := [][]any{{test.src, test.dst, test.guess}}; !reflect.DeepEqual(r.Rows, want) {
					t.Errorf("%v, want %v", r.Rows, want)
				}
				if n := number(t, c, "SELECT count(*) FROM anomalies WHERE kind = 'contrary_ends'"); n != 0 {
					t.Errorf("%d anomalies", n)
				}
				pod, _, _ := strings.Cut(test.dst, " ")
				if r := query(t, c, forensics.Query{KFL: fmt.Sprintf("dst.pod == %q", pod), Count: true}); r.Rows[0][0].(int64) < calls {
					t.Errorf("the server matches %v calls, want at least %d", r.Rows, calls)
				}
			}
		})
	}
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// TestFiltersSeeTheJoinedEnd asks for ends in every way: only what the row shows matches.
func TestFiltersSeeTheJoinedEnd(t *testing.T) {
	client, server, calls := aCall(t, "http1.pcapng")
	c := open(t, told(t, "http1.pcapng", false, map[int64]string{client: exactly("a", "n1", 1), server: byAddress("old", "old")}), told(t, "http1.pcapng", false, map[int64]string{server: exactly("b", "n2", 2)}))
	for kfl, want := range map[string]bool{
		`src.pod == "a" && dst.pod == "b"`: true, `dst.node == "n2"`: true, `dst.process == "talk" && dst.pid == 2`: true, `dst.namespace == "shop"`: true, `dst.name == "b"`: true,
		`dst.pod == "old"`: false, `dst.name == "old"`: false, `dst.workload == "old"`: false, `src.node == "n2" && dst.node == "n2"`: false,
	} {
		n := query(t, c, forensics.Query{KFL: kfl, Count: true}).Rows[0][0].(int64)
		if want != (n >= calls) || !want && n != 0 {
			t.Errorf("%s: %d of %d calls", kfl, n, calls)
		}
	}
	for sql, want := range map[string]bool{
		"SELECT count(*) FROM calls WHERE dst_pod = 'b'":                                                                                true,
		"SELECT count(*) FROM main.calls WHERE dst_pod = 'b'":                                                                           true,
		"SELECT count(*) FROM (SELECT * FROM calls) WHERE dst_pid = 2":                                                                  true,
		"SELECT count(*) FROM calls_raw k JOIN endpoints e ON e.bundle = k.bundle AND e.endpoint_id = k.dst_id WHERE e.pod = 'b'":       true,
		"SELECT count(*) FROM calls_raw k JOIN endpoints_raw e ON e.bundle = k.bundle AND e.endpoint_id = k.dst_id WHERE e.pod = 'old'": false,
	} {
		if n := number(t, c, sql); want != (n >= calls) || !want && n != 0 {
			t.Errorf("%s: %d of %d calls", sql, n, calls)
		}
	}
	r := query(t, c, forensics.Query{KFL: `dst.pod == "b"`, Columns: []string{"call_id"}, Limit: 1})
	x, err := c.Call(ctx, fmt.Sprintf("%x", r.Rows[0][0]), forensics.CallOptions{})
	if err != nil || x.Client.Get("pod") != "a" || x.Server.Get("pod") != "b" {
		t.Errorf("%v, %v: %v", x.Client, x.Server, err)
	}
	tables, err := c.Tables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Rows >= 0 && table.Rows != number(t, c, "SELECT count(*) FROM "+table.Name) {
			t.Errorf("%s: %d rows", table.Name, table.Rows)
		}
	}
}

// TestContraryEndsAreStated has two recorders that both know the server exactly, and differ.
func TestContraryEndsAreStated(t *testing.T) {
	client, server, calls := aCall(t, "http1.pcapng")
	for name, ends := range map[string][2]string{
		"pods":      {exactly("b", "n2", 2), exactly("c", "n3", 3)},
		"processes": {exactly("b", "n2", 2), exactly("b", "n2", 3)},
		"guesses":   {guessed("b", "n2", 2), guessed("c", "n3", 3)},
		"addresses": {byAddress("b", "w"), byAddress("c", "w")},
	} {
		c := open(t, told(t, "http1.pcapng", false, map[int64]string{server: ends[0], client: exactly("a", "n1", 1)}), told(t, "http1.pcapng", false, map[int64]string{server: ends[1], client: exactly("a", "n1", 1)}))
		r := query(t, c, forensics.Query{SQL: "SELECT sum(count)::BIGINT, any_value(detail), count(packet_no) FROM anomalies WHERE kind = 'contrary_ends'"})
		if n, text := r.Rows[0][0].(int64), r.Rows[0][1].(string); n < calls || !strings.Contains(text, "bundle 0 says") || !strings.Contains(text, "bundle 1 says") {
			t.Errorf("%s: %v, want both readings of %d calls", name, r.Rows, calls)
		}
		if sure := number(t, c, "SELECT count(*) FROM calls WHERE dst_process IS NOT NULL AND NOT dst_owner_guess AND dst_pod <> 'a'"); sure > 0 {
			t.Errorf("%s: %d calls have a server that is no guess", name, sure)
		}
		first := query(t, c, forensics.Query{SQL: "SELECT k.bundle, k.call_no FROM calls k JOIN anomalies a ON a.bundle = k.bundle AND a.flow_id = k.flow_id AND a.kind = 'contrary_ends' ORDER BY k.ts_ns LIMIT 1"})
		x, err := c.Call(ctx, fmt.Sprintf("%d#%d", first.Rows[0]...), forensics.CallOptions{})
		if err != nil || len(x.Anomalies) == 0 {
			t.Errorf("%s: the call has %d anomalies: %v", name, len(x.Anomalies), err)
		}
	}
}

// TestTheClientKnowsWhatItDialled has a Service between the nodes: the client's bundle has its address,
// the server's the pod's.
func TestTheClientKnowsWhatItDialled(t *testing.T) {
	client, server, calls := aCall(t, "http1.pcapng")
	for _, first := range []bool{false, true} {
		a := told(t, "http1.pcapng", false, map[int64]string{client: exactly("a", "n1", 1)})
		b := told(t, "http1.pcapng", false, map[int64]string{server: exactly("b", "n2", 2)})
		translate(t, a, server, "10.96.0.1", first)
		translate(t, b, server, "10.244.2.9", !first)
		c := open(t, a, b)
		if n := number(t, c, "SELECT count(*) FROM calls WHERE dst_ip = '10.96.0.1' AND dst_port = 80 AND dst_pod = 'b' AND src_pod = 'a' AND dst_name = 'b'"); n != calls {
			t.Errorf("the row of bundle %v: %d of %d calls", query(t, c, forensics.Query{SQL: "SELECT DISTINCT bundle, src_ip, dst_ip, dst_port, src_pod, dst_pod FROM calls WHERE protocol = 'http1'"}).Rows, n, calls)
		}
	}
}

// translate gives the server of calls another address. later: the other bundle's rows are earlier, and
// represent the calls.
func translate(t *testing.T, dir string, server int64, ip string, later bool) {
	t.Helper()
	port, by := 80, 0
	if ip != "10.96.0.1" {
		port = 8080
	}
	if later {
		by = 1000
	}
	rewriteCalls(t, dir, fmt.Sprintf("CASE WHEN dst_id = %[1]d THEN '%[2]s' ELSE dst_ip END AS dst_ip, CASE WHEN dst_id = %[1]d THEN %[3]d ELSE dst_port END AS dst_port, ts_ns + %[4]d AS ts_ns", server, ip, port, by))
}

func rewriteCalls(t *testing.T, dir, replace string) {
	t.Helper()
	rewrite(t, dir, "calls/protocol=http1", func(from string) string {
		return "SELECT * REPLACE (" + replace + ") FROM " + from
	})
}

// TestEqualEndsCostNothing opens the same recording twice.
func TestEqualEndsCostNothing(t *testing.T) {
	for _, name := range []string{"shop.pcapng", "dns.pcap"} {
		if forensics.HasEnds(open(t, sample(t, name), window(t, name, 0, 0))) {
			t.Errorf("%s: ends are joined, but both bundles know the same", name)
		}
	}
}
