package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// reconfigured is a recording whose configuration changes.
type reconfigured struct {
	*testing.T
	a     *agent
	scope string
	mu    sync.Mutex
	last  recorder.Stats
	ended chan error
}

func newReconfigured(t *testing.T, dir, scope string) (*reconfigured, context.CancelFunc) {
	x := &reconfigured{T: t, scope: scope, ended: make(chan error, 1)}
	c, err := openConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Log: slog.New(slog.DiscardHandler)}
	o.Record = recorder.Options{Node: "node-a", Cgroup: scope, Ring: &ring.Options{Dir: dir, SegmentBytes: 1 << 20}, Program: "test", Every: 20 * time.Millisecond, NoNames: true,
		OnStats: func(s recorder.Stats) { x.mu.Lock(); x.last = s; x.mu.Unlock() }}
	x.a = &agent{o: o, began: time.Now(), config: c}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := x.a.configured(ctx)
		x.ended <- err
	}()
	return x, cancel
}

func (x *reconfigured) offer(generation int64, spec string) {
	x.a.config.offer(known{UID: "u", Generation: generation, Spec: json.RawMessage(spec)})
}

// until waits until the configuration is as it should be.
func (x *reconfigured) until(what string, is func(pins.Config) bool) {
	x.Helper()
	for end := time.Now().Add(time.Minute); !is(x.a.config.state()); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-x.ended:
			var right *recorder.PrivilegeError
			if errors.As(err, &right) || errors.Is(err, recorder.ErrCgroup) {
				x.Skip("needs CAP_BPF: ", err)
			}
			x.Fatalf("%s: the recording ended: %v", what, err)
		default:
		}
		if time.Now().After(end) {
			x.Fatalf("%s: not within a minute: %+v", what, x.a.config.state())
		}
	}
}

// sends sends packets to an address and waits until the recording has counted them.
func (x *reconfigured) sends(what string, to net.Addr, count func(recorder.Stats) uint64) {
	x.Helper()
	read := func() uint64 {
		x.mu.Lock()
		defer x.mu.Unlock()
		return count(x.last)
	}
	// The statistics may still be those of the recording before.
	for end := time.Now().Add(time.Minute); ; {
		before := read()
		sendFrom(x.T, filepath.Join(x.scope, "pod"), to.String())
		for wait := time.Now().Add(2 * time.Second); time.Now().Before(wait); time.Sleep(10 * time.Millisecond) {
			if n := read(); n >= before+5 {
				return
			}
		}
		if time.Now().After(end) {
			x.Fatalf("%s: not counted within a minute: %+v", what, x.last.Counters)
		}
	}
}

func forbidden(s recorder.Stats) uint64 { return s.Policy }
func delivered(s recorder.Stats) uint64 { return s.Delivered }

// TestConfigurationChangesWhileRecording applies versions of a RecorderConfig to a running recorder: a broken one
// leaves the one before in force, also over a restart.
func TestConfigurationChangesWhileRecording(t *testing.T) {
	scope, dir := newScope(t), filepath.Join(t.TempDir(), "ring")
	var to [2]net.Addr
	var port [2]int
	for i := range to {
		l, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		to[i], port[i] = l.LocalAddr(), l.LocalAddr().(*net.UDPAddr).Port
	}
	never := func(i int) string { return fmt.Sprintf(`{"never": [{"port": [%d]}]}`, port[i]) }
	x, cancel := newReconfigured(t, dir, scope)
	defer cancel()
	if s := x.a.config.state(); s.Known || x.a.started.Load() != nil {
		t.Errorf("it records before it knows what: %+v", s)
	}
	x.offer(1, never(0))
	x.until("the first version", func(c pins.Config) bool { return c.Applied == 1 })
	x.sends("a forbidden port", to[0], forbidden)
	x.sends("another port", to[1], delivered)
	x.offer(2, `{"filter": "port ("}`)
	x.until("a broken version", func(c pins.Config) bool {
		return c.Generation == 2 && c.Applied == 1 && strings.Contains(c.Problem, "filter")
	})
	x.sends("a port that is still forbidden", to[0], forbidden)
	x.offer(3, `{"nevver": []}`)
	x.until("a misspelled version", func(c pins.Config) bool { return c.Generation == 3 && strings.Contains(c.Problem, "nevver") })
	x.offer(4, never(1))
	x.until("a good version", func(c pins.Config) bool { return c.Applied == 4 && c.Problem == "" })
	x.sends("the other port", to[1], forbidden)
	x.sends("the port that is no longer forbidden", to[0], delivered)
	x.offer(5, `{"keys": {"of": ["all"]}}`)
	x.until("keys that this recorder does not read", func(c pins.Config) bool { return c.Generation == 5 && strings.Contains(c.Problem, "keys") })
	cancel()
	if err := <-x.ended; err != nil {
		t.Fatal(err)
	}

	y, cancel := newReconfigured(t, dir, scope) // nothing is offered, as if no API answered
	defer cancel()
	y.until("the version before the restart", func(c pins.Config) bool { return c.Applied == 4 })
	y.sends("a port that the last good version forbids", to[1], forbidden)
	y.a.config.offer(known{})
	y.until("no version", func(c pins.Config) bool { return c.UID == "" && c.AppliedUID == "" })
	y.sends("a port that nobody forbids", to[1], delivered)
	cancel()
	if err := <-y.ended; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + ".config.json"); !os.IsNotExist(err) {
		t.Errorf("the version is still on the disk: %v", err)
	}
}
