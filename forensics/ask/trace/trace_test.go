package trace_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

func itoa(n int) string { return strconv.Itoa(n) }

const (
	user, edge, shop, store, other = "198.51.100.9", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"
	msec                           = time.Millisecond
)

// step finds a call of a trace by path and server.
func step(t *testing.T, tr *trace.Answer, path, dst string) trace.Step {
	t.Helper()
	for _, c := range tr.Chains {
		for _, s := range c.Steps {
			if strings.Contains(s.Summary, path) && s.Dst == dst {
				return s
			}
		}
	}
	t.Fatalf("no step %s at %s in %+v", path, dst, tr.Chains)
	return trace.Step{}
}

func chainsOf(t *testing.T, w *asktest.Made, in trace.In) *trace.Answer {
	t.Helper()
	return asktest.Must[*trace.Answer](t)(trace.Ask(ctx, w.Open(t), in))
}

func TestAParentIsWhatWasOpenAtTheSamePlace(t *testing.T) {
	w := &asktest.Made{}
	w.Single(10*msec, 50*msec, edge, shop, asktest.Get("/buy"), asktest.Answer("200 OK", "{}"))
	w.Single(20*msec, 10*msec, shop, store, asktest.Get("/stock"), asktest.Answer("200 OK", "{}"))
	w.Single(15*msec, 20*msec, edge, other, asktest.Get("/elsewhere"), asktest.Answer("200 OK", "{}")) // open, but at another service
	w.Single(5*msec, 2*msec, edge, shop, asktest.Get("/before"), asktest.Answer("200 OK", "{}"))       // at this service, but already over
	tr := chainsOf(t, w, trace.In{Scope: ask.Scope{KFL: `path == "/stock"`}})
	s := step(t, tr, "/stock", store)
	if len(tr.Chains) != 1 || tr.Chains[0].Calls != 2 || s.Parent != 1 || s.Sure != "likely" || !strings.Contains(s.How, "time containment") {
		t.Errorf("%+v", tr.Chains)
	}
}

func TestTwoPossibleParentsAreReported(t *testing.T) {
	w := &asktest.Made{}
	w.Single(10*msec, 50*msec, edge, shop, asktest.Get("/a"), asktest.Answer("200 OK", "{}"))
	w.Single(12*msec, 50*msec, edge, shop, asktest.Get("/b"), asktest.Answer("200 OK", "{}"))
	w.Single(20*msec, 10*msec, shop, store, asktest.Get("/stock"), asktest.Answer("200 OK", "{}"))
	tr := chainsOf(t, w, trace.In{Scope: ask.Scope{KFL: `path == "/stock"`}})
	s := step(t, tr, "/stock", store)
	if s.Confidence > 0.45 || s.Sure != "guess" || !strings.Contains(s.How, "1 other call was") {
		t.Errorf("%+v", s)
	}
}

func TestIDsChooseAmongParents(t *testing.T) {
	const a, b = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Traceparent: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"
	w := &asktest.Made{}
	w.Single(10*msec, 50*msec, edge, shop, asktest.Get("/a", a), asktest.Answer("200 OK", "{}"))
	w.Single(12*msec, 50*msec, edge, shop, asktest.Get("/b", b), asktest.Answer("200 OK", "{}"))
	w.Single(20*msec, 10*msec, shop, store, asktest.Get("/stock", a), asktest.Answer("200 OK", "{}"))
	tr := chainsOf(t, w, trace.In{TraceID: "0af7651916cd43dd8448eb211c80319c"})
	if s := step(t, tr, "/stock", store); s.Sure != "exact" || len(tr.Chains) != 1 || !strings.Contains(tr.Chains[0].Steps[s.Parent-1].Summary, "/a") {
		t.Errorf("%+v", tr.Chains)
	}
}

func TestAProxyIsFollowedByItsBody(t *testing.T) {
	w := &asktest.Made{}
	for i, order := range []string{"order-000001", "order-000002", "order-000003"} {
		at := time.Duration(i) * msec
		body := `{"order":"` + order + `","amount":100}`
		w.Single(10*msec+at, 50*msec, user, edge, asktest.Post("/buy", body), asktest.Answer("201 Created", `{"done":"`+order+`"}`))
		w.Single(16*msec-at, 30*msec, edge, shop, asktest.Post("/buy", body), asktest.Answer("201 Created", `{"done":"`+order+`"}`))
	}
	tr := chainsOf(t, w, trace.In{Text: "order-000002"})
	if len(tr.Chains) != 1 || tr.Chains[0].Calls != 2 || tr.Chains[0].Steps[1].Sure != "exact" {
		t.Errorf("%+v", tr.Chains)
	}
}

// TestOneParentIsJudgedByAllEvidence: the confidence of a link does not depend on other calls of the case.
func TestOneParentIsJudgedByAllEvidence(t *testing.T) {
	w := &asktest.Made{}
	body := `{"order":"order-000001","amount":100}`
	w.Single(10*msec, 50*msec, edge, shop, asktest.Post("/buy", body), asktest.Answer("201 Created", "{}"))
	w.Single(20*msec, 10*msec, shop, store, asktest.Post("/reserve", body), asktest.Answer("200 OK", "{}"))
	tr := chainsOf(t, w, trace.In{Scope: ask.Scope{KFL: `path == "/reserve"`}})
	if s := step(t, tr, "/reserve", store); s.Sure != "exact" || !strings.Contains(s.How, "same body") {
		t.Errorf("%+v", s)
	}
}

func TestTroubleBeginsAtTheDeepestFailure(t *testing.T) {
	w := &asktest.Made{}
	w.Single(10*msec, 90*msec, user, edge, asktest.Get("/buy"), asktest.Answer("502 Bad Gateway", `{"error":"no stock"}`))
	w.Single(15*msec, 80*msec, edge, shop, asktest.Get("/buy2"), asktest.Answer("500 Internal Server Error", `{"error":"store"}`))
	w.Single(18*msec, 5*msec, shop, other, asktest.Get("/flag"), asktest.Answer("404 Not Found", `{}`)) // retried successfully
	w.Single(28*msec, 5*msec, shop, other, asktest.Get("/flag"), asktest.Answer("200 OK", `{}`))
	w.Single(40*msec, 50*msec, shop, store, asktest.Get("/stock"), asktest.Answer("503 Service Unavailable", `{"error":"pool is empty"}`))
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, w.Open(t), failures.In{Service: edge}))
	if len(f.Causes) != 1 || f.Causes[0].Dst != store || f.Causes[0].What != "failed" || !strings.Contains(f.Causes[0].Said, "pool is empty") || f.Causes[0].Way != user+" → "+edge+" → "+shop+" → "+store {
		t.Errorf("%+v", f.Causes)
	}
}

func TestARefusedConnectionIsACause(t *testing.T) {
	w := &asktest.Made{}
	w.Single(10*msec, 9*msec, edge, shop, asktest.Get("/buy"), asktest.Answer("503 Service Unavailable", `{}`))
	w.Attempt(15*msec, shop, store+":5432", true)
	w.Attempt(300*msec, shop, store+":5432", true) // not caused by that call
	c := w.Open(t)
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
	if len(f.Causes) != 1 || f.Causes[0].Dst != store || f.Causes[0].Status != "refused" || f.Causes[0].Packets == "" {
		t.Errorf("%+v", f.Causes)
	}
	if len(f.Connections) != 1 || f.Connections[0].What != "refused" || f.Connections[0].Connections != 2 || f.Connections[0].WithoutCall != 2 {
		t.Errorf("%+v", f.Connections)
	}
}

func TestAQueryLongerThanItsCallerIsTheCause(t *testing.T) {
	w := &asktest.Made{}
	w.Single(10*msec, 200*msec, user, edge, asktest.Get("/report"), asktest.Answer("504 Gateway Timeout", `{"error":"upstream"}`))
	w.Single(12*msec, 600*msec, edge, shop, asktest.Get("/report2"), asktest.Answer("200 OK", `{}`))
	w.Single(14*msec, 590*msec, shop, store, asktest.Get("/rows"), asktest.Answer("200 OK", `{}`))
	tr := chainsOf(t, w, trace.In{Scope: ask.Scope{KFL: "status_code == 504"}})
	if len(tr.Origins) != 1 || tr.Origins[0].Dst != store || tr.Origins[0].What != "slow" {
		t.Errorf("%+v", tr.Origins)
	}
	if tr.Hops[0].Share > 1 {
		t.Errorf("the own time exceeds the total: %+v", tr.Hops[0])
	}
}

func TestSearchFindsWholeWordsInEveryForm(t *testing.T) {
	w := &asktest.Made{}
	w.Single(10*msec, msec, edge, shop, asktest.Get("/orders/12345"), asktest.Answer("200 OK", "{}"))
	w.Single(20*msec, msec, edge, shop, asktest.Get("/orders/9123456"), asktest.Answer("200 OK", "{}"))
	w.Single(30*msec, msec, edge, shop, asktest.Get("/users?mail=a%2Bb%40example.com"), asktest.Answer("200 OK", "{}"))
	w.Single(40*msec, msec, edge, shop, asktest.Post("/users", `{"mail":"a+b@example.com","password":"opensesame"}`), asktest.Answer("200 OK", `{"list":[{"id":12345}]}`))
	c := w.Open(t)
	found := func(in search.In) *search.Answer { return asktest.Must[*search.Answer](t)(search.Ask(ctx, c, in)) }
	s := found(search.In{Text: "12345", Whole: true})
	if s.Total != 2 || s.Matches[0].Found[0].Place != "path" || s.Matches[1].Found[0].Name != "$.list[0].id" {
		t.Errorf("%+v", s.Matches)
	}
	if s := found(search.In{Text: "12345"}); s.Total != 3 {
		t.Errorf("%d calls, want 3", s.Total)
	}
	if s := found(search.In{Text: "a+b@example.com"}); s.Total != 2 {
		t.Errorf("%+v", s.Matches)
	}
	if s := found(search.In{Text: "A+B@EXAMPLE.COM"}); s.Total != 0 || len(s.Notes) == 0 {
		t.Errorf("%+v", s)
	}
	if s := found(search.In{Text: "opensesame"}); s.Total != 1 || strings.Contains(s.Matches[0].Found[0].Excerpt, "opensesame") {
		t.Errorf("a password is shown: %+v", s.Matches)
	}
	first := found(search.In{Pattern: "orders|users", Scope: ask.Scope{Limit: 3}})
	rest := found(search.In{Pattern: "orders|users", Scope: ask.Scope{Limit: 3}, Cursor: first.Next})
	if first.Total != 4 || len(first.Matches) != 3 || len(rest.Matches) != 1 || rest.Next != "" {
		t.Errorf("%d, then %d of %d", len(first.Matches), len(rest.Matches), first.Total)
	}
	for _, bad := range []search.In{{}, {Text: "x"}, {Pattern: "("}, {Pattern: ".*"}, {Text: "ab", Pattern: "c"}, {Text: "ab", In: []string{"body"}}, {Text: "ab", Cursor: "1.2"}} {
		if _, err := search.Ask(ctx, c, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
