package ask

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
)

// readRows runs SQL whose columns are named as the JSON fields of T and gives at most
// limit rows. more says that there were others.
//
// A column may be null where its field has a zero that means so (a pointer, a text, a list);
// hex is made of BLOB, "12-15,20" of ranges of packets, RFC 3339 of TIMESTAMP and
// milliseconds with three digits of nothing: write them in SQL.
func readRows[T any](ctx context.Context, c *forensics.Case, limit int, sql string, args ...any) (out []T, more bool, err error) {
	r, err := c.Query(ctx, forensics.Query{SQL: sql, Args: args, Named: true, Limit: limit})
	if err != nil {
		return nil, false, err
	}
	fields := fieldsOf(reflect.TypeFor[T]())
	out = make([]T, len(r.Rows))
	for i, row := range r.Rows {
		v := reflect.ValueOf(&out[i]).Elem()
		for k, col := range r.Columns {
			at, ok := fields[col.Name]
			if !ok {
				return nil, false, fmt.Errorf("reading answer: no field for column %s", col.Name)
			}
			if err := assign(v.FieldByIndex(at), row[k]); err != nil {
				return nil, false, fmt.Errorf("reading answer: column %s: %w", col.Name, err)
			}
		}
	}
	return out, r.Truncated, nil
}

// readOne runs SQL that gives one row.
func readOne[T any](ctx context.Context, c *forensics.Case, sql string, args ...any) (T, error) {
	rows, _, err := readRows[T](ctx, c, 1, sql, args...)
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

// assign puts a value of an answer into a field.
func assign(to reflect.Value, v any) error {
	if v == nil {
		to.SetZero()
		return nil
	}
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		return assign(to.Elem(), v)
	}
	switch x := v.(type) {
	case []any:
		return assignList(to, x)
	case forensics.Struct:
		if to.Kind() != reflect.Struct {
			break
		}
		fields := fieldsOf(to.Type())
		for _, f := range x {
			at, ok := fields[f.Name]
			if !ok {
				return fmt.Errorf("no field for %s", f.Name)
			}
			if err := assign(to.FieldByIndex(at), f.Value); err != nil {
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
			to.SetString(stamp(x.UnixNano()))
			return nil
		}
	}
	return fmt.Errorf("%T does not go into %s", v, to.Type())
}

func assignList(to reflect.Value, list []any) error {
	if to.Kind() == reflect.String { // ranges of packets
		var cites table.Cites
		for _, e := range list {
			s, ok := e.(forensics.Struct)
			first, ok1 := s.Get("first").(int64)
			last, ok2 := s.Get("last").(int64)
			if !ok || !ok1 || !ok2 || first < 0 || last < first {
				return fmt.Errorf("%T is no range of packets", e)
			}
			cites.Add(first, last)
		}
		to.SetString(Packets(cites))
		return nil
	}
	if to.Kind() != reflect.Slice {
		return fmt.Errorf("a list does not go into %s", to.Type())
	}
	to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
	for i, e := range list {
		if err := assign(to.Index(i), e); err != nil {
			return err
		}
	}
	return nil
}

// callColumns are the columns of a Call, for SQL FROM calls. In a case of several bundles
// packet numbers belong to the call's bundle.
func callColumns() string {
	return `call_id, make_timestamp_ns(ts_ns) AS time, ` + who("src_") + ` AS src, ` + who("dst_") + ` AS dst, protocol, left(summary, 300) AS summary,
		coalesce(status_code::VARCHAR || CASE WHEN status_text IS NULL THEN '' ELSE ' ' || status_text END, status_text, error, '') AS status,
		coalesce(elapsed_us, 0) / 1000.0 AS elapsed_ms, cites AS packets`
}

// calls lists calls for a condition.
func calls(ctx context.Context, c *forensics.Case, limit int, order, where string, args ...any) ([]Call, bool, error) {
	return readRows[Call](ctx, c, limit, "SELECT "+callColumns()+" FROM calls WHERE "+where+" ORDER BY "+order, args...)
}

// someCalls is SQL for the call_ids of up to three calls of a group, the earliest.
const someCalls = `list_transform(arg_min(call_id, ts_ns, 3), x -> lower(hex(x))) AS call_ids`

// CallColumns are the columns of a Call, for SQL FROM calls whose rows embed one.
func CallColumns() string { return callColumns() }

// CallsWhere lists calls for a condition of SQL on the table calls, by time.
func CallsWhere(ctx context.Context, c *forensics.Case, limit int, where string, args ...any) ([]Call, bool, error) {
	return calls(ctx, c, limit, "ts_ns, call_id", where, args...)
}
