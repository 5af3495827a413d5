package ring

import (
	"encoding/json"
	"fmt"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Header is the JSON object in the comment of a segment's section header. The ring sets the
// first five fields and Holes.
type Header struct {
	Version  int    `json:"version"`
	Ring     string `json:"ring"`
	Node     string `json:"node"`
	Series   string `json:"series"`
	Sequence uint64 `json:"sequence"`

	Recorder string    `json:"recorder,omitempty"`
	BootID   string    `json:"boot_id,omitempty"`
	Kernel   string    `json:"kernel,omitempty"`
	OS       string    `json:"os,omitempty"`
	Hardware string    `json:"hardware,omitempty"`
	Programs []Program `json:"programs,omitempty"` // loaded into the kernel
	Clocks   []Clock   `json:"clocks,omitempty"`
	Filter   string    `json:"filter,omitempty"`   // in effect when the segment began
	Only     string    `json:"only,omitempty"`     // whose packets were wanted
	Policy   string    `json:"policy,omitempty"`   // what must not be recorded
	Own      string    `json:"own,omitempty"`      // how the recorder's own traffic is excluded
	Sight    string    `json:"sight,omitempty"`    // once: packets between two local sockets are recorded only as outgoing
	Degraded []string  `json:"degraded,omitempty"` // what is not recorded on this kernel, with the reasons

	Holes []Hole `json:"holes,omitempty"` // between the previous segment and this one

	Derived *Derived `json:"derived,omitempty"` // of a file made from segments
}

// Program is a program loaded into the kernel.
type Program struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

const maxHeader = 60_000 // bytes of the comment; an option has at most 65,535

// encode returns the section header block.
func (h *Header) encode() ([]byte, error) {
	text, err := compact(h)
	if err == nil && len(text) > maxHeader {
		short := *h
		short.Clocks, short.Filter, short.Only, short.Policy, short.Programs, short.Degraded = nil, "", "", "", nil, nil
		if text, err = compact(&short); err == nil && len(text) > maxHeader {
			err = fmt.Errorf("%d bytes, the limit is %d", len(text), maxHeader)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("writing section header: %w", err)
	}
	s := pcapng.Section{Hardware: h.Hardware, OS: h.OS, Application: h.Recorder, Comments: []string{string(text)}}
	var out appender
	w, err := pcapng.NewWriter(&out, s, pcapng.WriterOptions{MaxBlock: maxBlock})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("writing section header: %w", err)
	}
	return out, nil
}

// ParseHeader parses the comment of a section header. It returns false for the comments of
// other programs.
func ParseHeader(comment string) (Header, bool) {
	var h Header
	if len(comment) > 0xFFFF || json.Unmarshal([]byte(comment), &h) != nil || h.Ring == "" || h.Version < 1 {
		return Header{}, false
	}
	return h, true
}
