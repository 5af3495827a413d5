package forensics

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// cursor is the place after a row. It is valid in every process that has the same bundles open.
type cursor struct {
	Question string  `json:"q"`           // hash of the question and the case
	Key      []int64 `json:"k,omitempty"` // key of the last row, if rows have a key
	Row      int64   `json:"n,omitempty"` // otherwise the number of rows before
	Sum      string  `json:"s,omitempty"` // and their digest
}

const maxCursor = 512 // bytes

// question is a hash of everything that determines the rows and their order.
func (c *Case) question(q *Query) string {
	h := sha256.New()
	fmt.Fprintf(h, "1 %s %q %q %q %d %d %q %q %q %v", c.id, q.KFL, q.SQL, q.Table, q.From, q.To, q.Order, q.GroupBy, q.Columns, q.Count)
	if len(q.Macros) > 0 {
		fmt.Fprintf(h, " %q", q.Macros) // maps are printed sorted by key
	}
	for _, a := range q.Args {
		fmt.Fprintf(h, " %T %v", a, a)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (c *Case) readCursor(q *Query) (*cursor, error) {
	if q.Cursor == "" {
		return nil, nil
	}
	if len(q.Cursor) > maxCursor {
		return nil, ErrCursor
	}
	data, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err != nil {
		return nil, ErrCursor
	}
	var cur cursor
	if json.Unmarshal(data, &cur) != nil || cur.Question != c.question(q) || cur.Row < 0 || (len(cur.Key) == 0) != (cur.Row > 0) {
		return nil, ErrCursor
	}
	return &cur, nil
}

func (c *Case) writeCursor(q *Query, cur cursor) string {
	cur.Question = c.question(q)
	data, err := json.Marshal(cur)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
