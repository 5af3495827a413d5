package engine

import (
	"bufio"
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

func unconfined(*wire.Settings) error { return nil }

// opening returns the initial frames of every worker, which lock it so that no statement reaches a
// file.
func opening(t testing.TB) *bytes.Buffer {
	var b bytes.Buffer
	set := wire.Settings{Memory: 64 << 20, Threads: 1}
	write := func(kind wire.Kind, stream uint64, body []byte) {
		if err := wire.WriteFrame(&b, kind, stream, body); err != nil {
			t.Fatal(err)
		}
	}
	write(wire.Open, 1, set.Append(nil))
	q := wire.Question{SQL: "SET enable_external_access=false", Setup: true}
	body, err := q.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	write(wire.Query, 2, body)
	return &b
}

// TestServeRefusesFrames sends frames that the program never sends.
func TestServeRefusesFrames(t *testing.T) {
	question := func(q wire.Question) []byte {
		body, err := q.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	endless := question(wire.Question{SQL: "select * from range(1000000000)"})
	for name, frames := range map[string][]wire.Frame{
		"an unknown kind":      {{Kind: '?', Stream: 3}},
		"settings twice":       {{Kind: wire.Open, Stream: 3}},
		"a question cut short": {{Kind: wire.Query, Stream: 3, Body: endless[:5]}},
		"a stream twice":       {{Kind: wire.Query, Stream: 3, Body: endless}, {Kind: wire.Query, Stream: 3, Body: endless}},
		"two batches at once":  {{Kind: wire.Query, Stream: 3, Body: endless}, {Kind: wire.Next, Stream: 3}, {Kind: wire.Next, Stream: 3}, {Kind: wire.Next, Stream: 3}, {Kind: wire.Next, Stream: 3}},
		"views cut short":      {{Kind: wire.Define, Body: []byte{0, 9}}},
		"a view without SQL":   {{Kind: wire.Define, Body: (&wire.Views{Names: []string{"a"}}).Append(nil)}},
		"a kind left out":      {{Kind: wire.Define, Body: (&wire.Views{Kind: 2}).Append(nil)}},
		"more than views":      {{Kind: wire.Define, Body: []byte{0, 0, 0, 0}}},
	} {
		in := opening(t)
		for _, f := range frames {
			if err := wire.WriteFrame(in, f.Kind, f.Stream, f.Body); err != nil {
				t.Fatal(err)
			}
		}
		if err := Serve(in, io.Discard, unconfined); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := Serve(bytes.NewReader([]byte("\x02\x00\x00\x00Q\x00")), io.Discard, unconfined); err == nil {
		t.Error("a query before the settings is accepted")
	}
}

// TestServeAnswersStops stops a stream at every moment of its life.
func TestServeAnswersStops(t *testing.T) {
	toWorker, in := io.Pipe()
	out, fromWorker := io.Pipe()
	served := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(in)
		_, err := w.Write(opening(t).Bytes())
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			t.Error(err)
		}
	}()
	go func() { served <- Serve(toWorker, fromWorker, unconfined) }()
	r := bufio.NewReader(out)
	read := func(want wire.Kind, stream uint64) {
		t.Helper()
		for {
			f, err := wire.ReadFrame(r)
			if err != nil {
				t.Fatal(err)
			}
			if f.Kind == want && f.Stream == stream {
				return
			}
		}
	}
	read(wire.Head, 2)
	for i, sql := range []string{"select 1", "select * from range(1000000000)", "select count(*) from range(100000000000)", "nonsense"} {
		for n, wait := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond} {
			stream := uint64(10 + 10*i + n)
			q := wire.Question{SQL: sql}
			body, err := q.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if err := wire.WriteFrame(in, wire.Query, stream, body); err != nil {
					t.Error(err)
				}
				time.Sleep(wait)
				if err := wire.WriteFrame(in, wire.Stop, stream); err != nil {
					t.Error(err)
				}
			}()
			read(wire.Stopped, stream)
		}
	}
	in.Close()
	if err := <-served; err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// FuzzServe checks that a worker answers or ends for any input.
func FuzzServe(f *testing.F) {
	var b bytes.Buffer
	q := wire.Question{SQL: "select ?", Args: []any{"x"}}
	body, _ := q.Append(nil)
	for _, k := range []wire.Kind{wire.Query, wire.Next, wire.Stop, wire.Forget, wire.Trim} {
		_ = wire.WriteFrame(&b, k, 3, body) // writing to a buffer cannot fail
	}
	_ = wire.WriteFrame(&b, wire.Mask, 0, (&wire.Masks{Policy: "version: 1\n", Values: []string{"secret"}}).Append(nil))
	f.Add(b.Bytes())
	db, err := openDatabase(&wire.Settings{Memory: 64 << 20, Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	c, err := db.acquire(0)
	if err != nil {
		f.Fatal(err)
	}
	if err := each(c.conn, []string{"SET enable_external_access=false"}); err != nil {
		f.Fatal(err)
	}
	db.release(0, c)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &server{db: db, w: bufio.NewWriter(io.Discard), fatal: make(chan error, 1), streams: map[uint64]*stream{}}
		_ = s.receive(bufio.NewReader(bytes.NewReader(data))) // an error is also an answer
		for left := 1; left > 0; time.Sleep(time.Millisecond) {
			s.mu.Lock()
			if left = len(s.streams); left > 0 {
				for _, st := range s.streams {
					st.cancel(errStopped)
				}
			}
			s.mu.Unlock()
		}
	})
}
