package acceptance

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/report/validation"
)

var update = flag.Bool("update", false, "rewrite "+validation.File)

// checkValidation compares the error rates that reports state with those that were measured.
func checkValidation(t *testing.T, dir string, all []outcome, known map[[2]string]string) {
	path := filepath.Join("..", "..", filepath.FromSlash(validation.File))
	want := measured(t, dir, all, known).String()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what was measured; run go test ./internal/acceptance -run TestTruth -update", validation.File)
	}
}

// measured sums the outcomes of facts that tshark states.
func measured(t *testing.T, dir string, all []outcome, known map[[2]string]string) *validation.Pack {
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	version := regexp.MustCompile(`tshark (\d+\.\d+\.\d+)`).FindSubmatch(read("README.md"))
	if version == nil {
		t.Fatal("README.md of the captures does not state the version of tshark")
	}
	index := read("INDEX.tsv")
	sum := sha256.Sum256(index)
	lines := strings.Split(strings.TrimSpace(string(index)), "\n")[1:]
	projects := map[string]bool{}
	for _, l := range lines {
		projects[strings.Split(l, "\t")[5]] = true // column repo
	}
	p := &validation.Pack{Tool: "tshark " + string(version[1]), Set: fmt.Sprintf("public captures of %d projects", len(projects)), SHA256: hex.EncodeToString(sum[:]), Captures: int64(len(lines))}
	rows := map[string]*validation.Row{}
	for _, o := range all {
		of, compared := dissectorOf[o.fact]
		if !compared {
			continue
		}
		r := rows[o.fact]
		if r == nil {
			r = &validation.Row{Dissector: of, Fact: strings.ReplaceAll(o.fact, "_", " ")}
			rows[o.fact] = r
		}
		r.Captures++
		r.Theirs, r.Ours, r.Same = r.Theirs+o.theirs, r.Ours+o.ours, r.Same+o.same
		switch {
		case o.agreed:
			r.Equal++
		case known[[2]string{o.capture, o.fact}] != "":
			r.Explained++
		}
	}
	names := map[string]bool{}
	for _, r := range rows {
		names[r.Dissector] = true
		p.Rows = append(p.Rows, *r)
	}
	for _, d := range exporter.Protocols() {
		if !names[d.Name] {
			p.Rows = append(p.Rows, validation.Row{Dissector: d.Name})
		}
	}
	slices.SortFunc(p.Rows, func(a, b validation.Row) int {
		return cmp.Or(cmp.Compare(a.Dissector, b.Dissector), cmp.Compare(a.Fact, b.Fact))
	})
	return p
}

// dissectorOf is the dissector that each fact is about: the one that its name begins with, or one of
// these. Facts without one have no truth by tshark.
var dissectorOf = func() map[string]string {
	out := map[string]string{}
	prefixes := map[string]string{"http": "http1", "icmpv6": "icmp", "dhcpv6": "dhcp", "pop": "pop3", "smb2": "smb", "nfs3": "nfs", "nfs4": "nfs", "hassh": "ssh", "packets": "packets", "fragments": "packets", "udp": "udp",
		"tcp": "tcp", "duplicate": "tcp", "keep": "tcp", "out": "tcp", "retransmissions": "tcp", "window": "tcp", "zero": "tcp"}
	for _, d := range exporter.Protocols() {
		prefixes[d.Name] = d.Name
	}
	for _, f := range facts() {
		if f.truth == "" || f.rule || f.claim {
			continue
		}
		prefix, _, _ := strings.Cut(f.name, "_")
		if prefixes[prefix] == "" {
			panic("no dissector for the fact " + f.name) // a report would say of the dissector that it was not compared
		}
		out[f.name] = prefixes[prefix]
	}
	return out
}()
