package ring

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// DerivedSeries is the series in the header of a derived file. No segment of a ring has this
// series.
const DerivedSeries = "derived"

// Derived states that a file was made from segments, and how its packets were selected.
type Derived struct {
	From    Time     `json:"from"`
	To      Time     `json:"to"`
	Filter  string   `json:"filter,omitempty"` // the packets match; pcap-filter(7)
	KFL     string   `json:"kfl,omitempty"`    // the packets are of calls that match
	Parents []Parent `json:"parents"`
	More    int      `json:"more,omitempty"` // number of parents that do not fit into a section header
}

// Parent is a segment from which packets were copied.
type Parent struct {
	Segment string `json:"segment"`
	SHA256  string `json:"sha256"` // from its seal
}

// Derive creates dest, a folder for data derived from the pinned segments in dir. It writes
// the records of the chain, so that gaps and the hashes of the parents are kept, and a
// pin.json without segments. It returns the comment for the section header of the derived
// file, with all pinned segments as parents. It fails if the filters do not fit into a section
// header.
func Derive(dir, dest string, p *Pinned, d Derived) (comment string, err error) {
	r, err := Open(dir)
	if err != nil {
		return "", err
	}
	d.From, d.To = p.From, p.To
	sums := map[string]string{}
	var first *Segment
	for i := range r.Segments {
		s := &r.Segments[i]
		if s.Seal == nil {
			continue
		}
		sums[s.ID.Segment()] = s.Seal.SHA256
		if first == nil && len(p.Segments) > 0 && s.ID.Segment() == p.Segments[0] {
			first = s
		}
	}
	for _, name := range p.Segments {
		d.Parents = append(d.Parents, Parent{name, sums[name]})
	}
	h := Header{Version: Version, Ring: r.ID, Node: r.Node}
	if first != nil {
		if h, err = first.header(); err != nil {
			return "", fmt.Errorf("reading %s: %w", first.ID, err)
		}
	}
	// Values of a single segment are left to the parents.
	h.Series, h.Sequence, h.Holes = DerivedSeries, 0, nil
	h.Derived = &d
	text, err := h.deriving()
	if err != nil {
		return "", fmt.Errorf("describing a derived file: %w", err)
	}
	return text, p.describe(dir, dest)
}

// deriving returns the comment, with as many parents as fit.
func (h *Header) deriving() (string, error) {
	for {
		text, err := compact(h)
		if err != nil || len(text) <= maxHeader {
			return string(text), err
		}
		n := len(h.Derived.Parents)
		if n == 0 {
			return "", fmt.Errorf("%d bytes, the limit is %d", len(text), maxHeader)
		}
		keep := n / 2
		h.Derived.Parents, h.Derived.More = h.Derived.Parents[:keep], h.Derived.More+n-keep
	}
}

// header reads the comment in the section header of the segment.
func (s *Segment) header() (h Header, err error) {
	in, err := s.Reader()
	if err != nil {
		return h, err
	}
	defer in.Close()
	found := false
	r, err := pcapng.NewReader(in, pcapng.Options{OnBlock: func(b pcapng.Block) {
		if found || b.Type != pcapng.BlockSection {
			return
		}
		if sec, err := pcapng.ParseSection(b); err == nil && len(sec.Comments) > 0 {
			h, found = ParseHeader(sec.Comments[0])
		}
	}})
	var b pcapng.Batch
	if err == nil {
		err = r.Next(&b) // it begins with the section header
	}
	if err == nil && !found {
		err = fmt.Errorf("its section header is not one of a segment")
	}
	return h, err
}

// describe writes the chain and the description of an empty part of the ring to dest.
func (p *Pinned) describe(dir, dest string) error {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	if err := durable.Copy(filepath.Join(dir, sealsName), filepath.Join(dest, sealsName)); err != nil {
		return err
	}
	none := *p
	none.Segments = []string{}
	text, err := json.MarshalIndent(&none, "", "  ")
	if err != nil {
		return err
	}
	return whole.CreateDurably(filepath.Join(dest, pinName), 0o644, whole.Text(append(text, '\n')))
}
