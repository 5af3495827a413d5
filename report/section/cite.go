package section

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of citations.
const (
	maxRanges = 4 // ranges of packets in one
	maxCites  = 3 // calls or flows that a claim cites
)

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

// citeFlows cites flows by their ids and the numbers of their bundles, which may be unknown.
func (b *builder) citeFlows(ids, bundles []int64) (out []*value.Citation) {
	for i, id := range ids[:min(len(ids), maxCites)] {
		c := &value.Citation{Flow: id}
		if len(bundles) == len(ids) {
			c.Bundle = int(bundles[i])
		} else if b.several {
			c.Bundle = -1 // LIMIT: the lists of questions do not have it
		}
		b.cites = append(b.cites, c)
		out = append(out, c)
	}
	return out
}

// citePackets cites packets of the first bundle, as "12-15,18".
func citePackets(packets string) []*value.Citation {
	if packets == "" {
		return nil
	}
	return []*value.Citation{{Packets: firstRanges(packets)}}
}

// resolve completes the citations.
func (b *builder) resolve() {
	var ids []string
	var flows []int64
	for _, c := range b.cites {
		if c.Call != "" {
			ids = append(ids, c.Call)
		} else {
			flows = append(flows, c.Flow)
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
				c.Bundle, c.Packets = int(call.Bundle), firstRanges(call.Packets)
			}
		}
	}
	slices.Sort(flows)
	if b.err != nil || len(flows) == 0 {
		return
	}
	var spans map[tally.Flow]string
	spans, b.err = tally.Spans(b.ctx, b.c, slices.Compact(flows))
	for _, c := range b.cites {
		if c.Call == "" {
			c.Packets = spans[tally.Flow{Bundle: int64(c.Bundle), ID: c.Flow}]
		}
	}
}

// firstRanges returns the first ranges of a list of packets.
func firstRanges(packets string) string {
	list := strings.Split(packets, ",")
	if len(list) > maxRanges {
		list = append(list[:maxRanges:maxRanges], "…")
	}
	return strings.Join(list, ",")
}

func packetRange(first, last int64) string {
	if first == last {
		return strconv.FormatInt(first, 10)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
