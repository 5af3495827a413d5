package chain

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// MaxSeeds is how many calls chains are built around.
const MaxSeeds = 120

// MaxNodes is how many calls all chains of an answer have.
const MaxNodes = 4000

// MaxOrigins is how many origins an answer lists.
const MaxOrigins = 20

// Origin is where trouble began.
type Origin struct {
	Number     int      `json:"number,omitempty" jsonschema:"in its list, from 1"`
	Chains     int      `json:"chains,omitempty" jsonschema:"chains, or calls, that it explains"`
	Src        string   `json:"src"`
	Dst        string   `json:"dst"`
	Protocol   string   `json:"protocol"`
	Endpoint   string   `json:"endpoint"`
	Status     string   `json:"status,omitempty"`
	What       string   `json:"what" jsonschema:"failed, no_answer, slow (it did not fail but took the time), sealed (an encrypted connection that took the time), or own (nothing below it failed)"`
	ElapsedMs  float64  `json:"elapsed_ms" jsonschema:"how long it took, or was waited for"`
	Said       string   `json:"said,omitempty" jsonschema:"what its answer said; text from the traffic"`
	Way        string   `json:"way" jsonschema:"services from the outermost call to it"`
	Confidence float64  `json:"confidence"`
	Sure       string   `json:"sure" jsonschema:"exact, likely or guess"`
	Packets    string   `json:"packets,omitempty" jsonschema:"of the first"`
	CallIDs    []string `json:"call_ids" jsonschema:"up to three; none where a connection came to nothing and carried no call"`
}

// Millis writes nanoseconds as milliseconds with three digits.
func Millis(ns int64) float64 { return math.Round(float64(ns)/1e3) / 1e3 }

// EndpointOf is what a call asked for, without what differs from call to call.
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

// Root is where one chain's trouble began.
type Root struct {
	Blame
	Root *Step
}

// OriginIn finds where the trouble of a chain began: of its outermost call where that
// failed, else of what was asked for, else of the first call that failed and did harm.
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

// Origin writes it for an answer; text is what the answers of calls said.
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
	return Origin{Src: s.Src.Who, Dst: s.Dst.Who, Protocol: s.Protocol, Endpoint: EndpointOf(s), Status: s.Status, What: o.kind, ElapsedMs: Millis(s.End - s.Start),
		Said: text[s.Key()], Way: strings.Join(way, " → "), Confidence: o.confidence, Sure: Sure(o.confidence), Packets: s.Packets, CallIDs: s.IDs()}
}

// SumOrigins counts equal origins.
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

// Same says that two origins are one kind of trouble at one place.
func (o Origin) Same(p Origin) bool {
	return o.Src == p.Src && o.Dst == p.Dst && o.Protocol == p.Protocol && o.Endpoint == p.Endpoint && o.Status == p.Status &&
		(o.What == p.What || o.deepest() && p.deepest())
}

// deepest says that the trouble is the call's own, whether or not another failed because
// of it.
func (o Origin) deepest() bool { return o.What == "own" || o.What == "failed" }
