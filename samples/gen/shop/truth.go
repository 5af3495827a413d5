package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// Truth is the ground truth for each question.
type Truth struct {
	Version   int            `json:"version"`
	Scenario  string         `json:"scenario"`
	Seed      uint64         `json:"seed"`
	Clock     TruthClock     `json:"clock"`
	Services  []TruthService `json:"services"`
	Totals    map[string]int `json:"totals"`
	Counts    []Count        `json:"counts"`
	Questions []Question     `json:"questions"`
	Plants    []Question     `json:"plants"` // facts beyond the questions
}

// TruthClock is the scenario's time.
type TruthClock struct {
	From        time.Time `json:"from"`
	Now         time.Time `json:"now"`
	Today       string    `json:"today"`
	Yesterday   string    `json:"yesterday"`
	ToleranceMs int       `json:"now_tolerance_ms"`
}

// TruthService is the workload with a role.
type TruthService struct {
	Role         string     `json:"role"`
	Namespace    string     `json:"namespace,omitempty"`
	Service      string     `json:"service"`
	Workload     string     `json:"workload,omitempty"`
	WorkloadKind string     `json:"workload_kind,omitempty"`
	Team         string     `json:"team,omitempty"`
	Port         int        `json:"port,omitempty"`
	External     bool       `json:"external"`
	Domain       string     `json:"domain,omitempty"`
	Pods         []TruthPod `json:"pods"`
}

// TruthPod is one of its pods, or its address.
type TruthPod struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
	Node string `json:"node,omitempty"`
}

// Count is the number of equal requests between two workloads with the same outcome.
type Count struct {
	Client   string `json:"client"`
	Server   string `json:"server"`
	Protocol string `json:"protocol"`
	Method   string `json:"method"`
	Endpoint string `json:"endpoint"`
	Status   int    `json:"status"`
	Error    string `json:"error"`
	Late     int    `json:"late_status,omitempty"` // status of a response after the client was gone
	Sealed   bool   `json:"sealed,omitempty"`
	Count    int    `json:"count"`
}

// Question is one of the questions with its facts.
type Question struct {
	Number    int            `json:"number,omitempty"`
	ID        string         `json:"id,omitempty"`
	Kind      string         `json:"kind"`
	Words     string         `json:"words"`
	Arguments map[string]any `json:"arguments,omitempty"`
	Facts     []Fact         `json:"facts"`
}

// Fact is one fact that a correct answer contains.
type Fact struct {
	ID          string             `json:"id"`
	Says        string             `json:"says"`
	Value       *float64           `json:"value,omitempty"`
	Unit        string             `json:"unit,omitempty"`
	Tolerance   float64            `json:"tolerance,omitempty"`
	Strings     []string           `json:"strings,omitempty"`
	Not         []string           `json:"not,omitempty"`
	From        *time.Time         `json:"from,omitempty"`
	To          *time.Time         `json:"to,omitempty"`
	ToleranceMs int                `json:"tolerance_ms,omitempty"`
	Groups      map[string]float64 `json:"groups,omitempty"`
	Rows        []*Entry           `json:"rows,omitempty"`
}

func (s *shop) truth(entries []*Entry) *Truth {
	t := &Truth{Version: 1, Scenario: s.sc.Name, Seed: s.sc.Seed, Totals: map[string]int{},
		Clock: TruthClock{From: entries[0].At, Now: entries[len(entries)-1].Done, Today: s.sc.Today, Yesterday: s.sc.day(-1).Format(time.DateOnly), ToleranceMs: 2000}}
	for _, svc := range s.sc.Services {
		ts := TruthService{Role: svc.Role, Namespace: s.sc.ns(svc.Namespace), Service: svc.Name, Team: svc.Team, Port: svc.Port}
		if svc.Kind != "Pod" {
			ts.Workload, ts.WorkloadKind = svc.Name, svc.Kind
		}
		for _, p := range s.pods[svc.Role] {
			ts.Pods = append(ts.Pods, TruthPod{p.name, p.ip, p.node})
		}
		t.Services = append(t.Services, ts)
	}
	for _, e := range s.sc.Externals {
		t.Services = append(t.Services, TruthService{Role: e.Role, Service: s.sc.name(e.Role), External: true, Domain: e.Domain, Pods: []TruthPod{{IP: e.IP}}})
	}
	for _, role := range []string{customerRole, kubeletRole} { // not services
		ts := TruthService{Role: role, Service: role, External: role == customerRole}
		for _, p := range s.pods[role] {
			ts.Pods = append(ts.Pods, TruthPod{IP: p.ip})
		}
		t.Services = append(t.Services, ts)
	}
	counts := map[Count]int{}
	for _, e := range entries {
		if !e.Sealed && e.Protocol != "nats" {
			t.Totals[e.Protocol]++
		}
		counts[Count{e.ClientRole, e.ServerRole, e.Protocol, e.Method, e.Endpoint, e.Status, e.Error, e.LateStatus, e.Sealed, 0}]++
	}
	for c, n := range counts {
		c.Count = n
		t.Counts = append(t.Counts, c)
	}
	sort.Slice(t.Counts, func(a, b int) bool { return fmt.Sprint(t.Counts[a]) < fmt.Sprint(t.Counts[b]) })
	f := &finder{s: s, all: entries, now: t.Clock.Now}
	t.Questions = slices.Concat(f.incidents(), f.aService(), f.security(), f.architecture(), f.performance(), f.compliance(), f.debugging(), f.development())
	t.Plants = f.plants()
	return t
}

// finder makes facts from the logs of the services.
type finder struct {
	s   *shop
	all []*Entry
	now time.Time
}

type cond func(*Entry) bool

// where returns the entries that match all conditions.
func (f *finder) where(list ...cond) (out []*Entry) {
	for _, e := range f.all {
		if !slices.ContainsFunc(list, func(c cond) bool { return !c(e) }) {
			out = append(out, e)
		}
	}
	return out
}

func from(role ...string) cond {
	return func(e *Entry) bool { return slices.Contains(role, e.ClientRole) }
}
func to(role ...string) cond {
	return func(e *Entry) bool { return slices.Contains(role, e.ServerRole) }
}
func with(role ...string) cond {
	return func(e *Entry) bool { return from(role...)(e) || to(role...)(e) }
}
func status(n int) cond { return func(e *Entry) bool { return e.Status == n } }
func during(step ...string) cond {
	return func(e *Entry) bool { return slices.Contains(step, e.Step) }
}
func of(protocol ...string) cond {
	return func(e *Entry) bool { return slices.Contains(protocol, e.Protocol) }
}
func path(prefix string) cond {
	return func(e *Entry) bool { return strings.HasPrefix(e.Path, prefix) }
}
func endpoint(s string) cond { return func(e *Entry) bool { return e.Endpoint == s } }
func between(a, b time.Time) cond {
	return func(e *Entry) bool { return !e.At.Before(a) && e.At.Before(b) }
}
func not(c cond) cond         { return func(e *Entry) bool { return !c(e) } }
func failed(e *Entry) bool    { return e.failed() }
func web(e *Entry) bool       { return e.Protocol == "http1" || e.Protocol == "http2" }
func open(e *Entry) bool      { return !e.Sealed }
func statement(e *Entry) bool { return e.Protocol == "postgresql" && e.Method != "STARTUP" }
func authorized(e *Entry) bool {
	return e.asked.Get("Authorization") != ""
}
func (f *finder) outside(e *Entry) bool { return f.s.sc.external(e.ServerRole) != nil }
func (f *finder) lastHour() cond        { return between(f.now.Add(-time.Hour), f.now.Add(time.Hour)) }
func (f *finder) name(role string) string {
	return f.s.sc.name(role)
}

func (f *finder) names(roles ...string) (out []string) {
	for _, r := range roles {
		out = append(out, f.name(r))
	}
	return out
}

// holds reports whether the request or the response contains a text.
func holds(text string) cond {
	return func(e *Entry) bool {
		return strings.Contains(e.request, text) || strings.Contains(e.reply, text) || strings.Contains(e.Path, text)
	}
}

// by counts entries by a key.
func by(list []*Entry, key func(*Entry) string) map[string]float64 {
	m := map[string]float64{}
	for _, e := range list {
		if k := key(e); k != "" {
			m[k]++
		}
	}
	return m
}

func (f *finder) pair(e *Entry) string { return f.name(e.ClientRole) + " → " + f.name(e.ServerRole) }

// outcome is a key of client, server, request and result.
func (f *finder) outcome(e *Entry) string {
	end := fmt.Sprint(e.Status)
	if e.Error != "" {
		end = e.Error
	}
	what := e.Method + " " + e.Endpoint
	if e.Protocol == "dns" {
		what = e.Method + " " + e.Path
	}
	if e.Protocol == "dns" && strings.HasSuffix(e.Path, f.name("tunnel")) {
		what = e.Method + " " + f.name("tunnel")
	}
	return f.pair(e) + " " + strings.TrimSpace(what) + " " + end
}

func (f *finder) service(e *Entry) string { return f.name(e.ServerRole) }
func (f *finder) client(e *Entry) string  { return f.name(e.ClientRole) }

func keys(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }

func ms(d time.Duration) float64 { return math.Round(float64(d)/1e4) / 100 }

// quantile is a quantile of the durations of entries, in milliseconds.
func quantile(list []*Entry, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	var d []time.Duration
	for _, e := range list {
		d = append(d, e.elapsed())
	}
	slices.Sort(d)
	return ms(d[int(q*float64(len(d)-1)+0.5)])
}

func median(list []*Entry) float64 { return quantile(list, 0.5) }

// The shapes of facts.

func count(id, says string, list []*Entry) Fact {
	return number1(id, fmt.Sprintf(says, len(list)), float64(len(list)), "calls", 0)
}

func number1(id, says string, v float64, unit string, tolerance float64) Fact {
	return Fact{ID: id, Says: says, Value: &v, Unit: unit, Tolerance: tolerance}
}

func words(id, says string, list ...string) Fact { return Fact{ID: id, Says: says, Strings: list} }

func groups(id, says string, m map[string]float64) Fact { return Fact{ID: id, Says: says, Groups: m} }

const maxRows = 400

func rows(id, says string, list []*Entry) Fact {
	return Fact{ID: id, Says: says, Rows: list[:min(len(list), maxRows)]}
}

func moment(id, says string, at time.Time, toleranceMs int) Fact {
	return Fact{ID: id, Says: says, From: &at, ToleranceMs: toleranceMs}
}

func span(id, says string, list []*Entry) Fact {
	if len(list) == 0 {
		return Fact{ID: id, Says: says}
	}
	a, b := list[0].At, list[len(list)-1].At
	return Fact{ID: id, Says: says, From: &a, To: &b, ToleranceMs: 5}
}

type args = map[string]any

// window adds two times to arguments.
func window(a, b time.Time, more args) args {
	if more == nil {
		more = args{}
	}
	more["from"], more["to"] = a.Format(time.RFC3339), b.Format(time.RFC3339)
	return more
}

func clockOf(t time.Time) string { return t.Format("15:04") }
