package ask

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Rows runs SQL and returns at most limit rows; more reports whether there were others. Column
// names are the JSON names of T's fields.
//
// A column may be null if the zero value of its field means null (a pointer, a text, a list).
// BLOB becomes hex, cited packets (see terms.Cites) become "node.pcap frames 12-15,20", TIMESTAMP becomes RFC 3339. Nothing
// becomes milliseconds: convert them in SQL.
func Rows[T any](ctx context.Context, c *forensics.Case, limit int, sql string, args ...any) (out []T, more bool, err error) {
	r, err := query(ctx, c, forensics.Query{SQL: sql, Args: args, Named: true, Limit: limit})
	if err != nil {
		return nil, false, err
	}
	fields := fieldsOf(reflect.TypeFor[T]())
	out = make([]T, len(r.Rows))
	var a assigner
	for i, row := range r.Rows {
		v := reflect.ValueOf(&out[i]).Elem()
		for k, col := range r.Columns {
			at, ok := fields[col.Name]
			if !ok {
				return nil, false, fmt.Errorf("reading answer: no field for column %s", col.Name)
			}
			if err := a.assign(v.FieldByIndex(at), row[k]); err != nil {
				return nil, false, fmt.Errorf("reading answer: column %s: %w", col.Name, err)
			}
		}
	}
	return out, r.Truncated, a.cite(ctx, c)
}

// One runs SQL that returns one row.
func One[T any](ctx context.Context, c *forensics.Case, sql string, args ...any) (T, error) {
	rows, _, err := Rows[T](ctx, c, 1, sql, args...)
	if err != nil || len(rows) == 0 {
		var none T
		return none, err
	}
	return rows[0], nil
}

func fieldsOf(t reflect.Type) map[string][]int {
	out := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && !f.Anonymous && name != "" && name != "-" {
			out[name] = f.Index
		}
	}
	return out
}

// assigner stores values from DuckDB in fields. Citations are written at the end, all at once.
type assigner struct {
	texts []reflect.Value
	lists [][]forensics.Citation
}

// cite writes the citations.
func (a *assigner) cite(ctx context.Context, c *forensics.Case) error {
	if len(a.lists) == 0 {
		return nil
	}
	texts, err := c.Cite(ctx, a.lists...)
	for i, text := range texts {
		a.texts[i].SetString(text)
	}
	return err
}

// assign stores a value in a field.
func (a *assigner) assign(to reflect.Value, v any) error {
	if v == nil {
		to.SetZero()
		return nil
	}
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		return a.assign(to.Elem(), v)
	}
	switch x := v.(type) {
	case []any:
		return a.assignList(to, x)
	case forensics.Struct:
		if list, ok := x.Get("cites").([]any); ok && to.Kind() == reflect.String {
			b, _ := x.Get("bundle").(int64)
			return a.addCitation(to, list, int(b))
		}
		if to.Kind() != reflect.Struct {
			break
		}
		fields := fieldsOf(to.Type())
		for _, f := range x {
			at, ok := fields[f.Name]
			if !ok {
				return fmt.Errorf("no field for %s", f.Name)
			}
			if err := a.assign(to.FieldByIndex(at), f.Value); err != nil {
				return err
			}
		}
		return nil
	case int64:
		switch to.Kind() {
		case reflect.Int64, reflect.Int, reflect.Int32:
			to.SetInt(x)
			return nil
		case reflect.Float64:
			to.SetFloat(float64(x))
			return nil
		}
	case float64:
		if to.Kind() == reflect.Float64 {
			to.SetFloat(x)
			return nil
		}
	case *big.Int:
		if to.Kind() == reflect.Int64 && x.IsInt64() {
			to.SetInt(x.Int64())
			return nil
		}
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(x)
			return nil
		}
	case string:
		if to.Kind() == reflect.String {
			to.SetString(x)
			return nil
		}
	case []byte:
		if to.Kind() == reflect.String {
			to.SetString(hex.EncodeToString(x))
			return nil
		}
	case time.Time:
		if to.Kind() == reflect.String {
			to.SetString(when.Stamp(x.UnixNano()))
			return nil
		}
	}
	return fmt.Errorf("cannot store %T in %s", v, to.Type())
}

func (a *assigner) assignList(to reflect.Value, list []any) error {
	if to.Kind() == reflect.String {
		return a.addCitation(to, list, 0)
	}
	if to.Kind() != reflect.Slice {
		return fmt.Errorf("cannot store a list in %s", to.Type())
	}
	to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
	for i, e := range list {
		if err := a.assign(to.Index(i), e); err != nil {
			return err
		}
	}
	return nil
}

// addCitation notes ranges of packets for a text. A range without a bundle is of the given one.
func (a *assigner) addCitation(to reflect.Value, list []any, b int) error {
	var cites []forensics.Citation
	for _, e := range list {
		s, ok := e.(forensics.Struct)
		first, ok1 := s.Get("first").(int64)
		last, ok2 := s.Get("last").(int64)
		if !ok || !ok1 || !ok2 || first < 0 || last < first {
			return &bundle.DamagedError{File: "data/tables", What: fmt.Sprintf("a row cites packets %d to %d, which is not a range", first, last)}
		}
		of := b
		if n, ok := s.Get("bundle").(int64); ok {
			of = int(n)
		}
		if n := len(cites); n == 0 || cites[n-1].Bundle != of {
			cites = append(cites, forensics.Citation{Bundle: of})
		}
		cites[len(cites)-1].Packets.Add(first, last)
	}
	a.texts, a.lists = append(a.texts, to), append(a.lists, cites)
	return nil
}

// CallsWhere lists calls that match an SQL condition on table calls, by time.
func CallsWhere(ctx context.Context, c *forensics.Case, limit int, where string, args ...any) ([]Call, bool, error) {
	return Rows[Call](ctx, c, limit, "SELECT "+terms.CallColumns(c)+" FROM calls WHERE "+where+" ORDER BY ts_ns, call_id", args...)
}

// callsAt reads calls by key, in the order of the keys.
func callsAt(ctx context.Context, c *forensics.Case, keys []Key) ([]Call, error) {
	by, err := CallsAt(ctx, c, keys)
	out := make([]Call, 0, len(by))
	for _, key := range keys {
		if call, ok := by[key]; ok {
			out = append(out, call)
		}
	}
	return out, err
}

// CallsAt reads calls by key.
func CallsAt(ctx context.Context, c *forensics.Case, keys []Key) (map[Key]Call, error) {
	type row struct {
		Call
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
	}
	out := make(map[Key]Call, len(keys))
	err := ByRuns(c, keys, func(where string) error {
		some, _, err := Rows[row](ctx, c, len(keys)*len(c.Bundles()), "SELECT "+terms.CallColumns(c)+", "+terms.BundleOf(c, "")+", call_no FROM calls k WHERE "+where)
		for _, r := range some {
			out[Key{r.Bundle, r.No}] = r.Call
		}
		return err
	})
	return out, err
}

// Call is a call as answers cite it.
type Call struct {
	CallID    string  `json:"call_id" jsonschema:"get_api_call shows it in full"`
	Time      string  `json:"time" jsonschema:"of the first byte of the request, RFC 3339"`
	Src       string  `json:"src" jsonschema:"client, as namespace/name if it has a namespace"`
	Dst       string  `json:"dst" jsonschema:"server"`
	Protocol  string  `json:"protocol"`
	Summary   string  `json:"summary" jsonschema:"the call in one line; text from the traffic"`
	Status    string  `json:"status,omitempty" jsonschema:"status code or the protocol's word, or why there is no response"`
	ElapsedMs float64 `json:"elapsed_ms,omitempty" jsonschema:"first byte of the request to last byte of the response"`
	Packets   string  `json:"packets" jsonschema:"its file and frames, as Wireshark counts them"`
}

// MaxEdges is the highest number of edges in a map.
const MaxEdges = 20_000

// CallsOf reads calls by their ids, which are 32 hexadecimal digits.
func CallsOf(ctx context.Context, c *forensics.Case, ids []string) (map[string]Call, error) {
	out := make(map[string]Call, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	marks := strings.TrimSuffix(strings.Repeat("unhex(?), ", len(ids)), ", ")
	keys, _, err := Pick(ctx, c, "calls_raw", "call_id IN ("+marks+")", "ts_ns, bundle, call_no", 2*len(ids)*len(c.Bundles()), args...)
	if err != nil {
		return nil, err
	}
	list, err := callsAt(ctx, c, keys)
	for _, call := range list {
		if _, ok := out[call.CallID]; !ok {
			out[call.CallID] = call
		}
	}
	return out, err
}

// Count runs SQL that returns one number n.
func Count(ctx context.Context, c *forensics.Case, sql string, args ...any) (int64, error) {
	v, err := One[struct {
		N int64 `json:"n"`
	}](ctx, c, sql, args...)
	return v.N, err
}

// Load summarizes calls in one direction.
type Load struct {
	Calls     int64    `json:"calls"`
	Failed    int64    `json:"failed"`
	ErrorRate float64  `json:"error_rate" jsonschema:"failed divided by calls, 0 to 1"`
	P50Ms     *float64 `json:"p50_ms,omitempty"`
	P90Ms     *float64 `json:"p90_ms,omitempty"`
	P99Ms     *float64 `json:"p99_ms,omitempty"`
	GoodP50   *float64 `json:"good_p50_ms,omitempty" jsonschema:"of calls that did not fail"`
	GoodP99   *float64 `json:"good_p99_ms,omitempty"`
	Bytes     int64    `json:"bytes"`
}

// LoadColumns are the columns of a Load in SQL that groups calls.
const LoadColumns = `count(*) AS calls, count(*) FILTER (failed) AS failed, round(count(*) FILTER (failed) / greatest(1, count(*)), 4) AS error_rate,
	round(quantile_disc(` + terms.Took + `, 0.5) / 1000.0, 3) AS p50_ms, round(quantile_disc(` + terms.Took + `, 0.9) / 1000.0, 3) AS p90_ms, round(quantile_disc(` + terms.Took + `, 0.99) / 1000.0, 3) AS p99_ms,
	round(quantile_disc(` + terms.Took + `, 0.5) FILTER (NOT failed) / 1000.0, 3) AS good_p50_ms, round(quantile_disc(` + terms.Took + `, 0.99) FILTER (NOT failed) / 1000.0, 3) AS good_p99_ms, coalesce(sum(request_bytes + response_bytes), 0)::BIGINT AS bytes`

// MaxLoaded is the highest number of calls that one step of a walk reads.
const MaxLoaded = 20_000
