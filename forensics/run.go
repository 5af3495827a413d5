package forensics

import (
	"context"
	"errors"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// sliceRows is the number of rows that Each sorts at a time.
const sliceRows = 50_000

// Query runs a query and returns its rows in memory. Its errors are
//   - *kfl.Error or *SyntaxError: the text does not parse; they have the place
//   - ErrRefused: SQL that is not a query, or that reaches outside the case
//   - ErrDeadline, ErrMemory: a limit was exceeded
//   - ErrCursor, ErrUsage: the fields contradict each other
func (c *Case) Query(ctx context.Context, q Query) (*Result, error) {
	r, err := c.query(ctx, q)
	err = c.impossible(ctx, err)
	if err == nil {
		c.explain(ctx, &q, r, len(r.Rows) == 0 || len(r.Rows) == 1 && q.countsNothing(r.Rows[0]))
	}
	return r, err
}

// countsNothing reports whether the only row of an answer is a count of no rows. In an answer to SQL
// that is one of nulls and zeros.
func (q *Query) countsNothing(row []any) bool {
	if q.Alone {
		return !slices.ContainsFunc(row, func(v any) bool { return v != nil && v != int64(0) })
	}
	return q.Count && len(q.GroupBy) == 0 && row[0] == int64(0)
}

// impossible finds the table whose times a user's SQL cannot read: DuckDB has no time for two of the
// values of ts_ns, which no capture has. The error of such a query does not say where the value is.
func (c *Case) impossible(ctx context.Context, err error) error {
	var out *duck.RangeError
	if !errors.As(err, &out) {
		return err
	}
	for _, name := range c.order {
		if v := c.views[name]; v == nil || !hasColumn(v.raw, "ts_ns") {
			continue
		}
		n, failed := c.number(ctx, "SELECT count(*) FROM "+quote.Ident(name+"_raw")+" WHERE ts_ns IN (?, ?)", []any{int64(math.MaxInt64), int64(-math.MaxInt64)})
		if failed == nil && n > 0 {
			what := plural.Sprintf("%d {row has a time|rows have times} (ts_ns) that no capture has; leave out ts_exact: SELECT * EXCLUDE (ts_exact)", n)
			return &bundle.DamagedError{File: "data/tables/" + name, What: what, Err: err}
		}
	}
	return err
}

// explain adds notes to an empty answer about why nothing matched, and to another about the failures that it misses.
func (c *Case) explain(ctx context.Context, q *Query, r *Result, empty bool) {
	switch {
	case q.Cursor != "" || r.Coverage.State == None:
	case !empty:
		r.Notes = append(r.Notes, c.Missed(ctx, q.KFL, q.From, q.To)...)
	case q.KFL != "":
		r.Notes = append(r.Notes, c.Why(ctx, q.KFL, q.From, q.To)...)
	case q.Alone:
		r.Notes = append(r.Notes, c.whySQL(ctx, q.SQL)...)
	}
}

func (c *Case) query(ctx context.Context, q Query) (*Result, error) {
	begin := time.Now()
	ctx, cancel := WithDeadline(ctx, q.Deadline)
	defer cancel()
	p, err := c.prepare(ctx, &q)
	if err != nil {
		return nil, err
	}
	limit, most := q.Limit, q.MaxBytes
	if limit == 0 {
		limit = DefaultRows
	}
	if most == 0 {
		most = DefaultBytes
	}
	r, err := c.head(p, &q)
	if err != nil {
		return nil, err
	}
	sql := p.sql
	if p.sel != nil && p.skip < 1<<40 { // one row more than the limit shows whether there are more
		sql += " LIMIT " + big.NewInt(int64(limit)+1+p.skip).String()
	}
	l, err := c.lines(ctx, p, &q, sql, limit)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := c.fill(r, p, &q, l, limit, most); err != nil {
		return nil, err
	}
	r.Cost.Elapsed = time.Since(begin)
	return r, nil
}

// head returns an answer without rows.
func (c *Case) head(p *plan, q *Query) (*Result, error) {
	cov, err := c.Coverage(q.From, q.To)
	if err != nil {
		return nil, err
	}
	r := &Result{Coverage: cov, Now: p.now, Notes: p.notes}
	if len(c.Redactions()) > 0 {
		r.Notes = append(slices.Clip(r.Notes), NotProved)
	}
	return r, nil
}

// fill reads up to limit rows and up to most bytes.
func (c *Case) fill(r *Result, p *plan, q *Query, l *lines, limit int, most int64) error {
	p.see(l.columns)
	r.Columns = l.columns[:p.visible]
	var last []any
	for {
		row, err := l.next()
		if err != nil || row == nil {
			return err
		}
		if len(r.Rows) >= limit || r.Cost.Bytes >= most {
			if r.Next, err = c.cursorAfter(p, q, l, last, p.skip+int64(len(r.Rows))); err != nil {
				return err
			}
			r.Truncated = true
			r.Notes = append(r.Notes, p.cut...)
			c.keep(p, q, l, p.skip+int64(len(r.Rows)), row)
			return nil
		}
		if last = row; !p.keyed() {
			l.trail.Add(row)
		}
		if cite, ok := p.citation(row); ok {
			r.Citations = append(r.Citations, cite)
		}
		r.Rows = append(r.Rows, row[:p.visible:p.visible])
		r.Cost.Rows++
		r.Cost.Bytes += sizeOf(row)
	}
}

// see finds the special columns in the result of SQL.
func (p *plan) see(columns []Column) {
	if p.visible >= 0 {
		return
	}
	p.visible = len(columns)
	for i, col := range columns {
		switch {
		case col.Name == "cites" && col.Type == table.Ranges.String():
			p.cites = i
		case col.Name == "packet_no" && col.Type == "BIGINT":
			p.packet = i
		case col.Name == "bundle" && col.Type == "INTEGER":
			p.bundle = i
		}
	}
}

// citation returns the citation of a row, if it has one.
func (p *plan) citation(row []any) (Citation, bool) {
	cite := Citation{Bundle: p.unnamed}
	if p.bundle >= 0 {
		n, _ := row[p.bundle].(int64)
		cite.Bundle = int(n)
	}
	switch {
	case p.cites >= 0:
		cite.Packets = readRanges(row[p.cites])
	case p.packet >= 0:
		if n, ok := row[p.packet].(int64); ok && n >= 0 {
			cite.Packets.Add(n, n)
		}
	default:
		return cite, false
	}
	return cite, true
}

// sizeOf is the approximate memory of a row in bytes.
func sizeOf(row []any) (n int64) {
	for _, v := range row {
		n += 16 + valueSize(v)
	}
	return n
}

func valueSize(v any) (n int64) {
	switch v := v.(type) {
	case string:
		return int64(len(v))
	case Decimal:
		return int64(len(v))
	case []byte:
		return int64(len(v))
	case []any:
		return sizeOf(v)
	case Struct:
		for _, f := range v {
			n += 32 + valueSize(f.Value)
		}
	case Map:
		for _, e := range v {
			n += 32 + valueSize(e.Key) + valueSize(e.Value)
		}
	case *big.Int:
		return int64(len(v.Bits())) * 8
	}
	return n + 8
}

// Each calls do for each row of a query, in bounded memory for any number of rows. do must not keep
// cols or row: row is reused. The answer has no rows, and no cursor; its Cost counts them. An error of
// do ends the walk and is returned unchanged.
//
// begin, if not nil, is called with the columns before the first row.
func (c *Case) Each(ctx context.Context, q Query, begin func(cols []Column) error, do func(cols []Column, row []any) error) (*Result, error) {
	start := time.Now()
	if q.Cursor != "" {
		return nil, usagef("only pages have a cursor")
	}
	ctx, cancel := WithDeadline(ctx, q.Deadline)
	defer cancel()
	p, err := c.prepare(ctx, &q)
	if err != nil {
		return nil, err
	}
	r, err := c.head(p, &q)
	if err != nil {
		return nil, err
	}
	e := &each{c: c, p: p, q: &q, r: r, begin: begin, do: do}
	if p.sliced && q.Limit == 0 {
		err = e.slices(ctx)
	} else {
		err = e.rows(ctx, p.sql, p.args)
	}
	if err != nil {
		return nil, c.impossible(ctx, err)
	}
	c.explain(ctx, &q, r, r.Cost.Rows == 0 || r.Cost.Rows == 1 && q.countsNothing(e.row[:p.visible]))
	r.Cost.Elapsed = time.Since(start)
	return r, nil
}

// each is one run of Each.
type each struct {
	c     *Case
	p     *plan
	q     *Query
	r     *Result
	begin func([]Column) error
	do    func([]Column, []any) error
	row   []any
}

func (e *each) rows(ctx context.Context, sql string, args []any) error {
	rows, err := e.c.run(ctx, e.p, sql, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	e.p.see(rows.Columns)
	if e.r.Columns == nil {
		e.r.Columns = rows.Columns[:e.p.visible]
		if e.begin != nil {
			if err := e.begin(e.r.Columns); err != nil {
				return err
			}
		}
	}
	if e.row == nil {
		e.row = make([]any, len(rows.Columns))
	}
	for rows.Next() {
		if e.q.Limit > 0 && e.r.Cost.Rows >= int64(e.q.Limit) {
			e.r.Truncated = true
			e.r.Notes = append(e.r.Notes, e.p.cut...)
			return nil
		}
		if err := rows.Row(e.row); err != nil {
			return err
		}
		if err := e.do(e.r.Columns, e.row[:e.p.visible]); err != nil {
			return err
		}
		e.r.Cost.Rows++
		e.r.Cost.Bytes += sizeOf(e.row)
	}
	return rows.Err()
}

// slices reads one time slice after the other, so that about sliceRows rows are sorted at a time.
// Rows with equal times stay in one slice.
func (e *each) slices(ctx context.Context) error {
	edges, err := e.edges(ctx)
	if err != nil {
		return err
	}
	key := quote.Ident(e.p.sel.view.key[0])
	base := *e.p.sel
	for i := range len(edges) + 1 {
		s := base
		s.where, s.args = slices.Clone(base.where), slices.Clone(base.args)
		if i > 0 {
			s.add(key+" > ?", edges[i-1])
		}
		if i < len(edges) {
			s.add(key+" <= ?", edges[i])
		}
		list := e.p.sql[:len(e.p.sql)-len(" ORDER BY "+e.p.ordering)-len(base.from())]
		if err := e.rows(ctx, list+s.from()+" ORDER BY "+e.p.ordering, s.args); err != nil {
			return err
		}
	}
	return nil
}

// edges returns the times that separate the slices.
func (e *each) edges(ctx context.Context) ([]int64, error) {
	key := quote.Ident(e.p.sel.view.key[0])
	n, err := e.c.number(ctx, "SELECT count(*)"+e.p.sel.from(), e.p.sel.args)
	if err != nil || n <= 2*sliceRows {
		return nil, err
	}
	cuts := n / sliceRows
	sql := "SELECT max(k) FROM (SELECT k, ntile(" + big.NewInt(cuts+1).String() + ") OVER (ORDER BY k) AS t FROM (SELECT " + key + " AS k" +
		e.p.sel.from() + ")) GROUP BY t ORDER BY 1"
	rows, err := e.c.db.Query(ctx, sql, e.p.sel.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var edges []int64
	for rows.Next() {
		if at := rows.Int(0); len(edges) == 0 || at > edges[len(edges)-1] {
			edges = append(edges, at)
		}
	}
	if len(edges) > 0 {
		edges = edges[:len(edges)-1] // the last slice is open
	}
	return edges, rows.Err()
}

// number runs a query that gives one number.
func (c *Case) number(ctx context.Context, sql string, args []any) (int64, error) {
	rows, err := c.db.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	if !rows.Next() {
		return 0, rows.Err()
	}
	return rows.Int(0), nil
}
