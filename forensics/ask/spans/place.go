package spans

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/forensics/ask/chain"
)

// unsure is the confidence below which a parent is only linked.
const unsure = 0.6

// place is the position of a call in a trace: its spans, their parent and their links.
type place struct {
	trace          []byte
	client, server []byte // ids of the spans
	parent         []byte // of the client's span; nil: it is the root
	links          []*tracepb.Span_Link
	how            string // evidence for the parent
	confidence     float64
}

// placeOf determines the trace of a call: the one that its request names, else that of the call that caused it, else one
// of its own. A parent in another trace, or one that is a guess, becomes a link.
func placeOf(r row, s *chain.Step) place {
	id := r.id()
	p := place{trace: stated(r.text("trace_id"), 16), client: derived("client", id, 8), server: derived("server", id, 8)}
	above := stated(r.text("span_id"), 8)
	if s != nil && s.Link != nil && s.Link.Parent.ID != "" {
		l := s.Link
		trace, span := traceOf(l.Parent), derived("server", l.Parent.ID, 8)
		if p.trace == nil && l.Confidence >= unsure {
			p.trace = trace
		}
		p.how, p.confidence = l.How, l.Confidence
		if l.Confidence >= unsure && string(p.trace) == string(trace) {
			p.parent = span
		} else {
			p.links = append(p.links, &tracepb.Span_Link{TraceId: trace, SpanId: span, Attributes: list(evidence(&p)...)})
		}
	}
	if p.trace == nil {
		p.trace, above = derived("trace", id, 16), nil
	}
	switch {
	case above == nil:
	case p.parent == nil:
		p.parent = above
	default: // the span of the caller's own instrumentation
		p.links = append(p.links, &tracepb.Span_Link{TraceId: p.trace, SpanId: above})
	}
	return p
}

// traceOf is the trace of a call, by the same rule.
func traceOf(s *chain.Step) []byte {
	for level := 0; ; level++ {
		if t := stated(s.Trace, 16); t != nil {
			return t
		}
		if s.Link == nil || s.Link.Parent.ID == "" || s.Link.Confidence < unsure || level == chain.MaxLevels {
			return derived("trace", s.ID, 16)
		}
		s = s.Link.Parent
	}
}

// stated is an id of a header as bytes, with zeros in front if it is shorter; nil if it is not one.
func stated(text string, size int) []byte {
	text = strings.ReplaceAll(strings.TrimPrefix(text, "1-"), "-", "") // AWS writes 1-TIME-REST
	if len(text) == 0 || len(text) > 2*size {
		return nil
	}
	id, err := hex.DecodeString(strings.Repeat("0", 2*size-len(text)) + text)
	if err != nil || strings.Trim(text, "0") == "" {
		return nil
	}
	return id
}

// derived is an id that follows from that of a call.
func derived(kind, id string, size int) []byte {
	sum := sha256.Sum256([]byte("pcapsule " + kind + " " + id))
	return sum[:size]
}

// evidence is what a parent is based on.
func evidence(p *place) []attribute {
	if p.how == "" {
		return nil
	}
	return []attribute{{"pcapsule.parent.evidence", p.how}, {"pcapsule.parent.confidence", cmp.Or(chain.Sure(p.confidence), "guess")}}
}
