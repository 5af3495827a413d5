// Package scripttest provides commands for the script tests of the programs.
package scripttest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

// Exits is exits CODE PROGRAM ARG...: the program must exit with this code, and an error must
// have a hint.
func Exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	printed := ts.ReadFile("stderr")
	switch {
	case got != want:
		ts.Fatalf("exit code %d, want %d", got, want)
	case strings.Contains(printed, "goroutine "):
		ts.Fatalf("a panic")
	case want != 0 && want != exit.Interrupted && !strings.Contains("\n"+printed, "\nerror: "):
		ts.Fatalf("no line that begins with error:")
	case want != 0 && want != exit.Interrupted && !strings.Contains(printed, "\nhint: "):
		ts.Fatalf("no hint")
	}
}

// JSON is json FILE [LENGTH]: FILE or stdout must be one JSON value; with LENGTH, a list of
// that length.
func JSON(ts *testscript.TestScript, neg bool, args []string) {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	var v any
	ts.Check(dec.Decode(&v))
	if _, err := dec.Token(); err != io.EOF {
		ts.Fatalf("more than one value")
	}
	if len(args) < 2 {
		return
	}
	list, ok := v.([]any)
	if n, err := strconv.Atoi(args[1]); err != nil || !ok || len(list) != n {
		ts.Fatalf("got a list of %d, want %s", len(list), args[1])
	}
}

// Ring is ring FOLDER PACKETS [SERIES]: it writes a ring with this number of packets, 1 ms
// apart, 100 per segment. The node's key is in FOLDER.key.
func Ring(ts *testscript.TestScript, _ bool, args []string) {
	dir, name := ts.MkAbs(args[0]), "sockets"
	if len(args) > 2 {
		name = args[2]
	}
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	key, err := signingkey.Load(dir + ".key")
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := ring.Create(ring.Options{Dir: dir, Node: "n", Key: key, Recorder: "test"})
	ts.Check(err)
	s, err := w.Series(ring.SeriesOptions{Name: name, LinkType: 1})
	ts.Check(err)
	iface, err := s.Interface(pcapng.Interface{Name: "n/shop/web"})
	ts.Check(err)
	begin := time.Date(2026, 1, 31, 14, 15, 0, 0, time.UTC).UnixNano()
	for n := range count {
		ts.Check(s.Append(&ring.Packet{Interface: iface, Time: begin + int64(n)*1e6, Data: make([]byte, 60), OrigLen: 60}))
		if n%100 == 99 {
			ts.Check(w.Seal(ctx))
		}
	}
	ts.Check(w.Close(ctx))
}
