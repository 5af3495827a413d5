package questions

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
)

// truth describes the planted traffic.
type truth struct {
	Clock    struct{ From, Now string }
	Services []service
	Totals   map[string]float64
	Counts   []struct {
		Client, Server, Protocol string
		Count                    float64
		Sealed                   bool
	}
	Questions []question
	Plants    []struct {
		ID    string
		Facts []fact
	}
}

type service struct {
	Role, Namespace, Service, Workload string
	External                           bool
	Pods                               []struct{ Name, IP, Node string }
}

type question struct {
	Number    int
	Kind      string
	Words     string
	Arguments map[string]any
	Facts     []fact
}

// fact is a statement that a correct answer contains.
type fact struct {
	ID, Says, Unit string
	Value          *float64
	Tolerance      float64
	Strings, Not   []string
	From, To       string
	ToleranceMs    float64 `json:"tolerance_ms"`
	Groups         map[string]float64
	Rows           []row
}

// row is an exchange in its client's log.
type row struct {
	At         string
	Protocol   string
	ClientAddr string `json:"client_addr"`
	ClientRole string `json:"client_role"`
	ServerAddr string `json:"server_addr"`
	Method     string
	Path       string
	Endpoint   string
	Status     int64
	LateStatus int64 `json:"late_status"`
	Error      string
}

// wire is a call in the bundle.
type wire struct {
	id, src, dst, protocol, method string
	at, end                        int64
	status                         int64
}

// readWires reads the calls of the bundle, to identify the rows of the truth.
func (s *scenario) readWires(ctx context.Context) error {
	s.wires, s.perCall = map[string][]wire{}, map[string]wire{}
	r, err := s.plain.Query(ctx, forensics.Query{Limit: 1 << 20, SQL: `SELECT call_id, ts_ns, src_ip::VARCHAR, src_port, dst_ip::VARCHAR, dst_port, protocol, coalesce(method, ''), coalesce(status_code, 0), coalesce(elapsed_us, 0)
		FROM calls ORDER BY ts_ns, call_no`})
	if err != nil {
		return err
	}
	if r.Truncated {
		return fmt.Errorf("more calls than %d", len(r.Rows))
	}
	for _, x := range r.Rows {
		id, _ := x[0].([]byte)
		w := wire{id: hex.EncodeToString(id), src: fmt.Sprintf("%v:%v", x[2], x[3]), dst: fmt.Sprintf("%v:%v", x[4], x[5]), protocol: fmt.Sprint(x[6]), method: fmt.Sprint(x[7])}
		w.at, _ = x[1].(int64)
		w.status, _ = x[8].(int64)
		elapsed, _ := x[9].(int64)
		w.end = w.at + 1000*elapsed
		if w.protocol == "nats" && w.method == "PUB" {
			s.published = append(s.published, w)
		}
		s.wires[w.src+">"+w.dst] = append(s.wires[w.src+">"+w.dst], w)
		s.perCall[w.id] = w
	}
	return nil
}

// wire finds the call of a row by its connection, protocol, status and time.
func (s *scenario) wire(r row) (wire, bool) {
	at, err := time.Parse(time.RFC3339Nano, r.At)
	if err != nil {
		return wire{}, false
	}
	best, found := wire{}, false
	list := s.wires[r.ClientAddr+">"+r.ServerAddr]
	if r.Protocol == "nats" { // its client logs no port
		list = s.published
	}
	for _, w := range list {
		if host, _, _ := strings.Cut(w.src, ":"); r.Protocol == "nats" && (w.dst != r.ServerAddr || s.who(host) != s.roleName(r.ClientRole)) {
			continue
		}
		if w.protocol != r.Protocol || !methods(w, r) || w.status != r.Status && w.status != r.LateStatus && r.Protocol != "postgresql" && r.Protocol != "redis" && r.Protocol != "nats" {
			continue
		}
		off, was := abs(w.at-at.UnixNano()), abs(best.at-at.UnixNano())
		if off <= int64(20*time.Millisecond) && (!found || off < was) {
			best, found = w, true
		}
	}
	return best, found
}

// methods reports whether a row and a call have the same method. Those of statements and messages
// may differ.
func methods(w wire, r row) bool {
	switch r.Protocol {
	case "http1", "http2", "grpc", "redis", "dns":
		return w.method == r.Method
	}
	return true
}

func abs(n int64) int64 { return max(n, -n) }

// claim is what a script claims about one fact, from its answers.
type claim struct {
	number   *float64
	groups   map[string]float64
	from, to string
	calls    map[string]bool
	exact    bool // exactly these calls
	some     bool // at least these groups
}

func (a *run) claim(id string) *claim {
	if a.claims[id] == nil {
		a.claims[id] = &claim{}
	}
	return a.claims[id]
}

// number claims a number for a fact.
func (a *run) number(id string, v float64) { a.claim(id).number = &v }

// groups claims numbers by key.
func (a *run) groups(id string, list []node, key func(node) string, value string) {
	c := a.claim(id)
	if c.groups == nil {
		c.groups = map[string]float64{}
	}
	for _, n := range list {
		k := key(n)
		switch {
		case k == "":
		case value == "": // each element counts
			c.groups[k]++
		default:
			c.groups[k] += n.num(value)
		}
	}
}

// set claims a number for one key.
func (a *run) set(id string, key string, v float64) {
	c := a.claim(id)
	if c.groups == nil {
		c.groups = map[string]float64{}
	}
	c.groups[key] += v
}

// times claims a time or a time range.
func (a *run) times(id, from, to string) {
	c := a.claim(id)
	c.from, c.to = from, to
}

// shown claims the calls listed in an answer.
func (a *run) shown(id string, n ...node) {
	c := a.claim(id)
	if c.calls == nil {
		c.calls = map[string]bool{}
	}
	for _, x := range n {
		x.ids(c.calls)
	}
}

// behind claims exactly the calls that match the filter in an answer.
func (a *run) behind(id string, n node, kfl string) {
	a.t.Helper()
	c := a.claim(id)
	if c.calls == nil {
		c.calls = map[string]bool{}
	}
	c.exact = true
	if kfl == "" {
		a.t.Errorf("%s: an answer without a filter for its calls", id)
		return
	}
	for _, w := range a.follow(n, kfl) {
		c.calls[w.id] = true
	}
}

// follow returns the calls that match a filter, in the time range of the answer.
func (a *run) follow(n node, kfl string) (out []wire) {
	a.t.Helper()
	if a.s.plain == nil {
		return nil // of a remote case
	}
	r, err := a.s.plain.Query(context.Background(), forensics.Query{KFL: kfl, From: nanos(n.args["from"]), To: nanos(n.args["to"]), Limit: 1 << 20, Columns: []string{"call_id"}})
	if err != nil {
		a.t.Errorf("%s: %s: %v", n.tool, kfl, err)
		return nil
	}
	for _, x := range r.Rows {
		id, _ := x[0].([]byte)
		out = append(out, a.s.perCall[hex.EncodeToString(id)])
	}
	return out
}

func nanos(v any) int64 {
	text, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return t.UnixNano()
}

// check compares a fact with the claims and returns the differences.
func (a *run) check(f fact) (problems []string) {
	c := a.claims[f.ID]
	if c == nil {
		c = &claim{}
	}
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if f.Value != nil {
		switch {
		case c.number == nil:
			say("no number, want %v %s", *f.Value, f.Unit)
		case math.Abs(*c.number-*f.Value) > f.Tolerance+1e-9:
			say("%v, want %v %s, ± %v", *c.number, *f.Value, f.Unit, f.Tolerance)
		}
	}
	problems = append(problems, checkGroups(f, c)...)
	problems = append(problems, checkTimes(f, c)...)
	if len(f.Strings)+len(f.Not) > 0 {
		var b strings.Builder
		for _, n := range a.answers {
			n.texts(&b)
		}
		text := b.String()
		for _, s := range f.Strings {
			if !strings.Contains(text, s) {
				say("%q is not in the answers", s)
			}
		}
		for _, s := range f.Not {
			if strings.Contains(text, s) {
				say("%q is in the answers", s)
			}
		}
	}
	return append(problems, a.checkRows(f, c)...)
}

func checkGroups(f fact, c *claim) (problems []string) {
	keys := map[string]bool{}
	for k := range f.Groups {
		keys[k] = true
	}
	if len(keys) == 0 {
		return nil
	}
	for k := range c.groups {
		keys[k] = true
	}
	for _, k := range sorted(keys) {
		want, planted := f.Groups[k]
		got, claimed := c.groups[k]
		switch {
		case !claimed:
			problems = append(problems, fmt.Sprintf("no %q, want %v", k, want))
		case !planted && c.some:
		case !planted:
			problems = append(problems, fmt.Sprintf("%q: %v, want none", k, got))
		case math.Abs(want-got) > f.Tolerance+1e-9:
			problems = append(problems, fmt.Sprintf("%q: %v, want %v ± %v", k, got, want, f.Tolerance))
		}
	}
	return problems
}

func sorted(set map[string]bool) []string {
	var out []string
	for k := range set {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func checkTimes(f fact, c *claim) (problems []string) {
	for _, x := range [][3]string{{"from", f.From, c.from}, {"to", f.To, c.to}} {
		if x[1] == "" {
			continue
		}
		want, err := time.Parse(time.RFC3339Nano, x[1])
		got, err2 := time.Parse(time.RFC3339Nano, x[2])
		if err != nil || err2 != nil {
			problems = append(problems, fmt.Sprintf("%s %q, want %s", x[0], x[2], x[1]))
			continue
		}
		if off := got.Sub(want).Abs(); off > time.Duration(f.ToleranceMs*float64(time.Millisecond)) {
			problems = append(problems, fmt.Sprintf("%s %s, want %s ± %v ms", x[0], x[2], x[1], f.ToleranceMs))
		}
	}
	return problems
}

func (a *run) checkRows(f fact, c *claim) (problems []string) {
	if len(f.Rows) == 0 {
		return nil
	}
	known := c.calls
	if known == nil {
		return []string{fmt.Sprintf("no calls, want %d", len(f.Rows))}
	}
	missing, unknown := 0, 0
	for _, r := range f.Rows {
		w, ok := a.s.wire(r)
		if !ok {
			unknown++
			problems = append(problems, fmt.Sprintf("no call in the bundle for %s %s %s > %s %s %d", r.At, r.Protocol, r.ClientAddr, r.ServerAddr, r.Method, r.Status))
			continue
		}
		if !known[w.id] {
			missing++
			problems = append(problems, fmt.Sprintf("no call %s: %s %s %s > %s %s %s %d", w.id, r.At, r.Protocol, r.ClientAddr, r.ServerAddr, r.Method, r.Path, r.Status))
		}
	}
	if len(problems) > 6 {
		problems = append(slices.Clone(problems[:5]), fmt.Sprintf("in total, %d of %d calls are not in the answers, and %d not in the bundle", missing, len(f.Rows), unknown))
	}
	if c.exact && len(problems) == 0 && len(known) != len(f.Rows) && (f.Value == nil || len(known) != int(*f.Value)) {
		problems = append(problems, fmt.Sprintf("%d calls, want exactly %d", len(known), len(f.Rows)))
	}
	return problems
}

// index maps the names in answers to services.
func (s *scenario) index() {
	s.names, s.roles = map[string]string{}, map[string]string{}
	for _, v := range s.truth.Services {
		s.roles[v.Service] = v.Role
		for _, p := range v.Pods {
			for _, name := range []string{p.Name, p.IP} {
				if name != "" {
					s.names[name] = v.Service
				}
			}
		}
	}
}

func (s *scenario) roleName(role string) string {
	for name, r := range s.roles {
		if r == role {
			return name
		}
	}
	return role
}

// who translates the name of a service in an answer to its name in the truth.
func (s *scenario) who(name string) string {
	if i := strings.LastIndex(name, "/"); i >= 0 {
		name = name[i+1:]
	}
	if known := s.names[name]; known != "" {
		return known
	}
	return name
}
