package inorder

import (
	"slices"
	"testing"
)

func TestFind(t *testing.T) {
	type list = []Request
	for _, x := range []struct {
		name     string
		overlaps bool
		seq      uint32
		waiting  list
		place    int
		end      int
		guessed  bool
	}{
		{"nobody asked", false, 100, nil, -1, 0, false},
		{"the response was received before the request", false, 100, list{{Ack: 120}}, -1, 0, false},
		{"a response after the client had received all earlier ones", false, 100, list{{Ack: 100}}, 0, 1, false},
		{"the answer to the request before was lost", false, 100, list{{Ack: 60}, {Ack: 100}}, 1, 2, false},
		{"the beginning of the answer was lost", false, 100, list{{Ack: 60}}, 0, 1, false},
		{"the first answer to a batch", false, 100, list{{Ack: 60}, {Ack: 100}, {Ack: 100}}, 1, 3, false},
		{"some answer to a batch", false, 100, list{{Ack: 60}, {Ack: 60}}, -1, 2, false},
		{"a request sent later", false, 100, list{{Ack: 60}, {Ack: 60}, {Ack: 140}}, -1, 2, false},
		{"the request was missing, and this one is of its batch", false, 100, list{{Ack: 60, After: true}}, -1, 1, false},
		{"the first requests of a batch may be missing", false, 100, list{{Ack: 100, After: true}, {Ack: 100}}, -1, 2, false},
		{"the request before was missing", false, 100, list{{Ack: 100, After: true}}, -1, 1, false},
		{"a batch after one without answers", false, 100, list{{Ack: 100, Late: true}, {Ack: 100}}, 0, 2, false},
		{"a late response to another request", false, 100, list{{Ack: 60, Late: true}}, -1, 1, false},
		{"one of many in flight", true, 100, list{{Ack: 60}, {Ack: 80}, {Ack: 90}}, -1, 3, false},
		{"the newest of many in flight", true, 100, list{{Ack: 60}, {Ack: 80}, {Ack: 100}}, -1, 3, false},
		{"the first after a pause", true, 100, list{{Ack: 60}, {Ack: 80}, {Ack: 100, Quiet: true}}, 2, 3, true},
		{"after a pause and missing requests", true, 100, list{{Ack: 100, After: true, Quiet: true}}, -1, 1, false},
		{"the only one in flight", true, 100, list{{Ack: 90}}, 0, 1, false},
		{"numbers wrap", false, 10, list{{Ack: 1<<32 - 5}, {Ack: 10}, {Ack: 30}}, 1, 2, false},
	} {
		l := Line{overlaps: x.overlaps}
		places := func(yield func(int, *Request) bool) {
			for i := range x.waiting {
				if !yield(i, &x.waiting[i]) {
					return
				}
			}
		}
		m := l.Find(Place{Seq: x.seq}, places)
		if m.Place != x.place || m.End != x.end || m.Guessed != x.guessed || m.Any != (x.end > 0) {
			t.Errorf("%s: %+v, want place %d, end %d, guessed %v", x.name, m, x.place, x.end, x.guessed)
		}
		if x.place >= 0 && x.waiting[x.place].After || l.late != (x.place < 0 && x.end > 0) {
			t.Errorf("%s: after it %+v, %+v", x.name, l, x.waiting)
		}
	}
}

func TestSent(t *testing.T) {
	var l Line
	a := l.Sent(Place{Ack: 100}, 5, nil)
	b := l.Sent(Place{Ack: 100}, 5, &a)
	if l.overlaps {
		t.Error("a batch overlaps with itself")
	}
	l.Missing(&b)
	l.Sent(Place{Ack: 140}, 6, &b)
	if l.overlaps || !b.After {
		t.Errorf("an answer may have come to a missing request: %+v, %+v", l, b)
	}
	l.Missing(nil)
	l.late = true
	list := []Request{l.Sent(Place{Ack: 150}, 7, nil), l.Sent(Place{Ack: 160}, 7+pause, &a)}
	if !l.overlaps || !slices.Equal(list, []Request{{Ack: 150, After: true, Late: true}, {Ack: 160, Quiet: true}}) {
		t.Errorf("%+v, %+v", l, list)
	}
}

// TestServed loses requests. The next one that was captured gets the next response only if those may have had theirs
// before it was sent; else it is of their batch.
func TestServed(t *testing.T) {
	for _, x := range []struct {
		name   string
		before func(*Line)
		place  int
	}{
		{"no response came", func(*Line) {}, -1},
		{"nothing was captured before", func(l *Line) { *l = Line{} }, 0},
		{"a response to a captured request came", func(l *Line) { l.Answered(60, true) }, -1},
		{"a response to the missing request came", func(l *Line) { l.Answered(80, false) }, 0},
		{"a response came that waits for its request", func(l *Line) { l.Answered(100, false) }, -1},
		{"responses are missing too", func(l *Line) { l.Lost() }, 0},
		{"a response came after missing ones", func(l *Line) { l.Lost(); l.Answered(60, true) }, -1},
		{"a response came after the loss of the request", func(l *Line) { l.Missing(nil); l.Answered(60, true) }, 0},
		{"nothing was captured before, but from the beginning", func(l *Line) { *l = Line{}; l.Interrupted(false, true) }, -1},
	} {
		l := Line{last: 1}
		x.before(&l)
		l.Interrupted(false, l.last > 0 || l.missing)
		q := l.Sent(Place{Ack: 100}, 5, nil)
		if m := l.Find(Place{Seq: 100}, func(yield func(int, *Request) bool) { yield(0, &q) }); m.Place != x.place {
			t.Errorf("%s: %+v, want place %d", x.name, m, x.place)
		}
	}
}

// TestBatchAtTheStart has a batch of two as the capture's first requests. It has no part before the capture if the
// client had received a response that the capture has.
func TestBatchAtTheStart(t *testing.T) {
	for _, x := range []struct {
		name    string
		before  func(*Line)
		place   int
		unknown bool // because of what came before the capture
	}{
		{"nothing was captured before", func(l *Line) { l.Interrupted(true, false) }, -1, true},
		{"a response was captured before", func(l *Line) { l.Answered(80, false); l.Interrupted(true, false) }, 0, false},
		{"a response was captured before, after the start", func(l *Line) { l.Interrupted(true, false); l.Answered(80, false) }, 0, false},
		{"a response came that waits for its request", func(l *Line) { l.Answered(100, false); l.Interrupted(true, false) }, -1, true},
		{"requests were lost, too", func(l *Line) { l.Answered(80, false); l.Interrupted(true, false); l.Missing(nil) }, -1, false},
		{"only a loss", func(l *Line) { l.Answered(80, false); l.Interrupted(false, false) }, -1, false},
	} {
		var l Line
		x.before(&l)
		list := []Request{l.Sent(Place{Ack: 100}, 5, nil), l.Sent(Place{Ack: 100}, 5, nil)}
		if m := l.Find(Place{Seq: 100}, func(yield func(int, *Request) bool) { _ = yield(0, &list[0]) && yield(1, &list[1]) }); m.Place != x.place || m.Unknown != x.unknown {
			t.Errorf("%s: %+v, want place %d, unknown %v", x.name, m, x.place, x.unknown)
		}
	}
}

// TestFindAfterMissing loses the response to a request and the request after it: what follows answers
// one of both, unless it begins where the first response must.
func TestFindAfterMissing(t *testing.T) {
	for seq, want := range map[uint32]int{100: 0, 140: -1} {
		var l Line
		q := l.Sent(Place{Ack: 100}, 5, nil)
		l.Missing(nil)
		m := l.Find(Place{Seq: seq}, func(yield func(int, *Request) bool) { yield(0, &q) })
		if m.Place != want || m.End != 1 {
			t.Errorf("response at %d: %+v, want place %d", seq, m, want)
		}
	}
}

// TestTheBatchOfTheFirstRequest states that a request with the acknowledgement of the first one of a capture, whose response
// came between them, was not its only request. Plaintext of a library has no acknowledgements.
func TestTheBatchOfTheFirstRequest(t *testing.T) {
	for _, c := range []struct {
		first, second uint32
		after         bool
	}{{100, 100, true}, {100, 120, false}, {0, 0, false}} {
		var l Line
		l.Interrupted(true, false)
		q := l.Sent(Place{Ack: c.first}, 1, nil)
		if m := l.Find(Place{Seq: c.first}, func(yield func(int, *Request) bool) { yield(0, &q) }); m.Place != 0 || !m.Doubtful {
			t.Fatalf("%v: %+v", c, m)
		}
		l.Answered(c.first, true)
		if q = l.Sent(Place{Ack: c.second}, 2, nil); q.After != c.after {
			t.Errorf("acknowledgements %d and %d: %+v", c.first, c.second, q)
		}
	}
}

// TestExcludes has a response that the server sent before it had a request. That is evidence if the transport has
// acknowledgement numbers.
func TestExcludes(t *testing.T) {
	for _, c := range []struct {
		name     string
		blind    bool
		received uint32 // by the server
		want     bool
	}{
		{"the server had nothing of it", false, 500, true},
		{"the server had a part of it", false, 501, false},
		{"the server had less than what came before it", false, 1<<31 + 501, true},
		{"no acknowledgement numbers", true, 500, false},
		{"plaintext of a library", false, 0, false},
	} {
		q := new(Line).Sent(Place{Seq: 500, Ack: 100, Blind: c.blind}, 1, nil)
		if got := q.Excludes(Place{Seq: 100, Ack: c.received}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
