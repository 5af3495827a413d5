package bundle

import (
	"errors"
	"strconv"
	"strings"
)

// Difference is one difference between a bundle and the result of importing its packets again.
type Difference struct {
	File   string `json:"file,omitempty"`   // in the bundle; empty for a table
	Field  string `json:"field,omitempty"`  // of bundle.json, such as accounts.packets
	Table  string `json:"table,omitempty"`  // calls/http1 is the part of one protocol
	Column string `json:"column,omitempty"` // empty: the table as a whole
	Row    *int64 `json:"row,omitempty"`    // of the table, from 0: the first different row
	What   string `json:"what"`
}

// String is the difference in one line.
func (d Difference) String() string {
	var where []string
	if d.File != "" {
		where = append(where, d.File)
	}
	if d.Field != "" {
		where = append(where, d.Field)
	}
	if d.Table != "" {
		where = append(where, "table "+d.Table)
	}
	if d.Column != "" {
		where = append(where, "column "+d.Column)
	}
	if d.Row != nil {
		where = append(where, "row "+strconv.FormatInt(*d.Row, 10))
	}
	return strings.Join(where, ", ") + ": " + d.What
}

// maxDifferences limits the differences listed in Rederived; further ones are counted.
const maxDifferences = 1000

// Rederived is the result of making a bundle again from its packets.
type Rederived struct {
	Release     string       `json:"release"`      // that made the bundle
	By          string       `json:"rederived_by"` // release that made it again
	Tables      int          `json:"tables"`
	Columns     int          `json:"columns"`
	Files       int          `json:"files"` // compared byte by byte
	Differences []Difference `json:"differences"`
	More        int64        `json:"differences_more,omitempty"` // not listed
	// Unproven are the fields of bundle.json that packets cannot prove, such as the names of the
	// imported files. Only a signature protects them.
	Unproven []string `json:"unproven"`
}

// OK reports whether there are no differences.
func (r *Rederived) OK() bool { return len(r.Differences) == 0 }

// Add adds a difference.
func (r *Rederived) Add(d Difference) {
	if len(r.Differences) >= maxDifferences {
		r.More++
		return
	}
	r.Differences = append(r.Differences, d)
}

// ErrNeedsKeys means that the tables were made with keys that the caller must supply.
var ErrNeedsKeys = errors.New("the bundle's tables cannot be rebuilt without its keys")
