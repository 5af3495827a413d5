package reader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl"
)

// Answer is the answer to a question: JSON, or a file.
type Answer struct {
	Status int // as in HTTP
	Type   string
	Body   []byte
}

// query has the parameters of a question.
type query map[string]string

func (q query) text(name string) string { return q[name] }

func (q query) number(name string) int64 {
	n, _ := strconv.ParseInt(q[name], 10, 64)
	return n
}

// maxRows is how many rows an answer lists.
const maxRows = 1000

func (q query) limit() int {
	if n := q.number("limit"); n > 0 {
		return int(min(n, maxRows))
	}
	return 100
}

// requestError says what is wrong with a question.
type requestError string

func (e requestError) Error() string { return string(e) }

func badRequest(text string) error { return requestError(text) }

// maxBody limits the body of a question.
const maxBody = 64 << 10

var callPath = regexp.MustCompile(`^/mcp/calls/(#?[0-9a-fA-F]{1,63})/(packets|packet|pcap|picture)$`)

// Ask answers a question in the form of the REST server: a path with parameters, and a body in JSON or none.
func (r *Reader) Ask(ctx context.Context, address string, body []byte) Answer {
	v, err := r.answer(ctx, address, body)
	if err != nil {
		return problem(r.known.Mask(err.Error()), statusOf(err))
	}
	if a, ok := v.(Answer); ok {
		return a
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return problem(err.Error(), http.StatusInternalServerError)
	}
	return Answer{http.StatusOK, "application/json", out.Bytes()}
}

func problem(text string, status int) Answer {
	raw, _ := json.Marshal(map[string]string{"error": ask.Clip(text, 1500)})
	return Answer{status, "application/json", raw}
}

func statusOf(err error) int {
	var bad requestError
	var filter *kfl.Error
	var damaged *bundle.DamagedError
	var large *TooLargeError
	switch {
	case errors.As(err, &bad), errors.As(err, &filter):
		return http.StatusBadRequest
	case errors.Is(err, forensics.ErrNotFound):
		return http.StatusNotFound
	case errors.As(err, &damaged):
		return http.StatusUnprocessableEntity
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

func (r *Reader) answer(ctx context.Context, address string, body []byte) (any, error) {
	u, err := url.Parse(address)
	if err != nil || len(body) > maxBody {
		return nil, badRequest("the question has no valid address")
	}
	q := query{}
	for name, values := range u.Query() {
		q[name] = values[0]
	}
	if len(body) > 0 {
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			return nil, badRequest("body: must be a JSON object")
		}
		for name, v := range members {
			q[name] = fmt.Sprint(v)
		}
	}
	v, err := r.route(ctx, u.Path, q)
	var bad *kfl.Error
	if errors.As(err, &bad) {
		err = fmt.Errorf("KFL: %w", &prettyError{bad})
	}
	return v, err
}

// prettyError is an error of a filter with the place that it is about.
type prettyError struct{ of *kfl.Error }

func (e *prettyError) Error() string { return e.of.Pretty() }
func (e *prettyError) Unwrap() error { return e.of }

func (r *Reader) route(ctx context.Context, path string, q query) (any, error) {
	if m := callPath.FindStringSubmatch(path); m != nil {
		switch m[2] {
		case "packets":
			return r.listPackets(m[1], q)
		case "packet":
			return r.onePacket(m[1], q)
		case "picture":
			return r.picture(m[1], q)
		}
		p, err := r.find(m[1])
		if err != nil {
			return nil, err
		}
		return r.file(ctx, []place{p}, q.text("context") == string(forensics.WholeConnections))
	}
	switch path {
	case "/mcp/cases":
		return r.cases()
	case "/mcp/calls":
		return r.listCalls(q)
	case "/mcp/calls/buckets":
		return r.buckets(q)
	case "/mcp/calls/groups":
		return r.groups(q)
	case "/mcp/flows":
		return r.flows(q)
	case "/mcp/kfl/complete":
		return r.completions(q)
	case "/mcp/marks":
		return object{"marks": []object{}, "truncated": false}, nil
	case "/mcp/tools/get_api_call_details":
		return r.details(q)
	case OverviewPath:
		return r.overview()
	case PacketsPath:
		from, to, err := r.between(q)
		if err != nil {
			return nil, err
		}
		if q.number("start") == 0 {
			from = math.MinInt64
		}
		if q.number("end") == 0 {
			to = math.MaxInt64
		}
		list, err := r.selected(q.text("kfl"), from, to)
		if err != nil {
			return nil, err
		}
		return r.file(ctx, list, false)
	}
	return nil, fmt.Errorf("this tab has no answer to %s; pcapsule open has: %w", path, forensics.ErrNotFound)
}

// Paths that the server does not have.
const (
	OverviewPath = "/viewer/overview" // what the bundle is
	PacketsPath  = "/viewer/pcap"     // packets of the calls that match a filter, as PCAPNG
)

// maxSlice is how many bytes of packets one file has.
const maxSlice = 500_000_000

// limited is a buffer with a limit.
type limited struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxSlice {
		return 0, &TooLargeError{"the packets have more than 500 MB; add to the filter, or use pcapsule packets"}
	}
	return l.Buffer.Write(p)
}

func (r *Reader) file(ctx context.Context, list []place, whole bool) (any, error) {
	var out limited
	if err := r.slice(ctx, &out, list, whole); err != nil {
		return nil, err
	}
	return Answer{http.StatusOK, "application/vnd.tcpdump.pcap", out.Bytes()}, nil
}

// picture answers with the picture that a call carried.
func (r *Reader) picture(id string, q query) (any, error) {
	x, err := r.exchange(id, shown.MaxPicture)
	if err != nil {
		return nil, err
	}
	png, err := shown.Picture(x.Body(q.text("side")))
	if errors.Is(err, shown.ErrNoPicture) {
		return nil, badRequest(err.Error())
	}
	return Answer{http.StatusOK, "image/png", png}, err
}

// maxInputs is how many inputs and warnings are listed.
const maxInputs = 20

// cases answers /mcp/cases.
func (r *Reader) cases() (any, error) {
	coverage, err := r.coverage(0, 0)
	if err != nil {
		return nil, err
	}
	m := r.b.Manifest
	pods := false
	for _, side := range m.SideInputs {
		pods = pods || side.Kind == "kube"
	}
	inputs := []object{}
	for _, in := range m.Inputs[:min(len(m.Inputs), maxInputs)] {
		inputs = append(inputs, object{"name": r.known.Mask(ask.Clip(in.Name, 200)), "sha256": in.SHA256.String(), "format": in.Format, "packets": in.Packets, "drops": in.Drops, "damaged_places": len(in.Damage) + int(in.DamageMore)})
	}
	c := object{"bundle": 0, "path": r.name, "packets": m.Accounts.Packets, "bytes": m.Accounts.Bytes, "calls": m.Calls, "inputs": inputs, "kubernetes": pods, "verified": r.State, "made_by": m.Tool.Name + " " + m.Tool.Release}
	if from, to, ok := r.window(); ok {
		c["from"], c["to"] = when.Stamp(from), when.Stamp(to)
	}
	var warnings []string
	for _, w := range m.Warnings[:min(len(m.Warnings), maxInputs)] {
		warnings = append(warnings, r.known.Mask(ask.Clip(w, 200)))
	}
	if warnings != nil {
		c["warnings"] = warnings
	}
	return object{"cases": []object{c}, "coverage": ask.CoverageOf(coverage)}, nil
}

// overview says what the bundle is: its calls by protocol and outcome, how it was derived, what was lost.
func (r *Reader) overview() (any, error) {
	if err := r.load("protocol", "outcome", "failed", "elapsed_us"); err != nil {
		return nil, err
	}
	type key struct{ protocol, outcome string }
	of := map[key]*tally{}
	for _, p := range r.order {
		k := key{text(r.value(p, "protocol")), text(r.value(p, "outcome"))}
		if of[k] == nil {
			of[k] = &tally{}
		}
		of[k].add(p)
	}
	calls := []object{}
	for k, t := range of {
		calls = append(calls, object{"protocol": k.protocol, "outcome": k.outcome, "calls": t.calls, "failed": t.failed})
	}
	slices.SortFunc(calls, func(a, b object) int {
		x, y := a["protocol"].(string)+"\x00"+a["outcome"].(string), b["protocol"].(string)+"\x00"+b["outcome"].(string)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	m := r.b.Manifest
	var drops, events, conns int64
	for _, in := range m.Inputs {
		drops += in.Drops
	}
	for _, t := range m.Tables {
		switch t.Name {
		case "k8s_events", "os_events":
			events += t.Rows
		case "connections":
			conns += t.Rows
		}
	}
	out := object{"calls": calls, "connections": conns, "dropped": drops, "events": events}
	if d := m.Derived; d != nil {
		rules := []object{}
		for _, name := range slices.Sorted(maps.Keys(d.Rules)) {
			rules = append(rules, object{"rule": name, "packets": d.Rules[name]})
		}
		lacks := []object{}
		for _, l := range d.Lacks() {
			lacks = append(lacks, object{"reason": l.Reason, "packets": l.Packets, "detail": r.known.Mask(l.Detail)})
		}
		out["derived"] = object{"kind": d.Kind, "unchanged": d.Packets.Unchanged, "changed": d.Packets.Changed, "removed": d.Packets.Removed, "from_packets": d.From.Packets, "rederivable": d.Rederivable, "rules": rules, "lacks": lacks, "proofs": len(d.Proofs) + len(d.Rows)}
	}
	return out, nil
}
