package dns

import (
	"fmt"
	"hash/maphash"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// maxAnswered is how many answered questions of a conversation are remembered. A forged answer arrives at about the
// same time as the right one.
const maxAnswered = 8

// answered is an answer that has a question.
type answered struct {
	id         uint16
	dir        dissect.Dir // of the question
	typ, class uint16
	sum        uint64 // of the message
}

const answeredCost = int(unsafe.Sizeof(answered{}))

var sums = maphash.MakeSeed()

// remember keeps the answer that a call has.
func (k *conn) remember(c *call, msg []byte) {
	a := answered{k.m.id, c.dir, c.typ, c.class, maphash.Bytes(sums, msg)}
	if len(k.answered) < maxAnswered {
		k.answered = append(k.answered, a)
		return
	}
	k.answered[k.answers%maxAnswered] = a
	k.answers++
}

// second reports an answer without a question if a different one to the same question came
// before. The resolver has accepted the first one (RFC 5452 section 4).
func (k *conn) second(dir dissect.Dir, msg []byte) {
	m := &k.m
	for _, a := range k.answered {
		if a.id != m.id || a.dir != dir || a.sum == maphash.Bytes(sums, msg) {
			continue
		}
		if len(m.questions) == 0 || m.questions[0].typ == a.typ && m.questions[0].class == a.class {
			k.c.Anomaly("second_answer", fmt.Sprintf("another answer to a question (%d) that was already answered: one of both may be forged (RFC 5452 section 4)", m.id), 0)
			return
		}
	}
}
