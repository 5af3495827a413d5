// Package message is what package duckdbtest and its program send each other, with net/rpc.
package message

import (
	"encoding/gob"
	"fmt"
	"math/big"
	"time"
)

// Argument has the program answer Query.
const Argument = "sql"

// Query is a statement for a database. Each number is a database in memory, which its first query makes.
type Query struct {
	Database int
	SQL      string
	Args     []any
	Rows     bool // it has rows to read
}

// Answer is the result of a Query.
type Answer struct {
	Columns  []string
	Rows     [][]any
	Affected int64
}

// RegisterTypes tells encoding/gob the types that Plain returns. Both sides call it first.
func RegisterTypes() {
	for _, v := range []any{time.Time{}, &big.Int{}, []any{}, []int64{}, []string{}, map[string]any{}} {
		gob.Register(v)
	}
}

// Plain returns a value with empty lists instead of nil ones, which gob cannot tell apart. It is an error if a
// type is not known without the driver.
func Plain(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int8, int16, int32, int64, int, uint8, uint16, uint32, uint64, uint, float32, float64, time.Time, *big.Int:
		return v, nil
	case []byte:
		if v == nil {
			v = []byte{}
		}
		return v, nil
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = Plain(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		m := map[string]any{}
		for name := range v {
			var err error
			if m[name], err = Plain(v[name]); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return nil, fmt.Errorf("a value of type %T: cast it to VARCHAR", v)
}
