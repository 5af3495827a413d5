package forensics

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
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
	passRows      = 2_000_000      // calls that one pass compares
	maxCopies     = 10_000_000     // in a case, about 1.5 GB
)

// copies records which rows of calls are copies.
type copies struct {
	of    map[copyKey]copyKey
	some  []bool // by bundle: whether it has copies
	order []copyKey
}

type copyKey struct {
	bundle int
	no     int64
}

// sighting is a row of calls that may be a copy.
type sighting struct {
	copyKey
	content  []byte
	ts       int64
	ends     [2]string // address and port, in order
	ips      [2]string // in order
	stream   bool      // TCP or another stream, not datagrams
	samePort bool
	weight   [4]int64 // completeness, and how much of the connection was seen before: the row with the larger weight stays
	rank     int      // rank of its bundle, by content
}

// findCopies finds the copies among the calls of bundles whose times overlap.
func (c *Case) findCopies(ctx context.Context) (*copies, error) {
	near := c.overlaps()
	if near == nil {
		return nil, nil
	}
	f := &copies{of: map[copyKey]copyKey{}, some: make([]bool, len(c.bundles))}
	var parts []string
	for i := range c.bundles {
		if near[i] == nil {
			continue
		}
		parts = append(parts, fmt.Sprintf("SELECT * FROM (%s) WHERE ts_ns BETWEEN %d AND %d", c.sourceOf("calls", i, nil, parquet), near[i][0], near[i][1]))
	}
	from := "(" + strings.Join(parts, " UNION ALL BY NAME ") + ")"
	// Count the rows: a manifest with a wrong number would cause too many passes.
	rows, err := c.rowsOf(ctx, from)
	if err != nil {
		return nil, err
	}
	ranks := c.ranks()
	for pass, n := int64(0), 1+rows/passRows; pass < n; pass++ {
		if err := f.compare(ctx, c, from, pass, n, ranks); err != nil {
			return nil, err
		}
	}
	return f, f.halves(ctx, c, from)
}

// rowsOf counts the rows of an SQL source.
func (c *Case) rowsOf(ctx context.Context, from string) (int64, error) {
	rows, err := c.db.Query(ctx, "SELECT count(*) FROM "+from)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := int64(0)
	for rows.Next() {
		n = rows.Int(0)
	}
	return n, rows.Err()
}

// overlaps returns, for each bundle, the time range that may overlap with other bundles, or nil. It
// returns nil if there is no overlap at all.
func (c *Case) overlaps() []*[2]int64 {
	out := make([]*[2]int64, len(c.bundles))
	found := false
	for i, a := range c.bundles {
		for j, b := range c.bundles {
			x, y := a.Manifest.Window, b.Manifest.Window
			if i == j || x.FirstNs == nil || x.LastNs == nil || y.FirstNs == nil || y.LastNs == nil {
				continue
			}
			from, to := max(int64(*x.FirstNs), int64(*y.FirstNs)), min(int64(*x.LastNs), int64(*y.LastNs))
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

// ranks orders the bundles by content, so that the order of arguments does not matter.
func (c *Case) ranks() []int {
	sums := make([][sha256.Size]byte, len(c.bundles))
	order := make([]int, len(c.bundles))
	for i, b := range c.bundles {
		h := sha256.New()
		contentOf(h, b)
		h.Sum(sums[i][:0])
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return bytes.Compare(sums[a][:], sums[b][:]) })
	ranks := make([]int, len(order))
	for rank, i := range order {
		ranks[i] = rank
	}
	return ranks
}

// wholeness is the SQL for the completeness of a row.
const wholeness = `(outcome NOT IN ('cut', 'unread'))::BIGINT * 8 + complete::BIGINT * 4 + (error IS NULL)::BIGINT * 2 + (elapsed_us IS NOT NULL)::BIGINT`

// compare finds the copies in one of n partitions of the contents.
func (f *copies) compare(ctx context.Context, c *Case, from string, pass, n int64, ranks []int) error {
	content := fmt.Sprintf("call_id[%d:%d]", len(table.ID{})-table.ContentID+1, len(table.ID{}))
	sql := fmt.Sprintf(`WITH x AS MATERIALIZED (SELECT bundle, hash(%[1]s) AS h FROM %[2]s WHERE hash(%[1]s) %% %[3]d = %[4]d),
		d AS (SELECT h FROM x GROUP BY h HAVING min(bundle) <> max(bundle))
		SELECT bundle, call_no, %[1]s AS content, ts_ns, src_ip, src_port, dst_ip, dst_port, transport, %[5]s,
			request_bytes + response_bytes, coalesce(len(headers), 0) + (path IS NOT NULL)::INTEGER + (host IS NOT NULL)::INTEGER, ordinal
		FROM %[2]s WHERE hash(%[1]s) %% %[3]d = %[4]d AND hash(%[1]s) IN (SELECT h FROM d) ORDER BY content, ts_ns, call_id, bundle, call_no`, content, from, n, pass, wholeness)
	rows, err := c.db.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	var group []sighting
	row := make([]any, len(rows.Columns))
	for rows.Next() {
		if err := rows.Row(row); err != nil {
			return err
		}
		s, err := readSighting(row, ranks)
		if err != nil {
			return err
		}
		if len(group) > 0 && !bytes.Equal(group[0].content, s.content) {
			f.match(group)
			group = group[:0]
			if len(f.of) > maxCopies {
				return fmt.Errorf("the bundles share more than %d calls: open fewer at once, or bundles of less time", maxCopies)
			}
		}
		group = append(group, s)
	}
	f.match(group)
	return rows.Err()
}

func readSighting(row []any, ranks []int) (s sighting, err error) {
	var ints [9]int64
	for k, at := range [...]int{0, 1, 3, 5, 7, 9, 10, 11, 12} {
		n, ok := row[at].(int64)
		if !ok {
			return s, fmt.Errorf("comparing calls: column %d is %T, want a number", at, row[at])
		}
		ints[k] = n
	}
	s.bundle, s.no, s.ts = int(ints[0]), ints[1], ints[2]
	content, ok := row[2].([]byte)
	src, ok1 := row[4].(string)
	dst, ok2 := row[6].(string)
	transport, ok3 := row[8].(string)
	if !ok || !ok1 || !ok2 || !ok3 || s.bundle < 0 || s.bundle >= len(ranks) {
		return s, fmt.Errorf("comparing calls: %T, %T, %T, %T, want a hash and three texts", row[2], row[4], row[6], row[8])
	}
	s.content = bytes.Clone(content)
	s.ips = inOrder(src, dst)
	s.ends = inOrder(fmt.Sprintf("%s %d", src, ints[3]), fmt.Sprintf("%s %d", dst, ints[4]))
	s.stream = transport == "tcp" || transport == "quic"
	s.samePort = ints[3] == ints[4]
	s.weight, s.rank = [4]int64(ints[5:]), ranks[s.bundle]
	return s, nil
}

func inOrder(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// match finds the copies among rows of equal content, sorted by time. A row has at most one copy in
// each bundle; the nearest pairs are matched first.
func (f *copies) match(group []sighting) {
	type pair struct {
		a, b  int
		apart int64
	}
	var pairs []pair
	for i := range group {
		for j := i + 1; j < min(len(group), i+1+comparedWith); j++ {
			if apart := group[j].ts - group[i].ts; group[i].bundle != group[j].bundle && group[i].fits(&group[j], apart) {
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
			return slices.ContainsFunc(cluster[b], func(j int) bool { return group[i].bundle == group[j].bundle })
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
				f.add(group[i].copyKey, group[keep].copyKey)
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
	return cmp.Or(cmp.Compare(s.ts, o.ts), cmp.Compare(s.rank, o.rank), cmp.Compare(s.no, o.no))
}

// sameEnds is the SQL condition for rows of two bundles with the same ends and protocol.
const sameEnds = `a.bundle <> b.bundle AND a.protocol = b.protocol AND a.src_ip = b.src_ip AND a.src_port = b.src_port AND a.dst_ip = b.dst_ip AND a.dst_port = b.dst_port`

// halves finds rows with the rest of a call whose beginning is in another bundle: a response without
// its request, or the rest of a conversation that is a single row.
func (f *copies) halves(ctx context.Context, c *Case, from string) error {
	conns := c.allOf("connections")
	if conns == "" {
		return nil
	}
	rows, err := c.db.Query(ctx, fmt.Sprintf(`WITH b AS (SELECT *, unnest([ts_ns // 1000 - 1, ts_ns // 1000, ts_ns // 1000 + 1]) AS answered FROM %[1]s WHERE error = 'no_request'),
			a AS (SELECT *, ts_ns // 1000 + ttfb_us AS answered FROM %[1]s WHERE error IS DISTINCT FROM 'no_request' AND ttfb_us IS NOT NULL)
		SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM b JOIN a ON %[2]s AND a.answered = b.answered WHERE a.stream_id IS NOT DISTINCT FROM b.stream_id
		UNION ALL SELECT b.bundle, b.call_no, a.bundle, a.call_no FROM (SELECT k.*, first_ns, last_ns FROM %[1]s k JOIN (SELECT bundle, conn_id, first_ns, last_ns FROM (%[3]s)) USING (bundle, conn_id) WHERE %[4]s) b
			JOIN (SELECT k.*, first_ns, last_ns FROM %[1]s k JOIN (SELECT bundle, conn_id, first_ns, last_ns FROM (%[3]s)) USING (bundle, conn_id)) a ON %[2]s
			WHERE a.first_ns < b.first_ns AND a.last_ns + (b.outcome = 'cut')::BIGINT * %[5]d >= b.first_ns AND a.ts_ns <= b.ts_ns AND (a.outcome = 'unread') = (b.outcome = 'unread') AND a.outcome <> 'cut'
		ORDER BY 1, 2, 3, 4`, from, sameEnds, conns, `(protocol IN ('tls', 'quic') AND outcome = 'cut' OR protocol = transport AND outcome = 'unread')`, clockSlack))
	if err != nil {
		return err
	}
	defer rows.Close()
	stands := map[copyKey][]copyKey{} // copies that a row represents
	for k, of := range f.of {
		stands[of] = append(stands[of], k)
	}
	for rows.Next() {
		rest, whole := copyKey{int(rows.Int(0)), rows.Int(1)}, copyKey{int(rows.Int(2)), rows.Int(3)}
		f.join(stands, rest, whole)
	}
	return rows.Err()
}

// join makes a row and its copies copies of another row.
func (f *copies) join(stands map[copyKey][]copyKey, rest, whole copyKey) {
	if of, ok := f.of[whole]; ok {
		whole = of
	}
	if _, ok := f.of[rest]; ok || rest == whole {
		return
	}
	for _, k := range stands[rest] {
		f.of[k] = whole
	}
	f.add(rest, whole)
	stands[whole] = append(append(stands[whole], rest), stands[rest]...)
	delete(stands, rest)
}

func (f *copies) add(k, of copyKey) {
	f.of[k] = of
	f.order = append(f.order, k)
	f.some[k.bundle] = true
}

// copiesTable is the table with the copies; user queries cannot reach it.
const copiesTable = "memory.main.copies_of_calls"

// keepCopies writes the copies to the database.
func (c *Case) keepCopies(ctx context.Context, f *copies) error {
	slices.SortFunc(f.order, func(a, b copyKey) int { return cmp.Or(cmp.Compare(a.bundle, b.bundle), cmp.Compare(a.no, b.no)) })
	return c.insertPlain(ctx, copiesTable, []string{"bundle INTEGER", "call_no BIGINT", "of_bundle INTEGER", "of_call_no BIGINT"}, len(f.order), func(i int, row []any) {
		k := f.order[i]
		of := f.of[k]
		row[0], row[1], row[2], row[3] = int64(k.bundle), k.no, int64(of.bundle), of.no
	})
}

// makeSightings makes the view with the other sightings of calls.
func (c *Case) makeSightings(ctx context.Context) error {
	source := `SELECT t.bundle, t.call_no, t.call_id, t.ts_ns, t.ts, t.src_ip, t.src_port, t.dst_ip, t.dst_port, t.src_id, t.dst_id, k.of_bundle, k.of_call_no
		FROM ` + copiesTable + ` k JOIN (` + c.allOf("calls") + `) t ON t.bundle = k.bundle AND t.call_no = k.call_no`
	cols, err := c.columnsOf(ctx, source)
	if err != nil {
		return err
	}
	source = c.masked(source, cols, every)
	for _, name := range []string{"sightings", "sightings_raw"} {
		if err := c.db.Exec(ctx, "CREATE VIEW memory.main."+name+" AS "+source); err != nil {
			return err
		}
	}
	v := &view{name: "sightings", columns: cols, raw: cols, key: []string{"ts_ns", "bundle", "call_no"}, from: "ts_ns", to: "ts_ns"}
	c.views[v.name] = v
	c.order = append(c.order, v.name)
	return nil
}
