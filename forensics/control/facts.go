package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Basis is the basis of verdicts.
type Basis struct {
	Connections Connections `json:"connections"`
	Losses      Losses      `json:"losses"`
	Vantage     Vantage     `json:"vantage"`
	Policies    []string    `json:"policies" jsonschema:"what was in force while recording: policies, filters, redaction"`
	Attested    bool        `json:"attested,omitempty" jsonschema:"the client states that the capture points see all traffic in scope and lost nothing unreported"`
	Limits      []string    `json:"limits" jsonschema:"limits of all verdicts"`
}

// Connections counts the connections of the window by how far they could be read.
type Connections struct {
	All         int64 `json:"all"`
	Encrypted   int64 `json:"encrypted"`
	Decrypted   int64 `json:"decrypted" jsonschema:"of these, completely decrypted with keys"`
	Unseen      int64 `json:"handshake_unseen" jsonschema:"encrypted connections whose handshake was not recorded"`
	Unread      int64 `json:"unread" jsonschema:"connections with payload that no dissector read: only their first bytes are known"`
	Unnamed     int64 `json:"unnamed" jsonschema:"of these, connections whose first bytes do not show which protocol it is"`
	Unparsed    int64 `json:"unparsed_bytes" jsonschema:"payload that no dissector could parse"`
	Undecrypted int64 `json:"undecrypted" jsonschema:"encrypted connections that were not completely decrypted"`
}

// Losses counts the losses of the recording.
type Losses struct {
	Counted bool  `json:"counted" jsonschema:"every file has counters of lost packets, or a recorder's seal"`
	Packets int64 `json:"packets" jsonschema:"packets known to be lost"`
	Bytes   int64 `json:"bytes" jsonschema:"bytes missing from recorded conversations"`
}

// Vantage is where the recording took place.
type Vantage struct {
	State    string   `json:"state" jsonschema:"whole: every node of the Kubernetes dumps was recorded; partial: some were not; unknown: the files do not say where they were recorded, or no list of nodes is known"`
	Recorded []string `json:"recorded" jsonschema:"nodes with a recorder"`
	Missing  []string `json:"missing" jsonschema:"nodes without a recording"`
}

// States of a vantage.
const (
	whole   = "whole"
	partial = "partial"
	unknown = "unknown"
)

// facts are the basis and other data that verdicts need.
type facts struct {
	policies  []string
	unclocked int64 // clocks of which it is not known whether they were synchronized
}

// general are the limits of all verdicts.
var general = []string{
	"Verdicts are evidence for an assessor; they certify nothing.",
	"A user with root rights on a recorded machine can forge what it records.",
	"The owner of an address is as certain as its column how_known says; an owner that was guessed is marked.",
}

// readFacts reads the basis of the answer.
func (j *judge) readFacts(ctx context.Context) error {
	b := &j.out.Basis
	b.Attested, b.Limits = j.in.Attest, general
	if j.in.Attest {
		b.Limits = append(slices.Clone(general), "The client of this question states that the capture points see all traffic in scope and lost nothing that the files do not report.")
	}
	for _, read := range []func(context.Context) error{j.readConnections, j.readLosses, j.readVantage} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	j.readPolicies()
	b.Policies = j.facts.policies
	return nil
}

func (j *judge) readConnections(ctx context.Context) error {
	conns, args := j.w.Connections(j.c, "connections_raw", false)
	var err error
	if j.out.Basis.Connections, err = ask.One[Connections](ctx, j.c, `SELECT count(*) AS "all", count(*) FILTER (encryption IS NOT NULL) AS encrypted,
			count(*) FILTER (encryption IS NOT NULL AND key_reason IS NULL) AS decrypted, count(*) FILTER (encryption IS NOT NULL AND key_reason <> 'unencrypted') AS undecrypted,
			count(*) FILTER (unread) AS unread, count(*) FILTER (unread AND coalesce(payload_evidence, 'port') = 'port') AS unnamed
		FROM (SELECT *, payload_protocol IS NOT NULL OR protocol IS NULL AND key_state IS NULL AND calls > 0 AS unread FROM `+conns+`)`, args...); err != nil {
		return err
	}
	shakes := ask.Joined(j.c, "(SELECT "+terms.Key(j.c, "")+"conn_id FROM calls_raw WHERE protocol IN ('tls', 'quic') AND tls_cipher_suite_name IS NOT NULL)")
	j.out.Basis.Connections.Unseen, err = ask.Count(ctx, j.c, `SELECT count(*) AS n FROM `+conns+` WHERE coalesce(client_records, 0) + coalesce(server_records, 0) > 0
		AND conn NOT IN (SELECT conn FROM `+shakes+`)`, args...)
	return err
}

func (j *judge) readLosses(ctx context.Context) error {
	l := &j.out.Basis.Losses
	type row struct {
		Lost     int64 `json:"lost"`
		Unparsed int64 `json:"unparsed"`
	}
	on := "flow_id"
	if j.c.Several() {
		on = "bundle, flow_id"
	}
	r, err := ask.One[row](ctx, j.c, `SELECT coalesce(sum(gap_bytes), 0)::BIGINT AS lost, coalesce(sum(anomaly_bytes), 0)::BIGINT AS unparsed FROM flows_raw
		WHERE first_ns <= ? AND last_ns >= ? AND (`+on+`) IN (SELECT (`+on+`) FROM connections_raw)`, j.w.To, j.w.From)
	if err != nil {
		return err
	}
	l.Bytes, j.out.Basis.Connections.Unparsed = r.Lost, r.Unparsed
	for _, h := range j.out.Coverage.Holes {
		l.Packets += h.Packets
	}
	l.Counted = true
	for _, b := range j.c.Bundles() {
		for i := range b.Manifest.Inputs {
			l.Counted = l.Counted && b.Manifest.Inputs[i].CountsLosses()
		}
	}
	return nil
}

func (j *judge) readVantage(ctx context.Context) error {
	v := &j.out.Basis.Vantage
	*v = Vantage{State: unknown, Recorded: []string{}, Missing: []string{}}
	everywhere := true
	for _, b := range j.c.Bundles() {
		for _, in := range b.Manifest.Inputs {
			if in.FirstNs != nil && (int64(*in.FirstNs) > j.w.To || int64(*in.LastNs) < j.w.From) {
				continue
			}
			everywhere = everywhere && in.Node != ""
			if in.Node != "" && !slices.Contains(v.Recorded, in.Node) {
				v.Recorded = append(v.Recorded, in.Node)
			}
		}
	}
	slices.Sort(v.Recorded)
	type row struct {
		Name string `json:"name"`
	}
	nodes, _, err := ask.Rows[row](ctx, j.c, ask.MaxAll, `SELECT DISTINCT name FROM workloads WHERE kind = 'node' AND valid_from_ns <= ? AND (valid_to_ns IS NULL OR valid_to_ns >= ?) ORDER BY name`, j.w.To, j.w.From)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !slices.Contains(v.Recorded, n.Name) {
			v.Missing = append(v.Missing, n.Name)
		}
	}
	switch {
	case len(nodes) == 0 || len(v.Recorded) == 0:
	case len(v.Missing) > 0:
		v.State = partial
	case everywhere:
		v.State = whole
	}
	j.facts.unclocked, err = ask.Count(ctx, j.c, `SELECT count(*) AS n FROM clocks WHERE synchronized IS NULL`)
	return err
}

// readPolicies lists the policies in force while recording.
func (j *judge) readPolicies() {
	var list []string
	add := func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, b := range j.c.Bundles() {
		m := b.Manifest
		for i := range m.Inputs {
			switch s := m.Inputs[i].Segment; {
			case s == nil:
				add("No recording policy is known, because %s.", "the capture was imported")
			case s.Policy == "":
				add("No recording policy was in force on node %s.", m.Inputs[i].Node)
			default:
				add("The recording policy on node %s was: %s.", m.Inputs[i].Node, s.Policy)
			}
			if s := m.Inputs[i].Segment; s != nil && s.Only != "" {
				add("Only %s was selected on node %s.", s.Only, m.Inputs[i].Node)
			}
			if s := m.Inputs[i].Segment; s != nil && s.Filter != "" {
				add("The filter on node %s was: %s.", m.Inputs[i].Node, s.Filter)
			}
		}
		if m.Derived != nil && m.Derived.Policy != nil {
			add("The bundle was redacted with the policy %s.", m.Derived.Policy.Name)
		}
	}
	j.facts.policies = list
}

// reasons lists why a need is not met.
func (j *judge) reasons(need string) (out []string) {
	b := &j.out.Basis
	add := func(cond bool, format string, args ...any) {
		if cond {
			out = append(out, plural.Sprintf(format, args...))
		}
	}
	n := b.Connections
	switch need {
	case "whole":
		add(len(j.out.Coverage.Holes) > 0, "%d coverage {gap leaves|gaps leave} out part of the window (%s)", int64(len(j.out.Coverage.Holes))+j.out.Coverage.More, j.gapReasons())
		add(b.Losses.Bytes > 0, "%d {byte is|bytes are} missing from recorded conversations", b.Losses.Bytes)
		add(!b.Losses.Counted && !b.Attested, "the capture files do not count lost packets")
	case "vantage":
		add(b.Vantage.State == partial && !b.Attested, "%d {node was|nodes were} not recorded (%s)", int64(len(b.Vantage.Missing)), ask.Clip(strings.Join(b.Vantage.Missing, ", "), 200))
		add(b.Vantage.State == unknown && !b.Attested, "the vantage is unknown: nothing says whether all traffic in scope passed the capture points")
	case "content":
		add(n.Undecrypted > 0, "%d of %d {connection|connections} could not be decrypted", n.Undecrypted, n.All)
		fallthrough
	case "readable":
		add(n.Unread > 0, "%d {connection has|connections have} payload that no dissector read", n.Unread)
		add(n.Unparsed > 0, "%d {byte|bytes} of payload could not be parsed", n.Unparsed)
	case "handshakes":
		add(n.Unseen > 0, "%d encrypted {connection's handshake was|connections' handshakes were} not recorded", n.Unseen)
	case "segments":
		add(len(j.allow.Pairs) == 0, "no list of allowed pairs of namespaces was given (allow)")
	case "destinations":
		add(!j.allow.Destinations(), "no list of allowed outside destinations was given (allow)")
	case "protocols":
		add(n.Unnamed > 0, "the protocol of %d {connection|connections} is unknown", n.Unnamed)
	case "clocks":
		add(j.facts.unclocked > 0, "%d {clock does|clocks do} not say whether {it was|they were} synchronized", j.facts.unclocked)
	}
	return out
}

// gapReasons lists the reasons of coverage gaps.
func (j *judge) gapReasons() string {
	var list []string
	for _, h := range j.out.Coverage.Holes {
		if !slices.Contains(list, h.Reason) {
			list = append(list, h.Reason)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
