package finding

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/yamltext"
)

// Limits of an accept list.
const (
	maxAccept   = 1 << 20 // bytes
	maxAccepted = 10_000  // entries
	maxReason   = 2000    // bytes of a text
)

// Acceptance is the reason for accepting a finding.
type Acceptance struct {
	Reason  string `json:"reason"`
	By      string `json:"by" jsonschema:"who accepted it"`
	Until   string `json:"until" jsonschema:"last day, UTC, on which it may be seen"`
	Expired bool   `json:"expired,omitempty" jsonschema:"it was seen after that day, so it is no longer accepted"`
}

// Accept is an accept list: acceptances by the id of a finding.
type Accept struct {
	by    map[string]Acceptance
	order []string
}

// acceptKeys are the keys of an entry, all of which are required.
var acceptKeys = []string{"finding", "reason", "by", "until"}

// ParseAccept parses an accept list. Its error is an *ask.InputError with line and column. An empty
// text is an empty list.
func ParseAccept(text []byte) (*Accept, error) {
	a := &Accept{by: map[string]Acceptance{}}
	if len(text) == 0 {
		return a, nil
	}
	if len(text) > maxAccept {
		return nil, ask.Wrong("accept", "more than %d bytes", maxAccept)
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		var at *yaml.LoadError
		switch {
		case errors.Is(err, io.EOF), errors.As(err, &at) && at.Mark.Line == 0:
			return nil, ask.Wrong("accept", "the list is empty; it must begin with version: 1, then have a list accepted")
		}
		return nil, ask.Wrong("accept", "%v", yamltext.Error(err))
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode {
		root = doc.Content[0]
	}
	top, err := mapping(root, []string{"version", "accepted"})
	if err != nil {
		return nil, err
	}
	if top["version"].Value != "1" {
		return nil, place(top["version"], "version %q is not supported; it must be 1", top["version"].Value)
	}
	list := top["accepted"]
	if list.Kind != yaml.SequenceNode || len(list.Content) > maxAccepted {
		return nil, place(list, "accepted must be a list of at most %d entries with %s", maxAccepted, strings.Join(acceptKeys, ", "))
	}
	for _, n := range list.Content {
		if err := a.add(n); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// add adds an entry.
func (a *Accept) add(n *yaml.Node) error {
	entry, err := mapping(n, acceptKeys)
	if err != nil {
		return err
	}
	for _, k := range acceptKeys {
		if v := entry[k]; v.Kind != yaml.ScalarNode || strings.TrimSpace(v.Value) == "" || len(v.Value) > maxReason {
			return place(v, "%s must be a text of 1 to %d bytes", k, maxReason)
		}
	}
	id, until := entry["finding"].Value, entry["until"].Value
	name, hash, ok := strings.Cut(id, "/")
	if !ok || name == "" || len(hash) != 12 || strings.Trim(hash, "0123456789abcdef") != "" {
		return place(entry["finding"], "finding must be the id of a finding, such as weak-tls/0a1b2c3d4e5f, not %q", ask.Clip(id, 100))
	}
	if _, err := time.Parse(time.DateOnly, until); err != nil {
		return place(entry["until"], "until must be a day such as 2026-12-31, not %q", ask.Clip(until, 100))
	}
	if _, twice := a.by[id]; twice {
		return place(entry["finding"], "finding %s is accepted twice", id)
	}
	a.by[id] = Acceptance{Reason: entry["reason"].Value, By: entry["by"].Value, Until: until}
	a.order = append(a.order, id)
	return nil
}

// mapping returns the values of a map by key. It rejects unknown, repeated and missing keys.
func mapping(n *yaml.Node, keys []string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, place(n, "must be a map with %s", strings.Join(keys, ", "))
	}
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		known := false
		for _, want := range keys {
			known = known || want == k.Value
		}
		if !known {
			return nil, place(k, "unknown key %q; %s", ask.Clip(k.Value, 100), suggestion(k.Value, keys))
		}
		if out[k.Value] != nil {
			return nil, place(k, "%s occurs twice", k.Value)
		}
		out[k.Value] = n.Content[i+1]
	}
	for _, k := range keys {
		if out[k] == nil {
			return nil, place(n, "%s is missing", k)
		}
	}
	return out, nil
}

// place is an error at a place of the accept list.
func place(n *yaml.Node, format string, args ...any) error {
	return ask.Wrong("accept", "line %d, column %d: %s", n.Line, n.Column, fmt.Sprintf(format, args...))
}

// mark marks the accepted findings of an answer. An acceptance ends with its day: a finding of a
// later recording is marked as expired. The time is that of the recording, so the same bundle always
// gives the same answer.
func (a *Accept) mark(out *Out, narrowed bool) {
	seen := map[string]bool{}
	for i := range out.Findings {
		f := &out.Findings[i]
		entry, ok := a.by[f.ID]
		if !ok {
			continue
		}
		seen[f.ID] = true
		entry.Expired = f.Last[:len(time.DateOnly)] > entry.Until
		f.Accepted = &entry
	}
	var unused []string
	for _, id := range a.order {
		if !seen[id] {
			unused = append(unused, id)
		}
	}
	if len(unused) > 0 && !narrowed {
		out.Notes = append(out.Notes, plural.Sprintf("%d {entry|entries} of the accept list {matches|match} no finding in this window: %s",
			len(unused), ask.Clip(strings.Join(unused, ", "), 300)))
	}
}

// Valid reports whether a finding is accepted, and the acceptance has not expired.
func (a *Acceptance) Valid() bool { return a != nil && !a.Expired }
