// Package live keeps copies of the newest part of rings, while recorders write them, or of the rows that nodes make of
// them.
//
// A copy is a folder with the same names as its ring, so a reader that follows a ring can follow a copy. It has whole
// segments and their side files in the order in which they were written; a segment has its hidden name until it is
// complete. A copy of rows is a folder of recorder/rows. Copies are bounded, and a new hub makes them again.
package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pins"
)

const (
	leastBytes  = 16 << 20 // of a node's copy
	defaultKeep = 10 * time.Minute
	pollEvery   = 250 * time.Millisecond
	pollPerNode = 2 * time.Millisecond // more for each node
	againAfter  = time.Second          // after an error
	sayEvery    = time.Second
	askEvery    = 5 * time.Second // what is to be followed
	maxMessage  = 300
)

// Options of Run.
type Options struct {
	Dir string // for the copies; what is there is removed
	// Wanted lists the nodes to follow.
	Wanted func(ctx context.Context) ([]Choice, error)
	// Find returns the recorder of a node.
	Find func(ctx context.Context, node string) (*pins.Client, error)
	// Owners lists the addresses that pods and services had in a time range; nil: this is not known.
	Owners func(from, to time.Time) *offer.Owners
	Bytes  int64         // of all copies together
	Keep   time.Duration // how far back a new copy begins; 0 means 10 minutes
	Log    *slog.Logger

	poll, ask, again time.Duration // for tests
}

// Choice is a node to follow.
type Choice struct {
	Name string
	Rows bool // get the rows that it makes itself, not its packets
}

// Follower follows rings.
type Follower struct {
	o  Options
	mu sync.Mutex
	// by name
	nodes map[string]*node
}

// New returns a Follower.
func New(o Options) *Follower {
	o.Keep, o.poll, o.ask = cmp.Or(o.Keep, defaultKeep), cmp.Or(o.poll, pollEvery), cmp.Or(o.ask, askEvery)
	o.again = cmp.Or(o.again, againAfter)
	return &Follower{o: o, nodes: map[string]*node{}}
}

// Run follows until ctx ends. An error is that of the hub's disk.
func (f *Follower) Run(ctx context.Context) error {
	if err := os.RemoveAll(f.o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(f.o.Dir, 0o700); err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := time.Time{}
	failing := false
	t := time.NewTicker(min(sayEvery, f.o.ask))
	defer t.Stop()
	for {
		if time.Since(asked) >= f.o.ask {
			asked = time.Now()
			nodes, err := f.o.Wanted(ctx)
			if err == nil {
				f.follow(ctx, &all, nodes)
			} else if !failing && ctx.Err() == nil {
				f.o.Log.Warn("finding out what to follow live; trying again", "error", err)
			}
			failing = err != nil
			if f.o.Owners != nil {
				if err := offer.WriteOwners(f.o.Dir, f.o.Owners(asked.Add(-f.o.Keep), asked)); err != nil {
					return fmt.Errorf("following live: %w", err)
				}
			}
		}
		if err := offer.WriteLive(f.o.Dir, f.Status()); err != nil {
			return fmt.Errorf("following live: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// follow begins and ends nodes.
func (f *Follower) follow(ctx context.Context, all *sync.WaitGroup, nodes []Choice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := map[string]*node{} // of another kind
	for name, n := range f.nodes {
		if !slices.Contains(nodes, n.choice) {
			n.stop()
			before[name] = n
			delete(f.nodes, name)
		}
	}
	for _, c := range nodes {
		if f.nodes[c.Name] != nil || !offer.Plain(c.Name) {
			continue
		}
		run, stop := context.WithCancel(ctx)
		n := &node{f: f, choice: c, stop: stop, ended: make(chan struct{}),
			said: offer.LiveNode{Name: c.Name, Rows: c.Rows, State: offer.Unreachable, Message: "it was not reached yet", UpTo: time.Now().Add(-f.o.Keep).UnixNano()}}
		f.nodes[c.Name] = n
		all.Go(func() {
			defer close(n.ended)
			if old := before[c.Name]; old != nil {
				<-old.ended
			}
			n.run(run)
		})
	}
}

// share is how many bytes a node's copy may have, and how long to wait between two polls.
func (f *Follower) share() (bytes int64, every time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := max(len(f.nodes), 1)
	return max(f.o.Bytes/int64(n), leastBytes), f.o.poll + time.Duration(n)*pollPerNode
}

// Status is the progress of following each node.
func (f *Follower) Status() *offer.Live {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &offer.Live{At: time.Now().UnixNano(), Nodes: []offer.LiveNode{}}
	for _, n := range f.nodes {
		l.Nodes = append(l.Nodes, n.status())
	}
	slices.SortFunc(l.Nodes, func(a, b offer.LiveNode) int { return cmp.Compare(a.Name, b.Name) })
	return l
}

// node is a node that is followed.
type node struct {
	f      *Follower
	choice Choice
	stop   context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	said offer.LiveNode

	// Of the goroutine: the copy of the ring or of the rows.
	copy *ringCopy // nil before the first answer
	rows rowsCopy
}

func (n *node) status() offer.LiveNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.said
	s.Lost = slices.Clone(s.Lost)
	return s
}

// run polls until ctx ends.
func (n *node) run(ctx context.Context) {
	defer n.remove()
	reached := false
	for ctx.Err() == nil {
		most, wait := n.f.share()
		began := time.Now()
		upTo, err := n.poll(ctx, began, most)
		n.say(upTo, err)
		if err != nil {
			wait = max(n.f.o.again, n.f.o.poll)
		}
		if now := err == nil; now != reached && ctx.Err() == nil {
			reached = now
			n.f.o.Log.Info("following a ring", "node", n.choice.Name, "reached", reached, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// say remembers the result of a poll.
func (n *node) say(upTo time.Time, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &n.said
	switch {
	case err != nil:
		s.State, s.Message = offer.Unreachable, clip.Text(err.Error(), maxMessage)
	case !upTo.IsZero():
		s.State, s.Message, s.UpTo = offer.Following, "", upTo.UnixNano()
	default:
		s.State, s.Message = offer.Behind, ""
	}
	if n.choice.Rows {
		s.Dir = n.rows.rel
	} else if n.copy != nil {
		s.Dir = n.copy.rel
		s.Lost = append(s.Lost, n.copy.lost...)
		n.copy.lost = nil
	}
	before := time.Now().Add(-n.f.o.Keep).UnixNano()
	s.Lost = slices.DeleteFunc(s.Lost, func(g offer.LiveGap) bool { return g.To < before })
	s.Lost = s.Lost[max(0, len(s.Lost)-maxLost):]
}

// poll gets what was written since the last time. It returns until when the copy has everything; zero: something is left.
func (n *node) poll(ctx context.Context, began time.Time, most int64) (upTo time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollMost)
	defer cancel()
	c, err := n.f.o.Find(ctx, n.choice.Name)
	if err != nil {
		return upTo, err
	}
	if n.choice.Rows {
		return n.pollRows(ctx, c, began, most)
	}
	whole, err := n.pollRing(ctx, c, most)
	if err == nil && whole {
		upTo = began
	}
	return upTo, err
}

// pollRing gets what was written to the ring.
func (n *node) pollRing(ctx context.Context, c *pins.Client, most int64) (whole bool, err error) {
	if n.copy == nil {
		n.copy = &ringCopy{}
	}
	g, err := c.Growing(ctx, n.copy.since(n.f.o.Keep))
	if err != nil {
		return false, err
	}
	if g.Ring != n.copy.ring {
		if err := n.renew(g); err != nil {
			return false, err
		}
	}
	return n.copy.update(ctx, c, g, most)
}

// renew begins a copy of another ring, or the first.
func (n *node) renew(g *pins.Growing) error {
	old := n.copy
	dir, rel, err := n.folder()
	if err != nil {
		return err
	}
	n.copy = &ringCopy{dir: dir, rel: rel, ring: g.Ring, files: map[string]*file{}}
	if old.dir == "" {
		return nil
	}
	return os.RemoveAll(old.dir)
}

// folder makes a folder for a copy.
func (n *node) folder() (dir, rel string, err error) {
	rel = filepath.Join(n.choice.Name, fmt.Sprintf("%x", time.Now().UnixNano()))
	dir = filepath.Join(n.f.o.Dir, rel)
	return dir, rel, os.MkdirAll(dir, 0o700)
}

// remove removes the copy.
func (n *node) remove() {
	if err := os.RemoveAll(filepath.Join(n.f.o.Dir, n.choice.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		n.f.o.Log.Error("removing the copy of a ring", "node", n.choice.Name, "error", err)
	}
}
