// Package chain finds which call was made because of which: the calls that led to a call and
// those that it led to, each with its evidence and confidence, and where the trouble of a chain
// began. It reads calls as the walk needs them and stores nothing, because a bundle holds what
// was seen, not what was concluded.
package chain

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Limits of what a chain is built from.
const (
	MaxLevels = 16             // calls in one another
	openEnded = 60_000_000_000 // ns that a call without a known end is taken to last at most

	NearTime = 60_000_000_000 // ns, that are near together

	longCall    = 600_000_000_000 // ns before which a call that is still open is not looked for
	ClockUnsure = 5_000_000       // ns by which two clocks may differ where nobody says
)

// Step is one call as chains need it. What links calls is read of all that were open,
// the rest of those that are told.
type Step struct {
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
	End    int64  // when the answer was over; where there was none, when the connection ended
	sure   bool   // end is known from an answer
	Sealed bool   // stands for an encrypted connection whose calls could not be read
	Src    *party
	Dst    *party
	Link   *Link // to its parent, once looked for
	linked bool
	Hit    bool // holds what was asked for

	Searches int    // look-ups below it that are not shown
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
	Same    string `json:"same"` // equal for its retries by the same caller at the same server
}

// Key is the number of its call.
func (s *Step) Key() ask.Key { return ask.Key{Bundle: s.Bundle, No: s.No} }

// Broken says that the call did not do what it was made for.
func (s *Step) Broken() bool { return s.Failed || s.Error != "" }

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

// clock is a source of time stamps.
type clock struct {
	Bundle int64  `json:"bundle"`
	ID     int64  `json:"clock_id"`
	Source string `json:"source"`
	Error  *int64 `json:"error_ns"`
	Node   string `json:"node"`
	Boot   string `json:"boot_id"`
}

// Builder finds which call was made because of which.
type Builder struct {
	Ctx     context.Context
	C       *forensics.Case
	rows    *forensics.Rows // of calls, once they are needed
	Steps   map[ask.Key]*Step
	byID    map[string]*Step   // a call that several bundles hold is one step
	into    map[string][]*Step // by the key of the party that was asked
	parties map[ask.Key]*party
	Same    map[string][]*party // by key
	front   map[string][]string // keys of pods and the like behind a service, by the service's key
	clocks  map[ask.Key]clock
	seen    map[string]bool // windows that were loaded
	Cut     bool            // more calls than maxLoaded in one step
	Skewed  bool            // clocks whose difference nobody states were compared
}

// New begins chains over a case.
func New(ctx context.Context, c *forensics.Case) (*Builder, error) {
	k := &Builder{Ctx: ctx, C: c, Steps: map[ask.Key]*Step{}, byID: map[string]*Step{}, into: map[string][]*Step{}, parties: map[ask.Key]*party{},
		Same: map[string][]*party{}, front: map[string][]string{}, clocks: map[ask.Key]clock{}, seen: map[string]bool{}}
	list, _, err := ask.Rows[clock](ctx, c, 10_000, "SELECT "+terms.BundleOf(c, "")+", clock_id, source, error_ns, coalesce(node, '') AS node, coalesce(boot_id, '') AS boot_id FROM clocks_raw")
	for _, cl := range list {
		k.clocks[ask.Key{Bundle: cl.Bundle, No: cl.ID}] = cl
	}
	return k, err
}

// ends fills in who is at both ends.
func (k *Builder) ends(list []*Step) error {
	var need []ask.Key
	for _, s := range list {
		for _, id := range [2]int64{s.SrcID, s.DstID} {
			if key := (ask.Key{Bundle: s.Bundle, No: id}); k.parties[key] == nil && !slices.Contains(need, key) {
				need = append(need, key)
			}
		}
	}
	if len(need) > 0 {
		_, ids := ask.Split(need)
		parties, _, err := ask.Rows[party](k.Ctx, k.C, 200_000, fmt.Sprintf(`WITH e AS (SELECT %s, endpoint_id, %s AS key, kind, coalesce(namespace, '') AS namespace, name,
			coalesce(services, []) AS services, %s AS who, external FROM endpoints_raw),
			w AS (SELECT DISTINCT key, kind, namespace, services FROM e WHERE endpoint_id IN (SELECT no FROM %s)),
			f AS (SELECT 'service ' || namespace || '/' || unnest(services) AS key FROM w UNION SELECT key FROM w WHERE kind = 'service'),
			b AS (SELECT key, 'service ' || namespace || '/' || unnest(services) AS service FROM e)
			SELECT * FROM e WHERE key IN (SELECT key FROM w) OR key IN (SELECT key FROM f) OR key IN (SELECT key FROM b WHERE service IN (SELECT key FROM w WHERE kind = 'service'))
			ORDER BY bundle, endpoint_id`, terms.BundleOf(k.C, ""), terms.Instance, terms.Who(""), terms.Zip("no")), ids)
		if err != nil {
			return err
		}
		for i := range parties {
			k.addParty(&parties[i])
		}
	}
	for _, s := range list {
		s.Src, s.Dst = k.party(s.Bundle, s.SrcID), k.party(s.Bundle, s.DstID)
	}
	return nil
}

func (k *Builder) addParty(p *party) {
	key := ask.Key{Bundle: p.Bundle, No: p.ID}
	if k.parties[key] != nil {
		return
	}
	k.parties[key] = p
	k.Same[p.Key] = append(k.Same[p.Key], p)
	for _, name := range p.Services {
		service := "service " + p.Namespace + "/" + name
		if !slices.Contains(k.front[service], p.Key) {
			k.front[service] = append(k.front[service], p.Key)
		}
	}
}

// party is the row of endpoints, or one that says that there is none.
func (k *Builder) party(bundle, id int64) *party {
	if p := k.parties[ask.Key{Bundle: bundle, No: id}]; p != nil {
		return p
	}
	p := &party{Bundle: bundle, ID: id, Key: fmt.Sprintf("endpoint %d/%d", bundle, id), Who: "unknown"}
	k.addParty(p)
	return p
}

// Call is the step as answers cite it.
func (s *Step) Call() ask.Call {
	c := ask.Call{CallID: s.ID, Time: ask.Stamp(s.Start), Src: s.Src.Who, Dst: s.Dst.Who, Protocol: s.Protocol, Summary: ask.Clip(s.Summary, 160), Status: s.Status, Packets: s.Packets}
	if s.Took != nil {
		c.ElapsedMs = float64(*s.Took) / 1000
	}
	return c
}

// IDs are the call_ids of a step: none of a connection without calls.
func (s *Step) IDs() []string {
	if s.ID == "" {
		return []string{}
	}
	return []string{s.ID}
}
