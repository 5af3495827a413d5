package schedule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/mcp/pairs"
)

// TestBurstsOfErrors: snapshots of workloads to which many calls failed in a minute, by the counters of the real table.
func TestBurstsOfErrors(t *testing.T) {
	table := pairs.New()
	registry := prometheus.NewRegistry()
	registry.MustRegister(table)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	fail := func(source, destination string, n int64) {
		table.Add([]pairs.Row{{Pair: pairs.Pair{Source: source, Destination: destination, Protocol: "http1"}, Counts: pairs.Counts{Calls: 3 * n, Failed: [4]int64{0, n}}}}, nil)
	}
	w := newWorld(t, "rule", map[string]any{"incidents": []any{"ErrorBurst"}, "errors": int64(10), "cooldown": "2m"})
	w.o.Bursts = CountedBy(at)
	fail("a", "shop/web", 1000) // before anybody looked
	w.at(0)
	fail("a", "shop/web", 6)
	fail("b", `shop/web`, 3)
	fail("a", "shop/api", 9)
	fail("a", "example.org", 500) // outside
	fail("a", `x"} 7`+"\npcapsule_live_failed_calls_total{destination=\"shop/forged\",protocol=\"x\",source=\"y\"} 999", 500)
	table.Add([]pairs.Row{{Pair: pairs.Pair{Source: "a", Destination: "shop/dns", Protocol: "dns"}, Counts: pairs.Counts{Calls: 900, Failed: [4]int64{900}}}}, nil) // errors of clients
	w.at(10 * time.Second)
	if list := w.snapshots(); len(list) > 0 {
		t.Errorf("fewer than 10: %q", list)
	}
	fail("b", "shop/web", 1)
	w.at(20 * time.Second)
	w.at(30 * time.Second)
	w.at(50 * time.Second)
	s := w.schedule("rule")
	if len(s.Status.Recent) != 1 || s.Status.Recent[0].Workload != "shop/Service/web" || s.Status.Recent[0].Reason != "10 calls to shop/web failed within 20s" {
		t.Fatalf("%+v", s.Status)
	}
	list, err := w.o.Client.Resource(resource.Snapshots).Namespace("pcapsule").Get(t.Context(), s.Status.LastSnapshot, v1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := resource.FromObject(list); err != nil || !slices.Equal(x.Spec.Select.Workloads, []string{"shop/Service/web", "shop/web"}) || x.Check() != nil || x.Spec.Around != "2026-03-02T09:00:50Z" {
		t.Errorf("%+v, %v", x, err)
	}
	fail("a", "shop/api", 5) // 14, but not within a minute
	w.at(80 * time.Second)
	if n := len(w.snapshots()); n != 1 {
		t.Errorf("%d snapshots", n)
	}
	before := asked
	u := newWorld(t, "other", map[string]any{"incidents": []any{"Crash"}})
	u.o.Bursts = w.o.Bursts
	u.at(90 * time.Second)
	if asked != before {
		t.Error("the server counts although no schedule is about errors")
	}
	server.Close()
	if err := w.o.round(t.Context(), begin.Add(100*time.Second)); err == nil || !strings.Contains(err.Error(), "counting failed calls") {
		t.Errorf("%v", err)
	}
}

func TestBurstsNeedLive(t *testing.T) {
	w := newWorld(t, "rule", map[string]any{"incidents": []any{"ErrorBurst"}})
	w.at(time.Minute)
	if c := meta.FindStatusCondition(w.schedule("rule").Status.Conditions, resource.Scheduling); c.Reason != "NoLive" || !strings.Contains(c.Message, "live.enabled") {
		t.Errorf("%+v", c)
	}
}

func TestMetricLines(t *testing.T) {
	for line, want := range map[string]string{
		`pcapsule_live_failed_calls_total{destination="shop/web",outcome="refused",protocol="http1",source="a"} 12`:      "shop/web 12 true",
		`pcapsule_live_failed_calls_total{destination="a\"b\\c\nd",outcome="no_answer",protocol="x",source="y"} 1.5e+06`: "a\"b\\c\nd 1500000 true",
		`pcapsule_live_calls_total{destination="shop/web",protocol="http1",source="a"} 12`:                               " 0 false",
		`pcapsule_live_failed_calls_total{destination="shop/web",outcome="client_error",protocol="http1",source="a"} 9`:  " 0 false",
		`# HELP pcapsule_live_failed_calls_total Finished calls`:                                                         " 0 false",
		`pcapsule_live_failed_calls_total{destination="shop/web",protocol="http1",source="a"} several`:                   " 0 false",
	} {
		to, n, ok := failedOf(line)
		if got := fmt.Sprint(to, " ", n, " ", ok); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
