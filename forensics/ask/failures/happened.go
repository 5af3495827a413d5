package failures

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Happened is what went wrong, as a person would say it. It counts what users asked for; the calls that these requests
// caused are hops.
type Happened struct {
	What    string   `json:"what" jsonschema:"what happened, in sentences; text in single quotation marks is from the traffic"`
	From    string   `json:"from,omitempty"`
	To      string   `json:"to,omitempty"`
	Failed  int64    `json:"failed,omitempty" jsonschema:"requests that failed this way; of users, as far as the capture shows who they are"`
	Of      int64    `json:"of,omitempty" jsonschema:"all such requests from the first failed one to the last"`
	Users   bool     `json:"users,omitempty" jsonschema:"they are requests of clients that serve nobody, so the calls that they caused are not in failed"`
	Clients []string `json:"clients,omitempty" jsonschema:"who asked"`
	Service string   `json:"service,omitempty" jsonschema:"whom they asked"`
	Origin  string   `json:"origin,omitempty" jsonschema:"where it began"`
	Holders []Holder `json:"holders,omitempty" jsonschema:"clients with connections to the origin that were open when it began to refuse more"`
	CallIDs []string `json:"call_ids" jsonschema:"the first failed requests, then the first calls of the origin"`

	from, to int64
	more     bool   // failed is of the listed groups, and there are more
	asked    amount // such requests
}

// Holder is a client with open connections.
type Holder struct {
	Client      string `json:"client"`
	Connections int64  `json:"connections"`
}

// sentenceGroups is how many kinds of failed calls are followed to their origin for a sentence alone.
const sentenceGroups = 10

// Sentence is what happened in a scope; empty if nothing did, or if there is too little memory to find it.
func Sentence(ctx context.Context, c *forensics.Case, scope ask.Scope) (string, error) {
	scope.Limit, scope.All = sentenceGroups, false
	f, err := Ask(ctx, c, In{Scope: scope})
	switch {
	case errors.Is(err, forensics.ErrMemory):
		return "", nil
	case err != nil || f.Happened == nil:
		return "", err
	}
	return f.Happened.What, nil
}

const (
	separator   = "\x1f" // of names in an argument of SQL
	maxReplicas = 100    // of a server whose failures are distinguished
)

// happened sets what happened. all is the window with calls that did not fail.
func (f *Answer) happened(ctx context.Context, c *forensics.Case, all *ask.Window) error {
	var h *Happened
	var err error
	list, users, err := f.main(ctx, c, all)
	switch {
	case err != nil:
		return err
	case len(list) > 0 && !f.namesFirst(list):
		h, err = f.requests(ctx, c, all, list, users)
		if h != nil {
			h.What += f.besides(&list[0])
		}
	case f.harmfulNames() != nil:
		h = f.unresolved()
		h.What += f.besides(nil)
	case len(f.Connections) > 0 && f.Connections[0].What != "reset":
		h = f.attempts()
	}
	if err != nil || f.Calls > maxSlower {
		f.Happened = h
		return err
	}
	slow, err := slower(ctx, c, all)
	switch {
	case err != nil || slow == nil:
	case h != nil:
		h.What += " " + slow.What
	default:
		h = slow
		h.What += " Nothing failed."
	}
	f.Happened = h
	return err
}

// main returns the failures of the main incident, and whether they are requests of users: groups with the same origin.
// Failures of a server come before mistakes of a client.
func (f *Answer) main(ctx context.Context, c *forensics.Case, all *ask.Window) (list []FailureGroup, users bool, err error) {
	var names []string
	for _, g := range f.Groups {
		names = ask.AddName(names, g.Src)
	}
	if len(names) == 0 {
		return nil, false, nil
	}
	servers, _, err := ask.Rows[struct {
		Who string `json:"who"`
	}](ctx, c, ask.MaxAll, "SELECT DISTINCT "+terms.Who("dst_")+" AS who FROM calls WHERE "+all.Where+" AND "+terms.RequestIn(c)+" AND "+terms.Who("dst_")+" IN (SELECT unnest(string_split(?, chr(31))))", all.Values(strings.Join(names, separator))...)
	if err != nil {
		return nil, false, err
	}
	isServer := map[string]bool{}
	for _, s := range servers {
		isServer[s.Who] = true
	}
	for _, pick := range []struct{ users, fault, probe bool }{{true, true, false}, {false, true, false}, {true, true, true}, {true, false, false}, {false, true, true}, {false, false, false}, {true, false, true}, {false, false, true}} {
		clusters := map[string][]FailureGroup{}
		sums := map[string]float64{}
		best := ""
		for _, g := range f.Groups {
			if g.Class == "tls" && len(f.Groups) > 1 || isServer[g.Src] == pick.users || isFault(&g) != pick.fault || isProbe(&g) != pick.probe {
				continue
			}
			key := f.originKey(&g)
			clusters[key] = append(clusters[key], g)
			if sums[key] += float64(g.Calls) * f.explained(&g); best == "" || sums[key] > sums[best] {
				best = key
			}
		}
		if best != "" {
			return clusters[best], pick.users, nil
		}
	}
	return nil, false, nil
}

// probes matches the endpoints that machines ask whether a service is well.
var probes = regexp.MustCompile(`(?i)^(GET|HEAD) .*/(healthz?|health_?check|livez?|liveness|readyz?|readiness|ping|status|metrics)$`)

// isProbe reports whether a group only asks whether a server or host is there, or has something.
func isProbe(g *FailureGroup) bool {
	return g.Protocol == "icmp" || g.harmless || probes.MatchString(g.Endpoint)
}

// namesFirst reports whether look-ups that failed come before an incident: names that may exist, if the incident is a mistake
// of its client or a probe, and all if they are more than its requests, and nothing shows why these failed.
func (f *Answer) namesFirst(list []FailureGroup) bool {
	if g := &list[0]; !isFault(g) || isProbe(g) {
		return slices.ContainsFunc(f.harmfulNames(), func(n NameFailure) bool { return !strings.Contains(n.Status, "NXDOMAIN") })
	}
	requests := int64(0)
	for i := range list {
		if list[i].Class != "no_answer" || f.originOf(&list[i]) != nil {
			return false
		}
		requests += list[i].Calls
	}
	return f.lookups.Sum > requests
}

// isFault reports whether a group is not a mistake of its client.
func isFault(g *FailureGroup) bool {
	return g.Class != "4xx" && g.Class != "client_error" || strings.HasPrefix(g.Status, "408") || strings.HasPrefix(g.Status, "429")
}

// originOf is the origin of most calls of a group, or nil if they failed themselves. On a host with one address for all its
// programs, a call may seem to be below another of the same group.
func (f *Answer) originOf(g *FailureGroup) *chain.Origin {
	if len(g.Causes) == 0 || g.Own > g.Causes[0].Calls {
		return nil
	}
	o := &f.Causes[g.Causes[0].Cause-1]
	if o.Dst == g.Dst && o.Protocol == g.Protocol && o.Status == g.Status {
		return nil
	}
	return o
}

// explained is the share of the followed calls of a group that have its origin.
func (f *Answer) explained(g *FailureGroup) float64 {
	if o := f.originOf(g); o != nil && g.Examined > 0 {
		n := 0
		for _, share := range g.Causes {
			if x := f.Causes[share.Cause-1]; x.Dst == o.Dst && x.Protocol == o.Protocol {
				n += share.Calls
			}
		}
		return float64(n) / float64(g.Examined)
	}
	return 1
}

// began sums the origins of groups, most frequent first, and how many of their calls were followed.
func (f *Answer) began(list []FailureGroup) (shares []Share, followed int) {
	for _, g := range list {
		followed += g.Examined
		for _, s := range g.Causes {
			i := slices.IndexFunc(shares, func(x Share) bool {
				return x.Cause == s.Cause || sameWait(&f.Causes[x.Cause-1], &f.Causes[s.Cause-1])
			})
			if i < 0 {
				shares = append(shares, s)
				continue
			}
			shares[i].Calls += s.Calls
		}
	}
	slices.SortStableFunc(shares, func(a, b Share) int { return cmp.Compare(b.Calls, a.Calls) })
	return shares, followed
}

// sameWait reports whether two origins are the same wait for an answer: their callers gave up, or the server says so.
func sameWait(a, b *chain.Origin) bool {
	waited := func(o *chain.Origin) bool {
		return o.What == "no_answer" && endedWords(o.Status) == "" || strings.HasSuffix(o.Status, "DEADLINE_EXCEEDED") || strings.HasSuffix(o.Status, ", abandoned")
	}
	return a.Src == b.Src && a.Dst == b.Dst && a.Protocol == b.Protocol && a.Endpoint == b.Endpoint && a.Protocol != "tcp" && waited(a) && waited(b)
}

// beganAt is where the failures of a group began.
func (f *Answer) beganAt(g *FailureGroup) (p struct{ server, protocol string }) {
	p.server, p.protocol = g.Dst, g.Protocol
	if o := f.originOf(g); o != nil {
		p.server, p.protocol = o.Dst, o.Protocol
	}
	return p
}

// originKey is the same for groups whose failures began in the same way at the same place.
func (f *Answer) originKey(g *FailureGroup) string {
	p := f.beganAt(g)
	key := p.server + separator + p.protocol
	if f.originOf(g) == nil {
		key += separator + g.Status
	}
	return key
}

// sameIncident reports whether the failures of two groups began at the same place, and in the same way if both failed
// themselves.
func (f *Answer) sameIncident(a, b *FailureGroup) bool {
	x, y := f.beganAt(a), f.beganAt(b)
	if x.server == y.server && (x.protocol == "tcp" || y.protocol == "tcp") { // one of them could not even connect
		return true
	}
	return x == y && (a.Status == b.Status || f.originOf(a) != nil || f.originOf(b) != nil)
}

// maxBesides is how many other kinds of failures a sentence names.
const maxBesides = 2

// besides says what failed besides the incident of a group, or, if that is nil, besides look-ups: the most frequent group of
// each other incident, and look-ups. It is empty if there is nothing.
func (f *Answer) besides(told *FailureGroup) string {
	type kind struct {
		of    *FailureGroup
		words string
		calls int64
	}
	kinds := []kind{{of: told}}
	for i := range f.Groups {
		g := &f.Groups[i]
		if slices.ContainsFunc(kinds, func(k kind) bool { return k.of != nil && f.sameIncident(k.of, g) }) {
			continue
		}
		what := requestWords(g, []string{g.Endpoint}, []string{g.Dst})
		kinds = append(kinds, kind{g, plural.Count(g.Calls, what[0], what[1]) + " (" + cmp.Or(ask.Outcome(g.Status), g.Class) + ")", g.Calls})
	}
	kinds = kinds[1:]
	if names := f.harmfulNames(); len(names) > 0 && told != nil && f.beganAt(told).protocol != "dns" {
		what, how := f.lookupWords(names[0].Name)
		kinds = append(kinds, kind{nil, what + " (" + how + ")", f.lookups.Sum})
	}
	if len(kinds) == 0 {
		return ""
	}
	slices.SortStableFunc(kinds, func(a, b kind) int { return cmp.Compare(b.calls, a.calls) })
	var list []string
	for _, k := range kinds[:min(len(kinds), maxBesides)] {
		list = append(list, k.words)
	}
	if n := len(kinds) - maxBesides; f.more {
		list = append(list, "and more")
	} else if n > 0 {
		list = append(list, plural.Sprintf("%d more {kind of failure|kinds of failures}", n))
	}
	return " Also failed: " + strings.Join(list, "; ") + "."
}

// requests describes requests that failed.
func (f *Answer) requests(ctx context.Context, c *forensics.Case, all *ask.Window, list []FailureGroup, users bool) (*Happened, error) {
	h := &Happened{Users: users, Service: list[0].Dst, CallIDs: slices.Clone(list[0].CallIDs[:min(2, len(list[0].CallIDs))])}
	var endpoints, services, protocols []string
	for _, g := range list {
		from, to := nanos(g.First), nanos(g.Last)
		if h.from == 0 || from < h.from {
			h.from = from
		}
		h.to = max(h.to, to)
		h.Failed += g.Calls
		h.Clients = ask.AddName(h.Clients, g.Src)
		endpoints, services, protocols = add(endpoints, g.Endpoint), add(services, g.Dst), add(protocols, g.Protocol)
	}
	h.From, h.To = when.Stamp(h.from), when.Stamp(h.to)
	var err error
	if h.asked, err = h.count(ctx, c, all, services, endpoints, protocols); err != nil {
		return nil, err
	}
	h.Of = max(h.asked.During, h.Failed)
	h.more = f.more
	text := h.span() + h.share(requestWords(&list[0], endpoints, services)) + " failed"
	if f.originOf(&list[0]) == nil {
		g := &list[0]
		h.Origin = g.Dst
		asks, err := ask.Exists(ctx, c, "calls", all.Where+" AND "+terms.Who("src_")+" = ?", all.Values(g.Dst)...)
		if err != nil {
			return nil, err
		}
		where, err := h.replicas(ctx, c, all, g.Src, g.Dst, g.Protocol, g.Endpoint)
		if err != nil {
			return nil, err
		}
		h.What = ownWords(list, asks) + "." + where
	} else if err := f.origin(ctx, c, all, h, list); err != nil {
		return nil, err
	}
	who, err := h.victims(ctx, c, all, services, endpoints)
	h.What = text + h.What + who + h.surge()
	return h, err
}

// origin sets the origin of groups and the end of the sentence.
func (f *Answer) origin(ctx context.Context, c *forensics.Case, all *ask.Window, h *Happened, list []FailureGroup) error {
	shares, followed := f.began(list)
	o := &f.Causes[shares[0].Cause-1]
	h.Origin = o.Dst
	for _, id := range o.CallIDs[:min(2, len(o.CallIDs))] {
		h.CallIDs = add(h.CallIDs, id)
	}
	cause, usedUp, err := f.because(ctx, c, o)
	if err != nil {
		return err
	}
	switch {
	case shares[0].Calls == followed && o.Sure == "exact":
		h.What = ": " + cause + "."
	case shares[0].Calls == followed:
		h.What = ", " + cause + "."
	default:
		h.What = fmt.Sprintf(". %d were followed to their origin: in %d, %s", followed, shares[0].Calls, cause)
		if len(shares) > 1 {
			other, _, err := f.because(ctx, c, &f.Causes[shares[1].Cause-1])
			if err != nil {
				return err
			}
			h.What += fmt.Sprintf("; in %d, %s", shares[1].Calls, other)
		}
		h.What += "."
	}
	where, err := h.replicas(ctx, c, all, o.Src, o.Dst, o.Protocol, o.Endpoint)
	if err != nil {
		return err
	}
	again, err := h.amplified(ctx, c, all, o)
	if err != nil {
		return err
	}
	h.What += where + again
	if usedUp && len(o.CallIDs) > 0 {
		if h.Holders, err = holders(ctx, c, o.CallIDs); err != nil {
			return err
		}
		h.What += h.holdersWords(o)
	}
	return nil
}

// because says what happened at an origin and how certain that is, and whether something was used up there.
func (f *Answer) because(ctx context.Context, c *forensics.Case, o *chain.Origin) (text string, usedUp bool, err error) {
	p := f.place(o)
	if port, err := strconv.ParseInt(strings.TrimPrefix(o.Endpoint, connectTo), 10, 64); err == nil && o.Protocol == "tcp" {
		p.reported = f.reportWords(int64(o.Chains), connecting(o.Src, o.Dst, port))
	}
	if len(o.CallIDs) > 0 {
		if p.reply, err = replies(ctx, c, o.CallIDs); err != nil {
			return "", false, err
		}
		p.lost = p.lost || p.unlisted && p.Undelivered
	}
	if o.Protocol == "tls" || o.Protocol == "quic" {
		text, err = handshakeWords(ctx, c, o, p.server)
	} else {
		text, usedUp = causeWords(o, p)
	}
	return map[string]string{"likely": "likely because ", "guess": "possibly because "}[o.Sure] + text, usedUp, err
}

// place is what the groups of failed calls show about an origin.
type place struct {
	server string
	lost   bool // no request arrived
	reply
	unlisted bool   // no group has its calls, as when the capture ended before they could fail
	reported string // ICMP errors about its connections
}

// reply is what became of the responses to the calls of an origin.
type reply struct {
	Part bool  `json:"part"` // they began and did not end
	Lost bool  `json:"lost"` // the caller did not acknowledge them whole
	Late bool  `json:"late"` // they came after the caller had given up
	Took int64 `json:"took"` // us
	Gave int64 `json:"gave"` // us, the longest time after which a caller gave up

	Undelivered bool `json:"undelivered"` // their requests did not arrive
}

func replies(ctx context.Context, c *forensics.Case, ids []string) (reply, error) {
	return ask.One[reply](ctx, c, "SELECT coalesce(bool_and(status_code IS NOT NULL AND (error IN ('cut', 'gap', 'reset', 'timeout') OR error = '"+table.Abandoned+"' AND elapsed_us <= waited_us)), false) AS part, coalesce(bool_and(response_delivered = '"+table.NotDelivered+"'), false) AS lost, coalesce(bool_and(error = '"+table.Abandoned+"' AND elapsed_us > waited_us), false) AS late, coalesce(max(elapsed_us), 0) AS took, coalesce(max(waited_us), 0) AS gave, coalesce(bool_and(request_delivered = '"+table.NotDelivered+"'), false) AS undelivered FROM calls WHERE call_id IN (SELECT unhex(unnest(string_split(?, ','))))", strings.Join(ids, ","))
}

// place finds the groups of the calls of an origin. A server outside has the name that its client used.
func (f *Answer) place(o *chain.Origin) place {
	p := place{server: o.Dst}
	n, lost := 0, 0
	for i := range f.Groups {
		g := &f.Groups[i]
		same := slices.ContainsFunc(g.CallIDs, func(id string) bool { return slices.Contains(o.CallIDs, id) })
		if g.Protocol != o.Protocol || g.Endpoint != o.Endpoint || g.Status != o.Status || g.Dst != o.Dst && !same {
			continue
		}
		if n++; g.Delivery == terms.FateNotDelivered {
			lost++
		}
		if same {
			p.server = g.Dst
		}
	}
	p.unlisted, p.lost = n == 0, n > 0 && lost == n
	return p
}

// share is how the calls of some of several replicas or clients failed, if no call of the others did.
type share struct {
	bad      []string
	episode  // Calls and Slow are those of the bad ones and of these the failed ones, Others those of the others
	others   int
	one, all string // what they are
}

// shares divides calls that match a condition by one of their ends, src or dst, into those of ends with failures and of others. It
// returns nil if chance could have done the same.
func shares(ctx context.Context, c *forensics.Case, end, where string, args ...any) (*share, error) {
	rows, more, err := ask.Rows[struct {
		Who    string `json:"who"`
		Pod    bool   `json:"pod"`
		Calls  int64  `json:"calls"`
		Failed int64  `json:"failed"`
	}](ctx, c, maxReplicas, strings.ReplaceAll("SELECT coalesce(dst_pod, dst_ip) AS who, bool_or(dst_pod IS NOT NULL) AS pod, count(*) AS calls, count(*) FILTER (failed) AS failed FROM calls WHERE ", "dst_", end)+where+" GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT "+fmt.Sprint(maxReplicas+1), args...)
	if err != nil || more || len(rows) < 2 {
		return nil, err
	}
	s := &share{one: "address", all: "addresses"}
	for _, r := range rows {
		if r.Failed > 0 {
			s.bad, s.Slow, s.Calls = append(s.bad, r.Who), s.Slow+r.Failed, s.Calls+r.Calls
		} else {
			s.others, s.Others = s.others+1, s.Others+r.Calls
		}
	}
	if len(s.bad) == 0 || s.others == 0 || s.likelihood() < someChance {
		return nil, nil
	}
	switch {
	case rows[0].Pod && end == "dst_":
		s.one, s.all = "replica", "replicas"
	case end == "src_":
		s.one, s.all = "client", "clients"
	}
	return s, nil
}

// someChance is chance of the few ways to divide replicas or clients; see there.
const someChance = 5

// rest names the ends without failures.
func (s *share) rest() string {
	if s.others > 1 {
		return "the other " + plural.Count(int64(s.others), s.one, s.all)
	}
	return "the other " + s.one
}

// replicas says which of the pods or addresses of a server failed calls to an endpoint, if others answered them in that time. Replicas
// without a common name are those that a client asks for the same path.
func (h *Happened) replicas(ctx context.Context, c *forensics.Case, all *ask.Window, client, server, protocol, endpoint string) (string, error) {
	where := all.Where + " AND ts_ns >= ? AND protocol = ? AND endpoint = ? AND "
	s, err := shares(ctx, c, "dst_", where+terms.Who("dst_")+" = ?", all.Values(h.from, protocol, endpoint, server)...)
	rest := " of " + server
	if s == nil && err == nil && strings.Contains(endpoint, "/") {
		s, err = shares(ctx, c, "dst_", where+terms.Who("src_")+" = ?", all.Values(h.from, protocol, endpoint, client)...)
		rest = " that " + client + " asked"
	}
	if err != nil || s == nil {
		return "", err
	}
	return plural.Sprintf(" From then on, %s failed %d of %d such {call|calls}, ", words(s.bad), s.Slow, s.Calls) + s.rest() + rest + plural.Sprintf(" none of %d.", s.Others), nil
}

// victims says which clients' requests failed, if those of others to the same endpoints did not.
func (h *Happened) victims(ctx context.Context, c *forensics.Case, all *ask.Window, services, endpoints []string) (string, error) {
	s, err := shares(ctx, c, "src_", all.Where+" AND ts_ns BETWEEN ? AND ? AND "+terms.Server+" IN (SELECT unnest(string_split(?, chr(31)))) AND endpoint IN (SELECT unnest(string_split(?, chr(31))))",
		all.Values(h.from, h.to, strings.Join(services, separator), strings.Join(endpoints, separator))...)
	if err != nil || s == nil {
		return "", err
	}
	return plural.Sprintf(" Only requests of %s failed: %d of %d, of ", words(s.bad), s.Slow, s.Calls) + s.rest() + plural.Sprintf(" none of %d.", s.Others), nil
}

// count counts the requests that a sentence speaks of: those to some endpoints of
// services, or, if these are too many to be named, all in some protocols.
func (h *Happened) count(ctx context.Context, c *forensics.Case, all *ask.Window, services, endpoints, protocols []string) (amount, error) {
	column, kinds := "endpoint", endpoints
	if len(endpoints) > maxEndpoints {
		column, kinds = "protocol", protocols
	}
	where := all.Where + " AND " + terms.Server + " IN (SELECT unnest(string_split(?, chr(31)))) AND " + column + " IN (SELECT unnest(string_split(?, chr(31))))"
	args := all.Values(strings.Join(services, separator), strings.Join(kinds, separator))
	if h.Users {
		where += " AND " + terms.Who("src_") + " NOT IN (SELECT DISTINCT " + terms.Who("dst_") + " FROM calls WHERE " + all.Where + " AND " + terms.RequestIn(c) + ")"
		args = append(args, all.Args...)
	}
	return h.amountOf(ctx, c, where, args)
}

func add(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func nanos(s string) int64 {
	t, _ := time.Parse(time.RFC3339Nano, s) // answers use no other format
	return t.UnixNano()
}

// span is the time as the begin of a sentence.
func (h *Happened) span() string {
	a, b := time.Unix(0, h.from).UTC(), time.Unix(0, h.to).UTC()
	form := "15:04:05"
	if h.to-h.from < 10*int64(time.Second) {
		form = "15:04:05.000"
	}
	day := a.Format(time.DateOnly)
	switch {
	case day != b.Format(time.DateOnly):
		return "From " + a.Format(time.DateOnly+" 15:04:05") + " to " + b.Format(time.DateOnly+" 15:04:05") + " UTC, "
	case a.Format(form) == b.Format(form):
		return "At " + a.Format(form) + " UTC on " + day + ", "
	}
	return "From " + a.Format(form) + " to " + b.Format(form) + " UTC on " + day + ", "
}

// share says how many of the requests failed. what has their singular and plural.
func (h *Happened) share(what [2]string) string {
	switch {
	case h.more && h.Failed < h.Of:
		return plural.Sprintf("at least %d of ", h.Failed) + plural.Count(h.Of, what[0], what[1])
	case h.Of == 1:
		return "the only " + what[0]
	case h.Failed == h.Of && h.Of == 2:
		return "both " + what[1]
	case h.Failed == h.Of:
		return "all " + plural.Count(h.Of, what[0], what[1])
	}
	return plural.Thousands(h.Failed) + " of " + plural.Count(h.Of, what[0], what[1])
}

// holders lists the clients whose connections to the server of a call were open when the first of some calls failed.
func holders(ctx context.Context, c *forensics.Case, ids []string) ([]Holder, error) {
	const most = 5
	first, err := ask.One[struct {
		IP   string `json:"dst_ip"`
		Port int64  `json:"dst_port"`
		Ns   int64  `json:"ts_ns"`
	}](ctx, c, "SELECT arg_min(k.dst_ip, (k.first_ns, k.dst_ip, k.dst_port)) AS dst_ip, arg_min(k.dst_port, (k.first_ns, k.dst_ip, k.dst_port)) AS dst_port, min(k.first_ns) AS ts_ns FROM calls_raw l JOIN connections_raw k ON k.conn_id = l.conn_id"+terms.SameBundle(c, "k", "l")+" WHERE l.call_id IN (SELECT unhex(unnest(string_split(?, ','))))", strings.Join(ids, ","))
	if err != nil || first.Ns == 0 {
		return nil, err
	}
	// A connection without an end in the capture stays open, however long nobody uses it.
	list, _, err := ask.Rows[Holder](ctx, c, most, "SELECT "+terms.Who("k.src_")+" AS client, count(*) AS connections FROM "+ask.EachOnce(c, "connections", "first_ns <= "+fmt.Sprint(first.Ns))+" k LEFT JOIN (SELECT "+terms.Key(c, "")+"flow_id AS f, state FROM flows_raw) l ON l.f = k.flow_id"+terms.SameBundle(c, "l", "k")+
		" WHERE k.dst_ip = ? AND k.dst_port = ? AND k.first_ns < ? AND (k.last_ns > ? OR l.state IN ('established', 'midstream')) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5", first.IP, first.Port, first.Ns, first.Ns)
	return list, err
}

// harmfulNames are the names that did not resolve, besides those of a search list.
func (f *Answer) harmfulNames() (list []NameFailure) {
	for _, n := range f.DNS {
		if !n.Search {
			list = append(list, n)
		}
	}
	return list
}

// unresolved describes names that did not resolve.
func (f *Answer) unresolved() *Happened {
	list := f.harmfulNames()
	all := &f.lookups
	h := &Happened{Origin: "DNS", CallIDs: list[0].CallIDs, Failed: all.Sum, Of: all.Sum, From: when.Stamp(all.Begin), To: when.Stamp(all.Finish), from: all.Begin, to: all.Finish}
	for _, n := range list {
		h.Clients = ask.AddName(h.Clients, n.Client)
	}
	what, how := f.lookupWords(list[0].Name)
	h.What = h.span() + what + " failed: " + how + "."
	return h
}

// lookupWords are how many look-ups failed, of one name and others, and how.
func (f *Answer) lookupWords(name string) (what, how string) {
	what = plural.Count(f.lookups.Sum, "look-up", "look-ups") + " of " + name
	if n := f.lookups.Hosts - 1; n > 0 {
		what += plural.Sprintf(" and %d other {name|names}", n)
	}
	var statuses []string
	for _, s := range f.lookups.Codes {
		statuses = add(statuses, cmp.Or(dnsWords(s), "no answer"))
	}
	if len(statuses) > 0 {
		how = words(statuses) + " from " + words(f.lookups.Asked)
	}
	if f.lookups.Told {
		all := f.lookups.Sum
		if how != "" { // how many of them were not delivered is unknown
			how, all = how+"; ", 0
		}
		how += "not delivered to " + words(f.lookups.Asked) + f.reportWords(all, func(u *ask.Undelivered) bool {
			return u.Protocol == "udp" && slices.Contains(f.lookups.Asked, u.Dst)
		})
	}
	return what, how
}

// attempts describes connections that nobody accepted.
func (f *Answer) attempts() *Happened {
	x := f.Connections[0]
	h := &Happened{from: nanos(x.First), to: nanos(x.Last), From: x.First, To: x.Last, Failed: x.Connections, Of: x.Connections, Clients: []string{x.Src}, Service: x.Dst, Origin: x.Dst, CallIDs: []string{}}
	port := plural.Sprintf("%d {port|ports}", x.Ports)
	if x.Port != nil {
		port = fmt.Sprintf("port %d", *x.Port)
	}
	how := " refused"
	if x.What == "unanswered" {
		how = " not answered"
	} else if x.Port != nil {
		how += f.reportWords(x.Connections, connecting(x.Src, x.Dst, *x.Port))
	}
	h.What = h.span() + plural.Count(x.Connections, "connection", "connections") + " from " + x.Src + " to " + port + " of " + x.Dst + " " + ask.Were(x.Connections) + how + "."
	return h
}
