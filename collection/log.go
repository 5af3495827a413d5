package collection

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Events of a collection's log.
const (
	Accepted = "accepted"
	Sampled  = "sampled"
)

const collectionDetail = "collection_sha256"

// Acceptance is an entry of the log by which a person accepts a finding, or the exceptions of a control.
type Acceptance struct {
	Seq     int64  `json:"seq"`
	Time    string `json:"time"`
	ID      string `json:"id"`
	Reason  string `json:"reason"`
	Owner   string `json:"owner"`
	By      string `json:"by"` // who wrote the entry
	Due     string `json:"due,omitempty"`
	Until   string `json:"until"`
	State   string `json:"state"` // accepted, expired, replaced, not_seen, invalid
	Overdue bool   `json:"overdue,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// The states of an acceptance.
const (
	InForce  = "accepted"
	Expired  = "expired"
	Replaced = "replaced"
	NotSeen  = "not_seen"
	Invalid  = "invalid"
)

// Draw is an entry of the log about a sample.
type Draw struct {
	Seq        int64  `json:"seq"`
	Time       string `json:"time"`
	By         string `json:"by"`
	Seed       string `json:"seed"`
	Size       string `json:"size"`
	Population string `json:"population"`
	SHA256     string `json:"population_sha256"`
	KFL        string `json:"kfl,omitempty"`
}

var findingID = regexp.MustCompile(`^[a-z][a-z0-9-]*/[0-9a-f]{12}$`)

// Entry is a valid entry of a log, for Append.
func (a *Acceptance) entry(f *File) (bundle.Entry, error) {
	e := bundle.Entry{Event: Accepted, Note: a.Reason, Details: map[string]string{"id": a.ID, "owner": a.Owner, "until": a.Until, collectionDetail: f.SHA256.String()}}
	if a.Due != "" {
		e.Details["due"] = a.Due
	}
	return e, a.Check()
}

// Check checks what a person gave.
func (a *Acceptance) Check() error {
	if !findingID.MatchString(a.ID) && control.Check(nil, []string{a.ID}) != nil {
		return fmt.Errorf("%q is neither the id of a finding, such as weak-tls/0a1b2c3d4e5f, nor of a control, such as pci/4.2.1", clip.Text(a.ID, maxWord))
	}
	for _, x := range [][2]string{{"reason", a.Reason}, {"owner", a.Owner}} {
		if strings.TrimSpace(x[1]) == "" || len(x[1]) > 2000 {
			return fmt.Errorf("%s must be a text of 1 to 2000 bytes", x[0])
		}
	}
	until, err := Day(a.Until)
	if err != nil {
		return fmt.Errorf("until %w", err)
	}
	if a.Due != "" {
		due, err := Day(a.Due)
		if err != nil {
			return fmt.Errorf("due %w", err)
		}
		if due.After(until) {
			return fmt.Errorf("due %s is after until %s: the acceptance would end before the date of the remedy", a.Due, a.Until)
		}
	}
	return nil
}

// Accept adds an acceptance to the log.
func Accept(f *File, a Acceptance, by bundle.Entry) (bundle.Entry, bundle.Digest, error) {
	e, err := a.entry(f)
	if err != nil {
		return e, bundle.Digest{}, err
	}
	e.User, e.Host, e.Tool, e.Time = by.User, by.Host, by.Tool, by.Time
	return bundle.AppendLog(f.Beside(".log.jsonl"), e)
}

// history is the log of a collection.
type history struct {
	accepted []Acceptance
	draws    []Draw
	entries  int64
	head     string
}

// readLog reads the log up to a number of entries; less than 0 means all.
func readLog(f *File, most int64) (*history, error) {
	entries, lines, err := bundle.ReadLog(f.Beside(".log.jsonl"))
	if err != nil {
		return nil, err
	}
	if most >= 0 && int64(len(entries)) > most {
		entries, lines = entries[:most], lines[:most]
	}
	h := &history{entries: int64(len(entries)), accepted: []Acceptance{}, draws: []Draw{}}
	if len(lines) > 0 {
		h.head = lines[len(lines)-1].String()
	}
	for _, e := range entries {
		d := e.Details
		switch e.Event {
		case Accepted:
			a := Acceptance{Seq: e.Seq, Time: e.Time.String(), ID: clip.Text(d["id"], maxWord), Reason: e.Note, Owner: d["owner"], By: e.User, Due: d["due"], Until: d["until"], State: InForce}
			if err := a.Check(); err != nil {
				a.State, a.Detail = Invalid, err.Error()
			}
			h.accepted = append(h.accepted, a)
		case Sampled:
			h.draws = append(h.draws, Draw{e.Seq, e.Time.String(), e.User, clip.Text(d["seed"], maxWord), clip.Text(d["size"], maxWord), clip.Text(d["population"], maxWord), clip.Text(d["population_sha256"], maxWord), clip.Text(d["kfl"], maxWord)})
		}
	}
	for i := range h.accepted {
		if a := &h.accepted[i]; a.State == InForce && slices.ContainsFunc(h.accepted[i+1:], func(b Acceptance) bool { return b.ID == a.ID && b.State != Invalid }) {
			a.State = Replaced
		}
	}
	return h, nil
}

// inForce is the last acceptance of an id, which may have expired.
func (h *history) inForce(id string) *Acceptance {
	for i := range h.accepted {
		if a := &h.accepted[i]; a.ID == id && a.State != Replaced && a.State != Invalid {
			return a
		}
	}
	return nil
}

// judge says which acceptances have expired at a time, and which exception was seen after its end.
func (h *history) judge(now time.Time, last map[string]string) {
	today := now.UTC().Format(time.DateOnly)
	for i := range h.accepted {
		a := &h.accepted[i]
		if a.State != InForce {
			continue
		}
		seen, ok := last[a.ID]
		switch {
		case today > a.Until:
			a.State, a.Detail = Expired, "expired after "+a.Until
		case !ok:
			a.State, a.Detail = NotSeen, "no exception of the period has this id"
		}
		if ok && seen[:len(time.DateOnly)] > a.Until {
			a.State, a.Detail = Expired, "expired after "+a.Until+", and was seen on "+seen[:len(time.DateOnly)]
		}
		a.Overdue = a.Due != "" && today > a.Due
	}
}
