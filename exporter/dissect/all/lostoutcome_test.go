package all

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// otherOutcomes are calls whose outcome depends on a message that was lost.
var otherOutcomes = []string{
	// The message names no call: its error goes to the call before it, which may have been lost.
	"amqp client_error gap", "amqp client_error ", "amqp1 client_error ",
	"smtp ok gap", // the reply to one of several recipients
	// HTTP's own outcome: without the request, nothing shows that the content may report an error.
	"http1 ok gap",
	// The loss is known only after the call had ended: a message that nobody answers, a second ClientHello.
	"clickhouse ok ", "nats ok gap", "ws ok ", "tls no_answer no_response",
}

// TestLostBytesMakeNoOtherOutcome loses one byte, a whole chunk, or the end of one or of each chunk. The outcome of a
// call is then the same as before, or cut or unread. No call becomes unanswered if none was before.
func TestLostBytesMakeNoOtherOutcome(t *testing.T) {
	eachTalk(t, losesOutcome)
}

// eachTalk does a check on up to 12 connections of each sample.
func eachTalk(t *testing.T, check func(t *testing.T, k *talk)) {
	for file := range samples {
		t.Run(file, func(t *testing.T) {
			list := talks(t, file)
			for _, k := range list[:min(len(list), 12)] {
				check(t, k)
			}
		})
	}
}

func losesOutcome(t *testing.T, k *talk) {
	o := dissecttest.Options{ServerPort: k.port, End: dissect.EndFin, Roles: true, Protocols: Protocols(nil)}
	whole := map[table.ID]string{}
	unanswered := map[string]bool{} // by protocol
	for _, row := range dissecttest.Play(t, o, k.chunks...).Rows() {
		b := row.Base()
		whole[b.CallID] = b.Outcome
		unanswered[b.Protocol] = unanswered[b.Protocol] || b.Outcome == table.NoAnswer
	}
	check := func(how string, chunks []dissecttest.Chunk) {
		for _, row := range dissecttest.Play(t, o, chunks...).Rows() {
			b := row.Base()
			was, known := whole[b.CallID]
			switch {
			case b.Outcome == table.Cut, b.Outcome == table.Unread, known && was == b.Outcome:
			case !known && (b.Outcome != table.NoAnswer || unanswered[b.Protocol]):
			case !slices.Contains(otherOutcomes, b.Protocol+" "+b.Outcome+" "+b.Error.V):
				t.Errorf("%s %s: outcome %s (%s), was %q: %.100q", k.name, how, b.Outcome, b.Error.V, was, b.Summary)
			}
		}
	}
	const most = 80
	for i := range min(len(k.chunks), most) {
		if !continues(k.chunks, i) {
			continue
		}
		check(fmt.Sprint("without a byte of chunk ", i), without(k.chunks, i, false))
		check(fmt.Sprint("without chunk ", i), without(k.chunks, i, true))
		for _, n := range []int{10, 30, 60, 100} {
			check(fmt.Sprintf("with %d bytes of chunk %d", n, i), upTo(k.chunks, i, n))
		}
	}
	for _, n := range []int{20, 30, 40, 60, 80, 100, 130, 200} {
		list := k.chunks
		for i := range k.chunks {
			list = upTo(list, len(list)-len(k.chunks)+i, n)
		}
		check(fmt.Sprintf("with %d bytes of each chunk", n), list)
	}
}

// upTo loses the bytes of a chunk after the first n, as a snapshot length does.
func upTo(chunks []dissecttest.Chunk, i, n int) []dissecttest.Chunk {
	c := chunks[i]
	if len(c.Data) <= n {
		return chunks
	}
	rest := dissecttest.Chunk{Dir: c.Dir, Gap: int64(len(c.Data) - n)}
	c.Data = c.Data[:n]
	return slices.Concat(chunks[:i], []dissecttest.Chunk{c, rest}, chunks[i+1:])
}

// continues reports whether the sender of a chunk sends another one, which shows that bytes of it are missing.
func continues(chunks []dissecttest.Chunk, i int) bool {
	return slices.ContainsFunc(chunks[i+1:], func(c dissecttest.Chunk) bool { return c.Dir == chunks[i].Dir })
}

// errorsOnly are messages that a server answers only to refuse them.
var errorsOnly = []string{"nats PUB", "nats SUB", "clickhouse DATA"}

// TestAnEarlierEndMakesNoOtherOutcome ends the capture after each chunk. The outcome of a call is then that which the
// whole capture shows, or cut or unread.
func TestAnEarlierEndMakesNoOtherOutcome(t *testing.T) {
	eachTalk(t, endsEarlier)
}

func endsEarlier(t *testing.T, k *talk) {
	o := dissecttest.Options{ServerPort: k.port, End: dissect.EndCapture, Roles: true, Protocols: Protocols(nil)}
	whole := map[table.ID]string{}
	for _, row := range dissecttest.Play(t, o, k.chunks...).Rows() {
		whole[row.Base().CallID] = row.Base().Outcome
	}
	for n := 1; n < min(len(k.chunks), 200); n++ {
		for _, row := range dissecttest.Play(t, o, k.chunks[:n]...).Rows() {
			b := row.Base()
			was, known := whole[b.CallID] // a row that sums up messages has another one
			if !known || b.Outcome == table.Cut || b.Outcome == table.Unread || b.Outcome == was || slices.Contains(errorsOnly, b.Protocol+" "+b.Method.V) {
				continue
			}
			t.Errorf("%s: outcome %s (%s) after %d chunks, later %s: %.100q", k.name, b.Outcome, b.Error.V, n, was, b.Summary)
		}
	}
}
