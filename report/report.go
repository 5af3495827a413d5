// Package report summarizes a case on one page.
//
// Build makes the report as a value: sections of text, figures and tables, each with its query and
// with the calls and packets behind it, so that every statement can be checked. The same bundles give
// the same value; no clock is read. RenderHTML writes it as one file that needs no network and no
// script. Text from captures is shortened, and control and direction characters in it are made
// visible, before it enters the value; renderers escape it.
package report

import (
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// Options define how to build a report. The zero value is valid.
type Options struct {
	Title   string           // empty: the names of the bundles
	Made    time.Time        // time to show on the page; zero omits it
	Release string           // of the program that builds the report
	Checks  []*bundle.Report // results of verifications, one per bundle; nil: use the state in the case
}

// Report is the report of a case.
type Report struct {
	Title    string    `json:"title"`
	Made     string    `json:"made,omitempty"`
	Release  string    `json:"release,omitempty"` // of the program that built the report
	From     string    `json:"from,omitempty"`    // first packet, RFC 3339
	To       string    `json:"to,omitempty"`      // last packet
	Bundles  []Bundle  `json:"bundles"`
	Facts    []Fact    `json:"facts"`
	Summary  []string  `json:"summary"` // sentences
	Sections []Section `json:"sections"`
	Absent   []string  `json:"absent,omitempty"` // searched but not found
	Unmade   []string  `json:"unmade,omitempty"` // parts that need more memory than the case may use
}

// Bundle is one bundle of the case.
type Bundle struct {
	Name     string `json:"name"`
	Verified string `json:"verified"` // verified, not verified or broken
	Detail   string `json:"detail"`   // explanation in one sentence
}

// Fact is a figure for the head of the page.
type Fact struct {
	Value string `json:"value"`
	Label string `json:"label"`
	Bad   bool   `json:"bad,omitempty"`
}

// Section is one part of the report.
type Section struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Text   []string `json:"text,omitempty"` // paragraphs
	Blocks []Block  `json:"blocks"`
}

// Block is a figure or a table.
type Block struct {
	Figure *Figure `json:"figure,omitempty"`
	Table  *Table  `json:"table,omitempty"`
}

// Query is the query behind a figure or table.
type Query struct {
	SQL     string `json:"sql,omitempty"`
	Command string `json:"command"` // command that a reader can run
}

// Figure is a chart as data. One of Time, Bars and Map is set.
type Figure struct {
	ID      string     `json:"id"`
	Title   string     `json:"title"`
	Alt     string     `json:"alt"` // description for readers who cannot see it
	Note    string     `json:"note,omitempty"`
	Time    *TimeChart `json:"time,omitempty"`
	Bars    *BarChart  `json:"bars,omitempty"`
	Map     *MapChart  `json:"map,omitempty"`
	Queries []Query    `json:"queries"`
}

// TimeChart is amounts over time, stacked. The axis leaves out long times without traffic.
type TimeChart struct {
	BucketNs  int64     `json:"bucket_ns"`
	Unit      string    `json:"unit"` // bytes or calls
	Stretches []Stretch `json:"stretches"`
	Series    []Series  `json:"series"`
	Holes     []Span    `json:"holes,omitempty"`
}

// Stretch is a part of the axis without a break: Count buckets from First on. Bucket b begins at
// b × BucketNs.
type Stretch struct {
	First int64 `json:"first"`
	Count int   `json:"count"`
}

// Series is the amounts of one kind, for the buckets of all stretches one after the other.
type Series struct {
	Name   string  `json:"name"`
	Class  string  `json:"class,omitempty"` // bad: drawn as a warning
	Total  int64   `json:"total"`
	Values []int64 `json:"values"`
}

// Span is a coverage gap: a time range that was not recorded, or only in part.
type Span struct {
	FromNs int64  `json:"from_ns"`
	ToNs   int64  `json:"to_ns"`
	Reason string `json:"reason"`
}

// BarChart is named amounts.
type BarChart struct {
	Unit string `json:"unit"` // bytes or calls
	Bars []Bar  `json:"bars"`
}

// Bar is one amount; Part of it is drawn as a warning.
type Bar struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
	Part  int64  `json:"part,omitempty"`
}

// MapChart is a graph of calls.
type MapChart struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// Node is a workload, a service or an address; Others marks the node for all that are not shown.
type Node struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Calls  int64  `json:"calls"` // calls made and received
	Others bool   `json:"others,omitempty"`
}

// Edge is the calls of one node to another.
type Edge struct {
	From   int    `json:"from"` // index in Nodes
	To     int    `json:"to"`
	Calls  int64  `json:"calls"`
	Failed int64  `json:"failed"`
	P50    *int64 `json:"p50_us,omitempty"`
	P99    *int64 `json:"p99_us,omitempty"`
}

// Table is a table for readers.
type Table struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Note    string   `json:"note,omitempty"`
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
	Cited   bool     `json:"-"` // some row has a citation
	Queries []Query  `json:"queries"`
}

// Column is a column of a table.
type Column struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // number, code, name, moment, wide, or empty for text
	Doc  string `json:"doc,omitempty"`
}

// Row is a row of a table.
type Row struct {
	Cells []Cell    `json:"cells"`
	Cite  *Citation `json:"cite,omitempty"`
	Bad   bool      `json:"bad,omitempty"`
}

// Cell is a formatted value; Value is the number, if it is one.
type Cell struct {
	Text  string `json:"text"`
	Value *int64 `json:"value,omitempty"`
	Bad   bool   `json:"bad,omitempty"`
	Share *int   `json:"share,omitempty"` // thousandths of the largest in the column, drawn as a bar
}

// Citation is the evidence for a row: a call and its packets.
type Citation struct {
	Bundle  int    `json:"bundle"`
	Call    string `json:"call_id,omitempty"`
	Packets string `json:"packets,omitempty"` // numbers in table packets, such as 12-15,18
}
