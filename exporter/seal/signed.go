package seal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Signed is a signature of a seal that verifies.
type Signed struct {
	File    string `json:"file"` // of the seal
	Signer  Party  `json:"signer"`
	Trusted bool   `json:"trusted"` // the reader gave this key
	Line    int64  `json:"line"`    // the seal covers the custody log up to this line, from 1
	Entries int64  `json:"entries"` // in the whole log
}

// String says who signed, and what the signature covers.
func (s *Signed) String() string {
	text := "signed by " + s.Signer.String() + ", "
	if s.Trusted {
		text += "a key that you gave"
	} else {
		text += "an unknown key"
	}
	text += "; covers every file outside of custody/, and "
	if s.Line == s.Entries {
		return text + plural.Sprintf("all %d {entry|entries} of the custody log", s.Entries)
	}
	return text + fmt.Sprintf("entries 1 to %d of %d of the custody log", s.Line, s.Entries)
}

// newest is the newest of the signatures: by a key of the reader if keys were given, else any. Seals are in the order in
// which they were made.
func newest(list []Signed, trust *Trust) (s *Signed) {
	for i := range list {
		if x := &list[i]; (x.Trusted || len(trust.Signers) == 0) && (s == nil || x.Line > s.Line) {
			s = x
		}
	}
	return s
}

// Newest returns the statement of the newest seal of a bundle that was verified, and its file: of the seals of which each
// signature verifies, and of the signers in trust if there are any. It is nil if there is none.
func Newest(ctx context.Context, r *bundle.Report, trust Trust) (*Statement, string) {
	_, list := CheckSigned(ctx, r, trust)
	s := newest(list, &trust)
	if s == nil {
		return nil, ""
	}
	_, statement, err := parse(r.CustodyFiles[s.File])
	if err != nil {
		return nil, ""
	}
	return statement, s.File
}

// Uncovered notes what the seals of a bundle do not cover: entries of its custody log that were added after the newest seal
// of a signer whom the reader trusts, and entries whose time is before that of an entry above them. A seal by any
// other key covers nothing for the reader, so it is one of these entries.
func Uncovered(r *bundle.Report, list []Signed, trust Trust) (notes []string) {
	if s := newest(list, &trust); s != nil {
		if n, events := after(r, s.Line, len(trust.Signers) > 0); n > 0 {
			whose := "the newest seal"
			if len(trust.Signers) > 0 {
				whose = "the newest seal of a key that you gave"
			}
			notes = append(notes, plural.Sprintf("%d {entry was|entries were} added after %s and {is|are} not signed (%s)", n, whose, events))
		}
	}
	return append(notes, backdated(r)...)
}

// after counts the entries below a line that nothing covers, with their events. Time stamps and proofs of logs are checked by
// themselves. If the reader trusts some keys, a seal by another one is an entry like others.
func after(r *bundle.Report, line int64, keys bool) (n int64, events string) {
	var names []string
	for i := int(line); i < len(r.Custody); i++ {
		e := r.Custody[i].Event
		if e == EventTimestamped || e == EventLogged || e == EventSealed && !keys {
			continue
		}
		n++
		if !slices.Contains(names, e) {
			names = append(names, e)
		}
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return n, strings.Join(names, ", ")
}

// maxBackdated is the number of entries that are named as back-dated.
const maxBackdated = 3

// backdated notes entries whose time is before that of an entry above them: a clock was wrong, or somebody wrote an earlier
// time. Nothing but a time stamp proves a time.
func backdated(r *bundle.Report) (notes []string) {
	latest, n := 0, 0
	for i := range r.Custody {
		switch e := &r.Custody[i]; {
		case e.Time >= r.Custody[latest].Time:
			latest = i
		default:
			if n++; n <= maxBackdated {
				notes = append(notes, fmt.Sprintf("entry %d (%s) is dated %s, before entry %d above it", i+1, e.Event, e.Time, latest+1))
			}
		}
	}
	if n > maxBackdated {
		notes = append(notes, plural.Sprintf("%d more {entry is|entries are} dated before one above", n-maxBackdated))
	}
	return notes
}
