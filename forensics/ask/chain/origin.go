package chain

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// MaxSeeds is the highest number of calls whose chains are built.
const MaxSeeds = 120

// MaxNodes is the highest number of calls in all chains of an answer.
const MaxNodes = 4000

// MaxOrigins is the highest number of origins that an answer lists.
const MaxOrigins = 20

// Origin is the origin of failures.
type Origin struct {
	Number     int      `json:"number,omitempty" jsonschema:"number in its list, from 1"`
	Chains     int      `json:"chains,omitempty" jsonschema:"number of chains or calls that it explains"`
	Src        string   `json:"src"`
	Dst        string   `json:"dst"`
	Protocol   string   `json:"protocol"`
	Endpoint   string   `json:"endpoint"`
	Status     string   `json:"status,omitempty"`
	What       string   `json:"what" jsonschema:"failed, no_answer, slow (it did not fail but took the time), sealed (an encrypted connection took the time), or own (nothing below it failed)"`
	ElapsedMs  float64  `json:"elapsed_ms" jsonschema:"how long it took, or how long its caller waited"`
	Said       string   `json:"said,omitempty" jsonschema:"error or body of its response; text from the traffic"`
	Way        string   `json:"way" jsonschema:"services from the outermost call to it"`
	Confidence float64  `json:"confidence"`
	Sure       string   `json:"sure" jsonschema:"exact, likely or guess"`
	Packets    string   `json:"packets,omitempty" jsonschema:"packets of the first"`
	CallIDs    []string `json:"call_ids" jsonschema:"up to three; none for a failed connection without calls"`
}

// Millis writes nanoseconds as milliseconds with three digits.
func Millis(ns int64) float64 { return math.Round(float64(ns)/1e3) / 1e3 }

// EndpointOf is the endpoint of a call: its request without the parts that vary between calls.
func EndpointOf(s *Step) string {
	switch {
	case s.Path != "":
		return strings.TrimSpace(s.Method + " " + ask.Clip(table.Template(s.Path), 120))
	case s.Protocol == "dns" || s.Protocol == "tls" || s.Protocol == "quic":
		return strings.TrimSpace(s.Protocol + " " + s.Host)
	case s.Method != "":
		return s.Method
	}
	return s.Protocol
}

// Root is the origin of the failure of one chain.
type Root struct {
	Blame
	Root *Step
}

// OriginIn finds the origin of the failure in a chain: of its outermost call if that failed,
// otherwise of the requested call, otherwise of the first harmful failure.
func OriginIn(root *Step, list []*Step, children map[*Step][]*Step) (Root, bool) {
	from := root
	if !root.Broken() {
		from = nil
		for _, s := range list {
			if !s.Broken() || s.Link != nil && Harmless(s, children[s.Link.Parent]) {
				continue
			}
			if from == nil || s.Hit && !from.Hit {
				from = s
			}
		}
	}
	if from == nil {
		return Root{}, false
	}
	return Root{BlameOf(from, children), root}, true
}

// Origin converts a root for an answer; text has the errors or bodies of responses.
func (o Root) Origin(text map[ask.Key]string) Origin {
	s := o.At
	var way []string
	for i, p := range o.path {
		if i == 0 {
			way = append(way, p.Src.Who)
		}
		if p.Dst.Who != way[len(way)-1] {
			way = append(way, p.Dst.Who)
		}
	}
	end := s.End
	if n := len(o.path); n > 1 && o.kind == "no_answer" && o.path[n-2].Took != nil { // its caller waited no longer
		end = min(end, max(o.path[n-2].End, s.Start))
	}
	return Origin{Src: s.Src.Who, Dst: s.Dst.Who, Protocol: s.Protocol, Endpoint: EndpointOf(s), Status: s.Status, What: o.kind, ElapsedMs: Millis(end - s.Start),
		Said: text[s.Key()], Way: strings.Join(way, " → "), Confidence: o.confidence, Sure: Sure(o.confidence), Packets: s.Packets, CallIDs: s.IDs()}
}

// SumOrigins merges equal origins and counts them.
func SumOrigins(list []Root, text map[ask.Key]string) []Origin {
	out := []Origin{}
	for _, o := range list {
		one := o.Origin(text)
		i := slices.IndexFunc(out, one.Same)
		if i < 0 {
			i = len(out)
			out = append(out, one)
		} else {
			if len(out[i].CallIDs) < 3 && o.At.ID != "" && !slices.Contains(out[i].CallIDs, o.At.ID) {
				out[i].CallIDs = append(out[i].CallIDs, o.At.ID)
			}
			out[i].Confidence = min(out[i].Confidence, one.Confidence)
			out[i].Sure = Sure(out[i].Confidence)
			if one.What == "failed" {
				out[i].What = one.What
			}
			out[i].ElapsedMs = max(out[i].ElapsedMs, one.ElapsedMs)
		}
		out[i].Chains++
	}
	slices.SortStableFunc(out, func(a, b Origin) int { return cmp.Compare(b.Chains, a.Chains) })
	return out
}

// Same reports whether two origins are the same kind of failure at the same endpoint.
func (o Origin) Same(p Origin) bool {
	return o.Src == p.Src && o.Dst == p.Dst && o.Protocol == p.Protocol && o.Endpoint == p.Endpoint && o.Status == p.Status &&
		(o.What == p.What || o.deepest() && p.deepest())
}

// deepest reports whether the call itself failed, and not because of a call below it.
func (o Origin) deepest() bool { return o.What == "own" || o.What == "failed" }
