//go:build amd64 || arm64

package keys

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/nightly"
)

func TestGoKeysMatchItsKeyLog(t *testing.T) {
	s := newSpace(t)
	for i, build := range [][]string{nil, {"-ldflags=-s -w"}, {"-buildmode=pie", "-ldflags=-s -w"}} {
		bin := goTalk(t, build...)
		for j, mode := range []string{"-version=1.3", "-version=1.2", "-quic"} {
			if i != j && !nightly.On() {
				continue // each build and each mode once
			}
			t.Run(strings.Join(append(build, mode), " "), func(t *testing.T) {
				sink := &list{}
				tr := start(t, Options{Select: Selector{Executables: []string{bin}}, Sink: sink, Captured: s.talks})
				log := filepath.Join(t.TempDir(), "keys.log")
				var addr string
				s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve", mode, "-keylog="+log)
				eventually(t, "a probe on the program", func() bool {
					list := tr.Processes()
					return len(list) == 1 && list[0].Reason == NoHandshake
				})
				// The second client logs nothing, but its keys must be read all the same.
				s.runProbed(t, tr, bin, "-addr="+addr, mode, "-n=20", "-keylog="+log)
				s.runProbed(t, tr, bin, "-addr="+addr, mode, "-n=20")
				want := truth(t, log)
				eventually(t, "all keys", func() bool { return len(sink.lines(0)) >= len(want) })
				compare(t, sink.lines(0), want)
				eventually(t, "three processes verified", func() bool {
					verified := 0
					for _, p := range tr.Processes() {
						if p.State == Verified {
							verified++
						}
					}
					return verified == 3
				})
				eventually(t, "all keys of both clients", func() bool {
					c, err := tr.Counters()
					return err != nil || c.Seen == c.Written+c.Repeated && c.Written >= uint64(2*len(want))
				})
				c, err := tr.Counters()
				if err != nil || c.Lost+c.Unread+c.Odd+c.Unused != 0 || c.Seen != c.Written+c.Repeated || c.Written != uint64(2*len(want)) {
					t.Errorf("%+v, %v; %d logged lines", c, err, len(want))
				}
				if t.Failed() {
					t.Logf("%+v", tr.Processes())
				}
			})
		}
	}
}
