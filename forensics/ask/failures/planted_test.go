package failures_test

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

func near(a *asktest.Asked, id, got string, want time.Time, within time.Duration) {
	a.T.Helper()
	at, err := time.Parse(time.RFC3339Nano, got)
	if err != nil || at.Sub(want).Abs() > within {
		a.T.Errorf("%s: %s, want %s ± %s (%v)", id, got, want, within, err)
	}
}

// outcome writes a group of failures as in the ground truth.
func outcome(g failures.FailureGroup) string {
	end := g.Status
	switch {
	case strings.Contains(end, "by the client"):
		end = "timeout"
	case strings.Contains(end, "by the server"):
		end = "reset"
	default:
		end, _, _ = strings.Cut(end, " ")
	}
	return asktest.Bare(g.Dst) + " " + regexp.MustCompile(`missing-\d+$`).ReplaceAllString(g.Endpoint, "{id}") + " " + end
}

func TestWhyCheckoutFailed(t *testing.T) {
	asktest.Planted(t, 1, func(a *asktest.Asked) {
		names := a.List("services")
		total := int64(0)
		var refused *failures.FailureGroup
		for i, name := range names {
			in := failures.In{Service: name, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to")}}
			f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, in))
			total += f.Calls
			for j := range f.Groups {
				if strings.HasPrefix(f.Groups[j].Status, "401") && i == 1 {
					refused = &f.Groups[j]
				}
			}
		}
		if refused == nil {
			t.Fatal("no charge was refused")
		}
		if total == 0 {
			t.Error("no calls in the time")
		}
		a.Is("refused", float64(refused.Calls))
		when := a.Fact("when")
		near(a, "first", refused.First, when.From, 10*time.Millisecond)
		near(a, "last", refused.Last, when.To, 100*time.Millisecond)
		a.Says("cause", asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, trace.In{CallID: refused.CallIDs[0]})))
	})
}

func TestWhereATimeoutIs(t *testing.T) {
	asktest.Planted(t, 2, func(a *asktest.Asked) {
		in := trace.In{Scope: ask.Scope{KFL: fmt.Sprintf("http and src.external and path == %q and status_code == 504", a.Arg("path")), Limit: 200}}
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, in))
		a.Is("504s", float64(tr.Found))
		a.Says("path", tr)
		a.Says("where", tr)
		a.Says("who_gave_up", tr)
		if tr.Total != int(tr.Found) || len(tr.Chains) != tr.Total {
			t.Fatalf("%d chains, %d listed, of %d calls", tr.Total, len(tr.Chains), tr.Found)
		}
		a.Is("gave_up", tr.Chains[0].ElapsedMs)
		if len(tr.Origins) != 1 || tr.Origins[0].Protocol != "postgresql" || tr.Origins[0].What != "slow" || tr.Origins[0].Chains != tr.Total {
			t.Errorf("origins %+v", tr.Origins)
		}
		a.Is("query", tr.Chains[0].Origin.ElapsedMs)
		a.Listed("failing", tr)
		a.Listed("queries", tr)
	})
}

func TestWhatAPodDidBeforeItCrashed(t *testing.T) {
	asktest.Planted(t, 3, func(a *asktest.Asked) {
		in := service.TimelineIn{Workload: a.Arg("namespace") + "/" + a.Arg("pod"), Before: "2m", Scope: ask.Scope{Limit: 200}}
		tl := asktest.Must[*service.Timeline](t)(service.AskTimeline(ctx, a.Case, in))
		crash := a.Fact("crash").From
		if tl.Crash == nil {
			t.Fatal("no crash was found")
		}
		near(a, "crash", tl.Crash.Time, crash, 2*time.Second)
		a.Says("why", tl)
		a.Says("external_names", tl.External)
		a.Is("activity_count", float64(tl.Calls))
		a.Listed("external", tl.Listed)
		a.Listed("unanswered", tl.Activity)
		sum := int64(0)
		for _, x := range tl.Activity {
			sum += x.Calls
		}
		if sum != tl.Calls {
			t.Errorf("%d calls in sums, %d in all", sum, tl.Calls)
		}
	})
}

func TestWhyItFailedForAUser(t *testing.T) {
	asktest.Planted(t, 4, func(a *asktest.Asked) {
		at, err := time.Parse(time.RFC3339, a.Arg("at"))
		if err != nil {
			t.Fatal(err)
		}
		in := trace.In{Text: a.Arg("user"), Scope: ask.Scope{From: at.Format(time.RFC3339), To: at.Add(time.Minute).Format(time.RFC3339), Limit: 100}}
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, a.Case, in))
		a.Listed("failing", tr)
		a.Listed("chain", tr)
		a.Says("payload", tr)
		a.Says("expired", tr)
		a.Says("cause", tr)
		if len(tr.Origins) == 0 || !strings.Contains(tr.Origins[0].Said, "token_expired") {
			t.Errorf("origins %+v", tr.Origins)
		}
	})
}

func TestWhatFailedInAnHour(t *testing.T) {
	asktest.Planted(t, 5, func(a *asktest.Asked) {
		in := failures.In{Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 200}}
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, in))
		a.Is("failed", float64(f.Total))
		a.Says("why", f)
		got := map[string]float64{}
		sum := int64(0)
		for _, g := range f.Groups {
			got[outcome(g)] += float64(g.Calls)
			sum += g.Calls
		}
		want := map[string]float64{}
		for k, n := range a.Fact("by_outcome").Groups {
			_, k, _ = strings.Cut(k, " → ")
			want[k] += n
		}
		// If the client gives up while the server resets, its log has only one of the two.
		got, want = unanswered(got), unanswered(want)
		for k, n := range want {
			if _, word, _ := strings.Cut(k, " "); got[k] != n && !strings.HasPrefix(word, "SELECT") && !strings.HasPrefix(word, "INSERT") {
				t.Errorf("%s: %v, want %v", k, got[k], n)
			}
		}
		if sum != f.Total-classOf(f, "dns") {
			t.Errorf("%d calls in groups, %d failed", sum, f.Total)
		}
	})
}

// unanswered adds up resets and timeouts.
func unanswered(m map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for k, n := range m {
		out[regexp.MustCompile("(timeout|reset)$").ReplaceAllString(k, "no answer")] += n
	}
	return out
}

func classOf(f *failures.Answer, class string) int64 {
	for _, c := range f.Classes {
		if c.Class == class {
			return c.Calls
		}
	}
	return 0
}

func TestTheRequestBehindA500(t *testing.T) {
	asktest.Planted(t, 6, func(a *asktest.Asked) {
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, failures.In{Service: a.Arg("service"), Class: "5xx", Scope: ask.Scope{KFL: "status_code == 500"}}))
		a.Is("500s", float64(f.Total))
		p := asktest.Must[*access.Pair](t)(access.AskPair(ctx, a.Case, access.PairIn{Src: "*", Dst: a.Arg("service"), Scope: ask.Scope{KFL: "status_code == 500"}}))
		a.Says("request", p)
		a.Says("response", p)
		a.Listed("call", p)
	})
}

func TestMoreAboutThe503s(t *testing.T) {
	asktest.Planted(t, 8, func(a *asktest.Asked) {
		in := failures.In{Service: a.Arg("service"), ListCalls: true, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), KFL: fmt.Sprintf("path == %q and status_code == 503", a.Arg("path")), Limit: 500}}
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, in))
		a.Is("count", float64(f.Total))
		a.Says("cause", f)
		a.Listed("calls", f.Listed)
		if len(f.Groups) != 1 || f.Groups[0].P50Ms == nil || f.Groups[0].Limit == "" {
			text, _ := json.Marshal(f.Groups)
			t.Fatalf("groups %s", text)
		}
		a.Is("pattern", *f.Groups[0].P50Ms)
		if len(f.Causes) == 0 || !strings.Contains(f.Causes[0].What, "no_answer") {
			t.Errorf("causes %+v", f.Causes)
		}
		far := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, failures.In{Service: f.Causes[0].Dst, ListCalls: true, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 500}}))
		var by [2]float64
		for _, g := range far.Groups {
			switch {
			case strings.Contains(g.Status, "by the server"):
				by[0] += float64(g.Calls)
			case strings.Contains(g.Status, "by the client"):
				by[1] += float64(g.Calls)
			}
		}
		if resets, timeouts := a.Fact("resets").Value, a.Fact("timeouts").Value; by[0]+by[1] != resets+timeouts || math.Abs(by[0]-resets) > 6 {
			t.Errorf("%v by the server and %v by the client, want %v and %v", by[0], by[1], resets, timeouts)
		}
		a.Listed("reset_calls", far)
	})
}

func TestErrorPatternsOfANamespace(t *testing.T) {
	asktest.Planted(t, 9, func(a *asktest.Asked) {
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, failures.In{Service: a.Arg("namespace") + "/*", Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 200}}))
		a.Is("errors", float64(f.Total))
		got := map[string]float64{}
		for _, g := range f.Groups {
			got[outcome(g)] += float64(g.Calls)
		}
		got = unanswered(got)
		for k, n := range unanswered(a.Fact("patterns").Groups) {
			if math.Abs(got[k]-n) > 0.01 {
				t.Errorf("%s: %v, want %v", k, got[k], n)
			}
		}
	})
}

func TestClientErrorsAndTheirCauses(t *testing.T) {
	asktest.Planted(t, 42, func(a *asktest.Asked) {
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, a.Case, failures.In{Service: a.Arg("service"), Class: "4xx", ListCalls: true, Scope: ask.Scope{From: a.Arg("from"), To: a.Arg("to"), Limit: 200}}))
		a.Is("count", float64(f.Total))
		got := map[string]float64{}
		for _, g := range f.Groups {
			got[g.Status[:3]] += float64(g.Calls)
		}
		a.Groups("by_status", got, false)
		a.Says("causes", f)
		a.Listed("rows", f.Listed)
	})
}

// TestFailuresOfAClassNameTheOthers asks for server errors of HTTP where only gRPC failed.
func TestFailuresOfAClassNameTheOthers(t *testing.T) {
	a := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, asktest.Open(t, "grpc.pcapng"), failures.In{Class: "5xx"}))
	if a.Total != 0 || !slices.Contains(a.Notes, "2 failed calls of class server_error are not listed") || !slices.Contains(a.Notes, "1 failed call of class client_error is not listed") || !slices.Contains(a.Notes, "1 failed call of class no_answer is not listed") {
		t.Errorf("%d, %q", a.Total, a.Notes)
	}
}

// TestEveryClassOfAFailureIsAnArgument asks for each class that an answer names, of protocols with and without statuses of HTTP.
func TestEveryClassOfAFailureIsAnArgument(t *testing.T) {
	in, q := map[string]bool{}, failures.Question()
	for _, v := range q.In.Properties["class"].Enum {
		in[v.(string)] = true
	}
	for name, want := range map[string][]failures.ClassCount{
		"grpc.pcapng":  {{Class: "server_error", Calls: 2}, {Class: "client_error", Calls: 1}, {Class: "no_answer", Calls: 1}},
		"apis.pcapng":  {{Class: "4xx", Calls: 5}, {Class: "server_error", Calls: 3}, {Class: "client_error", Calls: 1}},
		"kafka.pcapng": {{Class: "client_error", Calls: 4}, {Class: "server_error", Calls: 4}, {Class: "no_answer", Calls: 1}},
		"tds.pcapng":   {{Class: "client_error", Calls: 3}, {Class: "server_error", Calls: 1}},
		"dns.pcap":     {{Class: "dns", Calls: 2}},
		"http2.pcap":   {{Class: "4xx", Calls: 1}, {Class: "5xx", Calls: 1}, {Class: "no_answer", Calls: 1}},
	} {
		c := asktest.Open(t, name)
		all := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{NoCauses: true}))
		if !slices.Equal(all.Classes, want) {
			t.Errorf("%s: classes %v, want %v", name, all.Classes, want)
		}
		for _, k := range all.Classes {
			a := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{NoCauses: true, Class: k.Class}))
			if !in[k.Class] || a.Total != k.Calls {
				t.Errorf("%s, class %s: %d failed calls, want %d; the class is an argument: %v", name, k.Class, a.Total, k.Calls, in[k.Class])
			}
		}
	}
}
