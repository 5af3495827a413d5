package samples

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// maxQuestions is how many bytes the files of one scenario may have together.
const maxQuestions = 8 << 20

// shopTruth is what the services of a scenario say of themselves: the part of truth.json
// that is true of the traffic as a whole.
type shopTruth struct {
	Services []struct {
		Role string
		Pods []struct{ Name, IP, Node string }
	}
	Totals map[string]int
	Counts []struct {
		Client, Server, Protocol, Method, Endpoint, Error string
		Status, Count                                     int
		Late                                              int `json:"late_status"`
		Sealed                                            bool
	}
	Questions []struct {
		Number int
		Words  string
		Facts  []struct {
			ID      string
			Value   *float64
			Strings []string
			Not     []string
			From    string
			Groups  map[string]float64
			Rows    []json.RawMessage
		}
	}
}

func shopFolders(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("questions/*/truth.json")
	if err != nil || len(list) < 2 {
		t.Fatalf("%d scenarios (%v), want 2 or more", len(list), err)
	}
	for i := range list {
		list[i] = filepath.Dir(list[i])
	}
	return list
}

func readTruth(t *testing.T, dir string) (s shopTruth) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return s
}

func openShop(t *testing.T, dir string) *forensics.Case {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	if _, err := exporter.Run(t.Context(), []string{dir}, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(t.Context(), []string{out}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestShop compares what the services of each scenario logged with what their capture shows.
func TestShop(t *testing.T) {
	for _, dir := range shopFolders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			truth, c := readTruth(t, dir), openShop(t, dir)
			compareCounts(t, c, truth)
			findLog(t, c, dir)
		})
	}
}

// compareCounts compares who asked whom for what, with which outcome, and how often.
func compareCounts(t *testing.T, c *forensics.Case, truth shopTruth) {
	t.Helper()
	roles := map[string]string{}
	for _, s := range truth.Services {
		for _, p := range s.Pods {
			roles[p.IP] = s.Role
		}
	}
	want, got := map[string]int{}, map[string]int{}
	for _, n := range truth.Counts {
		if n.Sealed {
			continue
		}
		key := []string{n.Client, n.Server, n.Protocol}
		switch n.Protocol {
		case "http1", "http2", "grpc":
			key = append(key, n.Method, n.Endpoint, fmt.Sprint(max(n.Status, n.Late))) // late: the capture has it all the same
		case "dns":
			key = append(key, n.Method, fmt.Sprint(n.Status))
		case "postgresql", "redis":
			key = append(key, n.Method, n.Error)
		}
		want[strings.Join(key, " ")] += n.Count
	}
	sql := `select src_ip, dst_ip, protocol, case protocol when 'dns' then dns_question_types[1] else method end, coalesce(path, ''), coalesce(status_code, 0), coalesce(status_text, '')
		from calls where protocol not in ('tcp', 'udp', 'icmp') and not (protocol = 'nats' and method <> 'PUB') order by call_no`
	each(t, c, sql, func(r []any) {
		text := func(i int) string { return fmt.Sprint(r[i]) }
		key := []string{roles[text(0)], roles[text(1)], text(2)}
		switch key[2] {
		case "grpc":
			key = append(key, text(3), text(4), text(5))
		case "http1", "http2":
			key = append(key, text(3), shopEndpoint(text(4)), text(5))
		case "dns":
			key = append(key, text(3), text(5))
		case "postgresql", "redis":
			key = append(key, text(3), text(6))
		}
		got[strings.Join(key, " ")]++
	})
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if want[k] != got[k] {
			t.Errorf("%q: the capture shows %d, the services logged %d", k, got[k], want[k])
		}
	}
}

// shopEndpoint is a path without the parts that name one thing of many.
func shopEndpoint(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.ContainsAny(p, "0123456789") && !(len(p) == 2 && p[0] == 'v') {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

// foundLate is how far a capture's time may lie from what a service's own clock said: the
// machine that recorded did other things too.
const foundLate = 250 * time.Millisecond

// findLog finds each HTTP exchange that the services logged in the capture: by the addresses
// of its ends, at its time, with its status.
func findLog(t *testing.T, c *forensics.Case, dir string) {
	t.Helper()
	type call struct {
		at     int64
		status int
	}
	seen := map[string][]call{}
	sql := `select src_ip, src_port, dst_ip, dst_port, ts_ns, coalesce(status_code, 0) from calls where protocol in ('http1', 'http2') order by call_no`
	each(t, c, sql, func(r []any) {
		k := fmt.Sprintf("%v:%v %v:%v", r[:4]...)
		at, err := strconv.ParseInt(fmt.Sprint(r[4]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		status, err := strconv.Atoi(fmt.Sprint(r[5]))
		if err != nil {
			t.Fatal(err)
		}
		seen[k] = append(seen[k], call{at, status})
	})
	f, err := os.Open(filepath.Join(dir, "log.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for dec := json.NewDecoder(z); dec.More(); {
		var e struct {
			At         time.Time
			Protocol   string
			Client     string `json:"client_addr"`
			Server     string `json:"server_addr"`
			Path       string
			Status     int
			Late       int `json:"late_status"`
			Sealed     bool
			ClientRole string `json:"client_role"`
		}
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Sealed || e.Protocol != "http1" && e.Protocol != "http2" {
			continue
		}
		n++
		k := e.Client + " " + e.Server
		i := slices.IndexFunc(seen[k], func(c call) bool {
			d := time.Duration(c.at - e.At.UnixNano())
			return c.status == max(e.Status, e.Late) && max(d, -d) < foundLate
		})
		if i < 0 {
			t.Errorf("%s at %s from %s: not in the capture, which has %v there", e.Path, e.At, k, seen[k])
			continue
		}
		seen[k] = slices.Delete(seen[k], i, i+1)
	}
	if n < 1000 {
		t.Errorf("only %d exchanges in the log", n)
	}
}

// each gives every row of a query.
func each(t *testing.T, c *forensics.Case, sql string, take func([]any)) {
	t.Helper()
	for cursor := ""; ; {
		res, err := c.Query(t.Context(), forensics.Query{SQL: sql, Limit: 5000, Cursor: cursor, MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Rows {
			take(r)
		}
		if cursor = res.Next; cursor == "" {
			return
		}
	}
}

// TestQuestionsHaveFacts holds each scenario to all questions, each with facts that say
// something, and the files to their size.
func TestQuestionsHaveFacts(t *testing.T) {
	for _, dir := range shopFolders(t) {
		truth := readTruth(t, dir)
		numbers := map[int]bool{}
		for _, q := range truth.Questions {
			numbers[q.Number] = true
			if q.Words == "" || len(q.Facts) == 0 {
				t.Errorf("%s: question %d has no words or no facts", dir, q.Number)
			}
			for _, f := range q.Facts {
				if f.Value == nil && len(f.Strings) == 0 && len(f.Not) == 0 && len(f.Groups) == 0 && len(f.Rows) == 0 && f.From == "" || slices.Contains(f.Strings, "") {
					t.Errorf("%s: question %d: fact %s says nothing", dir, q.Number, f.ID)
				}
			}
		}
		if len(numbers) != 48 {
			t.Errorf("%s: %d questions, want 48", dir, len(numbers))
		}
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, e := range list {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > maxQuestions {
			t.Errorf("%s: %d bytes, want at most %d", dir, size, maxQuestions)
		}
	}
}
