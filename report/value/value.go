// Package value is a report as a value: its claims, and the calls, packets and queries behind each
// claim.
//
// Package report makes a Report from a case, and package render writes it as a file. This value is
// all that they share, so every format of a report has the same claims, and a program can compare
// two reports field by field. Text from captures is shortened, and control and direction characters
// in it are made visible, before it enters a Report; renderers only escape it.
package value

// Schema is the version of the JSON of a Report.
const Schema = 2

// Report is a report about a case.
type Report struct {
	Schema     int         `json:"schema"`
	Title      string      `json:"title"`
	Kind       string      `json:"kind"`            // title of its template
	About      string      `json:"about,omitempty"` // what reports of this template are for
	Basis      Basis       `json:"basis"`
	From       string      `json:"from,omitempty"` // of the window, RFC 3339
	To         string      `json:"to,omitempty"`
	Bundles    []Bundle    `json:"bundles"`
	Facts      []Number    `json:"facts"`
	Statements []Statement `json:"statements"` // the first page
	Findings   []Finding   `json:"findings"`   // for comparisons of reports
	Sections   []Section   `json:"sections"`
	Absent     []string    `json:"absent,omitempty"` // searched but not found
	Blank      bool        `json:"blank,omitempty"`  // nothing was recorded in the window
	Unmade     []string    `json:"unmade,omitempty"` // sections that need more memory than the case may use
	Queries    []Query     `json:"queries"`          // the appendix; statements and tables refer to them by number
}

// Basis lists the inputs of a report. The same basis gives the same report.
type Basis struct {
	Release    string   `json:"release,omitempty"` // of the program
	Template   string   `json:"template"`          // text of the template
	Name       string   `json:"name"`              // of the template
	Title      string   `json:"title,omitempty"`   // as requested
	From       string   `json:"from,omitempty"`    // as requested
	To         string   `json:"to,omitempty"`      // as requested
	KFL        string   `json:"kfl,omitempty"`     // filter of calls, as requested
	Mask       string   `json:"mask,omitempty"`    // SHA-256 of the policy that masked it; empty: not masked
	Accept     string   `json:"accept,omitempty"`  // list of accepted findings, as given
	Allow      []string `json:"allow,omitempty"`   // allowed outside destinations and pairs of namespaces, as given
	Attest     bool     `json:"attest,omitempty"`  // the author states that the capture points see all traffic in scope
	Bundles    []Source `json:"bundles"`
	GeoIP      []List   `json:"geoip,omitempty"`      // files that say where outside addresses are
	Indicators []List   `json:"indicators,omitempty"` // of indicators, with which traffic was compared
	Recheck    *Recheck `json:"recheck,omitempty"`    // observation of a second tool; nil: none was asked

	Collection *Collection `json:"collection,omitempty"` // of a report about a collection, whose file is Template and Title its name
}

// Collection is what a report about a collection depends on, beside its file and its bundles.
type Collection struct {
	At      string `json:"at"` // day on which acceptances were judged
	Entries int64  `json:"log_entries"`
	LogHead string `json:"log_head,omitempty"` // SHA-256 of the last of these entries

	Seed string `json:"seed,omitempty"` // of a sample
	Size int    `json:"size,omitempty"` // as wanted
}

// Checking is the command that checks a file with the report.
func (r *Report) Checking() string {
	if r.Basis.Collection != nil {
		return "pcapsule report verify FILE COLLECTION.yaml"
	}
	return "pcapsule report verify FILE BUNDLE"
}

// Source identifies a bundle by its contents.
type Source struct {
	Name        string `json:"name"`
	TagManifest string `json:"tagmanifest_sha256,omitempty"` // SHA-256 of tagmanifest-sha256.txt
	Checked     bool   `json:"checked,omitempty"`            // every file was hashed for the report
}

// List identifies a file that is not of a bundle.
type List struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Finding identifies a finding between reports.
type Finding struct {
	ID       string `json:"id"`
	Severity string `json:"severity"`
	What     string `json:"what"`
	Src      string `json:"src,omitempty"`
	Dst      string `json:"dst,omitempty"`
	Accepted string `json:"accepted,omitempty"` // the reason
}

// Bundle is one bundle of the case.
type Bundle struct {
	Name     string `json:"name"`
	Verified string `json:"verified"` // verified, not verified or broken
	Detail   string `json:"detail"`   // explanation in one sentence
}

// Number is a figure of a statement, or in the head of the page.
type Number struct {
	Label string `json:"label"`
	Text  string `json:"text"`            // as written
	Value *int64 `json:"value,omitempty"` // exact
	Bad   bool   `json:"bad,omitempty"`
}

// Unmatched is the id of the statement that the filter of a report matches no call, and why.
const Unmatched = "unmatched"

// Statement is a claim, or several about one question, with its evidence.
type Statement struct {
	ID      string      `json:"id"`
	Head    string      `json:"head,omitempty"` // the question that it answers
	Text    string      `json:"text"`
	Bad     bool        `json:"bad,omitempty"`
	Figures []Number    `json:"figures,omitempty"`
	Cite    []*Citation `json:"cite,omitempty"`
	Queries []int       `json:"queries,omitempty"` // numbers in Report.Queries, from 1
}

// Section is one part of the report.
type Section struct {
	ID         string      `json:"id"`
	Title      string      `json:"title"`
	Text       []string    `json:"text,omitempty"`       // how to read it
	Statements []Statement `json:"statements,omitempty"` // what it claims
	Blocks     []Block     `json:"blocks,omitempty"`
	Sign       []string    `json:"sign,omitempty"` // labels of lines to be filled in by hand
}

// Block is a figure or a table.
type Block struct {
	Figure *Figure `json:"figure,omitempty"`
	Table  *Table  `json:"table,omitempty"`
}

// Query is a query behind statements, figures and tables.
type Query struct {
	SQL     string `json:"sql,omitempty"`
	Command string `json:"command"` // command that a reader can run
}

// Figure is a chart as data. One of Time, Bars, Map, Heat and Sequence is set.
type Figure struct {
	ID       string         `json:"id"`
	Title    string         `json:"title"`
	Alt      string         `json:"alt"` // description for readers who cannot see it
	Note     string         `json:"note,omitempty"`
	Time     *TimeChart     `json:"time,omitempty"`
	Bars     *BarChart      `json:"bars,omitempty"`
	Map      *MapChart      `json:"map,omitempty"`
	Heat     *HeatChart     `json:"heat,omitempty"`
	Sequence *SequenceChart `json:"sequence,omitempty"`
	Queries  []int          `json:"queries"`
}

// TimeChart is amounts over time, stacked. The axis leaves out long times without traffic.
type TimeChart struct {
	BucketNs  int64     `json:"bucket_ns"`
	Unit      string    `json:"unit"` // bytes, calls or µs
	Stretches []Stretch `json:"stretches"`
	Series    []Series  `json:"series"`
	Holes     []Span    `json:"holes,omitempty"`
}

// Buckets is the number of buckets on the axis.
func (c *TimeChart) Buckets() (n int) {
	for _, s := range c.Stretches {
		n += s.Count
	}
	return n
}

// Place is the position of a bucket on the axis; in a break it is the end of the previous stretch.
func (c *TimeChart) Place(bucket int64) int {
	at := 0
	for i, s := range c.Stretches {
		if bucket < s.First {
			return max(at-1, 0)
		}
		if bucket < s.First+int64(s.Count) || i == len(c.Stretches)-1 {
			return at + int(min(bucket-s.First, int64(s.Count-1)))
		}
		at += s.Count
	}
	return at
}

// Stretch is a part of the axis without a break: Count buckets from First on. Bucket b begins at
// b × BucketNs.
type Stretch struct {
	First int64 `json:"first"`
	Count int   `json:"count"`
}

// Series is the amounts of one kind, for the buckets of all stretches one after another.
type Series struct {
	Name   string  `json:"name"`
	Class  string  `json:"class,omitempty"` // bad: drawn as a warning
	Total  int64   `json:"total"`           // of times: the highest
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

// HeatChart is amounts by day and hour of the day, UTC.
type HeatChart struct {
	Unit string    `json:"unit"`
	Days []HeatDay `json:"days"`
}

// HeatDay is the 24 hours of a day. An hour outside the window is -1.
type HeatDay struct {
	Day   string  `json:"day"` // 2006-01-02
	Hours []int64 `json:"hours"`
}

// SequenceChart is the calls of one chain between its ends, by time.
type SequenceChart struct {
	Actors   []string  `json:"actors"`
	Messages []Message `json:"messages"`
}

// Message is one call. Times are in microseconds from the begin of the chain; a call without a
// response has no DoneUs.
type Message struct {
	From   int    `json:"from"` // index in Actors
	To     int    `json:"to"`
	AtUs   int64  `json:"at_us"`
	DoneUs *int64 `json:"done_us,omitempty"`
	Text   string `json:"text"`
	Answer string `json:"answer,omitempty"`
	Bad    bool   `json:"bad,omitempty"`
	Sure   string `json:"sure,omitempty"` // of the link to its parent: exact, likely or guess
}

// Table is a table for readers.
type Table struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Note    string   `json:"note,omitempty"`
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
	Queries []int    `json:"queries"`
}

// Cited reports whether some row has a citation.
func (t *Table) Cited() bool {
	for _, r := range t.Rows {
		if len(r.Cite) > 0 {
			return true
		}
	}
	return false
}

// Column is a column of a table.
type Column struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // number, code, name, moment, wide, or empty for text
	Doc  string `json:"doc,omitempty"`
}

// Row is a row of a table.
type Row struct {
	Cells []Cell      `json:"cells"`
	Cite  []*Citation `json:"cite,omitempty"`
	Bad   bool        `json:"bad,omitempty"`
}

// Cell is a formatted value; Value is the number, if it is one.
type Cell struct {
	Text  string `json:"text"`
	Value *int64 `json:"value,omitempty"`
	Bad   bool   `json:"bad,omitempty"`
	Share *int   `json:"share,omitempty"` // thousandths of the largest in the column, drawn as a bar
}

// Cited is the id of the section that lists the calls of the citations.
const Cited = "cited-calls"

// Citation is evidence: a call, a flow or only packets, and the numbers of the packets.
type Citation struct {
	Bundle  int    `json:"bundle"` // -1: not known
	Call    string `json:"call_id,omitempty"`
	Flow    int64  `json:"flow_id,omitempty"`
	Packets string `json:"packets,omitempty"` // files and frames, such as node.pcap frames 12-15,18
}
