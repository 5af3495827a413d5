package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/pins"
)

// Config names the RecorderConfig that is applied.
type Config struct {
	Name      string // empty: none
	Namespace string // empty: the pod's own
}

var errReconfigured = errors.New("the configuration has changed")

// known is one version of a RecorderConfig. Its zero value means that there is none.
type known struct {
	UID        string          `json:"uid"`
	Generation int64           `json:"generation"`
	Spec       json.RawMessage `json:"spec"`
}

func (k *known) same(other *known) bool {
	return k.UID == other.UID && k.Generation == other.Generation
}

// config is the state of the configuration: the requested one, the one in force, and why these
// differ.
type config struct {
	file  string // with the last version that was in force, beside the ring
	first chan struct{}

	mu       sync.Mutex
	answered bool
	wanted   known  // last seen
	good     known  // in force
	kept     known  // in force when the recorder ended, until it is rejected
	bad      known  // cannot be applied
	problem  string // of bad
	change   func() // ends the recording; nil while there is none
}

// openConfig reads the version that was in force when the recorder ended, so that exclusions hold from the first
// packet on, whether or not the API answers.
func openConfig(ringDir string) (*config, error) {
	c := &config{file: filepath.Clean(ringDir) + ".config.json", first: make(chan struct{})}
	text, err := os.ReadFile(c.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("reading the last configuration: %w", err)
	}
	if err := json.Unmarshal(text, &c.wanted); err != nil {
		return nil, fmt.Errorf("reading the last configuration %s: %w; remove it to begin without one", c.file, err)
	}
	c.kept = c.wanted
	c.answer()
	return c, nil
}

// answer says that there is something to begin with.
func (c *config) answer() {
	if !c.answered {
		c.answered = true
		close(c.first)
	}
}

// offer accepts a version that the API has, or the zero value if there is none.
func (c *config) offer(k known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer()
	if c.wanted.same(&k) {
		return
	}
	c.wanted = k
	if c.change != nil {
		c.change()
	}
}

// reject keeps the version in force, because another cannot be applied.
func (c *config) reject(k known, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad, c.problem = k, err.Error()
	if k.same(&c.kept) {
		c.kept = known{}
	}
}

// choose returns the version to record with: the last seen, unless it was rejected.
func (c *config) choose() (k known, rejected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chosen()
}

// chosen is choose while c.mu is held.
func (c *config) chosen() (k known, rejected bool) {
	switch {
	case c.problem == "" || !c.wanted.same(&c.bad):
		return c.wanted, false
	case c.good.UID == "": // the API answered before the first recording began
		return c.kept, true
	}
	return c.good, true
}

// accept makes a version the one in force, and remembers it on the disk.
func (c *config) accept(k known) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good, c.kept = k, known{}
	if c.bad.same(&k) || !c.wanted.same(&c.bad) {
		c.bad, c.problem = known{}, ""
	}
	if k.UID == "" {
		if err := os.Remove(c.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return whole.ReplaceDurably(c.file, 0o600, whole.Text(text))
}

// maxProblem is the highest number of bytes of a problem that are reported.
const maxProblem = 1000

// state is the state that is reported to the hub.
func (c *config) state() pins.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return pins.Config{Known: c.answered, UID: c.wanted.UID, Generation: c.wanted.Generation, Applied: c.good.Generation, AppliedUID: c.good.UID, Problem: clip.Text(c.problem, maxProblem)}
}

// next returns the version to record with, and its options. A version that cannot be applied is rejected, and the one
// in force stays.
func (a *agent) next() (known, Options, error) {
	for {
		k, fallback := a.config.choose()
		o, err := k.options(a.o)
		if err == nil || fallback || k.UID == "" {
			return k, o, err
		}
		a.refuse(k, err)
	}
}

func (a *agent) refuse(k known, err error) {
	a.config.reject(k, err)
	a.o.Log.Error("the RecorderConfig cannot be applied; the last good one stays in force", "generation", k.Generation, "error", err)
}

// options are those of the flags with a version applied.
func (k *known) options(o Options) (Options, error) {
	var s spec
	if k.UID != "" {
		var err error
		if s, err = readSpec(k.Spec); err != nil {
			return o, err
		}
	}
	return s.apply(o)
}

// configured records, and begins again with other options when the configuration changes. Between two recordings the
// kernel keeps collecting packets, as it does for a recorder that restarts.
func (a *agent) configured(ctx context.Context) (recorder.Stats, error) {
	c := a.config
	if !a.awaitConfig(ctx) {
		return recorder.Stats{}, nil
	}
	for {
		k, o, err := a.next()
		if err != nil {
			return recorder.Stats{}, fmt.Errorf("applying the RecorderConfig: %w", err)
		}
		run, cancel := context.WithCancelCause(ctx)
		c.mu.Lock()
		c.change = func() { cancel(errReconfigured) }
		now, _ := c.chosen()
		c.mu.Unlock()
		if !now.same(&k) { // another one came meanwhile
			cancel(nil)
			continue
		}
		began, s, err := a.try(run, k, o)
		c.mu.Lock()
		c.change = nil
		refused := !c.good.same(&k)
		c.mu.Unlock()
		changed := errors.Is(context.Cause(run), errReconfigured)
		cancel(nil)
		switch {
		case ctx.Err() != nil:
			return s, err
		case changed:
			if err != nil {
				a.errors.Add(1)
			}
			a.o.Log.Info("the configuration has changed; recording begins again", "error", err)
		case !began && err != nil && refused && k.UID != "":
			a.refuse(k, err)
		default:
			return s, err
		}
	}
}

// awaitConfig waits until it is known what to record. It returns false if ctx ends before.
func (a *agent) awaitConfig(ctx context.Context) bool {
	late := time.NewTimer(a.o.Patience)
	defer late.Stop()
	for {
		select {
		case <-a.config.first:
			return true
		case <-ctx.Done():
			return false
		case <-late.C:
			a.o.Log.Warn("recording has not begun: Kubernetes has not said whether there is a RecorderConfig, and this node remembers none", "waited", a.o.Patience)
		}
	}
}

// try records with one version. began reports whether packets arrived.
func (a *agent) try(ctx context.Context, k known, o Options) (began bool, s recorder.Stats, err error) {
	var started atomic.Bool
	onStart := o.Record.OnStart
	o.Record.OnStart = func(x recorder.Started) {
		started.Store(true)
		if err := a.config.accept(k); err != nil {
			a.o.Log.Error("cannot remember the configuration for the next start", "error", err)
		}
		if k.UID != "" {
			a.o.Log.Info("applied the RecorderConfig", "generation", k.Generation)
		}
		if onStart != nil {
			onStart(x)
		}
	}
	s, err = a.session(ctx, o)
	return started.Load(), s, err
}
