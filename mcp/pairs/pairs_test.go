package pairs

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func row(source, destination string, calls int64) Row {
	r := Row{Pair{source, destination, "http1"}, Counts{Calls: calls, Failed: [4]int64{1: 1, 3: 2}, Timed: calls, Micros: calls * 20_000}}
	for i, us := range bounds {
		if us >= 20_000 {
			r.Within[i] = calls
		}
	}
	return r
}

func TestTable(t *testing.T) {
	table := New()
	table.Add([]Row{row("shop/web", "shop/cart", 3)}, nil)
	table.Add([]Row{row("shop/web", "shop/cart", 2), row("a\xffb", strings.Repeat("x", 1000), 1)}, []string{"drop", "drop"})
	table.Fail()
	problems, err := testutil.CollectAndLint(table)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	const want = `
# HELP pcapsule_live_call_duration_seconds Time from the first byte of a request to the last one of its response.
# TYPE pcapsule_live_call_duration_seconds histogram
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="0.001"} 0
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="0.005"} 0
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="0.01"} 0
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="0.05"} 5
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="0.1"} 5
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="0.5"} 5
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="1"} 5
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="5"} 5
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="10"} 5
pcapsule_live_call_duration_seconds_bucket{destination="shop/cart",protocol="http1",source="shop/web",le="+Inf"} 5
pcapsule_live_call_duration_seconds_sum{destination="shop/cart",protocol="http1",source="shop/web"} 0.1
pcapsule_live_call_duration_seconds_count{destination="shop/cart",protocol="http1",source="shop/web"} 5
`
	delete(table.pairs, Pair{label("a\xffb"), label(strings.Repeat("x", 1000)), "http1"})
	if err := testutil.CollectAndCompare(table, strings.NewReader(want), "pcapsule_live_call_duration_seconds"); err != nil {
		t.Error(err)
	}
	for name, series := range map[string]string{
		"pcapsule_live_failed_calls_total": `{destination="shop/cart",outcome="client_error",protocol="http1",source="shop/web"} 0
pcapsule_live_failed_calls_total{destination="shop/cart",outcome="no_answer",protocol="http1",source="shop/web"} 4
pcapsule_live_failed_calls_total{destination="shop/cart",outcome="refused",protocol="http1",source="shop/web"} 0
pcapsule_live_failed_calls_total{destination="shop/cart",outcome="server_error",protocol="http1",source="shop/web"} 2`,
		"pcapsule_live_gaps_total":           `{reason="drop"} 2`,
		"pcapsule_live_count_failures_total": ` 1`,
	} {
		want := "# HELP " + name + " " + helps[name] + "\n# TYPE " + name + " counter\n" + name + series + "\n"
		if err := testutil.CollectAndCompare(table, strings.NewReader(want), name); err != nil {
			t.Error(err)
		}
	}
}

var helps = map[string]string{
	"pcapsule_live_failed_calls_total":   "Finished calls that failed, also by outcome.",
	"pcapsule_live_gaps_total":           "Coverage gaps that cuts of the live run stated, by reason: calls may be missing.",
	"pcapsule_live_count_failures_total": "Attempts to count calls that failed; the next one counts their calls, too.",
}

// TestPairsAreBounded: later pairs are one series, and no call is lost.
func TestPairsAreBounded(t *testing.T) {
	table, calls := New(), int64(0)
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			for k := range 2 * MaxPairs {
				table.Add([]Row{row(fmt.Sprint("client", k%(MaxPairs+100)), fmt.Sprint("server", i), 1)}, nil)
			}
		})
	}
	all.Wait()
	for _, c := range table.pairs {
		calls += c.Calls
	}
	if len(table.pairs) != MaxPairs || calls != 4*MaxPairs || table.pairs[Pair{Other, Other, Other}].Calls < 100 {
		t.Errorf("%d pairs with %d calls", len(table.pairs), calls)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(table)
	if list, err := registry.Gather(); err != nil || len(list) == 0 {
		t.Error(err)
	}
}

func TestRowOf(t *testing.T) {
	values := []any{"a", "b", "dns", int64(3), int64(1), int64(0), int64(4), int64(5), int64(2), int64(900)}
	for range bounds {
		values = append(values, int64(2))
	}
	if r, err := RowOf(values); err != nil || r.Calls != 3 || r.Failed != [4]int64{1, 0, 4, 5} || r.Timed != 2 || r.Within[0] != 2 || r.Protocol != "dns" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range [][]any{nil, values[1:], append([]any{nil}, values[1:]...), append([]any{"a", "b", "c", 1.5}, values[4:]...)} {
		if _, err := RowOf(bad); err == nil {
			t.Errorf("%v is not an error", bad)
		}
	}
	if n := strings.Count(SQL, "$"); n != len(Bounds()) {
		t.Errorf("SQL has %d arguments", n)
	}
}
