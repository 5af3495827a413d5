package ask

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Waits count calls by how well their time is known.
type Waits struct {
	Calls int64 `json:"calls"`
	Timed int64 `json:"timed"` // with a time
	None  int64 `json:"none"`  // without a response
	Blind int64 `json:"blind"` // of these, calls whose packets do not show when the caller gave up
	Parts int64 `json:"parts"` // without a time, because they were only partly captured
}

// WaitsOf counts the calls of a table or query that match a condition.
func WaitsOf(ctx context.Context, c *forensics.Case, from, where string, args ...any) (Waits, error) {
	return One[Waits](ctx, c, "SELECT count(*) AS calls, count("+terms.Took+") AS timed, count(*) FILTER (outcome = 'no_answer') AS none, count(*) FILTER (NOT "+terms.WaitSeen+") AS blind, count(*) FILTER ("+terms.Took+" IS NULL AND (outcome IN ('cut', 'unread') OR error IS NOT NULL)) AS parts FROM "+from+" WHERE "+where, args...)
}

// NoteWaits adds what percentiles of calls count that have no response, or no time.
func (f *Frame) NoteWaits(n Waits) {
	if n.None > 0 {
		f.Note("%d of %d {request|requests} got no response; they count with the time that their caller waited", n.None, n.Calls)
	}
	f.NoteDatagrams(n.Blind)
	if n.Parts > 0 {
		f.Note("%d {request has|requests have} no time because {it was|they were} only partly captured", n.Parts)
	}
	if single := n.Calls - n.Timed - n.Parts; single > 0 {
		f.Note("%d {request has|requests have} no time because {it is a message|they are messages} that no response belongs to", single)
	}
}

// NoteDatagrams adds what is unknown about n unanswered datagrams.
func (f *Frame) NoteDatagrams(n int64) {
	if n > 0 {
		f.Note("%d unanswered {request was a datagram|requests were datagrams}: packets do not show when the caller gave up, so the time until the next attempt, the end of the conversation or one minute counts", n)
	}
}
