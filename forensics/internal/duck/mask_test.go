package duck

import (
	"fmt"
	"strings"
	"testing"
)

// TestMaskInEveryShape masks vectors as DuckDB has them: constant, filtered, joined, with
// nulls, of several chunks, and lists that rows share.
func TestMaskInEveryShape(t *testing.T) {
	d, _ := locked(t)
	if _, err := ask(d, "select pcapsule_mask('column', 'x', 'password=abc')"); err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("a question may mask what it likes: %v", err)
	}
	one := func(sql string) any {
		t.Helper()
		rows, err := d.Query(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		defer rows.Close()
		if !rows.Next() {
			t.Fatalf("%s: %v", sql, rows.Err())
		}
		v, err := rows.Value(0)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return v
	}
	if rows, err := d.Query(t.Context(), "select pcapsule_mask('column', 'x', 'a' || range) from range(3)"); err == nil {
		rows.Close()
		t.Error("texts pass before the masks are known")
	}
	d.Mask([]byte("version: 1\n"), []string{"Zq7planted-value"})
	for _, c := range []struct {
		sql  string
		want any
	}{
		{"select count(*) from range(9000) where pcapsule_mask('column', 'x', 'password=s' || range) = 'password=[masked]'", int64(9000)},
		{"select count(*) from range(9000) where pcapsule_mask('column', 'x', 'text ' || range) = 'text ' || range", int64(9000)},
		{"select count(*) from range(9000) where pcapsule_mask('column', 'x', case range % 2 when 0 then 'see Zq7planted-value' else 'plain' end) = case range % 2 when 0 then 'see [masked]' else 'plain' end", int64(9000)},
		{"select count(*) from range(9000) where pcapsule_mask('column', 'x', case when range % 3 > 0 then 'password=s' end) is null", int64(3000)},
		{"select count(*) from range(9000) where pcapsule_mask('column', 'x', case when range % 3 > 0 then 'same' end) is null", int64(3000)},
		{"select count(*) from range(5000) where pcapsule_mask('column', 'x', 'password=constant') = 'password=[masked]'", int64(5000)},
		{"select count(*) from range(9000) where pcapsule_mask('header', case range % 2 when 0 then 'Cookie' else 'Host' end, 'a=b') = case range % 2 when 0 then 'a=[masked]' else 'a=b' end", int64(9000)},
		{"select pcapsule_mask('header', null, 'Bearer Zq7planted-value')", "Bearer [masked]"},
		{"select count(*) from (select pcapsule_mask('column', 'x', m) m from (select 'password=' || repeat('s', range % 300) m from range(9000))) where m like '%sss%'", int64(0)},
		{"select count(*) from (from range(5000) where range % 7 = 3) where pcapsule_mask('column', 'x', ['password=s', null, 'n' || range]) = ['password=[masked]', null, 'n' || range]", int64(714)},
		{"select count(*) from (select ['password=s', null, 'b'] l), range(9000) where pcapsule_mask('column', 'x', l) = ['password=[masked]', null, 'b']", int64(9000)},
		{"select count(*) from (select range r, list(x order by x) l from range(40), range(500) t(x) group by 1) a join range(9000) b on b.range % 40 = a.r where len(pcapsule_mask('column', 'x', list_transform(l, lambda v: 'v' || v))) = 500", int64(9000)},
		{"select count(*) from (select list('v' || x) l from range(2000) t(x)), range(9000) where len(pcapsule_mask('column', 'x', l)) = 2000", int64(9000)},
		{"select count(*) from (select case when range < 0 then ['a'] end l from range(9000)) where pcapsule_mask('column', 'x', l) is null", int64(9000)},
		{"select count(*) from (select null::varchar[] l from range(9000) union all select [] from range(9000)) where pcapsule_mask('column', 'x', l) is null", int64(9000)},
		{"select count(*) from (select range r, case when range % 2048 > 2000 then list_transform(range(900), v -> 'v' || v) end l from range(9000)) where r % 2048 in (3, 2040) and len(coalesce(pcapsule_mask('column', 'x', l), [])) in (0, 900)", int64(9)},
		{"select count(*) from range(9000) where pcapsule_mask('column', 'x', case when range % 2 = 0 then [] when range % 3 = 0 then null else ['password=s'] end) is null", int64(1500)},
		{"select count(*) from range(3000) where pcapsule_mask('params', 'select 1 where password = $2', ['a', 's' || range]) = ['a', '[masked]']", int64(3000)},
		{"select count(*) from range(3000) where pcapsule_mask('column', 'command', ['app', '--password', 's' || range]) = ['app', '--password', '[masked]']", int64(3000)},
		{`select pcapsule_mask('column', 'bytes', '\x01password=s'::blob)`, []byte("\x01password=[masked]")},
		{"select count(*) from range(9000) where pcapsule_mask('column', 'bytes', ('token=s' || range)::blob) = 'token=[masked]'::blob", int64(9000)},
		{"select pcapsule_mask('rows', 'id\tpassword', '1\tsecret')", "1\t[masked]"},
		{"select count(distinct pcapsule_mask('column', 'x', 'password=' || (range % 5))) from range(100000)", int64(1)},
	} {
		if got := one(c.sql); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.sql, got, c.want)
		}
	}
}
