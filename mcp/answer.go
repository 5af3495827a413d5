package mcp

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// page is what every list answers beside its rows.
type page struct {
	Coverage  ask.Coverage `json:"coverage"`
	Matched   string       `json:"matched" jsonschema:"some, nothing_matched (the time was recorded and nothing fits), or not_recorded (the time was not recorded)"`
	Truncated bool         `json:"truncated" jsonschema:"there are more rows: ask again with cursor"`
	Cursor    string       `json:"next_cursor,omitempty" jsonschema:"give it as cursor, with the same question, for the rows that follow"`
	Now       string       `json:"now,omitempty" jsonschema:"what now() meant: the time of the last packet"`
	Notes     []string     `json:"notes,omitempty"`
	Verified  bool         `json:"verified" jsonschema:"every file of the bundles was checked against its hash in this run"`
}

func (s *answerer) page(r *forensics.Result) page {
	p := page{Coverage: ask.CoverageOf(r.Coverage), Truncated: r.Truncated, Cursor: r.Next, Notes: r.Notes, Matched: "some", Verified: s.verified()}
	if r.Now != 0 {
		p.Now = stamp(r.Now)
	}
	if len(r.Rows) == 0 {
		p.Matched = "nothing_matched"
		if r.Coverage.State == forensics.None {
			p.Matched = "not_recorded"
		}
	}
	return p
}

func citation(r *forensics.Result, i int) string {
	if i >= len(r.Citations) {
		return ""
	}
	return ask.Packets(r.Citations[i].Packets)
}

// cellSize is how many bytes of one text an answer has.
func (s *answerer) cellSize() int {
	if s.cell > 0 {
		return s.cell
	}
	return maxCell
}

// value makes a value of a row one for JSON, short enough for a conversation.
func (s *answerer) value(v any) any {
	switch v := v.(type) {
	case string:
		return clip(v, s.cellSize())
	case []byte:
		return clip(hex.EncodeToString(v), s.cellSize())
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000000000Z")
	case forensics.Decimal:
		return json.Number(v)
	case *big.Int:
		return json.Number(v.String())
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.value(v[i])
		}
		return out
	case forensics.Struct:
		out := make(map[string]any, len(v))
		for _, f := range v {
			out[f.Name] = s.value(f.Value)
		}
		return out
	case forensics.Map:
		out := map[string]any{}
		for _, e := range v {
			out[fmt.Sprint(e.Key)] = s.value(e.Value)
		}
		return out
	}
	return v
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case *big.Int:
		return v.Int64()
	}
	return 0
}

func optional(v any) *int64 {
	if n, ok := v.(int64); ok {
		return &n
	}
	return nil
}
