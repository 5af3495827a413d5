package pins

import (
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// maxHoles is how many coverage gaps are listed; the seals have all.
const maxHoles = 1000

// Coverage describes a node's recording.
type Coverage struct {
	Node      string      `json:"node"`
	Ring      string      `json:"ring"`
	Recording bool        `json:"recording"` // a recorder is writing
	Now       ring.Time   `json:"now"`       // the node's clock
	First     ring.Time   `json:"first"`     // first and last packet in sealed segments
	Last      ring.Time   `json:"last"`
	Segments  int         `json:"segments"` // sealed
	Packets   uint64      `json:"packets"`
	Bytes     int64       `json:"bytes"`
	Head      uint64      `json:"head"` // last record of the chain of seals
	HeadHash  string      `json:"head_sha256"`
	Gaps      []ring.Hole `json:"gaps"`
	MoreGaps  int         `json:"more_gaps,omitempty"` // older ones that are not listed
}

// Coverage reads the ring's records.
func (s *Store) Coverage(now time.Time) (*Coverage, error) {
	r, err := ring.Open(s.ring)
	if err != nil {
		return nil, err
	}
	c := &Coverage{Node: s.node, Ring: r.ID, Recording: r.Writing, Now: ring.Time(now.UnixNano()), Gaps: r.Holes}
	if r.Head != nil {
		c.Head, c.HeadHash = r.Head.N, r.Head.Hash
	}
	if n := len(c.Gaps) - maxHoles; n > 0 {
		c.Gaps, c.MoreGaps = c.Gaps[n:], n
	}
	if c.Gaps == nil {
		c.Gaps = []ring.Hole{}
	}
	for _, x := range r.Segments {
		if x.Seal == nil || x.Missing {
			continue
		}
		c.Segments++
		c.Packets += x.Seal.Packets
		c.Bytes += x.Seal.Size
		if x.Seal.Packets > 0 && (c.First == 0 || x.Seal.First < c.First) {
			c.First = x.Seal.First
		}
		c.Last = max(c.Last, x.Seal.Last)
	}
	return c, nil
}
