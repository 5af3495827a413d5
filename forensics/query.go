package forensics

import (
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// Limits of an answer that is held in memory. Each has none.
const (
	DefaultRows  = 10_000
	DefaultBytes = 64 << 20
)

// Query is a question. KFL and the fields below it are one way to ask, SQL the other.
type Query struct {
	KFL    string            // condition on calls; empty asks for all
	Macros map[string]string // names that KFL may use beside those of the case

	SQL  string // one query over the tables of the case
	Args []any  // values for the ? or $1 of SQL
	// Named says that SQL names every column that its answer depends on, although it has a *
	// or an alias that reads like a row: then only these columns of calls are looked at.
	Named bool
	// Alone says that SQL is a stranger's: no other question runs in the process that it may
	// end.
	Alone bool

	From, To int64 // nanoseconds since 1970 UTC, both included; 0 leaves an end open

	// Table is asked for rows; empty means calls. KFL on another table asks for the rows
	// of the calls, flows or connections that the condition holds for.
	Table   string
	Columns []string // empty: all
	Order   string   // such as "elapsed_us desc, call_no"; empty: by time
	GroupBy []string // count rows by these columns, most first
	Count   bool     // count rows

	Limit    int           // rows; 0 means DefaultRows for Query and no limit for Each
	Cursor   string        // Next of an earlier answer to the same question
	MaxBytes int64         // of values in an answer of Query; 0 means DefaultBytes
	Deadline time.Duration // 0: as long as the context lasts
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
	Citations []Citation // of each row, where the rows cite packets; else nil
	Next      string     // cursor for the rows after these; empty at the end
	Truncated bool       // there are more rows than were asked for or may be held
	Coverage  Coverage
	Cost      Cost
	Now       int64    // what now() meant; 0 where it was not used
	Notes     []string // remarks for the person who asked
}

// Citation is the packets that a row stands on.
type Citation struct {
	Bundle  int
	Packets table.Cites
}

// Cost is what an answer took.
type Cost struct {
	Elapsed time.Duration
	Rows    int64 // rows answered
	Bytes   int64 // of values answered, roughly
}
