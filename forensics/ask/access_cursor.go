package ask

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// position is the place of a row in a list by time, where the next page begins.
type position struct{ ts, bundle, no int64 }

// String writes a position as a cursor.
func (p position) String() string { return fmt.Sprintf("%d.%d.%d", p.ts, p.bundle, p.no) }

// readCursor reads a cursor; an empty one is the beginning.
func readCursor(_ *forensics.Case, s string) (position, error) {
	if s == "" {
		return position{bundle: -1, no: -1}, nil
	}
	var p position
	if n, err := fmt.Sscanf(s, "%d.%d.%d", &p.ts, &p.bundle, &p.no); n != 3 || err != nil || p.String() != s || p.no < 0 || p.bundle < 0 {
		return p, wrong("cursor", "%q is no cursor of an earlier answer", clip(s, 60))
	}
	return p, nil
}

// sql is the condition for the rows after it, behind what, which ends in the table's
// alias and a dot where there is one; empty at the beginning.
func (p position) sql(what string) string {
	if p.no < 0 {
		return ""
	}
	word, alias := what, ""
	if i := strings.LastIndexByte(what, ' '); i >= 0 {
		word, alias = what[:i+1], what[i+1:]
	}
	return fmt.Sprintf("%s(%[2]sts_ns, %[2]sbundle, %[2]scall_no) > (%d, %d, %d)", word, alias, p.ts, p.bundle, p.no)
}

// pick finds the first limit calls of a condition in an order, which may name ts_ns, bundle
// and call_no. To read no more than these of the wide columns they are read by their numbers.
func pick(ctx context.Context, c *forensics.Case, from, where, order string, limit int, args ...any) ([]rowKey, bool, error) {
	type row struct {
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
	}
	list, more, err := readRows[row](ctx, c, limit, fmt.Sprintf("SELECT bundle, call_no FROM (SELECT %s, call_no, ts_ns FROM %s WHERE %s) ORDER BY %s LIMIT %d", bundleOf(c, ""), from, where, order, limit+1), args...)
	keys := make([]rowKey, len(list))
	for i, r := range list {
		keys[i] = rowKey{r.Bundle, r.No}
	}
	return keys, more, err
}

// callsAt reads calls by their numbers, in this order.
func callsAt(ctx context.Context, c *forensics.Case, keys []rowKey) ([]Call, error) {
	type row struct {
		Call
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
	}
	var rows []row
	err := byRuns(c, keys, func(where, nos string) error {
		some, _, err := readRows[row](ctx, c, len(keys)*len(c.Bundles()), "SELECT "+callColumns()+", "+bundleOf(c, "")+", call_no FROM calls k WHERE "+where, nos)
		rows = append(rows, some...)
		return err
	})
	rows = arrangeRows(keys, rows, func(r row) rowKey { return rowKey{r.Bundle, r.No} })
	out := make([]Call, len(rows))
	for i, r := range rows {
		out[i] = r.Call
	}
	return out, err
}

// arrangeRows gives the rows of keys in the keys' order; others are left out.
func arrangeRows[T any](keys []rowKey, rows []T, of func(T) rowKey) []T {
	by := make(map[rowKey]T, len(rows))
	for _, r := range rows {
		by[of(r)] = r
	}
	out := make([]T, 0, len(keys))
	for _, key := range keys {
		if r, ok := by[key]; ok {
			out = append(out, r)
		}
	}
	return out
}

// ends is the condition that one end of a row is somebody.
type ends struct {
	calls string // on calls, with args
	args  []any
	conns string // on connections or flows, without
}

// at is the condition that one end of a row, "src_" or "dst_", is what a person calls name,
// as end has it, by the numbers of the endpoints: they are looked up once, so that no names
// are compared for every call. A look-up of a name does not go to whom the name is of.
func at(ctx context.Context, c *forensics.Case, prefix, name string) (ends, error) {
	type row struct {
		Bundle int64 `json:"bundle"`
		ID     int64 `json:"endpoint_id"`
	}
	cond, args := end("", name)
	list, _, err := readRows[row](ctx, c, 1_000_000, "SELECT "+bundleOf(c, "")+", endpoint_id FROM endpoints_raw WHERE "+cond+" ORDER BY bundle, endpoint_id", args...)
	if err != nil {
		return ends{}, err
	}
	by := map[int64][]int64{}
	for _, r := range list {
		by[r.Bundle] = append(by[r.Bundle], r.ID)
	}
	var conds []string
	for b := range int64(len(c.Bundles())) {
		if len(by[b]) == 0 {
			continue
		}
		one := prefix + "id IN (" + runsOf(by[b]) + ")"
		if c.Several() {
			one = fmt.Sprintf("bundle = %d AND %s", b, one)
		}
		conds = append(conds, "("+one+")")
	}
	if len(conds) == 0 {
		conds = []string{"false"}
	}
	out := ends{conns: strings.Join(conds, " OR ")}
	out.calls = out.conns
	if prefix == "dst_" && !strings.Contains(name, "/") {
		test := "host = ?"
		if strings.ContainsAny(name, "*?") {
			test = `host LIKE ? ESCAPE '\'`
			name = pattern(name)
		}
		out.calls, out.args = out.conns+" OR coalesce("+test+" AND protocol <> 'dns', false)", []any{name}
	}
	return out, nil
}

// endAt is endIs by the numbers of the endpoints, which are looked up at once: what is
// compared with a list needs no join.
func endAt(ctx context.Context, c *forensics.Case, prefix, name string) (cond string, args []any, err error) {
	_, rest, ok := strings.Cut(name, "/")
	if !ok {
		rest = name
	}
	if _, err := netip.ParseAddr(rest); err == nil || strings.ContainsAny(name, "*?") {
		cond, args = end(prefix, name)
		return cond, args, nil
	}
	e, err := at(ctx, c, prefix, name)
	if cond = e.conns; prefix == "dst_" && !ok {
		cond, args = cond+" OR coalesce(host = ?, false)", []any{name}
	}
	return cond, args, err
}

// runsOf writes the numbers for IN; where they are very many, as ranges that the text of a
// query has room for.
func runsOf(ids []int64) string {
	if len(ids) <= maxIDs {
		return numbers(ids)
	}
	var b strings.Builder
	b.WriteString("SELECT unnest(range(x[1], x[2] + 1)) FROM (SELECT unnest([")
	for i, r := range runs(ids, 1, len(ids)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "[%d,%d]", r[0], r[1])
	}
	b.WriteString("]) AS x)")
	return b.String()
}

// unread notes how many connections of a window could not be read.
func unread(ctx context.Context, c *forensics.Case, f *Frame, w *window) error {
	type counts struct {
		Sealed int64 `json:"sealed"`
		Plain  int64 `json:"plain"`
	}
	n, err := readOne[counts](ctx, c, `SELECT count(*) FILTER (key_state IN ('none', 'unverified')) AS sealed,
		count(*) FILTER (key_state IS NULL AND protocol IS NULL AND calls > 0) AS plain FROM connections_raw WHERE last_ns >= ? AND first_ns <= ?`, w.from, w.to)
	if err != nil {
		return err
	}
	if n.Sealed > 0 {
		f.note("%d connections of the time are encrypted and no key opened them: what they carry is not searched", n.Sealed)
	}
	if n.Plain > 0 {
		f.note("%d connections of the time speak a protocol that is not read: of those only the first bytes are known", n.Plain)
	}
	return nil
}
