// Package validation has the known error rates of the dissectors: how their counts compare with those
// of tshark on public captures. The data is in tshark.tsv, which a test of package acceptance writes
// and compares with what it measures.
package validation

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// File is the path of the data in the project.
const File = "report/validation/tshark.tsv"

//go:embed tshark.tsv
var embedded string

// Pack is a comparison with another tool.
type Pack struct {
	Tool     string // with its version
	Set      string // the captures
	SHA256   string // of the list of the captures with their hashes
	Captures int64
	Rows     []Row
}

// Row is the comparison of one kind of fact.
type Row struct {
	Dissector string
	Fact      string // what is counted; empty: the dissector was not compared
	Captures  int64  // in which the fact occurs
	Equal     int64  // captures in which both tools count the same
	Explained int64  // captures in which they differ, with a reason that was verified in the bytes
	Theirs    int64  // counted by the other tool
	Ours      int64
	Same      int64 // counted by both with the same value
}

// Open returns the captures in which the tools differ without a verified reason, because they define
// the fact differently.
func (r Row) Open() int64 { return r.Captures - r.Equal - r.Explained }

// Known is the comparison of this release.
var Known = sync.OnceValue(func() *Pack {
	p, err := Parse(embedded)
	if err != nil {
		panic(fmt.Errorf("reading %s: %w", File, err)) // it is part of the program
	}
	return p
})

const head = "# Counts of pcapsule and of another tool on public captures. Written by: go test ./internal/acceptance -run TestTruth -update"

var columns = []string{"dissector", "fact", "captures", "equal", "explained", "theirs", "ours", "same"}

// String writes the pack as a file that Parse reads.
func (p *Pack) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\ntool\t%s\nset\t%s\nsha256\t%s\ncaptures\t%d\n\n%s\n", head, p.Tool, p.Set, p.SHA256, p.Captures, strings.Join(columns, "\t"))
	for _, r := range p.Rows {
		fmt.Fprintf(&b, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r.Dissector, r.Fact, r.Captures, r.Equal, r.Explained, r.Theirs, r.Ours, r.Same)
	}
	return b.String()
}

// Parse reads the form that String writes.
func Parse(text string) (*Pack, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	const first = 7 // line of the first row, from 0
	if len(lines) < first || lines[0] != head || lines[first-1] != strings.Join(columns, "\t") {
		return nil, fmt.Errorf("the file does not begin with the %d lines of a comparison", first)
	}
	p := &Pack{}
	for i, to := range []*string{&p.Tool, &p.Set, &p.SHA256} {
		_, *to, _ = strings.Cut(lines[1+i], "\t")
	}
	_, n, _ := strings.Cut(lines[4], "\t")
	var err error
	if p.Captures, err = strconv.ParseInt(n, 10, 64); err != nil {
		return nil, fmt.Errorf("line 5: %w", err)
	}
	for i, line := range lines[first:] {
		f := strings.Split(line, "\t")
		if len(f) != len(columns) {
			return nil, fmt.Errorf("line %d has %d columns, expected %d", first+i+1, len(f), len(columns))
		}
		r := Row{Dissector: f[0], Fact: f[1]}
		for k, to := range []*int64{&r.Captures, &r.Equal, &r.Explained, &r.Theirs, &r.Ours, &r.Same} {
			if *to, err = strconv.ParseInt(f[2+k], 10, 64); err != nil {
				return nil, fmt.Errorf("line %d: %w", first+i+1, err)
			}
		}
		p.Rows = append(p.Rows, r)
	}
	return p, nil
}
