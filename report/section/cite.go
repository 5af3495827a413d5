package section

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/report/value"
)

// maxCites is the highest number of calls or flows that a claim cites.
const maxCites = 3

// cite cites calls by their ids; resolve adds their packets.
func (b *builder) cite(ids ...string) (out []*value.Citation) {
	for _, id := range ids {
		if id != "" && len(out) < maxCites {
			c := &value.Citation{Call: id}
			b.cites = append(b.cites, c)
			out = append(out, c)
		}
	}
	return out
}

// citeFlows cites flows by their ids, which terms.FlowID writes.
func (b *builder) citeFlows(ids []string) (out []*value.Citation) {
	for _, id := range ids[:min(len(ids), maxCites)] {
		c := &value.Citation{}
		var err error
		if of, no, several := strings.Cut(id, "#"); several {
			if c.Bundle, err = strconv.Atoi(of); err != nil {
				continue
			}
			id = no
		}
		if c.Flow, err = strconv.ParseInt(id, 10, 64); err != nil {
			continue
		}
		b.cites = append(b.cites, c)
		out = append(out, c)
	}
	return out
}

// citePackets cites frames as an answer writes them, of a bundle that the answer does not name.
func (b *builder) citePackets(frames string) []*value.Citation {
	if frames == "" {
		return nil
	}
	return []*value.Citation{{Bundle: b.unknown(), Packets: firstFrames(frames)}}
}

// unknown is the bundle of a citation that names only files, whose names differ between bundles.
func (b *builder) unknown() int {
	if b.several {
		return -1
	}
	return 0
}

// span cites the packets of a flow, which are between its first and its last packet.
func (b *builder) span(no int, first, last int64) string {
	if b.err != nil {
		return ""
	}
	var texts []string
	texts, b.err = b.c.CiteSpans(b.ctx, [2]forensics.Citation{forensics.CitePacket(no, first), forensics.CitePacket(no, last)})
	return strings.Join(texts, "")
}

// resolve completes the citations.
func (b *builder) resolve() {
	var ids []string
	var flows []tally.FlowKey
	for _, c := range b.cites {
		if c.Call != "" {
			ids = append(ids, c.Call)
		} else {
			flows = append(flows, tally.FlowKey{Bundle: int64(c.Bundle), ID: c.Flow})
		}
	}
	slices.Sort(ids)
	for part := range slices.Chunk(slices.Compact(ids), 1000) {
		if b.err != nil {
			return
		}
		var calls map[string]tally.Cited
		calls, b.err = tally.Packets(b.ctx, b.c, part)
		for _, c := range b.cites {
			if call, ok := calls[c.Call]; ok && c.Call != "" {
				c.Bundle, c.Packets = int(call.Bundle), firstFrames(call.Packets)
			}
		}
	}
	if b.err != nil || len(flows) == 0 {
		return
	}
	var spans map[tally.FlowKey]string
	spans, b.err = tally.Spans(b.ctx, b.c, flows)
	for _, c := range b.cites {
		if c.Call == "" {
			c.Packets = firstFrames(spans[tally.FlowKey{Bundle: int64(c.Bundle), ID: c.Flow}])
		}
	}
}

// firstFrames shortens a citation to what fits in a cell, after a whole range of frames.
func firstFrames(frames string) string {
	text := value.Text(frames)
	if utf8.RuneCountInString(frames) <= value.MaxText {
		return text
	}
	if at := strings.LastIndexAny(text, ",;"); at > 0 {
		return text[:at] + ", …"
	}
	return text
}
