package ask

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of what a chain is built from.
const (
	maxLoaded   = 20_000          // calls looked at in one step of a walk
	maxLevels   = 16              // calls in one another
	openEnded   = 60_000_000_000  // ns that a call without a known end is taken to last at most
	nearCalls   = 100_000         // call numbers, and
	nearTime    = 60_000_000_000  // ns, that are near together
	maxRuns     = 16              // stretches that are read one by one
	longCall    = 600_000_000_000 // ns before which a call that is still open is not looked for
	clockUnsure = 5_000_000       // ns by which two clocks may differ where nobody says
)

// rowKey is a number within a bundle.
type rowKey struct{ bundle, no int64 }

// step is one call as chains need it. What links calls is read of all that were open,
// the rest of those that are told.
type step struct {
	Bundle   int64  `json:"bundle"`
	No       int64  `json:"call_no"`
	ID       string `json:"call_id"`
	Start    int64  `json:"ts_ns"`
	Took     *int64 `json:"elapsed_us"`
	Clock    int64  `json:"clock_id"`
	SrcID    int64  `json:"src_id"`
	DstID    int64  `json:"dst_id"`
	ConnID   int64  `json:"conn_id"`
	Protocol string `json:"protocol"`
	Failed   bool   `json:"failed"`
	Error    string `json:"error"`
	Trace    string `json:"trace_id"`
	Span     string `json:"span_id"`
	Request  string `json:"request_id"`

	detail
	told   bool   // detail was read
	words  string // what it names: path, query, SQL parameters, Redis key
	target string // method, path and query
	body   string // hash of its request's body, where there is more than a few bytes
	answer string // hash of its answer's body
	above  string // what it calls its parent's span
	read   bool   // words and what follows were read
	end    int64  // when the answer was over; where there was none, when the connection ended
	sure   bool   // end is known from an answer
	sealed bool   // stands for an encrypted connection whose calls could not be read
	src    *party
	dst    *party
	link   *link // to its parent, once looked for
	linked bool
	hit    bool // holds what was asked for

	searches int    // look-ups below it that are not shown
	resetBy  string // who reset the connection that it got no answer on: client or server
}

// detail is what is told of a call.
type detail struct {
	Method  string `json:"method"`
	Host    string `json:"host"`
	Path    string `json:"path"`
	Code    int64  `json:"status_code"`
	Status  string `json:"status"`
	Summary string `json:"summary"`
	Packets string `json:"packets"`
}

func (s *step) key() rowKey { return rowKey{s.Bundle, s.No} }

// broken says that the call did not do what it was made for.
func (s *step) broken() bool { return s.Failed || s.Error != "" }

// party is who stood at one end of calls.
type party struct {
	Bundle    int64    `json:"bundle"`
	ID        int64    `json:"endpoint_id"`
	Key       string   `json:"key"` // equal for all rows of endpoints that are the same pod, process or address
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Services  []string `json:"services"`
	Who       string   `json:"who"`
	External  bool     `json:"external"`
}

// partyKey is the SQL for what makes rows of endpoints one instance: a pod is one
// whatever its addresses and processes, and behind a loopback address each process is one.
const partyKey = `(CASE WHEN pod IS NOT NULL THEN 'pod ' || coalesce(pod_uid, coalesce(namespace, '') || '/' || pod)
	WHEN kind = 'service' THEN 'service ' || coalesce(namespace, '') || '/' || name
	WHEN process IS NOT NULL THEN 'process ' || coalesce(node, '') || ' ' || ip || ' ' || process
	WHEN ip LIKE '127.%' OR ip = '::1' THEN 'loopback ' || coalesce(node, '') || ' ' || ip
	ELSE 'address ' || ip END)`

// clock is a source of time stamps.
type clock struct {
	Bundle int64  `json:"bundle"`
	ID     int64  `json:"clock_id"`
	Source string `json:"source"`
	Error  *int64 `json:"error_ns"`
	Node   string `json:"node"`
	Boot   string `json:"boot_id"`
}

// chains finds which call was made because of which.
type chains struct {
	ctx     context.Context
	c       *forensics.Case
	steps   map[rowKey]*step
	byID    map[string]*step   // a call that several bundles hold is one step
	into    map[string][]*step // by the key of the party that was asked
	parties map[rowKey]*party
	same    map[string][]*party // by key
	front   map[string][]string // keys of pods and the like behind a service, by the service's key
	clocks  map[rowKey]clock
	seen    map[string]bool // windows that were loaded
	cut     bool            // more calls than maxLoaded in one step
	skewed  bool            // clocks whose difference nobody states were compared
}

func newChains(ctx context.Context, c *forensics.Case) (*chains, error) {
	k := &chains{ctx: ctx, c: c, steps: map[rowKey]*step{}, byID: map[string]*step{}, into: map[string][]*step{}, parties: map[rowKey]*party{},
		same: map[string][]*party{}, front: map[string][]string{}, clocks: map[rowKey]clock{}, seen: map[string]bool{}}
	list, _, err := readRows[clock](ctx, c, 10_000, "SELECT "+bundleOf(c, "")+", clock_id, source, error_ns, coalesce(node, '') AS node, coalesce(boot_id, '') AS boot_id FROM clocks_raw")
	for _, cl := range list {
		k.clocks[rowKey{cl.Bundle, cl.ID}] = cl
	}
	return k, err
}

// bundleOf is the SQL for the column bundle, which a case of one bundle lacks.
func bundleOf(c *forensics.Case, alias string) string {
	if !c.Several() {
		return "0 AS bundle"
	}
	return alias + "bundle AS bundle"
}

// sameBundle is the SQL that ties two tables' bundles together.
func sameBundle(c *forensics.Case, a, b string) string {
	if !c.Several() {
		return ""
	}
	return " AND " + a + ".bundle = " + b + ".bundle"
}

// numbers writes numbers for SQL that splits them again: one argument, however many.
func numbers(list []int64) string {
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	return b.String()
}

// zip is the SQL for a table of numbers, each column one argument.
func zip(columns ...string) string {
	for i, c := range columns {
		columns[i] = "unnest(string_split(?, ',')::BIGINT[]) AS " + c
	}
	return "(SELECT " + strings.Join(columns, ", ") + ")"
}

// stepColumns are the columns of a step, from calls_raw AS k.
func stepColumns(c *forensics.Case) string {
	return bundleOf(c, "k.") + `, k.call_no, k.call_id, k.ts_ns, k.elapsed_us, k.clock_id, k.src_id, k.dst_id, k.conn_id, k.protocol, k.failed,
		coalesce(k.error, '') AS error, coalesce(k.trace_id, '') AS trace_id, lower(coalesce(k.span_id, '')) AS span_id, coalesce(k.request_id, '') AS request_id`
}

// tell reads what is told of calls.
func (k *chains) tell(list []*step) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *step) bool { return s.told || s.No < 0 })
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
		detail
	}
	var rows []row
	err := byRuns(k.c, keysOf(list), func(where, nos string) error {
		some, _, err := readRows[row](k.ctx, k.c, maxLoaded, "SELECT "+bundleOf(k.c, "k.")+`, k.call_no, coalesce(k.method, '') AS method, coalesce(k.host, '') AS host, left(coalesce(k.path, ''), 500) AS path, coalesce(k.status_code, 0) AS status_code,
		coalesce(k.status_code::VARCHAR || CASE WHEN k.status_text IS NULL THEN '' ELSE ' ' || k.status_text END, k.status_text, k.error, '') AS status, left(k.summary, 300) AS summary, k.cites AS packets
		FROM calls_raw k WHERE `+where, nos)
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if s := k.steps[rowKey{r.Bundle, r.No}]; s != nil && s.key() == (rowKey{r.Bundle, r.No}) {
			s.detail, s.told = r.detail, true
			if s.Error == "reset" && s.resetBy != "" {
				s.Status += resetWords(s.resetBy)
			}
		}
	}
	return nil
}

// resetWords say what a reset without an answer means.
func resetWords(by string) string {
	if by == "client" {
		return " by the client, which gave up"
	}
	return " by the " + by
}

func keysOf(list []*step) []rowKey {
	out := make([]rowKey, len(list))
	for i, s := range list {
		out[i] = s.key()
	}
	return out
}

// name reads what calls name and what they call their parents' spans, where that is
// needed to choose between parents.
func (k *chains) name(list []*step) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *step) bool { return s.read || s.No < 0 })
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Bundle int64  `json:"bundle"`
		No     int64  `json:"call_no"`
		Words  string `json:"words"`
		Target string `json:"target"`
		Body   string `json:"body"`
		Answer string `json:"answer"`
		Above  string `json:"above"`
	}
	above := "''"
	if slices.ContainsFunc(list, func(s *step) bool { return s.Trace != "" }) {
		above = `CASE WHEN k.trace_id IS NULL THEN '' ELSE coalesce(lower(list_filter(k.headers, h -> lower(h.name) = 'x-b3-parentspanid' AND h.kind = 'request')[1].value),
			lower(split_part(list_filter(k.headers, h -> lower(h.name) = 'b3' AND h.kind = 'request')[1].value, '-', 4)), '') END`
	}
	var rows []row
	err := byRuns(k.c, keysOf(list), func(where, nos string) error {
		some, _, err := readRows[row](k.ctx, k.c, maxLoaded, "SELECT "+bundleOf(k.c, "k.")+`, k.call_no, left(concat_ws(' ', k.path, k.query_string, array_to_string(k.postgresql_params, ' '), k.redis_key), 500) AS words,
			CASE WHEN k.path IS NULL OR k.protocol = 'grpc' THEN '' ELSE concat_ws(' ', k.method, k.path, k.query_string) END AS target, CASE WHEN k.request_body_size >= 16 THEN coalesce(k.request_body_sha256, ''::BLOB) ELSE ''::BLOB END AS body,
			CASE WHEN k.response_body_size >= 16 THEN coalesce(k.response_body_sha256, ''::BLOB) ELSE ''::BLOB END AS answer, `+above+
			" AS above FROM calls_raw k WHERE "+where, nos)
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range list {
		s.read = true
	}
	for _, r := range rows {
		if s := k.steps[rowKey{r.Bundle, r.No}]; s != nil {
			s.words, s.target, s.body, s.answer, s.above = r.Words, r.Target, r.Body, r.Answer, r.Above
		}
	}
	return nil
}

// runs cuts sorted numbers where they are more than gap apart. What lies near together is
// read with few pieces of the tables; where there would be more than most runs, there is
// one.
func runs(list []int64, gap int64, most int) [][2]int64 {
	if len(list) == 0 {
		return nil
	}
	out := [][2]int64{{list[0], list[0]}}
	for _, n := range list[1:] {
		if last := &out[len(out)-1]; n-last[1] <= gap {
			last[1] = n
		} else if out = append(out, [2]int64{n, n}); len(out) > most {
			return [][2]int64{{list[0], list[len(list)-1]}}
		}
	}
	return out
}

// byRuns asks for calls by their numbers, run by run.
func byRuns(c *forensics.Case, keys []rowKey, ask func(where string, nos string) error) error {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b rowKey) int { return cmp.Compare(a.no, b.no) })
	all := make([]int64, len(keys))
	for i, key := range keys {
		all[i] = key.no
	}
	for _, r := range runs(all, nearCalls, maxRuns) {
		from, _ := slices.BinarySearch(all, r[0])
		to, _ := slices.BinarySearch(all, r[1]+1)
		bundles, nos := split(keys[from:to])
		where := fmt.Sprintf("k.call_no BETWEEN %d AND %d AND k.call_no IN (SELECT no FROM %s) %s", r[0], r[1], zip("no"), ofBundles(c, bundles))
		if err := ask(where, nos); err != nil {
			return err
		}
	}
	return nil
}

// load reads calls by their numbers, with who they are of and when they ended.
func (k *chains) load(keys []rowKey) ([]*step, error) {
	var out []*step
	var need []rowKey
	for _, key := range keys {
		if s := k.steps[key]; s != nil {
			out = append(out, s)
		} else {
			need = append(need, key)
		}
	}
	if len(need) == 0 {
		return out, nil
	}
	var list []step
	err := byRuns(k.c, need, func(where, nos string) error {
		some, _, err := readRows[step](k.ctx, k.c, maxLoaded+1, "SELECT "+stepColumns(k.c)+" FROM calls_raw k WHERE "+where+" ORDER BY k.ts_ns, bundle, k.call_no", nos)
		list = append(list, some...)
		return err
	})
	if err != nil {
		return nil, err
	}
	wanted := map[rowKey]bool{}
	for _, key := range need {
		wanted[key] = true
	}
	list = slices.DeleteFunc(list, func(s step) bool { return !wanted[s.key()] })
	fresh, err := k.take(list)
	return append(out, fresh...), err
}

// take adds calls that were read, and gives those that were not there before with those
// that were.
func (k *chains) take(list []step) ([]*step, error) {
	var out, fresh []*step
	there := map[*step]bool{}
	for i := range list {
		s := &list[i]
		old := k.steps[s.key()]
		if old == nil {
			old = k.byID[s.ID]
		}
		if old == nil {
			k.byID[s.ID] = s
			fresh = append(fresh, s)
			old = s
		}
		k.steps[s.key()] = old
		if !there[old] {
			there[old] = true
			out = append(out, old)
		}
	}
	if err := k.ends(fresh); err != nil {
		return nil, err
	}
	if err := k.lasted(fresh); err != nil {
		return nil, err
	}
	for _, s := range fresh {
		k.into[s.dst.Key] = append(k.into[s.dst.Key], s)
	}
	return out, nil
}

func split(keys []rowKey) (bundles []int64, nos string) {
	var list []int64
	for _, key := range keys {
		if !slices.Contains(bundles, key.bundle) {
			bundles = append(bundles, key.bundle)
		}
		list = append(list, key.no)
	}
	return bundles, numbers(list)
}

func ofBundles(c *forensics.Case, bundles []int64) string {
	if !c.Several() {
		return ""
	}
	return "AND k.bundle IN (" + numbers(bundles) + ")"
}

// ends fills in who is at both ends.
func (k *chains) ends(list []*step) error {
	var need []rowKey
	for _, s := range list {
		for _, id := range [2]int64{s.SrcID, s.DstID} {
			if key := (rowKey{s.Bundle, id}); k.parties[key] == nil && !slices.Contains(need, key) {
				need = append(need, key)
			}
		}
	}
	if len(need) > 0 {
		_, ids := split(need)
		parties, _, err := readRows[party](k.ctx, k.c, 200_000, fmt.Sprintf(`WITH e AS (SELECT %s, endpoint_id, %s AS key, kind, coalesce(namespace, '') AS namespace, name,
			coalesce(services, []) AS services, %s AS who, external FROM endpoints_raw),
			w AS (SELECT DISTINCT key, kind, namespace, services FROM e WHERE endpoint_id IN (SELECT no FROM %s)),
			f AS (SELECT 'service ' || namespace || '/' || unnest(services) AS key FROM w UNION SELECT key FROM w WHERE kind = 'service'),
			b AS (SELECT key, 'service ' || namespace || '/' || unnest(services) AS service FROM e)
			SELECT * FROM e WHERE key IN (SELECT key FROM w) OR key IN (SELECT key FROM f) OR key IN (SELECT key FROM b WHERE service IN (SELECT key FROM w WHERE kind = 'service'))
			ORDER BY bundle, endpoint_id`, bundleOf(k.c, ""), partyKey, who(""), zip("no")), ids)
		if err != nil {
			return err
		}
		for i := range parties {
			k.addParty(&parties[i])
		}
	}
	for _, s := range list {
		s.src, s.dst = k.party(s.Bundle, s.SrcID), k.party(s.Bundle, s.DstID)
	}
	return nil
}

func (k *chains) addParty(p *party) {
	key := rowKey{p.Bundle, p.ID}
	if k.parties[key] != nil {
		return
	}
	k.parties[key] = p
	k.same[p.Key] = append(k.same[p.Key], p)
	for _, name := range p.Services {
		service := "service " + p.Namespace + "/" + name
		if !slices.Contains(k.front[service], p.Key) {
			k.front[service] = append(k.front[service], p.Key)
		}
	}
}

// party is the row of endpoints, or one that says that there is none.
func (k *chains) party(bundle, id int64) *party {
	if p := k.parties[rowKey{bundle, id}]; p != nil {
		return p
	}
	p := &party{Bundle: bundle, ID: id, Key: fmt.Sprintf("endpoint %d/%d", bundle, id), Who: "unknown"}
	k.addParty(p)
	return p
}

// lasted fills in when calls ended. One without an answer lasts until its connection ends.
func (k *chains) lasted(list []*step) error {
	type conn struct {
		Bundle int64  `json:"bundle"`
		ID     int64  `json:"conn_id"`
		Last   int64  `json:"last_ns"`
		State  string `json:"key_state"`
		By     string `json:"reset_by"`
	}
	var need []rowKey
	for _, s := range list {
		s.end, s.sure = s.Start, s.Took != nil
		if s.Took != nil {
			s.end += *s.Took * 1000
		}
		if s.Took == nil || s.Protocol == "tls" || s.Protocol == "quic" {
			need = append(need, rowKey{s.Bundle, s.ConnID})
		}
	}
	if len(need) == 0 {
		return nil
	}
	bundles, ids := split(need)
	conns, _, err := readRows[conn](k.ctx, k.c, 200_000, fmt.Sprintf(`WITH n AS (SELECT no FROM %s), r AS (%s)
		SELECT %s, k.conn_id, k.last_ns, coalesce(k.key_state, '') AS key_state, coalesce(r.side, '') AS reset_by FROM connections_raw k LEFT JOIN r ON r.conn_id = k.conn_id%s WHERE k.conn_id IN (SELECT no FROM n) %s`,
		zip("no"), resetBy(k.c, "l.conn_id IN (SELECT no FROM n)"), bundleOf(k.c, "k."), sameBundle(k.c, "r", "k"), ofBundles(k.c, bundles)), ids)
	if err != nil {
		return err
	}
	byID := map[rowKey]conn{}
	for _, cn := range conns {
		byID[rowKey{cn.Bundle, cn.ID}] = cn
	}
	for _, s := range list {
		cn, ok := byID[rowKey{s.Bundle, s.ConnID}]
		if !ok {
			continue
		}
		if (s.Protocol == "tls" || s.Protocol == "quic") && cn.State != "" && cn.State != "verified" {
			s.sealed, s.end = true, max(s.end, cn.Last)
		} else if s.Took == nil {
			s.resetBy = cn.By
			s.end = min(max(s.Start, cn.Last), s.Start+openEnded)
		}
	}
	return nil
}

// resetBy is SQL for who broke a connection off, of flows AS l: who reset it first, and
// the client where it had closed its side before, for then the reset only answered that.
func resetBy(c *forensics.Case, where string) string {
	return fmt.Sprintf(`SELECT x.bundle, x.conn_id, CASE WHEN p.ns < x.ns THEN 'client' ELSE x.side END AS side
		FROM (SELECT %[1]s, l.conn_id, arg_min(t.side, (t.ts_ns, t.packet_no)) AS side, arg_min(t.flow_id, (t.ts_ns, t.packet_no)) AS flow_id, min(t.ts_ns) AS ns
			FROM tcp_events_raw t JOIN flows_raw l ON l.flow_id = t.flow_id%[2]s WHERE t.event = 'reset' AND %[3]s GROUP BY 1, 2) x
		LEFT JOIN (SELECT %[4]s, f.flow_id, min(f.ts_ns) AS ns FROM packets_raw f WHERE f.flags & 257 = 1 AND %[5]s IN (SELECT %[6]sl.flow_id FROM flows_raw l WHERE l.fins > 0 AND l.resets > 0 AND %[3]s) GROUP BY 1, 2) p
			ON p.flow_id = x.flow_id%[7]s`, bundleOf(c, "l."), sameBundle(c, "l", "t"), where, bundleOf(c, "f."), "("+key(c, "f")+"f.flow_id)", key(c, "l"), sameBundle(c, "p", "x"))
}

// span is a time at a party.
type span struct {
	at     *party
	lo, hi int64
}

// merge joins overlapping spans of one party, and names every row of endpoints that is
// the party.
func (k *chains) merge(spans []span) (bundles, ids, los, his []int64) {
	byKey := map[string][]span{}
	var order []string
	for _, s := range spans {
		if byKey[s.at.Key] == nil {
			order = append(order, s.at.Key)
		}
		byKey[s.at.Key] = append(byKey[s.at.Key], s)
	}
	slices.Sort(order)
	for _, key := range order {
		list := byKey[key]
		slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
		merged := list[:1]
		for _, s := range list[1:] {
			if last := &merged[len(merged)-1]; s.lo <= last.hi {
				last.hi = max(last.hi, s.hi)
			} else {
				merged = append(merged, s)
			}
		}
		for _, s := range merged {
			for _, p := range k.same[key] {
				bundles, ids, los, his = append(bundles, p.Bundle), append(ids, p.ID), append(los, s.lo), append(his, s.hi)
			}
		}
	}
	return bundles, ids, los, his
}

// made loads the calls that parties made in their spans.
func (k *chains) made(spans []span) ([]*step, error) {
	return k.find("src_id", "k.ts_ns BETWEEN w.lo AND w.hi", spans)
}

// asked loads the calls that were open at parties in their spans, so that it can be told
// to which of them a call that the party made belongs.
func (k *chains) asked(spans []span) ([]*step, error) {
	var more []span // a service's address stands for any of the pods behind it
	for _, s := range spans {
		for _, name := range s.at.Services {
			for _, p := range k.same["service "+s.at.Namespace+"/"+name] {
				more = append(more, span{p, s.lo, s.hi})
			}
		}
	}
	return k.find("dst_id", fmt.Sprintf("k.ts_ns <= w.hi AND k.ts_ns + coalesce(k.elapsed_us * 1000, %d) >= w.lo", openEnded), append(more, spans...))
}

func (k *chains) find(end, when string, spans []span) ([]*step, error) {
	var fresh []span
	for _, s := range spans {
		id := fmt.Sprintf("%s %s %d %d", end, s.at.Key, s.lo, s.hi)
		if !k.seen[id] {
			k.seen[id] = true
			fresh = append(fresh, s)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	slices.SortFunc(fresh, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	starts := make([]int64, len(fresh))
	for i, s := range fresh {
		starts[i] = s.lo
	}
	var out []*step
	for _, r := range runs(starts, nearTime, maxRuns) {
		from, _ := slices.BinarySearch(starts, r[0])
		to, _ := slices.BinarySearch(starts, r[1]+1)
		some, err := k.findNear(end, when, fresh[from:to])
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func (k *chains) findNear(end, when string, spans []span) ([]*step, error) {
	bundles, ids, los, his := k.merge(spans)
	on := "k." + end + " = w.id"
	if k.c.Several() {
		on += " AND k.bundle = w.b"
	}
	before := int64(0)
	if end == "dst_id" {
		before = longCall
	}
	// Packets without a protocol of calls (ICMP) cause nothing and are caused by nothing here.
	list, more, err := readRows[step](k.ctx, k.c, maxLoaded, fmt.Sprintf(`SELECT %s FROM calls_raw k JOIN %s w ON %s WHERE k.ts_ns BETWEEN %d AND %d AND %s AND k.protocol <> 'icmp'
		ORDER BY k.ts_ns, bundle, k.call_no LIMIT %d`, stepColumns(k.c), zip("b", "id", "lo", "hi"), on, slices.Min(los)-before, slices.Max(his), when, maxLoaded+1),
		numbers(bundles), numbers(ids), numbers(los), numbers(his))
	if err != nil {
		return nil, err
	}
	k.cut = k.cut || more
	return k.take(list)
}

// brokenConns loads connections that parties opened in their spans and that came to
// nothing, as calls that failed: what a program could not connect to leaves no call.
func (k *chains) brokenConns(spans []span) ([]*step, error) {
	type conn struct {
		Bundle  int64  `json:"bundle"`
		FlowID  int64  `json:"flow_id"`
		ConnID  int64  `json:"conn_id"`
		SrcID   int64  `json:"src_id"`
		DstID   int64  `json:"dst_id"`
		Port    int64  `json:"dst_port"`
		State   string `json:"state"`
		Start   int64  `json:"first_ns"`
		End     int64  `json:"last_ns"`
		Packets string `json:"packets"`
	}
	bundles, ids, los, his := k.merge(spans)
	if len(ids) == 0 {
		return nil, nil
	}
	on := "k.src_id = w.id"
	if k.c.Several() {
		on += " AND k.bundle = w.b"
	}
	list, _, err := readRows[conn](k.ctx, k.c, maxNodes, fmt.Sprintf(`SELECT DISTINCT %s, f.flow_id, k.conn_id, k.src_id, k.dst_id, k.dst_port, f.state, k.first_ns, k.last_ns, [{'first': f.first_packet, 'last': f.first_packet}] AS packets
		FROM flows_raw f JOIN connections_raw k ON k.flow_id = f.flow_id%s JOIN %s w ON %s WHERE k.transport = 'tcp' AND k.calls = 0 AND f.state IN ('refused', 'syn_sent', 'reset') AND k.first_ns BETWEEN w.lo AND w.hi
		ORDER BY k.first_ns, bundle, f.flow_id LIMIT %d`, bundleOf(k.c, "k."), sameBundle(k.c, "k", "f"), zip("b", "id", "lo", "hi"), on, maxNodes), numbers(bundles), numbers(ids), numbers(los), numbers(his))
	if err != nil {
		return nil, err
	}
	words := map[string]string{"refused": "refused", "syn_sent": "no answer to SYN", "reset": "reset"}
	var out, fresh []*step
	for _, cn := range list {
		s := &step{Bundle: cn.Bundle, No: -1 - cn.FlowID, Start: cn.Start, end: cn.End, Clock: -1, SrcID: cn.SrcID, DstID: cn.DstID, ConnID: cn.ConnID, Protocol: "tcp", Failed: true,
			Error: cn.State, told: true, read: true, detail: detail{Status: words[cn.State], Method: fmt.Sprintf("connect to port %d", cn.Port), Packets: cn.Packets}}
		s.Summary = s.Method + " → " + s.Status
		if old := k.steps[s.key()]; old != nil {
			s = old
		} else {
			k.steps[s.key()] = s
			fresh = append(fresh, s)
		}
		out = append(out, s)
	}
	return out, k.ends(fresh)
}

// call is the step as answers cite it.
func (s *step) call() Call {
	c := Call{CallID: s.ID, Time: stamp(s.Start), Src: s.src.Who, Dst: s.dst.Who, Protocol: s.Protocol, Summary: clip(s.Summary, 160), Status: s.Status, Packets: s.Packets}
	if s.Took != nil {
		c.ElapsedMs = float64(*s.Took) / 1000
	}
	return c
}
