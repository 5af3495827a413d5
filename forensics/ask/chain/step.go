// Package chain finds the parents and children of calls, each with its evidence and confidence, and
// the origin of failures in a chain. It reads calls when it needs them and stores nothing: a bundle
// contains observations, not conclusions.
package chain

import (
	"context"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Limits of a chain.
const (
	MaxLevels = 16             // nested calls
	openEnded = 60_000_000_000 // longest assumed duration of a call without a known end, in nanoseconds

	NearTime = 60_000_000_000 // largest distance in time that counts as near, in nanoseconds

	longCall    = 600_000_000_000 // longest duration of a call that can be found as a parent, in nanoseconds
	ClockUnsure = relation.ClockUnsure
)

// Step is one call in a chain. The fields that link calls are read for all open calls, the others
// only for calls that an answer shows.
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
	detailed bool // detail was read
	saying
	waited *int64 // how long its caller waited, in microseconds
	End    int64  // end of the response, or of the wait if there was no response
	sure   bool   // End comes from a response
	Sealed bool   // an encrypted connection in place of calls that could not be read
	Src    *party
	Dst    *party
	place
}

// saying is the texts of a call that another call may repeat.
type saying struct {
	words  string // path, query, SQL parameters, Redis key, filter and principal
	user   string // who made it, by its own statement
	target string // method, path and query
	body   string // hash of its request body if that has more than a few bytes
	answer string // hash of its response body
	above  string // its parent span id
	read   bool   // these were read
}

// place is where a call stands among others.
type place struct {
	work     *work // what it got messages for, if it did
	Link     *Link // to its parent, once searched
	linked   bool
	Hit      bool // matches the input of the question
	Searches int  // DNS look-ups below it that are not shown
}

// detail is the part of a call that answers show.
type detail struct {
	Method  string `json:"method"`
	Host    string `json:"host"`
	Path    string `json:"path"`
	Code    int64  `json:"status_code"`
	Status  string `json:"status"`
	Summary string `json:"summary"`
	Packets string `json:"packets"`
	Same    string `json:"same"` // relation.Content
	Bad     bool   `json:"bad"`  // relation.Retryable
}

// Key is the key of its call.
func (s *Step) Key() ask.Key { return ask.Key{Bundle: s.Bundle, No: s.No} }

// noRequest is the error of a call of which only the response was captured.
const noRequest = "no_request"

// Broken reports whether the call failed or has no complete response.
func (s *Step) Broken() bool { return s.Failed || s.Error != "" && s.Error != noRequest }

// ofKernel reports whether a kernel answers the call: no program makes it for a caller, or others for it.
func (s *Step) ofKernel() bool { return s.Protocol == "icmp" }

// callsNobody reports whether no call is made to answer this one.
func (s *Step) callsNobody() bool { return s.ofKernel() || table.TraitsOf(s.Protocol).Lookup }

// Unanswered reports whether the call has no complete response.
func (s *Step) Unanswered() bool { return s.Error != "" && s.Error != noRequest && !s.sure }

// party is one end of calls.
type party struct {
	Bundle    int64    `json:"bundle"`
	ID        int64    `json:"endpoint_id"`
	Key       string   `json:"key"` // equal for all endpoint rows of the same pod, process or address
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Services  []string `json:"services"`
	Who       string   `json:"who"`
	External  bool     `json:"external"`
}

// clock is a source of timestamps.
type clock struct {
	Bundle int64  `json:"bundle"`
	ID     int64  `json:"clock_id"`
	Same   int64  `json:"same_as"`
	Error  *int64 `json:"error_ns"`
	Node   string `json:"node"`
	Boot   string `json:"boot_id"`
}

// Builder finds the parents and children of calls.
type Builder struct {
	Ctx     context.Context
	C       *forensics.Case
	rows    *forensics.Rows // rows of calls, opened when needed
	Steps   map[ask.Key]*Step
	byID    map[string]*Step   // a call in several bundles is one step
	into    map[string][]*Step // by the key of the destination
	parties map[ask.Key]*party
	Same    map[string][]*party // by key
	front   map[string][]string // keys of the instances behind a service, by the service's key
	clocks  map[ask.Key]clock
	seen    map[string]bool // time ranges that were loaded

	AllConnected bool // no connection of the case was refused, unanswered or reset

	messages *messages // once read
	mails    *mails    // once read
	Cut      bool      // one step had more than MaxLoaded calls
	Skewed   bool      // clocks with an unknown difference were compared
}

// New returns a Builder for a case.
func New(ctx context.Context, c *forensics.Case) (*Builder, error) {
	k := &Builder{Ctx: ctx, C: c, Steps: map[ask.Key]*Step{}, byID: map[string]*Step{}, into: map[string][]*Step{}, parties: map[ask.Key]*party{},
		Same: map[string][]*party{}, front: map[string][]string{}, clocks: map[ask.Key]clock{}, seen: map[string]bool{}}
	list, _, err := ask.Rows[clock](ctx, c, 10_000, "SELECT "+terms.BundleOf(c, "")+", clock_id, same_as, error_ns, coalesce(node, '') AS node, coalesce(boot_id, '') AS boot_id FROM clocks_raw")
	for _, cl := range list {
		k.clocks[ask.Key{Bundle: cl.Bundle, No: cl.ID}] = cl
	}
	return k, err
}

// setParties sets the parties at both ends.
func (k *Builder) setParties(list []*Step) error {
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
		if p.Key != service && !slices.Contains(k.front[service], p.Key) {
			k.front[service] = append(k.front[service], p.Key)
		}
	}
}

// party returns the endpoint of an id, or a placeholder if there is none.
func (k *Builder) party(bundle, id int64) *party {
	if p := k.parties[ask.Key{Bundle: bundle, No: id}]; p != nil {
		return p
	}
	p := &party{Bundle: bundle, ID: id, Key: fmt.Sprintf("endpoint %d/%d", bundle, id), Who: "unknown"}
	k.addParty(p)
	return p
}

// Call returns the step as answers cite it.
func (s *Step) Call() ask.Call {
	c := ask.Call{CallID: s.ID, Time: when.Stamp(s.Start), Src: s.Src.Who, Dst: s.Dst.Who, Protocol: s.Protocol, Summary: ask.Clip(s.Summary, 160), Status: s.Status, Packets: s.Packets}
	if s.Took != nil {
		c.ElapsedMs = float64(*s.Took) / 1000
	}
	return c
}

// IDs returns the call_ids of a step; a connection without calls has none.
func (s *Step) IDs() []string {
	if s.ID == "" {
		return []string{}
	}
	return []string{s.ID}
}
