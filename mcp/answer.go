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

// page is what every list answer contains in addition to its rows.
type page struct {
	Coverage  ask.Coverage `json:"coverage"`
	Matched   string       `json:"matched" jsonschema:"some, nothing_matched (the time was recorded, and no row matches) or not_recorded (the time was not recorded)"`
	Truncated bool         `json:"truncated" jsonschema:"there are more rows: ask again with cursor"`
	Cursor    string       `json:"next_cursor,omitempty" jsonschema:"pass it as cursor, with the same arguments, for the next rows"`
	Now       string       `json:"now,omitempty" jsonschema:"the value of now(): the time of the last packet"`
	Notes     []string     `json:"notes,omitempty"`
	Verified  bool         `json:"verified" jsonschema:"every file of the bundles was checked against its hash in this session"`
}

func (s *invocation) page(r *forensics.Result) page {
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

// cellSize is the maximum number of bytes of one text in an answer.
func (s *invocation) cellSize() int {
	if s.cell > 0 {
		return s.cell
	}
	return maxCell
}

// value converts a value of a row to JSON and shortens it to fit a conversation.
func (s *invocation) value(v any) any {
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
