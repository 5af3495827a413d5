package ask_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

// exchange is one exchange as its ends logged it.
type exchange struct {
	At       string `json:"at"`
	Protocol string `json:"protocol"`
	Client   string `json:"client_addr"`
	Server   string `json:"server_addr"`
	Method   string `json:"method"`
	Sealed   bool   `json:"sealed"`
}

// story is one question of the ground truth with its rows and times.
type story struct {
	Number int `json:"number"`
	Facts  []struct {
		ID   string     `json:"id"`
		From string     `json:"from"`
		To   string     `json:"to"`
		Rows []exchange `json:"rows"`
	} `json:"facts"`
}

// factRows returns the rows and times of a fact in the ground truth of a scenario.
func factRows(a *asked, number int, id string) (rows []exchange, from, to time.Time) {
	a.t.Helper()
	scenario, _, _ := strings.Cut(a.t.Name()[strings.LastIndexByte(a.t.Name(), '/')+1:], "#")
	text, err := os.ReadFile(filepath.Join("..", "..", "samples", "questions", scenario, "truth.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	var all struct {
		Questions []story `json:"questions"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		a.t.Fatal(err)
	}
	for _, q := range all.Questions {
		for _, f := range q.Facts {
			if q.Number == number && f.ID == id {
				from, _ = time.Parse(time.RFC3339Nano, f.From)
				to, _ = time.Parse(time.RFC3339Nano, f.To)
				return f.Rows, from, to
			}
		}
	}
	a.t.Fatalf("question %d has no fact %s", number, id)
	return nil, from, to
}

// logged is what of a call its ends may have logged.
type logged struct {
	id       string
	protocol string
	ns       int64
}

// callsByEnds reads all calls of a case at once, by the addresses and ports of both ends. A
// question for each exchange would take most of the time of these tests.
func callsByEnds(a *asked) map[string][]logged {
	a.t.Helper()
	r, err := a.c.Query(ctx, forensics.Query{SQL: `SELECT call_id, protocol, ts_ns, src_ip, src_port, dst_ip, dst_port FROM calls_raw ORDER BY call_no`, Limit: 1 << 20})
	if err != nil || r.Truncated {
		a.t.Fatalf("reading all calls: truncated %v, %v", r != nil && r.Truncated, err)
	}
	calls := map[string][]logged{}
	for _, row := range r.Rows {
		ends := fmt.Sprintln(row[3:]...)
		calls[ends] = append(calls[ends], logged{hex.EncodeToString(row[0].([]byte)), row[1].(string), row[2].(int64)})
	}
	return calls
}

// callOf finds the call of a logged exchange by its addresses and its time.
func callOf(a *asked, calls map[string][]logged, x exchange) string {
	a.t.Helper()
	src, err := netip.ParseAddrPort(x.Client)
	if err != nil {
		a.t.Fatal(err)
	}
	dst, err := netip.ParseAddrPort(x.Server)
	if err != nil {
		a.t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, x.At)
	if err != nil {
		a.t.Fatal(err)
	}
	apart := func(c logged) time.Duration { return time.Unix(0, c.ns).Sub(at).Abs() }
	var best *logged
	for _, c := range calls[fmt.Sprintln(src.Addr(), src.Port(), dst.Addr(), dst.Port())] {
		if (c.protocol == x.Protocol || x.Protocol == "nats" && c.protocol == "tcp") && (best == nil || apart(c) < apart(*best)) {
			best = &c
		}
	}
	if best == nil {
		a.t.Fatalf("no call for %+v", x)
	}
	return best.id
}

// checkListed checks that an answer contains the calls of a fact's rows.
func checkListed(a *asked, number int, id string, answer any) {
	a.t.Helper()
	text, err := json.Marshal(answer)
	if err != nil {
		a.t.Fatal(err)
	}
	rows, _, _ := factRows(a, number, id)
	calls := callsByEnds(a)
	missing := 0
	for _, x := range rows {
		if x.Client == "" {
			continue // no dissector for this protocol
		}
		if call := callOf(a, calls, x); !x.Sealed && !strings.Contains(string(text), call) {
			if missing++; missing <= 3 {
				a.t.Errorf("%s: the answer lacks call %s of %+v", id, call, x)
			}
		}
	}
	if missing > 3 {
		a.t.Errorf("%s: %d of %d calls are missing", id, missing, len(rows))
	}
}

func near(a *asked, id, got string, want time.Time, within time.Duration) {
	a.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, got)
	if err != nil || at.Sub(want).Abs() > within {
		a.t.Errorf("%s: %s, want %s ± %s (%v)", id, got, want, within, err)
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
	return bare(g.Dst) + " " + regexp.MustCompile(`missing-\d+$`).ReplaceAllString(g.Endpoint, "{id}") + " " + end
}

func TestWhyCheckoutFailed(t *testing.T) {
	planted(t, 1, func(a *asked) {
		names := a.list("services")
		total := int64(0)
		var refused *failures.FailureGroup
		for i, name := range names {
			in := failures.In{Service: name, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to")}}
			f := must[*failures.Answer](t)(failures.Ask(ctx, a.c, in))
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
		a.is("refused", float64(refused.Calls))
		_, from, to := factRows(a, 1, "when")
		near(a, "first", refused.First, from, 10*time.Millisecond)
		near(a, "last", refused.Last, to, 100*time.Millisecond)
		a.says("cause", must[*trace.Answer](t)(trace.Ask(ctx, a.c, trace.In{CallID: refused.CallIDs[0]})))
	})
}

func TestWhereATimeoutIs(t *testing.T) {
	planted(t, 2, func(a *asked) {
		in := trace.In{Scope: ask.Scope{KFL: fmt.Sprintf("http and src.external and path == %q and status_code == 504", a.arg("path")), Limit: 200}}
		tr := must[*trace.Answer](t)(trace.Ask(ctx, a.c, in))
		a.is("504s", float64(tr.Found))
		a.says("path", tr)
		a.says("where", tr)
		a.says("who_gave_up", tr)
		if tr.Total != int(tr.Found) || len(tr.Chains) != tr.Total {
			t.Fatalf("%d chains, %d listed, of %d calls", tr.Total, len(tr.Chains), tr.Found)
		}
		a.is("gave_up", tr.Chains[0].ElapsedMs)
		if len(tr.Origins) != 1 || tr.Origins[0].Protocol != "postgresql" || tr.Origins[0].What != "slow" || tr.Origins[0].Chains != tr.Total {
			t.Errorf("origins %+v", tr.Origins)
		}
		a.is("query", tr.Chains[0].Origin.ElapsedMs)
		checkListed(a, 2, "failing", tr)
		checkListed(a, 2, "queries", tr)
	})
}

func TestWhatAPodDidBeforeItCrashed(t *testing.T) {
	planted(t, 3, func(a *asked) {
		in := service.TimelineIn{Workload: a.arg("namespace") + "/" + a.arg("pod"), Before: "2m", Scope: ask.Scope{Limit: 200}}
		tl := must[*service.Timeline](t)(service.AskTimeline(ctx, a.c, in))
		_, crash, _ := factRows(a, 3, "crash")
		if tl.Crash == nil {
			t.Fatal("no crash was found")
		}
		near(a, "crash", tl.Crash.Time, crash, 2*time.Second)
		a.says("why", tl)
		a.says("external_names", tl.External)
		a.is("activity_count", float64(tl.Calls))
		checkListed(a, 3, "external", tl.Listed)
		checkListed(a, 3, "unanswered", tl.Activity)
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
	planted(t, 4, func(a *asked) {
		at, err := time.Parse(time.RFC3339, a.arg("at"))
		if err != nil {
			t.Fatal(err)
		}
		in := trace.In{Text: a.arg("user"), Scope: ask.Scope{From: at.Format(time.RFC3339), To: at.Add(time.Minute).Format(time.RFC3339), Limit: 100}}
		tr := must[*trace.Answer](t)(trace.Ask(ctx, a.c, in))
		checkListed(a, 4, "failing", tr)
		checkListed(a, 4, "chain", tr)
		a.says("payload", tr)
		a.says("expired", tr)
		a.says("cause", tr)
		if len(tr.Origins) == 0 || !strings.Contains(tr.Origins[0].Said, "token_expired") {
			t.Errorf("origins %+v", tr.Origins)
		}
	})
}

func TestWhatFailedInAnHour(t *testing.T) {
	planted(t, 5, func(a *asked) {
		in := failures.In{Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 200}}
		f := must[*failures.Answer](t)(failures.Ask(ctx, a.c, in))
		a.is("failed", float64(f.Total))
		a.says("why", f)
		got := map[string]float64{}
		sum := int64(0)
		for _, g := range f.Groups {
			got[outcome(g)] += float64(g.Calls)
			sum += g.Calls
		}
		want := map[string]float64{}
		for k, n := range a.fact("by_outcome").Groups {
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
	planted(t, 6, func(a *asked) {
		f := must[*failures.Answer](t)(failures.Ask(ctx, a.c, failures.In{Service: a.arg("service"), Class: "5xx", Scope: ask.Scope{KFL: "status_code == 500"}}))
		a.is("500s", float64(f.Total))
		p := must[*access.Pair](t)(access.AskPair(ctx, a.c, access.PairIn{Src: "*", Dst: a.arg("service"), Scope: ask.Scope{KFL: "status_code == 500"}}))
		a.says("request", p)
		a.says("response", p)
		checkListed(a, 6, "call", p)
	})
}

func TestMoreAboutThe503s(t *testing.T) {
	planted(t, 8, func(a *asked) {
		in := failures.In{Service: a.arg("service"), ListCalls: true, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), KFL: fmt.Sprintf("path == %q and status_code == 503", a.arg("path")), Limit: 500}}
		f := must[*failures.Answer](t)(failures.Ask(ctx, a.c, in))
		a.is("count", float64(f.Total))
		a.says("cause", f)
		checkListed(a, 8, "calls", f.Listed)
		if len(f.Groups) != 1 || f.Groups[0].P50Ms == nil || f.Groups[0].Limit == "" {
			text, _ := json.Marshal(f.Groups)
			t.Fatalf("groups %s", text)
		}
		a.is("pattern", *f.Groups[0].P50Ms)
		if len(f.Causes) == 0 || !strings.Contains(f.Causes[0].What, "no_answer") {
			t.Errorf("causes %+v", f.Causes)
		}
		far := must[*failures.Answer](t)(failures.Ask(ctx, a.c, failures.In{Service: f.Causes[0].Dst, ListCalls: true, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 500}}))
		var by [2]float64
		for _, g := range far.Groups {
			switch {
			case strings.Contains(g.Status, "by the server"):
				by[0] += float64(g.Calls)
			case strings.Contains(g.Status, "by the client"):
				by[1] += float64(g.Calls)
			}
		}
		if resets, timeouts := a.fact("resets").Value, a.fact("timeouts").Value; by[0]+by[1] != resets+timeouts || math.Abs(by[0]-resets) > 6 {
			t.Errorf("%v by the server and %v by the client, want %v and %v", by[0], by[1], resets, timeouts)
		}
		checkListed(a, 8, "reset_calls", far)
	})
}

func TestErrorPatternsOfANamespace(t *testing.T) {
	planted(t, 9, func(a *asked) {
		f := must[*failures.Answer](t)(failures.Ask(ctx, a.c, failures.In{Service: a.arg("namespace") + "/*", Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 200}}))
		a.is("errors", float64(f.Total))
		got := map[string]float64{}
		for _, g := range f.Groups {
			got[outcome(g)] += float64(g.Calls)
		}
		got = unanswered(got)
		for k, n := range unanswered(a.fact("patterns").Groups) {
			if math.Abs(got[k]-n) > 0.01 {
				t.Errorf("%s: %v, want %v", k, got[k], n)
			}
		}
	})
}

func TestClientErrorsAndTheirCauses(t *testing.T) {
	planted(t, 42, func(a *asked) {
		f := must[*failures.Answer](t)(failures.Ask(ctx, a.c, failures.In{Service: a.arg("service"), Class: "4xx", ListCalls: true, Scope: ask.Scope{From: a.arg("from"), To: a.arg("to"), Limit: 200}}))
		a.is("count", float64(f.Total))
		got := map[string]float64{}
		for _, g := range f.Groups {
			got[g.Status[:3]] += float64(g.Calls)
		}
		a.groups("by_status", got, false)
		a.says("causes", f)
		checkListed(a, 42, "rows", f.Listed)
	})
}

// TestFailuresOfAClassNameTheOthers asks for server errors of HTTP where only gRPC failed.
func TestFailuresOfAClassNameTheOthers(t *testing.T) {
	a := must[*failures.Answer](t)(failures.Ask(ctx, open(t, "grpc.pcapng"), failures.In{Class: "5xx"}))
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
		c := open(t, name)
		all := must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{NoCauses: true}))
		if !slices.Equal(all.Classes, want) {
			t.Errorf("%s: classes %v, want %v", name, all.Classes, want)
		}
		for _, k := range all.Classes {
			a := must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{NoCauses: true, Class: k.Class}))
			if !in[k.Class] || a.Total != k.Calls {
				t.Errorf("%s, class %s: %d failed calls, want %d; the class is an argument: %v", name, k.Class, a.Total, k.Calls, in[k.Class])
			}
		}
	}
}
