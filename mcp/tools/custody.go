package tools

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// maxCustodyEntries is how many entries of a log are listed, the first and the last ones.
const maxCustodyEntries = 200

// Custody are the custody logs of the open bundles.
type Custody struct {
	Bundles []CustodyLog `json:"bundles"`
}

// CustodyLog is the log of one bundle. It is what people and programs wrote: verify compares it with the bundle.
type CustodyLog struct {
	Bundle  int            `json:"bundle" jsonschema:"number of the bundle in answers about several bundles"`
	Entries []CustodyEntry `json:"entries" jsonschema:"in their order"`
	Left    int            `json:"left_out,omitempty" jsonschema:"entries in the middle that are not listed"`
	Damaged string         `json:"damaged,omitempty" jsonschema:"what is wrong with the log; entries before the first fault are listed"`
}

// CustodyEntry is an action on a bundle.
type CustodyEntry struct {
	Time    string            `json:"time" jsonschema:"RFC 3339, by the clock of whoever did it"`
	Event   string            `json:"event" jsonschema:"made, verified, signed, handed_over, …"`
	Tool    string            `json:"tool,omitempty"`
	User    string            `json:"user,omitempty"`
	Host    string            `json:"host,omitempty"`
	Note    string            `json:"note,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// Custody reads the custody logs.
func (s *Invocation) Custody() Custody {
	out := Custody{Bundles: []CustodyLog{}}
	for _, b := range s.Case.Bundles() {
		l := CustodyLog{Bundle: b.Index, Entries: []CustodyEntry{}}
		entries, _, err := b.Bundle.Custody()
		if err != nil {
			l.Damaged = ask.Clip(err.Error(), 300)
		}
		if n := len(entries) - maxCustodyEntries; n > 0 {
			l.Left = n
			entries = slices.Concat(entries[:maxCustodyEntries/2], entries[len(entries)-maxCustodyEntries/2:])
		}
		for _, e := range entries {
			l.Entries = append(l.Entries, s.custodyEntry(e))
		}
		out.Bundles = append(out.Bundles, l)
	}
	return out
}

func (s *Invocation) custodyEntry(e bundle.Entry) CustodyEntry {
	clip := func(text string) string {
		if s.Policy != nil {
			text = s.Policy.Sentence(text)
		}
		return ask.Clip(text, 300)
	}
	out := CustodyEntry{Time: e.Time.String(), Event: clip(e.Event), Tool: clip(e.Tool), User: clip(e.User), Host: clip(e.Host), Note: clip(e.Note)}
	for name, value := range e.Details {
		if out.Details == nil {
			out.Details = map[string]string{}
		}
		out.Details[clip(name)] = clip(value)
	}
	return out
}
