// Package copies finds the calls that are in several bundles of a case.
//
// The rows of a call have equal content, compatible ends and close times; the most complete one
// represents the others. The result does not depend on the order of the bundles.
package copies

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// A call in several bundles of a case is one row of calls. Copies are found once, when the case
// opens, and only if the times of bundles overlap. docs/design/018-calls.md has the rules.
const (
	clockSlack    = 60_000_000_000 // largest difference between the clocks of two captures, in nanoseconds
	datagramSlack = 10_000_000_000 // the same for datagrams, whose content may repeat
	otherSlack    = 1_000_000_000  // the same for datagrams between other addresses
	comparedWith  = 16             // rows of equal content, nearest in time, that a row is compared with
	maxCopies     = 10_000_000     // in a case, about 1.5 GB
)

// PassRows is how many calls one pass compares.
const PassRows = 2_000_000

// Copies are the rows of calls that are copies.
type Copies struct {
	Of    map[Row]Row // the row that represents a copy
	Some  []bool      // by bundle: whether it has copies
	Order []Row       // the copies, sorted
	Conns Sets        // connections between different addresses, or of a host without one, that have copies of the same calls, by conn_id
}

// Row is a row of table calls, or another with numbers.
type Row struct {
	Bundle int
	No     int64
}

// Compare orders rows by bundle and number.
func (r Row) Compare(o Row) int {
	return cmp.Or(cmp.Compare(r.Bundle, o.Bundle), cmp.Compare(r.No, o.No))
}

// PairOf reads two rows from the columns bundle and number of one, then of the other.
func PairOf(columns []any) (a, b Row, err error) {
	var n [4]int64
	for i := range n {
		var ok bool
		if n[i], ok = columns[i].(int64); !ok {
			return a, b, fmt.Errorf("column %d is %T, expected a number", i, columns[i])
		}
	}
	return Row{int(n[0]), n[1]}, Row{int(n[2]), n[3]}, nil
}

// Case is the case that is searched.
type Case struct {
	// Query reads the rows of SQL; the row that each gets is reused.
	Query    func(ctx context.Context, sql string, each func(row []any) error) error
	Windows  []*[2]int64             // by bundle: the times of its first and last packet; nil without packets
	Ranks    []int                   // of the bundles, by content
	Redacted []bool                  // by bundle: whether values were removed, so that contents may differ
	Calls    func(bundle int) string // SQL for the calls of a bundle
	Conns    string                  // SQL for the connections of all bundles; empty if there are none
}

// sighting is a row of calls that may be a copy.
type sighting struct {
	Row
	conn     int64 // its conn_id
	content  []byte
	ts       int64
	ends     [2]string // address and port, in order
	ips      [2]string // in order
	stream   bool      // TCP or another stream, not datagrams
	samePort bool
	weight   [4]int64 // completeness, and how much of the connection was seen before: the row with the larger weight stays
	rank     int      // rank of its bundle, by content
}

// Find finds the copies among the calls of bundles whose times overlap. It returns nil if no times do.
func (c *Case) Find(ctx context.Context) (*Copies, error) {
	near := c.overlaps()
	if near == nil {
		return nil, nil
	}
	f := &Copies{Of: map[Row]Row{}, Some: make([]bool, len(c.Windows)), Conns: Sets{}}
	var parts []string
	for i := range c.Windows {
		if near[i] == nil {
			continue
		}
		parts = append(parts, fmt.Sprintf("SELECT * FROM (%s) WHERE ts_ns BETWEEN %d AND %d", c.Calls(i), near[i][0], near[i][1]))
	}
	from := "(" + strings.Join(parts, " UNION ALL BY NAME ") + ")"
	// Count the rows: a manifest with a wrong number would cause too many passes.
	rows, err := c.rowsOf(ctx, from)
	if err != nil {
		return nil, err
	}
	ranks := c.order()
	for pass, n := int64(0), 1+rows/PassRows; pass < n; pass++ {
		if err := f.compare(ctx, c, from, pass, n, ranks); err != nil {
			return nil, err
		}
	}
	if err := f.halves(ctx, c, from); err != nil {
		return nil, err
	}
	slices.SortFunc(f.Order, Row.Compare)
	return f, nil
}

// rowsOf counts the rows of an SQL source.
func (c *Case) rowsOf(ctx context.Context, from string) (n int64, err error) {
	err = c.Query(ctx, "SELECT count(*) FROM "+from, func(row []any) error {
		n, _ = row[0].(int64)
		return nil
	})
	return n, err
}

// overlaps returns, for each bundle, the time range that may overlap with other bundles, or nil. It
// returns nil if there is no overlap at all.
func (c *Case) overlaps() []*[2]int64 {
	out := make([]*[2]int64, len(c.Windows))
	found := false
	for i, a := range c.Windows {
		for j, b := range c.Windows {
			if i == j || a == nil || b == nil {
				continue
			}
			from, to := max(a[0], b[0]), min(a[1], b[1])
			if from > to+clockSlack {
				continue
			}
			found = true
			if out[i] == nil {
				out[i] = &[2]int64{math.MaxInt64, math.MinInt64}
			}
			from, to = min(from, to)-clockSlack, max(from, to)+clockSlack
			out[i][0], out[i][1] = min(out[i][0], from), max(out[i][1], to)
		}
	}
	if !found {
		return nil
	}
	return out
}

// contentOf is the SQL for the part of a call_id that depends only on the content.
var contentOf = fmt.Sprintf("call_id[%d:%d]", len(table.ID{})-table.ContentID+1, len(table.ID{}))

// compare finds the copies in one of n partitions of the contents.
func (f *Copies) compare(ctx context.Context, c *Case, from string, pass, n int64, ranks []int) error {
	conn := "conn_id"
	if c.Conns == "" {
		conn = "0::BIGINT"
	}
	sql := fmt.Sprintf(`WITH x AS MATERIALIZED (SELECT bundle, hash(%[1]s) AS h FROM %[2]s WHERE hash(%[1]s) %% %[3]d = %[4]d),
		d AS (SELECT h FROM x GROUP BY h HAVING min(bundle) <> max(bundle))
		SELECT bundle, call_no, %[1]s AS content, ts_ns, src_ip, src_port, dst_ip, dst_port, transport, %[5]s,
			request_bytes + response_bytes, coalesce(len(headers), 0) + (path IS NOT NULL)::INTEGER + (host IS NOT NULL)::INTEGER, ordinal, %[6]s
		FROM %[2]s WHERE hash(%[1]s) %% %[3]d = %[4]d AND hash(%[1]s) IN (SELECT h FROM d) ORDER BY content, ts_ns, call_id, bundle, call_no`, contentOf, from, n, pass, wholeness, conn)
	var group []sighting
	err := c.Query(ctx, sql, func(row []any) error {
		s, err := readSighting(row, ranks)
		if err != nil {
			return err
		}
		if len(group) > 0 && !bytes.Equal(group[0].content, s.content) {
			f.match(group)
			group = group[:0]
			if len(f.Of) > maxCopies {
				return fmt.Errorf("the bundles share more than %d calls: open fewer at once, or bundles of less time", maxCopies)
			}
		}
		group = append(group, s)
		return nil
	})
	f.match(group)
	return err
}

func readSighting(row []any, ranks []int) (s sighting, err error) {
	var ints [10]int64
	for k, at := range [...]int{0, 1, 3, 5, 7, 13, 9, 10, 11, 12} {
		n, ok := row[at].(int64)
		if !ok {
			return s, fmt.Errorf("comparing calls: column %d is %T, expected a number", at, row[at])
		}
		ints[k] = n
	}
	s.Bundle, s.No, s.ts = int(ints[0]), ints[1], ints[2]
	content, ok := row[2].([]byte)
	src, ok1 := row[4].(string)
	dst, ok2 := row[6].(string)
	transport, ok3 := row[8].(string)
	if !ok || !ok1 || !ok2 || !ok3 || s.Bundle < 0 || s.Bundle >= len(ranks) {
		return s, fmt.Errorf("comparing calls: %T, %T, %T, %T, expected a hash and three texts", row[2], row[4], row[6], row[8])
	}
	s.content = bytes.Clone(content)
	s.ips = inOrder(src, dst)
	s.ends = inOrder(fmt.Sprintf("%s %d", src, ints[3]), fmt.Sprintf("%s %d", dst, ints[4]))
	s.stream = transport == "tcp" || transport == "quic"
	s.samePort = ints[3] == ints[4]
	s.conn, s.weight, s.rank = ints[5], [4]int64(ints[6:]), ranks[s.Bundle]
	return s, nil
}

func inOrder(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// match finds the copies among rows of equal content, sorted by time. A row has at most one copy in
// each bundle; the nearest pairs are matched first.
func (f *Copies) match(group []sighting) {
	type pair struct {
		a, b  int
		apart int64
	}
	var pairs []pair
	for i := range group {
		for j := i + 1; j < min(len(group), i+1+comparedWith); j++ {
			if apart := group[j].ts - group[i].ts; group[i].Bundle != group[j].Bundle && group[i].fits(&group[j], apart) {
				pairs = append(pairs, pair{i, j, apart})
			}
		}
	}
	slices.SortStableFunc(pairs, func(x, y pair) int { return cmp.Compare(x.apart, y.apart) })
	cluster := make([][]int, len(group)) // by the row that represents it
	leader := make([]int, len(group))
	for i := range group {
		cluster[i], leader[i] = []int{i}, i
	}
	for _, p := range pairs {
		a, b := leader[p.a], leader[p.b]
		if a == b || slices.ContainsFunc(cluster[a], func(i int) bool {
			return slices.ContainsFunc(cluster[b], func(j int) bool { return group[i].Bundle == group[j].Bundle })
		}) {
			continue
		}
		for _, j := range cluster[b] {
			leader[j] = a
		}
		cluster[a], cluster[b] = append(cluster[a], cluster[b]...), nil
	}
	for _, rows := range cluster {
		if len(rows) < 2 {
			continue
		}
		keep := slices.MinFunc(rows, func(i, j int) int { return group[i].before(&group[j]) })
		for _, i := range rows {
			if i != keep {
				f.add(group[i].Row, group[keep].Row)
				if a, b := &group[i], &group[keep]; a.ends != b.ends || a.ips[0] == "0.0.0.0" || a.ips[0] == "::" {
					f.Conns.Join(Row{a.Bundle, a.conn}, Row{b.Bundle, b.conn})
				}
			}
		}
	}
}

// fits reports whether two rows of equal content may be one call, given their distance in time.
func (s *sighting) fits(o *sighting, apart int64) bool {
	same := s.ips == o.ips
	switch {
	case same && s.ends != o.ends: // no address translation, so the ports must match
		return false
	case s.stream:
		return apart <= clockSlack
	case same:
		return apart <= datagramSlack
	}
	// Different hosts send equal datagrams from one well-known port, as in mDNS.
	return !s.samePort && apart <= otherSlack
}

// before orders rows of one call: the most complete one first.
func (s *sighting) before(o *sighting) int {
	if c := slices.Compare(o.weight[:], s.weight[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(s.ts, o.ts), cmp.Compare(s.rank, o.rank), cmp.Compare(s.No, o.No))
}

func (f *Copies) add(k, of Row) {
	f.Of[k] = of
	f.Order = append(f.Order, k)
	f.Some[k.Bundle] = true
}
