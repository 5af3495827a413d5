package ask

import (
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
	rows    *forensics.Rows // of calls, once they are needed
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
func bundleOf(c several, alias string) string {
	if !c.Several() {
		return "0 AS bundle"
	}
	return alias + "bundle AS bundle"
}

// sameBundle is the SQL that ties two tables' bundles together.
func sameBundle(c several, a, b string) string {
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

// call is the step as answers cite it.
func (s *step) call() Call {
	c := Call{CallID: s.ID, Time: stamp(s.Start), Src: s.src.Who, Dst: s.dst.Who, Protocol: s.Protocol, Summary: clip(s.Summary, 160), Status: s.Status, Packets: s.Packets}
	if s.Took != nil {
		c.ElapsedMs = float64(*s.Took) / 1000
	}
	return c
}
