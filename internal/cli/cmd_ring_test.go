package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestRingScript runs testdata/ring, where a script can also say
//
//	ring FOLDER PACKETS [SERIES]   records so many packets, one a millisecond, 100 a segment
func TestRingScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/ring",
		Setup: func(e *testscript.Env) error { return os.Mkdir(filepath.Join(e.WorkDir, "out"), 0o755) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "only": only, "json": isJSON, "cut": cut, "patch": patch, "ring": makeRing,
		},
	})
}

// makeRing records into a ring, and leaves the key of the node beside it.
func makeRing(ts *testscript.TestScript, _ bool, args []string) {
	dir, name := ts.MkAbs(args[0]), "sockets"
	if len(args) > 2 {
		name = args[2]
	}
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	key, err := ring.LoadKey(dir + ".key")
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
