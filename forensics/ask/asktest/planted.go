package asktest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// truth is the ground truth of samples/questions.
type truth struct {
	Questions []struct {
		Number    int                        `json:"number"`
		Arguments map[string]json.RawMessage `json:"arguments"`
		Facts     []Fact                     `json:"facts"`
	} `json:"questions"`
}

// Fact is what the answer to a planted question must say.
type Fact struct {
	ID        string             `json:"id"`
	Value     float64            `json:"value"`
	Tolerance float64            `json:"tolerance"`
	Strings   []string           `json:"strings"`
	Groups    map[string]float64 `json:"groups"`
	From      time.Time          `json:"from"`
	To        time.Time          `json:"to"`
	Rows      []Exchange         `json:"rows"`
}

// Exchange is one exchange as its ends logged it.
type Exchange struct {
	Path      string    `json:"path"`
	At        time.Time `json:"at"`
	Done      time.Time `json:"done"`
	RequestID string    `json:"request_id"`
	Protocol  string    `json:"protocol"`
	Client    string    `json:"client_addr"`
	Server    string    `json:"server_addr"`
	Method    string    `json:"method"`
	Sealed    bool      `json:"sealed"`
}

// Asked is one question of the ground truth, and the case that answers it.
type Asked struct {
	*testing.T
	Case  *forensics.Case
	args  map[string]json.RawMessage
	facts map[string]Fact
}

// Planted runs a test on a question of both scenarios.
func Planted(t *testing.T, number int, check func(a *Asked)) {
	for _, scenario := range []string{"default", "other"} {
		t.Run(scenario, func(t *testing.T) {
			text, err := os.ReadFile(Sample("questions", scenario, "truth.json"))
			if err != nil {
				t.Fatal(err)
			}
			var all truth
			if err := json.Unmarshal(text, &all); err != nil {
				t.Fatal(err)
			}
			for _, q := range all.Questions {
				if q.Number == number {
					a := &Asked{T: t, Case: Scenario(t, scenario), args: q.Arguments, facts: map[string]Fact{}}
					for _, f := range q.Facts {
						a.facts[f.ID] = f
					}
					check(a)
					return
				}
			}
			t.Fatalf("no question %d", number)
		})
	}
}

// Scenario is the case of a scenario.
func Scenario(t testing.TB, name string) *forensics.Case {
	t.Helper()
	captures, err := filepath.Glob(Sample("questions", name, "*.pcapng.zst"))
	if err != nil || len(captures) == 0 {
		t.Fatalf("no captures of scenario %s: %v", name, err)
	}
	keys, err := filepath.Glob(Sample("questions", name, "*.keys"))
	if err != nil {
		t.Fatal(err)
	}
	return Share(t, name, captures, exporter.Options{Keys: keys})
}

// Arg is an argument of the question.
func (a *Asked) Arg(name string) (s string) {
	a.argument(name, &s)
	return s
}

// List is an argument of the question that has several values.
func (a *Asked) List(name string) (list []string) {
	a.argument(name, &list)
	return list
}

func (a *Asked) argument(name string, v any) {
	a.Helper()
	if err := json.Unmarshal(a.args[name], v); err != nil {
		a.Fatalf("argument %s: %v", name, err)
	}
}

// Fact is a fact of the truth.
func (a *Asked) Fact(id string) Fact {
	a.Helper()
	f, ok := a.facts[id]
	if !ok {
		a.Fatalf("the truth has no fact %s", id)
	}
	return f
}

// Is checks a number against a fact.
func (a *Asked) Is(id string, got float64) {
	a.Helper()
	if f := a.Fact(id); math.Abs(got-f.Value) > f.Tolerance+0.005 {
		a.Errorf("%s: %v, want %v ± %v", id, got, f.Value, f.Tolerance)
	}
}

// Groups checks numbers by name. Other names must be absent, unless part is true.
func (a *Asked) Groups(id string, got map[string]float64, part bool) {
	a.Helper()
	f := a.Fact(id)
	for k, want := range f.Groups {
		if math.Abs(got[k]-want) > f.Tolerance+0.005 {
			a.Errorf("%s: %s: %v, want %v ± %v", id, k, got[k], want, f.Tolerance)
		}
	}
	for k, n := range got {
		if _, ok := f.Groups[k]; !ok && !part {
			a.Errorf("%s: %s: %v, not planted", id, k, n)
		}
	}
}

// Says checks that an answer contains the fact's texts.
func (a *Asked) Says(id string, answer any) {
	a.Helper()
	text := a.text(answer)
	for _, s := range a.Fact(id).Strings {
		if !strings.Contains(text, s) {
			a.Errorf("%s: the answer does not say %q", id, s)
		}
	}
}

func (a *Asked) text(answer any) string {
	a.Helper()
	text, err := json.Marshal(answer)
	if err != nil {
		a.Fatal(err)
	}
	return string(text)
}

// Listed checks that an answer contains the calls of a fact's rows.
func (a *Asked) Listed(id string, answer any) {
	a.Helper()
	text, calls, rows := a.text(answer), a.calls(), a.Fact(id).Rows
	missing := 0
	for _, x := range rows {
		if x.Client == "" {
			continue // no dissector for this protocol
		}
		if call := a.callOf(calls, x); !x.Sealed && !strings.Contains(text, call) {
			if missing++; missing <= 3 {
				a.Errorf("%s: the answer lacks call %s of %+v", id, call, x)
			}
		}
	}
	if missing > 3 {
		a.Errorf("%s: %d of %d calls are missing", id, missing, len(rows))
	}
}

// logged is what of a call its ends may have logged.
type logged struct {
	id       string
	protocol string
	ns       int64
}

// calls reads all calls of a case at once, by the addresses and ports of both ends. A question for
// each exchange would take most of the time of these tests.
func (a *Asked) calls() map[string][]logged {
	a.Helper()
	r, err := a.Case.Query(ctx, forensics.Query{SQL: `SELECT call_id, protocol, ts_ns, src_ip, src_port, dst_ip, dst_port FROM calls_raw ORDER BY call_no`, Limit: 1 << 20})
	if err != nil || r.Truncated {
		a.Fatalf("reading all calls: truncated %v, %v", r != nil && r.Truncated, err)
	}
	calls := map[string][]logged{}
	for _, row := range r.Rows {
		ends := fmt.Sprintln(row[3:]...)
		calls[ends] = append(calls[ends], logged{hex.EncodeToString(row[0].([]byte)), row[1].(string), row[2].(int64)})
	}
	return calls
}

// callOf finds the call of a logged exchange by its addresses and its time.
func (a *Asked) callOf(calls map[string][]logged, x Exchange) string {
	a.Helper()
	src, dst := Must[netip.AddrPort](a)(netip.ParseAddrPort(x.Client)), Must[netip.AddrPort](a)(netip.ParseAddrPort(x.Server))
	apart := func(c logged) time.Duration { return time.Unix(0, c.ns).Sub(x.At).Abs() }
	var best *logged
	for _, c := range calls[fmt.Sprintln(src.Addr(), src.Port(), dst.Addr(), dst.Port())] {
		if (c.protocol == x.Protocol || x.Protocol == "nats" && c.protocol == "tcp") && (best == nil || apart(c) < apart(*best)) {
			best = &c
		}
	}
	if best == nil {
		a.Fatalf("no call matches %+v", x)
	}
	return best.id
}
