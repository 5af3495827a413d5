// Package samples holds captures that real servers and clients made, and the test that every
// one of them has an origin, becomes a bundle, and answers what it should.
package samples

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

var update = flag.Bool("update", false, "write calls.tsv again")

// refused is the answer for a file that is not a capture.
const refused = "refused"

func captures(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.pcap", "*.pcapng", "hard/*.pcap", "hard/*.pcapng"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, list...)
	}
	if len(names) == 0 {
		t.Fatal("no captures")
	}
	return names
}

// rows reads a table of tab-separated columns; lines with # are remarks.
func rows(t *testing.T, path string, columns int) (out [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text() == "" || strings.HasPrefix(s.Text(), "#") {
			continue
		}
		r := strings.Split(s.Text(), "\t")
		if len(r) != columns {
			t.Fatalf("%s: %q has %d columns, want %d", path, s.Text(), len(r), columns)
		}
		out = append(out, r)
	}
	return out
}

// TestOrigins holds every file to its line in the README.
func TestOrigins(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.Contains(cells[1], "`") {
			named[strings.Trim(cells[1], " `")] = true
		}
	}
	here := captures(t)
	for _, pattern := range []string{"*.json", "*.keylog", "*.tsv"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		here = append(here, more...)
	}
	for _, name := range here {
		if said, ok := strings.CutSuffix(name, ".said.tsv"); ok && slices.Contains(here, said+".pcapng") {
			continue // what its clients logged
		}
		if !named[name] {
			t.Errorf("%s has no line in README.md", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("README.md has a line for %s, which is not here", name)
	}
}

// TestSamples makes a bundle of every capture, makes its tables a second time from the
// packets inside, and asks it what answers.tsv and calls.tsv ask.
func TestSamples(t *testing.T) {
	questions := map[string][][]string{}
	for _, r := range rows(t, "answers.tsv", 3) {
		questions[r[0]] = append(questions[r[0]], r)
	}
	want := map[string][]string{}
	if !*update {
		for _, r := range rows(t, "calls.tsv", 3) {
			want[r[0]] = append(want[r[0]], r[1]+"\t"+r[2])
		}
	}
	var lines []string
	for _, name := range captures(t) {
		got := sample(t, name, questions[name])
		if !*update && !slices.Equal(got, want[name]) {
			t.Errorf("%s: calls per protocol are %q, want %q", name, got, want[name])
		}
		delete(questions, name)
		delete(want, name)
		for _, g := range got {
			lines = append(lines, name+"\t"+g+"\n")
		}
	}
	for name := range questions {
		t.Errorf("answers.tsv asks %s, which is not here", name)
	}
	for name := range want {
		t.Errorf("calls.tsv counts %s, which is not here", name)
	}
	if *update {
		head := "# file\tprotocol\tcalls\n"
		if err := os.WriteFile("calls.tsv", []byte(head+strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func sample(t *testing.T, name string, questions [][]string) (calls []string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	o := exporter.Options{Release: "test", Repanic: true}
	if kube := strings.TrimSuffix(name, filepath.Ext(name)) + ".kube.json"; exists(kube) {
		o.Kube = []string{kube}
	}
	m, err := exporter.Run(t.Context(), []string{name}, out, o)
	if len(questions) == 1 && questions[0][1] == refused {
		if err == nil || exists(out) {
			t.Errorf("%s became a bundle, want a refusal", name)
		}
		return nil
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	if a := m.Accounts; a.PayloadBytes < a.RowBytes+a.AnomalyBytes {
		t.Errorf("%s: more payload in rows (%d) and anomalies (%d) than in packets (%d)", name, a.RowBytes, a.AnomalyBytes, a.PayloadBytes)
	}
	again(t, name, out)
	ask(t, name, out, questions)
	for protocol, n := range m.Calls {
		calls = append(calls, fmt.Sprintf("%s\t%d", protocol, n))
	}
	slices.Sort(calls)
	return calls
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// again makes the tables a second time and compares.
func again(t *testing.T, name, out string) {
	t.Helper()
	b, err := bundle.Open(out)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	r, err := exporter.Rederive(t.Context(), b, exporter.Options{Release: "test", Jobs: 1, Repanic: true})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, d := range r.Differences {
		t.Errorf("%s: table %s, column %s: %s", name, d.Table, d.Column, d.What)
	}
}

// ask puts questions in SQL, whose answers are one value each.
func ask(t *testing.T, name, out string, questions [][]string) {
	t.Helper()
	if len(questions) == 0 {
		return
	}
	c, err := forensics.Open(context.Background(), []string{out}, forensics.Options{})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer c.Close()
	for _, q := range questions {
		res, err := c.Query(t.Context(), forensics.Query{SQL: q[2]})
		if err != nil {
			t.Errorf("%s: %s: %v", name, q[2], err)
			continue
		}
		got := "nothing"
		if len(res.Rows) > 0 {
			got = fmt.Sprint(res.Rows[0][0])
		}
		if len(res.Rows) > 1 || got != q[1] {
			t.Errorf("%s: %s\n\tanswers %s in %d rows, want %s", name, q[2], got, len(res.Rows), q[1])
		}
	}
}

// TestShopNames holds the dump to the capture: every private address that speaks is a pod or the node.
func TestShopNames(t *testing.T) {
	dump, err := os.ReadFile("shop.kube.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("shop.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var b pcapng.Batch
	for r.Next(&b) == nil {
		for _, p := range b.Packets {
			if len(p.Data) >= 30 && p.Data[12] == 8 && p.Data[13] == 0 {
				seen[fmt.Sprintf("%d.%d.%d.%d", p.Data[26], p.Data[27], p.Data[28], p.Data[29])] = true
			}
		}
	}
	if len(seen) < 10 {
		t.Fatalf("only %d hosts speak", len(seen))
	}
	for ip := range seen {
		inside := strings.HasPrefix(ip, "10.244.") || strings.HasPrefix(ip, "192.168.")
		if named := strings.Contains(string(dump), `"`+ip+`"`); named != inside {
			t.Errorf("%s: inside the cluster %v, named in the dump %v", ip, inside, named)
		}
	}
}
