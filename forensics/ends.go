package forensics

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/internal/copies"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/ends"
)

// The row of a call that several bundles have gets each end from the bundle that knows it best, and the
// addresses from the bundle that knows the client best. The tables are made once, when the case opens;
// user queries cannot reach them. docs/design/018-calls.md, "Ends of copies", has the rules.
const (
	endsTable     = "memory.main.ends_of_calls"      // bundle, call_no, and the columns of betterColumns: null if the row's own is as good
	madeTable     = "memory.main.endpoints_of_calls" // rows of endpoints that were merged from several bundles
	contraryTable = "memory.main.anomalies_of_calls" // rows of anomalies: ends that bundles contradict

	maxEndSets = 1_000_000 // different sets of rows that describe one end
)

// betterColumns are the columns of calls that another bundle may know better.
var betterColumns = []string{"src_id", "dst_id", "src_ip", "src_port", "dst_ip", "dst_port"}

// betterEnds lists the calls that have ends of another bundle.
type betterEnds struct {
	replaced       [][]string // by bundle: the columns of calls that some of its rows have from another bundle
	made, contrary int64      // rows of madeTable and contraryTable
}

// endKey names a row of endpoints.
type endKey struct {
	bundle int
	id     int64
}

// endJoin joins the ends of copies.
type endJoin struct {
	c     *Case
	sets  map[string]int32
	list  []endSet
	calls []endCall
	addrs []addresses // of calls whose client another bundle knows better
}

// endSet is the rows of endpoints that describe one end: that of the row of calls, and of its copies.
type endSet struct {
	own    endKey
	others []endKey // in order, each once

	id       int64  // row of endpoints that describes them all; of own if made is false
	made     bool   // id is a row of madeTable
	readings string // of rows that contradict each other, else empty
}

// endCall is a call with the sets of its ends.
type endCall struct {
	copies.Row
	sets [2]int32 // client and server
	addr int32    // index in addrs, or -1
}

type addresses struct {
	ip   [2]string
	port [2]int64
}

// endsSQL lists each copy with the row that represents it, both with their ends and the columns
// that decide which one knows the client best. A bundle may have the client and the server of a
// call swapped.
const endsSQL = `WITH t AS (SELECT bundle, call_no, src_id, dst_id, src_ip, src_port, dst_ip, dst_port FROM (%[1]s)),
	e AS (SELECT bundle, endpoint_id, kind, how_known, owner_guess FROM (%[2]s)),
	p AS (SELECT o.bundle, o.call_no, o.src_id AS s, o.dst_id AS d, o.src_ip AS si, o.src_port AS sp, o.dst_ip AS di, o.dst_port AS dp, m.bundle AS b, m.src_id AS ms, m.dst_id AS md, m.src_ip AS msi, m.src_port AS msp, m.dst_ip AS mdi, m.dst_port AS mdp,
			(msi, msp) <> (si, sp) AND (mdi, mdp) <> (di, dp) AND ((msi, msp) = (di, dp) OR (mdi, mdp) = (si, sp)) AS turned
		FROM (SELECT * FROM %[3]s WHERE of_call_no %% %[4]d = %[5]d) k JOIN t m ON m.bundle = k.bundle AND m.call_no = k.call_no JOIN t o ON o.bundle = k.of_bundle AND o.call_no = k.of_call_no),
	q AS (SELECT * REPLACE (CASE WHEN turned THEN md ELSE ms END AS ms, CASE WHEN turned THEN ms ELSE md END AS md, CASE WHEN turned THEN mdi ELSE msi END AS msi, CASE WHEN turned THEN mdp ELSE msp END AS msp,
			CASE WHEN turned THEN msi ELSE mdi END AS mdi, CASE WHEN turned THEN msp ELSE mdp END AS mdp) FROM p)
	SELECT q.bundle::BIGINT, call_no, s, d, si, sp::BIGINT, di, dp::BIGINT, b::BIGINT, ms, md, msi, msp::BIGINT, mdi, mdp::BIGINT, x.kind, x.how_known, x.owner_guess, y.kind, y.how_known, y.owner_guess
	FROM q LEFT JOIN e x ON x.bundle = q.bundle AND x.endpoint_id = q.s LEFT JOIN e y ON y.bundle = q.b AND y.endpoint_id = q.ms ORDER BY q.bundle, call_no, b`

// joinEnds finds the calls of which another bundle knows an end better.
func (c *Case) joinEnds(ctx context.Context) (*betterEnds, error) {
	if c.copied == 0 || !slices.Contains(c.order, "endpoints") {
		return nil, nil
	}
	cols := c.describe("endpoints")
	j := &endJoin{c: c, sets: map[string]int32{}}
	for pass, n := int64(0), 1+c.copied/copies.PassRows; pass < n; pass++ {
		if err := j.collect(ctx, pass, n); err != nil {
			return nil, fmt.Errorf("joining the ends of calls: %w", err)
		}
	}
	made, err := j.merge(ctx)
	if err != nil {
		return nil, fmt.Errorf("joining the ends of calls: %w", err)
	}
	return j.keep(ctx, cols, made)
}

// collect reads the ends of one of n partitions of the calls.
func (j *endJoin) collect(ctx context.Context, pass, n int64) error {
	c := j.c
	calls := c.reads(rowsOf{table: "calls"}, storedRows, append([]string{"bundle", "call_no"}, betterColumns...), parquet)
	var group []endRow
	err := c.eachRow(ctx, fmt.Sprintf(endsSQL, calls, c.allOf("endpoints"), copiesTable, n, pass), func(row []any) error {
		r, err := readEnds(row)
		if err != nil {
			return err
		}
		if len(group) > 0 && group[0].call != r.call {
			j.add(group)
			group = group[:0]
			if len(j.list) > maxEndSets {
				return fmt.Errorf("the bundles describe the ends of their common calls in more than %d ways: open fewer at once", maxEndSets)
			}
		}
		group = append(group, r)
		return nil
	})
	j.add(group)
	return err
}

// endRow is one copy of a call, with the row that represents it first.
type endRow struct {
	call   copies.Row
	ends   [2][2]endKey // of the call and of the copy: client and server
	addrs  [2]addresses
	client [2]ends.Grade // how well each knows the client
}

func readEnds(row []any) (r endRow, err error) {
	number := func(at int) (n int64) {
		n, ok := row[at].(int64)
		if !ok {
			err = fmt.Errorf("column %d is %T, expected a number", at, row[at])
		}
		return n
	}
	text := func(at int) string {
		s, _ := row[at].(string)
		return s
	}
	r.call = copies.Row{Bundle: int(number(0)), No: number(1)}
	bundles := [2]int{r.call.Bundle, int(number(8))}
	for i, at := range [2]int{2, 9} {
		r.ends[i] = [2]endKey{{bundles[i], number(at)}, {bundles[i], number(at + 1)}}
		r.addrs[i] = addresses{[2]string{text(at + 2), text(at + 4)}, [2]int64{number(at + 3), number(at + 5)}}
		r.client[i] = ends.NobodyIsKnown
		if kind := 15 + 3*i; row[kind] != nil {
			r.client[i] = ends.GradeOf(text(kind), text(kind+1), row[kind+2])
		}
	}
	return r, err
}

// add adds a call with its copies.
func (j *endJoin) add(group []endRow) {
	if len(group) == 0 {
		return
	}
	call := endCall{Row: group[0].call, addr: -1}
	for side := range call.sets {
		s := endSet{own: group[0].ends[0][side]}
		for i := range group {
			s.others = append(s.others, group[i].ends[1][side])
		}
		call.sets[side] = j.set(s)
	}
	// Only the client knows which address it used.
	best, level := group[0].addrs[0], group[0].client[0].Level()
	for i := range group {
		if l := group[i].client[1].Level(); l < level {
			best, level = group[i].addrs[1], l
		}
	}
	if best != group[0].addrs[0] {
		call.addr = int32(len(j.addrs))
		j.addrs = append(j.addrs, best)
	}
	j.calls = append(j.calls, call)
}

// set returns the number of a set.
func (j *endJoin) set(s endSet) int32 {
	key := fmt.Sprint(s.own, s.others)
	no, ok := j.sets[key]
	if !ok {
		no = int32(len(j.list))
		j.sets[key] = no
		j.list = append(j.list, s)
	}
	return no
}

// merge decides each set, and returns the new rows of endpoints.
func (j *endJoin) merge(ctx context.Context) (made []*ends.Row, err error) {
	rows, last, err := j.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]int64{} // ids of made rows by content
	for i := range j.list {
		s := &j.list[i]
		var others []*ends.Row
		for _, k := range s.others {
			if r := rows[k]; r != nil {
				others = append(others, r)
			}
		}
		merged, readings := ends.Merge(rows[s.own], others)
		for n, r := range readings {
			if n > 0 {
				s.readings += "; "
			}
			s.readings += reading(r)
		}
		if merged == nil {
			continue
		}
		key := fmt.Sprint(s.own.bundle, merged)
		if known[key] == 0 {
			last[s.own.bundle]++
			known[key] = last[s.own.bundle]
			made = append(made, &ends.Row{Bundle: s.own.bundle, ID: known[key], Values: merged})
		}
		s.made, s.id = true, known[key]
	}
	return made, nil
}

// reading is one bundle's data about an end.
func reading(r *ends.Row) string {
	b := fmt.Appendf(nil, "bundle %d says", r.Bundle)
	for _, part := range [...][2]string{{" ", "kind"}, {" ", "who"}, {" pod ", "pod"}, {" process ", "process"}, {" pid ", "pid"}, {" on ", "node"}, {", by ", "how_known"}} {
		if v := r.Values.Get(part[1]); v != nil {
			b = fmt.Appendf(b, "%s%v", part[0], v)
		}
	}
	return string(b)
}

// endpoints reads the rows of all sets, and the largest id of each bundle.
func (j *endJoin) endpoints(ctx context.Context) (map[endKey]*ends.Row, []int64, error) {
	ids := make([]map[int64]bool, len(j.c.bundles))
	for i := range ids {
		ids[i] = map[int64]bool{}
	}
	for i := range j.list {
		for _, k := range append(j.list[i].others, j.list[i].own) {
			ids[k.bundle][k.id] = true
		}
	}
	out, last, ranks := map[endKey]*ends.Row{}, make([]int64, len(ids)), j.c.ranks()
	for b := range ids {
		source := j.c.sourceOf(rowsOf{table: "endpoints"}, b, nil, parquet)
		if len(ids[b]) == 0 || source == "" {
			continue
		}
		var err error
		if last[b], err = j.c.number(ctx, "SELECT coalesce(max(endpoint_id), 0) FROM ("+source+")", nil); err != nil {
			return nil, nil, err
		}
		list, err := j.c.structs(ctx, "SELECT * FROM ("+source+") WHERE endpoint_id IN (SELECT unnest(?))", len(ids[b]), slices.Sorted(maps.Keys(ids[b])))
		if err != nil {
			return nil, nil, err
		}
		for _, values := range list {
			id, _ := values.Get("endpoint_id").(int64)
			values = slices.DeleteFunc(values, func(f duck.Field) bool { return f.Name == "endpoint_id" || f.Name == "bundle" })
			out[endKey{b, id}] = &ends.Row{Bundle: b, ID: id, Rank: ranks[b], Values: values}
		}
	}
	return out, last, nil
}
