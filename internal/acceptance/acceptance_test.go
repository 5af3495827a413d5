// Package acceptance compares pcapsule's answers with those of other tools and of the captures'
// authors, for every public capture. It has tests only.
//
// Every disagreement must be listed in disagreements.tsv with a reason that was verified in the
// bytes; any other one fails. The test prints a table of facts that agree and disagree.
package acceptance

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// truth is the output of tshark and capinfos for one capture.
type truth struct {
	Packets    *int64          `json:"packets"`
	TCPStreams *int64          `json:"tcp_streams"`
	UDPStreams *int64          `json:"udp_streams"`
	Args       string          `json:"tshark_args"`
	Exit       json.RawMessage `json:"tshark_exit"`
	Capinfos   map[string]any  `json:"capinfos"`
	raw        map[string]json.RawMessage
}

// thorough reports whether comparisons run in all combinations: with the public captures, whose tests
// take longer anyway. Otherwise each sample, time zone and overlap is in one.
func thorough() bool { return captures.Find() != "" }

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

type outcome struct {
	fact      string
	capture   string
	agreed    bool
	info      bool // shown, never a failure
	want, got string

	theirs, ours, same int64 // values that were counted, and those that are equal
}

// TestTruth runs every capture through the exporter and compares facts. Rules need no peer: they are checked in
// every capture.
func TestTruth(t *testing.T) {
	dir := captures.Dir(t)
	known := readKnown(t)
	only := os.Getenv("PCAPSULE_ONLY")
	var files []string
	for _, line := range lines(t, filepath.Join(dir, "INDEX.tsv"))[1:] {
		name, _, _ := strings.Cut(line, "\t")
		if only == "" || strings.Contains(name, only) {
			files = append(files, name)
			if exists(filepath.Join(dir, "truth", name+".keys.json")) {
				files = append(files, name+withKeys)
			}
		}
	}
	results := make([][]outcome, len(files))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 {
		wg.Add(1)
		db := duckdbtest.Open(t)
		go func() {
			defer wg.Done()
			if _, err := db.Exec("set threads = 1"); err != nil {
				t.Error(err)
			}
			for i := range next {
				results[i] = examine(t, db, dir, files[i])
			}
		}()
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()
	all := slices.Concat(results...)
	report(t, all, known, only != "")
	if only == "" && dir != os.Getenv("PCAPSULE_CAPTURES") { // other captures give other numbers
		checkValidation(t, dir, all, known)
	}
}

func lines(t *testing.T, path string) (out []string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		out = append(out, sc.Text())
	}
	return out
}

// readKnown reads disagreements.tsv: capture, fact, reason.
func readKnown(t *testing.T) map[[2]string]string {
	known := map[[2]string]string{}
	for n, line := range lines(t, "disagreements.tsv") {
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 || len(f[2]) < 10 {
			t.Fatalf("disagreements.tsv line %d: must have a capture, a fact and a reason", n+1)
		}
		known[[2]string{f[0], f[1]}] = f[2]
	}
	return known
}

func report(t *testing.T, all []outcome, known map[[2]string]string, partial bool) {
	type sum struct{ agreed, explained, open, info int }
	sums := map[string]*sum{}
	used := map[[2]string]bool{}
	for _, o := range all {
		s := sums[o.fact]
		if s == nil {
			s = &sum{}
			sums[o.fact] = s
		}
		k := [2]string{o.capture, o.fact}
		switch {
		case o.agreed:
			s.agreed++
			if known[k] != "" {
				t.Errorf("%s %s agrees now; remove it from disagreements.tsv", o.capture, o.fact)
			}
		case known[k] != "":
			s.explained++
			used[k] = true
		case o.info:
			s.info++
			if partial {
				t.Logf("%s %s:\n  peer %s\n  ours %s", o.capture, o.fact, o.want, o.got)
			}
		default:
			s.open++
			t.Errorf("%s %s:\n  peer %s\n  ours %s", o.capture, o.fact, o.want, o.got)
		}
	}
	var facts []string
	for f := range sums {
		facts = append(facts, f)
	}
	slices.Sort(facts)
	fmt.Printf("TABLE %-24s %8s %10s %6s %12s\n", "fact", "agreed", "explained", "open", "other count")
	for _, f := range facts {
		fmt.Printf("TABLE %-24s %8d %10d %6d %12d\n", f, sums[f].agreed, sums[f].explained, sums[f].open, sums[f].info)
	}
	for k := range known {
		if !used[k] && !partial {
			t.Errorf("disagreements.tsv: %s %s is not a disagreement", k[0], k[1])
		}
	}
}

// withKeys is the suffix of a capture's name that is read with its key log.
const withKeys = ".keys"

// examine makes a bundle of one capture and compares it with the truth.
func examine(t *testing.T, db *sql.DB, dir, name string) (out []outcome) {
	var tr truth
	capture := strings.TrimSuffix(name, withKeys)
	var keys []string
	if capture != name {
		keys = []string{filepath.Join(dir, strings.TrimSuffix(capture, ".pcap")+".keylog")}
	}
	list := facts()
	data, err := os.ReadFile(filepath.Join(dir, "truth", name+".json"))
	if err != nil { // nobody compared it
		data = []byte("{}")
		list = slices.DeleteFunc(list, func(f fact) bool { return !f.rule })
	}
	if err := errors.Join(json.Unmarshal(data, &tr), json.Unmarshal(data, &tr.raw)); err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	tmp, err := os.MkdirTemp("", "pcapsule-acceptance-")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer os.RemoveAll(tmp)
	path := filepath.Join(tmp, "a.pcapsule")
	m, err := exporter.Run(context.Background(), []string{filepath.Join(dir, capture)}, path,
		exporter.Options{Release: "acceptance", Keys: keys, Jobs: 1, DecodeAs: decodeAs(tr.Args), Repanic: true})
	if err != nil {
		if readable := tr.Packets != nil && *tr.Packets > 0; readable || !errors.Is(err, pcapng.ErrNotCapture) && !errors.Is(err, pcapng.ErrTooShort) {
			return []outcome{{fact: "readable", capture: name, want: "a capture", got: err.Error()}}
		}
		return []outcome{{fact: "readable", capture: name, agreed: true}}
	}
	out = append(out, outcome{fact: "readable", capture: name, agreed: true})
	c := &comparison{t: t, db: db, name: name, tr: &tr, m: m, tables: filepath.Join(path, "data", "tables")}
	got, err := c.ask(slices.DeleteFunc(slices.Clone(list), func(f fact) bool { return f.idle(m) || c.unknown(f) }))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return out
	}
	for _, f := range list {
		if o, ok := c.compare(f, got[f.name]); ok {
			out = append(out, o)
		}
	}
	return out
}

// decodeAs converts tshark's -d tcp.port==N,proto.
func decodeAs(args string) (out []dissect.DecodeAs) {
	known := map[string]bool{}
	for _, p := range exporter.Protocols() {
		known[p.Name] = true
	}
	names := map[string]string{"http": "http1", "http2": "http2", "redis": "redis", "resp": "redis", "pgsql": "postgresql", "tls": "tls", "dns": "dns"}
	for _, w := range strings.Fields(args) {
		var port uint16
		var proto string
		if n, _ := fmt.Sscanf(w, "tcp.port==%d,%s", &port, &proto); n == 2 && known[names[proto]] {
			out = append(out, dissect.DecodeAs{Transport: dissect.TCP, Port: port, Protocol: names[proto]})
		}
	}
	return out
}

type comparison struct {
	t      *testing.T
	db     *sql.DB
	name   string
	tr     *truth
	m      *bundle.Manifest
	tables string
}

// words matches names, among them those of columns.
var words = regexp.MustCompile(`[a-z]\w*`)

// ask reads the values of all facts with one statement, in which {name} is a table. It reads only columns
// that the statement names, because planning costs as much for each of the hundreds of others.
func (c *comparison) ask(list []fact) (map[string]counts, error) {
	var parts []string
	for _, f := range list {
		parts = append(parts, fmt.Sprintf("select '%s', cast(v as varchar), cast(n as bigint) from (%s) q(v, n)", f.name, f.sql))
	}
	stmt := strings.Join(parts, "\nunion all ")
	names := append(words.FindAllString(stmt, -1), "packet_no") // packets may be counted only
	slices.Sort(names)
	columns := "^(" + strings.Join(slices.Compact(names), "|") + ")$"
	var with []string
	for _, name := range []string{"calls", "flows", "connections", "packets", "tls_handshakes", "anomalies", "tcp_events"} {
		if !strings.Contains(stmt, "{"+name+"}") {
			continue
		}
		pattern := filepath.Join(c.tables, name, "*.parquet")
		if name == "calls" {
			pattern = filepath.Join(c.tables, name, "**", "*.parquet")
		}
		stmt = strings.ReplaceAll(stmt, "{"+name+"}", name)
		from := "read_parquet('" + pattern + "', union_by_name=true, hive_partitioning=false)"
		if name == "calls" {
			from = "(from " + from + " union all by name select " + nullsOfProtocols() + " where false)"
		}
		with = append(with, name+" as materialized (select columns('"+columns+"') from "+from+")")
	}
	stmt = "with " + strings.Join(with, ",\n") + "\n" + stmt
	rows, err := c.db.Query(stmt)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]counts{}
	for rows.Next() {
		var f string
		var v sql.NullString
		var n int64
		if err := rows.Scan(&f, &v, &n); err != nil {
			return nil, err
		}
		if out[f] == nil {
			out[f] = counts{}
		}
		out[f][v.String] += n
	}
	return out, rows.Err()
}

type counts map[string]int64

func (c counts) String() string {
	var keys []string
	for k := range c {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for i, k := range keys {
		if i == 12 {
			fmt.Fprintf(&b, " … %d more", len(keys)-i)
			break
		}
		fmt.Fprintf(&b, " %q:%d", k, c[k])
	}
	return b.String()
}

// nullsOfProtocols is a list of nulls with the columns of all protocols, which a bundle without calls of theirs lacks.
var nullsOfProtocols = sync.OnceValue(func() string {
	var list []string
	for _, c := range table.ProtocolColumns() {
		list = append(list, "cast(null as "+c.Kind.String()+") as "+c.Name)
	}
	return strings.Join(list, ", ")
})
