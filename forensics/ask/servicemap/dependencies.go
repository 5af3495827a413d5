package servicemap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// DependenciesIn is the input of get_dependencies.
type DependenciesIn struct {
	ask.Scope
	Service string `json:"service" jsonschema:"service, workload, pod, host or address; namespace/name narrows, * and ? match"`
	Depth   int    `json:"depth,omitempty" jsonschema:"levels to follow, 1 to 10; default 3"`
	Via     string `json:"via,omitempty" jsonschema:"the layer that calls to the service should go through, such as data-access; lists clients that bypass it"`
	Blast   bool   `json:"blast_radius,omitempty" jsonschema:"also the endpoints of its dependents whose calls need it, with their shares: what would fail without it"`
}

// Dependencies is the answer of get_dependencies.
type Dependencies struct {
	ask.Frame
	Services   []MapNode    `json:"services" jsonschema:"what the name matches"`
	Summary    []string     `json:"summary"`
	Upstream   []Dependency `json:"upstream" jsonschema:"its callers, nearest first; depth 2 calls those of depth 1"`
	Downstream []Dependency `json:"downstream" jsonschema:"what it calls, nearest first"`
	Direct     []string     `json:"direct_dependents"`
	Transitive []string     `json:"transitive_dependents" jsonschema:"services that depend on it only through others"`
	Single     []string     `json:"single_points" jsonschema:"the service or its dependencies for which only one pod was seen to answer"`
	Bypass     []Bypass     `json:"bypass,omitempty" jsonschema:"with via: clients that bypass that layer; logins, prepared statements and other calls that access no data do not count"`
	ThroughVia int64        `json:"calls_through_via,omitempty"`
	Blast      *Blast       `json:"blast_radius,omitempty"`
}

// Dependency is one edge on the way to or from a service.
type Dependency struct {
	Depth     int      `json:"depth"`
	Src       string   `json:"src"`
	Dst       string   `json:"dst"`
	Place     string   `json:"place" jsonschema:"of the farther end: inside, outside or unknown"`
	Calls     int64    `json:"calls"`
	Failed    int64    `json:"failed"`
	Faults    int64    `json:"faults,omitempty" jsonschema:"of the failed, not caused by the caller"`
	ErrorRate float64  `json:"error_rate" jsonschema:"failed divided by calls"`
	P50Ms     *float64 `json:"p50_ms,omitempty"`
	P99Ms     *float64 `json:"p99_ms,omitempty"`
	Protocols []string `json:"protocols"`
	Health    string   `json:"health" jsonschema:"ok, slow (p99 of 1 s or more), degraded (5 % or more of the calls failed and their caller did not cause it), failing (half or more), or unknown (no calls were read)"`
	Why       string   `json:"why,omitempty"`
	KFL       string   `json:"kfl,omitempty" jsonschema:"filter for exactly these calls; if calls is 0, for the handshakes and unknown payload"`

	edge *MapEdge
}

// Bypass is a client that bypasses a layer.
type Bypass struct {
	Client    string   `json:"client"`
	Calls     int64    `json:"calls"`
	Protocols []string `json:"protocols"`
	CallID    string   `json:"call_id" jsonschema:"an example"`
	KFL       string   `json:"kfl"`
}

// DependenciesQuestion is the question get_dependencies.
func DependenciesQuestion() ask.Question {
	return ask.New("get_dependencies", "What depends on what", "Callers and dependencies of a service, direct and transitive, with the health of each edge; blast radius with the endpoints that would fail; clients that bypass a layer (via).", false, AskDependencies)
}

// AskDependencies answers get_dependencies.
func AskDependencies(ctx context.Context, c *forensics.Case, in DependenciesIn) (*Dependencies, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Service == "":
		return nil, ask.Wrong("service", "missing: give a service, workload, pod, host or address")
	case in.Depth < 0 || in.Depth > 10:
		return nil, ask.Wrong("depth", "must be 1 to 10, not %d", in.Depth)
	case in.Depth == 0:
		in.Depth = 3
	}
	out := &Dependencies{}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	g, err := readGraph(w, ctx, c, "service", false, &out.Frame)
	if err != nil {
		return nil, err
	}
	targets, err := g.named(ctx, c, w, in.Service)
	if err != nil {
		return nil, err
	}
	out.fill(g, w, targets, in.Depth)
	if in.Via != "" {
		layer, err := g.named(ctx, c, w, in.Via)
		if err != nil {
			return nil, err
		}
		if len(layer) == 0 {
			out.Note("the layer to go through has no calls in this time range, so every client bypasses it")
		}
		accesses := *w
		accesses.And(statements.Accesses)
		if g, err = readGraph(&accesses, ctx, c, "service", true, &out.Frame); err != nil {
			return nil, err
		}
		out.bypass(g, targets, g.alike(layer))
		out.Bypass = ask.Fit(w, &out.Frame, out.Bypass)
	}
	if in.Blast && len(targets) > 0 {
		if out.Blast, err = blast(w, ctx, c, targets, &out.Frame); err != nil {
			return nil, err
		}
	}
	out.Match(len(out.Upstream) + len(out.Downstream))
	return out, nil
}

// calledAs finds the nodes with another name whose servers match a name: the host that clients called, or the servers behind an
// address that they dialled.
func (g *graph) calledAs(ctx context.Context, c *forensics.Case, w *ask.Window, name string) (out []string, err error) {
	if name == terms.AnyOutside {
		return nil, nil
	}
	cond, args := terms.End("dst_", name)
	query := "SELECT far AS name FROM x WHERE far <> '' AND " + cond
	if dialled := terms.Dialled("dst_", name); dialled != "" {
		query += " UNION SELECT dst FROM x JOIN dname ON x.bn = dname.bn WHERE far = '' AND " + dialled
	}
	// Name what was called, not each call, because there is little of that.
	calls := fmt.Sprintf("SELECT k.*, %s FROM (SELECT DISTINCT %ssrc_id, dst_id, protocol, host, proxied_to, dst_ip FROM calls WHERE %s) k JOIN endpoints d ON d.endpoint_id = k.dst_id%s", terms.WhoOf("d.", "dst_"), terms.Key(c, ""), w.Where, terms.SameBundle(c, "d", "k"))
	rows, _, err := ask.Rows[MapNode](ctx, c, ask.MaxFacts, fmt.Sprintf("WITH %s, x AS MATERIALIZED (%s) ", terms.EndNames(c, g.by), terms.EndsOf(c, g.by, calls))+query+" ORDER BY 1", w.Values(args...)...)
	for _, r := range rows {
		if g.nodes[r.Name] != nil {
			out = append(out, r.Name)
		}
	}
	return out, err
}

// named finds the nodes of a map that match a name. The name of a pod behind several services stands for all of them.
func (g *graph) named(ctx context.Context, c *forensics.Case, w *ask.Window, name string) ([]string, error) {
	cond, args := terms.End("", name)
	rows, _, err := ask.Rows[struct {
		Name string `json:"name"`
	}](ctx, c, ask.MaxFacts, fmt.Sprintf(`SELECT %s AS name FROM endpoints WHERE %[2]s
		UNION SELECT coalesce(namespace || '/', '') || unnest(services) FROM (SELECT * REPLACE (NULL::VARCHAR AS service) FROM endpoints) WHERE pod IS NOT NULL AND %[2]s ORDER BY 1`, terms.Who(""), cond), append(slices.Clone(args), args...)...)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		if g.nodes[r.Name] != nil {
			out = ask.AddName(out, r.Name)
		}
	}
	called, err := g.calledAs(ctx, c, w, name)
	if err != nil {
		return nil, err
	}
	for _, node := range called {
		out = ask.AddName(out, node)
	}
	for node := range g.nodes { // nodes named by the host that clients called
		if strings.EqualFold(node, name) || strings.HasPrefix(name, "*.") && strings.HasSuffix(node, name[1:]) {
			out = ask.AddName(out, node)
		}
	}
	return out, nil
}

// outside reports whether a node is outside. If it makes calls, they are among those of terms.AnyOutside.
func (g *graph) outside(name string) bool { return g.nodes[name].Place == terms.Outside }

func (d *Dependencies) fill(g *graph, w *ask.Window, targets []string, depth int) {
	d.Services = []MapNode{}
	for _, t := range targets {
		d.Services = append(d.Services, *g.nodes[t])
	}
	up, direct, transitive := g.walk(targets, depth, true)
	down, next, _ := g.walk(targets, depth, false)
	d.Direct, d.Transitive = ask.SomeNames(direct), ask.SomeNames(transitive)
	d.Single = []string{}
	for _, name := range append(slices.Clone(targets), next...) {
		if n := g.nodes[name]; n.Replicas == 1 && n.CallsIn > 0 {
			d.Single = ask.AddName(d.Single, name)
		}
	}
	d.Single = ask.SomeNames(d.Single)
	d.Summary = []string{}
	mixed := slices.ContainsFunc(targets, g.outside) && g.nodes[terms.AnyOutside] != nil
	if len(direct)+len(transitive)+len(next) > 0 {
		text := plural.Sprintf("%d {client calls|clients call} it directly, %d more {depends|depend} on it through others", len(direct), len(transitive))
		if !mixed || len(next) > 0 {
			text += fmt.Sprintf("; it calls %d", len(next))
		}
		d.Summary = append(d.Summary, text+".")
	}
	for _, e := range down {
		if e.Depth == 1 && e.Health != ask.Healthy && e.Health != ask.Unknown {
			d.Summary = append(d.Summary, fmt.Sprintf("%s to %s is %s: %s.", e.Src, e.Dst, e.Health, e.Why))
		}
	}
	if len(d.Summary) > ask.MaxNames {
		d.Summary = d.Summary[:ask.MaxNames]
	}
	if mixed {
		d.Note("calls that addresses outside make are counted for all of them together, so those that it made are not listed")
	}
	d.NoteDatagrams(blind(edgesOf(append(slices.Clone(up), down...))))
	d.Upstream, d.Downstream = ask.Fit(w, &d.Frame, up), ask.Fit(w, &d.Frame, down)
}

// edgesOf returns the edges of dependencies, each once.
func edgesOf(list []Dependency) (edges []MapEdge) {
	seen := map[*MapEdge]bool{}
	for i := range list {
		if e := list[i].edge; !seen[e] {
			seen[e] = true
			edges = append(edges, *e)
		}
	}
	return edges
}

// walk lists the edges that lead to some nodes (up) or from them, by depth. It also returns the
// nodes at depth 1 and those further away.
func (g *graph) walk(from []string, most int, up bool) (rows []Dependency, first, further []string) {
	rows = []Dependency{}
	first, further = []string{}, []string{}
	depth := map[string]int{}
	for _, name := range from {
		depth[name] = 0
	}
	level := from
	for d := 1; d <= most && len(level) > 0; d++ {
		if !up || d > 1 { // the callers of the service itself are those that used its name
			level = g.alike(level)
		}
		var reached []string
		for i := range g.edges { // most calls first
			e := &g.edges[i]
			near, far := e.Src, e.Dst
			if up {
				near, far = far, near
			}
			if !slices.Contains(level, near) || near == far || d > 1 && far == terms.AnyOutside && slices.ContainsFunc(from, g.outside) {
				continue
			}
			if at, seen := depth[far]; !seen {
				depth[far] = d
				reached = append(reached, far)
			} else if at < d { // leads back
				continue
			}
			rows = append(rows, g.dependency(e, d, far))
		}
		for _, name := range reached {
			if d == 1 {
				first = ask.AddName(first, name)
			} else {
				further = ask.AddName(further, name)
			}
		}
		level = reached
	}
	return rows, first, further
}

func (g *graph) dependency(e *MapEdge, depth int, far string) Dependency {
	d := Dependency{Depth: depth, Src: e.Src, Dst: e.Dst, Place: g.nodes[far].Place, Calls: e.Calls, Failed: e.Failed, Faults: e.Faults, ErrorRate: ask.Share(e.Failed, e.Calls),
		P50Ms: e.P50Ms, P99Ms: e.P99Ms, Protocols: []string{}, KFL: e.KFL, edge: e}
	for _, p := range e.Protocols {
		d.Protocols = append(d.Protocols, p.Protocol)
	}
	d.Health, d.Why = e.health()
	return d
}

// health rates an edge by its calls and its connections without calls.
func (e *MapEdge) health() (string, string) {
	shut := plural.Sprintf("%d of %d {connection|connections} ", e.Shut, e.Connections) + ask.Were(e.Shut) + " refused or not answered"
	if e.Calls == 0 {
		switch ill := ask.Ill(e.broken+e.Shut, e.Connections); {
		case ill != "" && e.broken == 0:
			return ill, shut
		case ill != "":
			return ill, plural.Sprintf("%d of %d {connection|connections} ", e.broken+e.Shut, e.Connections) + ask.Were(e.broken+e.Shut) + " refused, not answered or failed during the handshake"
		}
		return ask.Unknown, "no calls were read: encrypted, without a dissector, or nothing was sent"
	}
	health, why := ask.Health(e.Calls, e.Faults, e.P99Ms)
	if health != ask.Healthy && health != ask.Slow {
		return health, why
	}
	if e.Shut > 0 && ask.Ill(e.Shut, e.Connections) != "" {
		return ask.Degraded, shut
	}
	return health, why
}

// bypass lists the callers of the targets that do not belong to the layer.
func (d *Dependencies) bypass(g *graph, targets, layer []string) {
	d.Bypass = []Bypass{}
	for i := range g.edges {
		e := &g.edges[i]
		if !slices.Contains(targets, e.Dst) || len(e.Protocols) == 0 {
			continue
		}
		if slices.Contains(layer, e.Src) {
			d.ThroughVia += e.Calls
			continue
		}
		b := Bypass{Client: e.Src, Calls: e.Calls, CallID: e.Protocols[0].CallID, KFL: e.KFL}
		for _, p := range e.Protocols {
			b.Protocols = append(b.Protocols, p.Protocol)
		}
		d.Bypass = append(d.Bypass, b)
		d.Summary = append(d.Summary, plural.Sprintf("%s bypasses the layer with %d {call|calls}.", b.Client, b.Calls))
	}
}

// Sentence is the answer in one sentence.
func (d *Dependencies) Sentence() string { return strings.Join(d.Summary[:min(1, len(d.Summary))], "") }
