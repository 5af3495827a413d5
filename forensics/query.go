package forensics

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// Limits of an answer in memory. They do not apply to Each.
const (
	DefaultRows  = 10_000
	DefaultBytes = 64 << 20
)

// Default deadlines of questions, on the command line and in servers.
const (
	AnswerTime = 30 * time.Second // of one answer
	LongTime   = 10 * time.Minute // of all rows, packets, a report or a check: they consist of many
)

// WithDeadline returns ctx with a deadline for questions; 0 means none.
func WithDeadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// Query selects rows, either by KFL and the fields below it or by SQL.
type Query struct {
	KFL    string            // filter for calls; empty selects all
	Macros map[string]string // names for KFL in addition to those of the case

	SQL  string // one query over the tables of the case
	Args []any  // values for the ? or $1 of SQL
	// Named asserts that SQL names every column that its answer depends on, even if it has a *
	// or an alias that looks like a row. Then only these columns of calls are read.
	Named bool
	// Alone marks SQL from a user, which may be empty by mistake: no other query runs in the same
	// process, because the SQL may crash it.
	Alone bool

	From, To int64 // nanoseconds since 1970 UTC, both inclusive; 0 leaves an end open

	// Table is the table to read; empty means calls. KFL on another table selects the rows that
	// belong to matching calls, flows or connections.
	Table   string
	Columns []string // empty: all
	Order   string   // for example "elapsed_us desc, call_no"; empty: by time
	GroupBy []string // count rows by these columns, most first
	Count   bool     // count rows

	Limit    int           // rows; 0 means DefaultRows for Query and no limit for Each
	Cursor   string        // Next of an earlier answer to the same query
	MaxBytes int64         // of values in an answer of Query; 0 means DefaultBytes
	Deadline time.Duration // 0: no deadline except that of the context
}

// Column is one column of an answer.
type Column = duck.Column

// Values of rows that are not plain Go.
type (
	Struct  = duck.Struct
	Field   = duck.Field
	Map     = duck.Map
	Decimal = duck.Decimal
)

// Result is an answer. A value in Rows is nil, bool, int64, *big.Int, float64, Decimal,
// string, []byte, time.Time (UTC), []any, Struct or Map.
type Result struct {
	Columns   []Column
	Rows      [][]any
	Citations []Citation // one per row if the rows cite packets, otherwise nil
	Cited     []string   // Citations as Cite writes them, after CiteRows
	Next      string     // cursor for the rows after these; empty at the end
	Truncated bool       // there are more rows than the limits allow
	Coverage  Coverage
	Cost      Cost
	Now       int64    // value of now(); 0 if it was not used
	Notes     []string // notes for the user
}

// Citation is the packets behind a row.
type Citation struct {
	Bundle  int
	Packets table.Cites
}

// Cost is the cost of an answer.
type Cost struct {
	Elapsed time.Duration
	Rows    int64 // rows answered
	Bytes   int64 // approximate size of the values
}

// Clip returns the first n bytes of a text as valid text; if the text is longer, followed by its length.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut := n
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes in all)", strings.ToValidUTF8(s[:cut], "\uFFFD"), len(s))
}
