package qpack

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// TestLag drops most sections of a part of a connection while its insertions are late, as when a
// capture misses packets that their receiver got. Numbers may then wrap unseen; no field may get
// a value that it did not have.
func TestLag(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(fmt.Sprint("capacity ", v.capacity, ", blocked ", v.blocked), func(t *testing.T) {
			for try := range int64(100) {
				rnd := rand.New(rand.NewSource(try))
				from := rnd.Intn(len(v.events))
				to := from + rnd.Intn(60)
				l := late{t: t}
				l.d.SetMax(v.capacity)
				for i := range v.events {
					e := &v.events[i]
					dropped := e.kind == 's' && i >= from && i < to && rnd.Intn(10) < 7
					if !dropped {
						l.see(e)
					}
					l.sections()
					for i < from || i >= to {
						n, err := l.d.Insertions(l.stream, l.until())
						if err != nil {
							t.Fatal(err)
						}
						l.stream = l.stream[n:]
						if l.sections(); n == 0 {
							break
						}
					}
				}
			}
		})
	}
}

type late struct {
	t       *testing.T
	d       Decoder
	stream  []byte
	waiting []waiting
}

func (l *late) see(e *event) {
	l.t.Helper()
	switch e.kind {
	case 'e':
		l.stream = append(l.stream, e.data...)
	case 'd':
		if _, err := l.d.Acks(e.data); err != nil {
			l.t.Fatal(err)
		}
	case 's':
		need, err := l.d.Need(e.stream, e.data)
		if err != nil {
			l.t.Fatal(err)
		}
		l.waiting = append(l.waiting, waiting{e, need})
	}
}

func (l *late) until() int64 {
	until := int64(all)
	for _, w := range l.waiting {
		until = min(until, w.need)
	}
	return until
}

// sections reads the sections that are ready.
func (l *late) sections() {
	l.t.Helper()
	left := l.waiting[:0]
	for _, w := range l.waiting {
		if !l.d.Ready(w.need) {
			left = append(left, w)
			continue
		}
		f, err := l.d.Decode(w.e.data, w.need)
		got, want := strings.Split(show(f), "\n"), strings.Split(w.e.want, "\n")
		for i := range got {
			if err == nil && got[i] != want[i] && !strings.Contains(got[i], UnknownText) {
				l.t.Fatalf("section of stream %d: %s, want %s", w.e.stream, got[i], want[i])
			}
		}
	}
	l.waiting = left
}
