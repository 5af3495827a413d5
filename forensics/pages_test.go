package forensics_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// follow reads all pages of a query.
func follow(t *testing.T, c *forensics.Case, q forensics.Query) (rows [][]any, err error) {
	t.Helper()
	for range 200_000 {
		r, err := c.Query(ctx, q)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r.Rows...)
		if (r.Next != "") != r.Truncated || len(r.Rows) > q.Limit {
			t.Fatalf("%s: %d rows of %d, truncated %v, next %q", q.SQL, len(r.Rows), q.Limit, r.Truncated, r.Next)
		}
		if q.Cursor = r.Next; q.Cursor == "" {
			return rows, nil
		}
	}
	t.Fatalf("%s: the pages do not end", q.SQL)
	return nil, nil
}

// bag is the rows in any order.
func bag(rows [][]any) []string {
	list := []string{}
	for _, row := range rows {
		list = append(list, fmt.Sprint(row...))
	}
	slices.Sort(list)
	return list
}

// TestPagesOfAnySQLHaveEachRowOnce follows SQL that does not fix the order of its rows.
func TestPagesOfAnySQLHaveEachRowOnce(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"), sample(t, "http1.pcapng"))
	for _, sql := range []string{
		"select call_id, summary from calls",
		"select protocol, dst_service, count(*) n, list(call_no order by call_no) l from calls group by all",
		"select distinct path, bundle from calls",
		"select call_id, status_code from calls order by status_code desc", // ties
		"select a.call_no, b.call_no, a.bundle, b.bundle from calls a join calls b using (status_code) where a.call_no < 9",
		"select call_id from calls union all select call_id from calls",
		"select {'a': call_no, 'b': map {'k': bundle}} s from calls",
		"select null, 'x', 0.5::double, true from calls",
		"from calls_raw select call_id",
	} {
		whole := bag(query(t, c, forensics.Query{SQL: sql}).Rows)
		if len(whole) < 9 {
			t.Fatalf("%s: %d rows", sql, len(whole))
		}
		for _, limit := range []int{max(1, len(whole)/40), 7, len(whole) - 1, len(whole)} {
			rows, err := follow(t, c, forensics.Query{SQL: sql, Limit: limit, Alone: limit == 7})
			if err != nil || !slices.Equal(bag(rows), whole) {
				t.Errorf("%s in pages of %d: %d rows, want %d: %v", sql, limit, len(rows), len(whole), err)
			}
		}
	}
	// Another order and other values in each run.
	for _, sql := range []string{
		"select call_id from calls order by random()",
		"select call_id from calls using sample 90 percent (bernoulli)",
	} {
		rows, err := follow(t, c, forensics.Query{SQL: sql, Limit: 9})
		list := bag(rows)
		if err != nil || len(list) < 9 || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%s: %d rows, some twice, or an error: %v", sql, len(rows), err)
		}
	}
}

// TestAPageThatCannotBeContinuedIsRefused asks for later pages where nothing was read ahead.
func TestAPageThatCannotBeContinuedIsRefused(t *testing.T) {
	first := open(t, sample(t, "http1.pcapng"))
	for sql, want := range map[string]error{
		"select call_no from calls order by random()":                                     forensics.ErrMoved,
		"select call_no from calls order by all":                                          nil,
		"select i, random() from range(50) t(i)":                                          forensics.ErrMoved,
		"select call_no, list_sort(map_keys(map {'b': 1, 'a': 2})) from calls order by 1": nil,
	} {
		q := forensics.Query{SQL: sql, Limit: 3}
		r := query(t, first, q)
		if len(r.Rows) != 3 || r.Next == "" {
			t.Fatalf("%s: %d rows and cursor %q", sql, len(r.Rows), r.Next)
		}
		q.Cursor = r.Next
		q.Limit = 100
		next, err := open(t, sample(t, "http1.pcapng")).Query(ctx, q)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", sql, err, want)
		}
		if err == nil && len(next.Rows) == 0 {
			t.Errorf("%s: no rows", sql)
		}
		if again, err := first.Query(ctx, q); err != nil || len(again.Rows) == 0 { // rows read ahead
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestPagesBeyondWhatIsReadAhead follows a long answer, whose later pages need another run.
func TestPagesBeyondWhatIsReadAhead(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	rows, err := follow(t, c, forensics.Query{SQL: "select i, repeat('x', 1000) from range(3000) t(i) order by all", Limit: 499})
	if err != nil || len(rows) != 3000 || rows[2999][0] != int64(2999) {
		t.Errorf("%d rows: %v", len(rows), err)
	}
	rows, err = follow(t, c, forensics.Query{SQL: "select i, repeat('x', 1000), random() from range(3000) t(i)", Limit: 499})
	if !errors.Is(err, forensics.ErrMoved) || len(rows) < 499 {
		t.Errorf("rows that are others each time: %d rows: %v", len(rows), err)
	}
}
