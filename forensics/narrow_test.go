package forensics_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// TestAQueryIsGivenOnlyItsColumns compares queries on calls, which may be narrowed to the used
// columns, with the same queries on main.calls, which is always the whole view.
func TestAQueryIsGivenOnlyItsColumns(t *testing.T) {
	one := sample(t, "shop.pcapng")
	several := []string{one, sample(t, "http1.pcapng")}
	for _, mask := range []bool{false, true} {
		for _, paths := range [][]string{{one}, several} {
			c, err := forensics.Open(context.Background(), paths, forensics.Options{MaskSecrets: mask})
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{
				"select count(*) from {calls}",
				"SELECT call_no, dst_service, Src_Pod FROM {calls} ORDER BY ts_ns, call_no, 2",
				"select call_no, ts_exact, src_ip, dst_ip from {calls} order by all",
				"with a as (select call_no n, headers h from {calls_raw}) select * from a order by n, h::varchar",
				"with recursive r(n) as (select min(call_no) from {calls_raw} union all select n + 1 from r where n < 5) select n, method from r join {calls_raw} on call_no = n order by all",
				"select c.query_string, x.host from {calls} c join {calls_raw} x using (call_no, conn_id) order by all",
				"select len(list_filter(headers, h -> h.kind = 'request')) as n, count(*) from {calls} group by all order by all",
				"select method from {calls} where call_no in (select call_no from {calls_raw} where status_code >= 400) order by all",
				"(select host from {calls_raw}) union (select path from {calls_raw}) order by all",
				"with endpoints as (select 1 as endpoint_id, 'x' as service) select dst_service from {calls} order by all",
				"-- a remark\nselect max(elapsed_us) from {calls_raw}",
				"select 'select * from calls' as text, min(\"call_no\") from {calls}",
				"select x from (select unnest(cites).first as x from {calls}) order by x",
				"select calls from {calls} order by ts_ns limit 2",
				"select * from {calls} order by ts_ns limit 2",
				"select #2, #9 from {calls} order by all",
				"select path, #4 from {calls_raw} c where #3 = 'http1' order by all",
			} {
				narrow := query(t, c, forensics.Query{SQL: strings.NewReplacer("{calls}", "calls", "{calls_raw}", "calls_raw").Replace(sql)})
				whole := query(t, c, forensics.Query{SQL: strings.NewReplacer("{calls}", "main.calls", "{calls_raw}", "main.calls_raw").Replace(sql)})
				if !reflect.DeepEqual(narrow.Columns, whole.Columns) || fmt.Sprint(narrow.Rows) != fmt.Sprint(whole.Rows) {
					t.Errorf("%s (masked %v, %d bundles): %d columns, %d rows; want %d, %d of the same", sql, mask, len(paths), len(narrow.Columns), len(narrow.Rows), len(whole.Columns), len(whole.Rows))
				}
			}
			c.Close()
		}
	}
}

// TestParametersKeepTheirValues runs queries with both kinds of parameters, to which the files of
// the tables are added if possible.
func TestParametersKeepTheirValues(t *testing.T) {
	one := sample(t, "shop.pcapng")
	for _, paths := range [][]string{{one}, {one, sample(t, "http1.pcapng")}} {
		c := open(t, paths...)
		for _, sql := range []string{
			"select count(*) from calls where method = ? and status_code >= ?",
			"select count(*) from calls where method = $1 and status_code >= $2",
			"select count(*) from calls where status_code >= $2 and method = $1",
			"with a as (select * exclude cites from calls_raw where method = ?) select count(*) from a join calls using (call_id) where a.status_code >= ?",
			"with recursive r(n) as (select 0 union all select n + 1 from r where n < 1) select count(*) filter (n = 0) from calls, r where method = ? and status_code >= ?",
			"from (select count(*) from calls where method = ? and status_code >= ?)",
		} {
			got := query(t, c, forensics.Query{SQL: sql, Args: []any{"GET", int64(400)}})
			want := query(t, c, forensics.Query{SQL: "select count(*) from main.calls where method = 'GET' and status_code >= 400"})
			if fmt.Sprint(got.Rows) != fmt.Sprint(want.Rows) || fmt.Sprint(want.Rows) == "[[0]]" {
				t.Errorf("%s: %v, want %v", sql, got.Rows, want.Rows)
			}
		}
	}
}

func TestAnErrorKeepsItsPlaceInTheQuery(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	_, err := c.Query(context.Background(), forensics.Query{SQL: "with a as (select call_no from calls)\nselect call_no, nothing from a"})
	if bad := (*forensics.SyntaxError)(nil); !errors.As(err, &bad) || bad.Line != 2 || bad.Col != 17 {
		t.Fatalf("%#v, want a syntax error in line 2, column 17", err)
	}
}

// TestNamedAnswersTheSame runs queries with a * for columns that are named elsewhere.
func TestNamedAnswersTheSame(t *testing.T) {
	c, _ := masking(t, sample(t, "shop.pcapng"))
	for _, sql := range []string{
		"select k.call_no, k.path, d.service from (select * from calls) k join endpoints d on d.endpoint_id = k.dst_id order by 1",
		"with x as (select k.*, k.elapsed_us > 5 as slow from calls k) select slow, list_transform(arg_min(call_id, ts_ns, 3), x -> hex(x)) as ids from x group by 1 order by 1",
		"select count(*) from (select * from calls where src_service is not null)",
	} {
		want := query(t, c, forensics.Query{SQL: sql})
		got := query(t, c, forensics.Query{SQL: sql, Named: true})
		if !reflect.DeepEqual(got.Rows, want.Rows) {
			t.Errorf("%s: %v, want %v", sql, got.Rows, want.Rows)
		}
	}
}
