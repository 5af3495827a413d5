package sensitive

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
)

// inBodies searches bodies, then finds the calls that carried those with a hit.
func (s *Search) inBodies(ctx context.Context) error {
	t := forensics.Texts{Table: "bodies", Places: []forensics.TextPlace{{Columns: []string{"text"}}, {Columns: []string{"sha256"}}},
		Judge: func() forensics.TextJudge { return s.judge(false) },
		Group: func(_ int, g *forensics.TextGroup) error {
			s.addBodies(g)
			return nil
		}}
	if err := s.Case.Texts(ctx, t); err != nil || len(s.bodies) == 0 {
		return err
	}
	t = forensics.Texts{Table: "calls", Places: []forensics.TextPlace{{Columns: []string{"request_body_sha256"}}, {Columns: []string{"response_body_sha256"}}},
		From: s.From, To: s.To, Numbers: []string{"call_no", "ts_ns"},
		Judge: func() forensics.TextJudge { return carriers{bodies: s.bodies} },
		Group: func(bundle int, g *forensics.TextGroup) error {
			for _, h := range g.Hits {
				set := uint32(h.Verdict - 1)
				h.Place += int32(len(places()))
				if err := s.addHit(ctx, bundle, g, h, set); err != nil {
					return err
				}
			}
			return nil
		}}
	return s.Case.Texts(ctx, t)
}

// body searches a body, or stores the hash of one.
func (j *judge) body(place int, text []byte) forensics.TextVerdict {
	if place == 0 {
		return j.find(text)
	}
	if len(text) != 32 {
		return 0
	}
	j.hashes = append(j.hashes, [32]byte(text))
	return forensics.TextVerdict((j.number+1)<<32 | uint64(len(j.hashes)-1))
}

// addBodies stores the bodies of a row group that have a hit. A long body has several rows.
func (s *Search) addBodies(g *forensics.TextGroup) {
	texts, hashes := g.Hits, g.Hits
	for i, h := range g.Hits {
		if h.Place == 1 {
			texts, hashes = g.Hits[:i], g.Hits[i:]
			break
		}
	}
	for _, h := range hashes {
		j, at := s.of(h.Verdict)
		if len(texts) == 0 {
			break
		}
		if texts[0].Row != h.Row {
			continue
		}
		_, set := s.of(texts[0].Verdict)
		texts = texts[1:]
		list := j.sets[set]
		had, known := s.bodies[j.hashes[at]]
		switch {
		case known:
			list = distinct(append(list[:len(list):len(list)], s.sets[had]...))
		case len(s.bodies) >= maxBodies:
			s.Full = true
			continue
		}
		s.bodies[j.hashes[at]] = s.number(list)
	}
	from, _ := s.of(g.Hits[0].Verdict) // one judge searches a row group
	from.clearSets()
}

// carriers finds the hashes of bodies with a hit.
type carriers struct {
	forensics.EveryText
	bodies map[[32]byte]uint32
}

// Text implements forensics.TextJudge.
func (c carriers) Text(_ int, hash []byte) forensics.TextVerdict {
	if len(hash) != 32 {
		return 0
	}
	set, ok := c.bodies[[32]byte(hash)]
	if !ok {
		return 0
	}
	return forensics.TextVerdict(set) + 1
}
