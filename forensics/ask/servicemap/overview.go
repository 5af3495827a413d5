package servicemap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// overviewRows is the default number of rows per list in an overview.
const overviewRows = 8

// Happening says what went wrong in a scope, in sentences; empty if nothing did.
type Happening func(ctx context.Context, c *forensics.Case, scope ask.Scope) (string, error)

// OverviewIn is the input of get_overview.
type OverviewIn struct {
	ask.Scope
}

// Overview is the answer of get_overview: a first look at a case.
type Overview struct {
	ask.Frame
	Summary    []string             `json:"summary" jsonschema:"summary in sentences"`
	Calls      int64                `json:"calls" jsonschema:"all calls in scope, as in find_failures and list_api_calls"`
	Failed     int64                `json:"failed"`
	Requests   int64                `json:"requests" jsonschema:"of the calls, those that are neither handshakes nor unknown payload; services and edges count these"`
	Conns      ConnCount            `json:"connections"`
	Namespaces []string             `json:"namespaces"`
	Protocols  []ProtocolUse        `json:"protocols" jsonschema:"in use, each with an example"`
	Unread     []ask.UndissectedUse `json:"undissected" jsonschema:"connections with payload that no dissector reads, by what it probably is"`
	Services   []MapNode            `json:"services" jsonschema:"most called first"`
	Edges      []MapEdge            `json:"edges" jsonschema:"busiest first; get_service_map lists all"`
	Endpoints  []Endpoint           `json:"endpoints" jsonschema:"busiest first; get_api_stats lists all"`
	Failures   []Failure            `json:"failures" jsonschema:"most frequent first"`
	ICMP       []ask.Undelivered    `json:"icmp_errors" jsonschema:"packets that could not be delivered, as ICMP errors report, by their sender and destination"`
	External   []ExternalDomain     `json:"external_domains"`
	Ingress    []IngressPoint       `json:"ingress"`
	NotIP      []bundle.Count       `json:"not_ip" jsonschema:"non-IP packets of the whole case, by kind: arp, lldp, stp, wlan_beacon, or an unsupported link type"`

	tried []string // hosts that accepted no connection
	open  int64    // calls of which the capture does not show how they ended
}

// ConnCount counts connections by how far they could be read.
type ConnCount struct {
	Total     int64 `json:"total" jsonschema:"TCP and QUIC connections and UDP conversations"`
	Encrypted int64 `json:"encrypted"`
	Decrypted int64 `json:"decrypted" jsonschema:"of the encrypted ones"`
	Silent    int64 `json:"without_calls"`
	Shut      int64 `json:"not_accepted" jsonschema:"of those without calls, connections that were refused or not answered"`
}

// ProtocolUse summarizes the use of one protocol.
type ProtocolUse struct {
	Protocol string   `json:"protocol"`
	Calls    int64    `json:"calls"`
	Failed   int64    `json:"failed"`
	Servers  int64    `json:"servers"`
	Clients  int64    `json:"clients" jsonschema:"also each outside address without a name, which the map shows as one node, (outside)"`
	Example  ask.Call `json:"example"`
	KFL      string   `json:"kfl"`
}

// Failure is one way in which calls to an endpoint failed.
type Failure struct {
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Status   string   `json:"status"`
	Calls    int64    `json:"calls"`
	CallIDs  []string `json:"call_ids" jsonschema:"the first three"`
}

// OverviewQuestion is the question get_overview, whose summary says what happened.
func OverviewQuestion(happened Happening) ask.Question {
	q := ask.New("get_overview", "Summarize the case", "A first look: what was recorded, services, protocols with one example each, busiest endpoints, failures, external domains, ingress. Ask this first.", true,
		func(ctx context.Context, c *forensics.Case, in OverviewIn) (*Overview, error) {
			return AskOverview(ctx, c, in, happened)
		})
	q.Rows = overviewRows
	return q
}

// AskOverview answers get_overview. If happened is nil, the summary does not say what happened.
func AskOverview(ctx context.Context, c *forensics.Case, in OverviewIn, happened Happening) (*Overview, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	if in.Limit == 0 {
		w.Limit = overviewRows
	}
	out := &Overview{}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	g, err := readGraph(w, ctx, c, "service", false, &out.Frame)
	if err != nil {
		return nil, err
	}
	out.Requests = g.calls()
	out.services(g, w)
	if out.tried, err = withoutOpen(ctx, c, out.tried); err != nil {
		return nil, err
	}
	if out.Protocols, err = g.protocols(ctx, c, w); err != nil {
		return nil, err
	}
	for _, p := range out.Protocols {
		out.Calls += p.Calls
		out.Failed += p.Failed
	}
	if out.open, err = ask.Count(ctx, c, "SELECT count(*) AS n FROM calls WHERE "+w.Where+" AND outcome IN ('cut', 'unread')", w.Args...); err != nil {
		return nil, err
	}
	if out.Endpoints, _, err = byEndpoint(w, ctx, c, g.known, w.Limit); err != nil {
		return nil, err
	}
	if err := out.read(ctx, c, w); err != nil {
		return nil, err
	}
	if out.NotIP = notIP(c); len(out.NotIP) > 0 && ask.Overlapping(c) {
		out.Note("a non-IP packet that several bundles have counts once in each")
	}
	if n := c.Borrowed(); n > 0 {
		out.Note("%s", plural.Sprintf("%d {address has its|addresses have their} name from a DNS answer in another bundle of the case: such a name is as certain as that bundle", n))
	}
	what := ""
	if happened != nil && (out.Calls > 0 || out.Conns.Shut > 0) {
		if what, err = happened(ctx, c, in.Scope); err != nil {
			return nil, err
		}
	}
	out.summarize(w, what)
	seen := len(out.Protocols) + int(out.Conns.Total)
	if !w.Asked && !w.Narrowed {
		seen += len(out.NotIP)
	}
	out.Match(seen)
	return out, nil
}

// notIP counts the non-IP packets of all bundles.
func notIP(c *forensics.Case) []bundle.Count {
	var all []*bundle.Accounts
	for _, b := range c.Bundles() {
		all = append(all, &b.Manifest.Accounts)
	}
	return bundle.Counted(bundle.NotIP, all...)
}

// services copies the busiest parts of the map.
func (o *Overview) services(g *graph, w *ask.Window) {
	o.Namespaces = []string{}
	var list []MapNode
	for _, n := range g.nodes {
		if n.Namespace != "" {
			o.Namespaces = ask.AddName(o.Namespaces, n.Namespace)
		}
		switch {
		case n.tried():
			o.tried = ask.AddName(o.tried, n.Name)
		case n.Place != terms.Outside:
			list = append(list, *n)
		}
	}
	o.Namespaces = ask.SomeNames(o.Namespaces)
	slices.SortFunc(list, func(a, b MapNode) int {
		return cmp.Or(cmp.Compare(b.CallsIn, a.CallsIn), cmp.Compare(b.CallsOut, a.CallsOut), strings.Compare(a.Name, b.Name))
	})
	o.Services = append([]MapNode{}, list[:min(len(list), w.Limit)]...)
	o.Edges = g.edges[:min(len(g.edges), w.Limit)]
	o.External, o.Ingress = g.external(), g.ingress()
	o.External = o.External[:min(len(o.External), w.Limit)]
	o.Ingress = o.Ingress[:min(len(o.Ingress), w.Limit)]
	o.Truncated = o.Truncated || len(list) > w.Limit || len(g.edges) > w.Limit
}

// withoutOpen removes the names of hosts that accepted connections under another name, such as that of a service on
// another port.
func withoutOpen(ctx context.Context, c *forensics.Case, tried []string) ([]string, error) {
	if len(tried) == 0 {
		return nil, nil
	}
	open, _, err := ask.Rows[MapNode](ctx, c, ask.MaxFacts, "SELECT DISTINCT a.who AS name FROM endpoints_raw a JOIN endpoints_raw b ON a.ip = b.ip AND a.who <> b.who"+terms.SameBundle(c, "a", "b")+
		" JOIN connections_raw k ON k.dst_id = b.endpoint_id"+terms.SameBundle(c, "k", "b")+" WHERE k.calls > 0 ORDER BY 1")
	return slices.DeleteFunc(tried, func(name string) bool {
		return slices.ContainsFunc(open, func(n MapNode) bool { return n.Name == name })
	}), err
}

// read reads failures and connections.
func (o *Overview) read(ctx context.Context, c *forensics.Case, w *ask.Window) (err error) {
	sql := w.Ends(c, "service") + fmt.Sprintf(`SELECT coalesce(nullif(far, ''), dst) AS dst, protocol, endpoint, status, calls, call_ids FROM (
			SELECT bn, far, protocol, %s AS endpoint, `+terms.Status+` AS status, count(*) AS calls, %s
			FROM x WHERE failed GROUP BY 1, 2, 3, 4, 5) JOIN dname USING (bn) ORDER BY calls DESC, 1, 2, 3, 4`, terms.Endpoint, terms.SomeCalls)
	more := false
	if o.Failures, more, err = ask.Rows[Failure](ctx, c, w.Limit, sql, w.Args...); err != nil {
		return err
	}
	o.Truncated = o.Truncated || more
	if o.ICMP, more, err = ask.UndeliveredTo(ctx, c, w, "", ""); err != nil {
		return err
	}
	o.Truncated = o.Truncated || more
	conns, args := w.Connections(c, "connections_raw", false)
	counts, err := ask.One[struct {
		ConnCount
		Unknown int64 `json:"unknown"` // with payload that no dissector reads
	}](ctx, c, `SELECT count(*) AS total, count(encryption) AS encrypted, count(*) FILTER (coalesce(client_opened, 0) + coalesce(server_opened, 0) > 0) AS decrypted,
		count(*) FILTER (calls = 0) AS without_calls, count(*) FILTER (calls = 0 AND `+terms.Shut(c)+`) AS not_accepted, count(*) FILTER (`+ask.UnknownPayload+`) AS unknown FROM `+conns, args...)
	if o.Conns, o.Unread = counts.ConnCount, []ask.UndissectedUse{}; counts.Unknown == 0 || err != nil {
		return err
	}
	o.Unread, err = ask.Undissected(ctx, c, conns, args...)
	return err
}

// protocols lists the protocols of a map, most used first, each with an example: the first call of
// its busiest edge without failures, otherwise of its busiest edge.
func (g *graph) protocols(ctx context.Context, c *forensics.Case, w *ask.Window) ([]ProtocolUse, error) {
	type use struct {
		ProtocolUse
		servers, clients map[string]bool
		example          ask.Key
		clean            bool
	}
	by, outside := map[string]*use{}, false
	for i := range g.edges {
		e := &g.edges[i]
		outside = outside || e.Src == terms.AnyOutside
		for i, p := range e.Protocols {
			u := by[p.Protocol]
			if u == nil {
				u = &use{servers: map[string]bool{}, clients: map[string]bool{}, example: e.keys[i], clean: p.Failed == 0}
				u.Protocol, u.KFL = p.Protocol, "protocol == "+terms.QuoteKFL(p.Protocol)
				by[p.Protocol] = u
			}
			if !u.clean && p.Failed == 0 {
				u.example, u.clean = e.keys[i], true
			}
			u.Calls += p.Calls
			u.Failed += p.Failed
			u.servers[e.Dst], u.clients[e.Src] = true, true
		}
	}
	var keys []ask.Key
	for _, u := range by {
		keys = append(keys, u.example)
	}
	if outside { // one node of the map, but many clients
		nameless, _, err := ask.Rows[ProtocolUse](ctx, c, ask.MaxEdges, "SELECT protocol, count(DISTINCT src_ip) AS clients FROM calls WHERE "+w.Where+" AND "+terms.Nameless("src_")+" GROUP BY 1", w.Args...)
		if err != nil {
			return nil, err
		}
		for _, n := range nameless {
			if u := by[n.Protocol]; u != nil && u.clients[terms.AnyOutside] {
				u.Clients = n.Clients - 1
			}
		}
	}
	examples, err := ask.CallsAt(ctx, c, keys)
	out := []ProtocolUse{}
	for _, u := range by {
		u.Servers, u.Clients, u.Example = int64(len(u.servers)), u.Clients+int64(len(u.clients)), examples[u.example]
		out = append(out, u.ProtocolUse)
	}
	slices.SortFunc(out, func(a, b ProtocolUse) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Protocol, b.Protocol))
	})
	return out, err
}

// summarize writes the summary.
func (o *Overview) summarize(w *ask.Window, happened string) {
	say := func(format string, args ...any) { o.Summary = append(o.Summary, plural.Sprintf(format, args...)) }
	o.Summary = []string{}
	if happened != "" {
		o.Summary = append(o.Summary, happened)
	}
	on := plural.Sprintf("on %d {connection|connections}", o.Conns.Total)
	if o.Conns.Shut > 0 {
		on += plural.Sprintf(", of which %d {was|were} refused or not answered", o.Conns.Shut)
	}
	if o.Calls == 0 {
		say("%s to %s: no calls, %s.", when.Stamp(w.From), when.Stamp(w.To), on)
	} else {
		some := ""
		if o.Requests < o.Calls {
			some = plural.Sprintf(" (%d {request|requests})", o.Requests)
		}
		if o.open > 0 {
			on = plural.Sprintf("of %d the capture does not show how {it|they} ended, ", o.open) + on
		}
		say("%s to %s: %d {call|calls}%s, %d failed (%s %%), %s.", when.Stamp(w.From), when.Stamp(w.To), o.Calls, some, o.Failed, plural.Digits(100*ask.Share(o.Failed, o.Calls), 3), on)
	}
	if len(o.tried) > 0 {
		say("Hosts that accepted none of the connections to them: %s.", strings.Join(ask.SomeNames(o.tried), ", "))
	}
	var names []string
	for _, p := range o.Protocols {
		names = append(names, fmt.Sprintf("%s (%d)", p.Protocol, p.Calls))
	}
	if len(names) > 0 {
		say("Protocols: %s.", strings.Join(names, ", "))
	}
	if names = ask.Likely(o.Unread); len(names) > 0 {
		say("Payload that no dissector read: %s.", strings.Join(names, "; "))
	}
	names = nil
	for _, s := range o.Services {
		if s.CallsIn > 0 && !isGroup(s.Name) && len(names) < 5 {
			names = append(names, fmt.Sprintf("%s (%d)", s.Name, s.CallsIn))
		}
	}
	if len(names) > 0 {
		say("Most called: %s.", strings.Join(names, ", "))
	}
	if len(o.Ingress) > 0 {
		say("Ingress: %s.", o.Ingress[0].Service)
	}
	if len(o.External) > 0 && o.External[0].Calls > 0 {
		say("Most called outside: %s.", o.External[0].Domain)
	}
	if len(o.Failures) > 0 && happened == "" {
		f := o.Failures[0]
		at := "at"
		if f.Protocol == "icmp" { // a message without an answer fails nowhere
			at = "to"
		}
		say("Most frequent failure: %s %s %s, %s, %d {time|times}.", f.Endpoint, at, f.Dst, f.Status, f.Calls)
	}
	if len(o.ICMP) > 0 {
		x := o.ICMP[0]
		say("Most frequent ICMP error: %s, about %s from %s to %s, %d {time|times}.", x.What, x.Protocol, x.Src, x.Dst, x.Reports)
	}
	names = nil
	for _, n := range o.NotIP[:min(5, len(o.NotIP))] {
		names = append(names, fmt.Sprintf("%s (%d)", n.Kind, n.Count))
	}
	if len(names) > 0 {
		say("Non-IP packets: %s.", strings.Join(names, ", "))
	}
	if shut := o.Conns.Encrypted - o.Conns.Decrypted; shut > 0 {
		o.Note("%d encrypted {connection|connections} could not be read for lack of keys: only {its|their} handshakes count as calls", shut)
	}
}

// Sentence is the answer in one sentence.
func (o *Overview) Sentence() string { return strings.Join(o.Summary[:min(1, len(o.Summary))], "") }
