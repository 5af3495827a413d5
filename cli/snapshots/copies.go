package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/mcp/store"
)

const (
	copiesEvery = time.Second // between looks at what the hub follows, and between cuts of all rings together
	hubLate     = 15 * time.Second
	cutsKept    = 1024
	maxCopies   = 256 // bundles of a case
)

// CopiesOptions of FollowCopies.
type CopiesOptions struct {
	Dir  string // where the hub keeps copies of rings
	Keep time.Duration
	// Follow follows a copy. share is the number of copies, gaps what this one lacks.
	Follow func(ctx context.Context, ring string, share int64, gaps func() []bundle.LiveGap, onError func(error)) (Live, error)
	// Mirror shows the rows of a node that sends rows only.
	Mirror func(ctx context.Context, dir string, gaps func() []bundle.LiveGap, onError func(error)) (Live, error)
	// Owners adds the namespaces of the addresses that a bundle names.
	Owners  func(ctx context.Context, o *bundle.Owners, b *bundle.Bundle) error
	OnError func(error)
}

// Copies answers about the rings that a hub follows. It implements store.Live.
type Copies struct {
	o     CopiesOptions
	ctx   context.Context
	end   context.CancelFunc
	ended chan struct{}

	mu    sync.Mutex
	said  offer.Live
	rings map[string]*followedRing // by folder
	cuts  map[int64]cutOfAll
	no    int64

	naming sync.Mutex
	owners *bundle.Owners // whose the addresses are
	named  time.Time      // when this was found out
}

// followedRing is a ring with its live run.
type followedRing struct {
	node string
	live Live
}

// cutOfAll is the cut of each ring.
type cutOfAll struct {
	at   time.Time
	cuts map[string]int64
}

// FollowCopies follows the rings of a folder until Close.
func FollowCopies(o CopiesOptions) *Copies {
	c := &Copies{o: o, ended: make(chan struct{}), rings: map[string]*followedRing{}, cuts: map[int64]cutOfAll{}}
	c.ctx, c.end = context.WithCancel(context.Background())
	go c.run()
	return c
}

// Close ends all runs.
func (c *Copies) Close() {
	c.end()
	<-c.ended
}

func (c *Copies) run() {
	defer close(c.ended)
	failing := ""
	t := time.NewTicker(copiesEvery)
	defer t.Stop()
	for {
		err := c.look()
		if text := fmt.Sprint(err); err != nil && text != failing {
			failing = text
			c.o.OnError(err)
		} else if err == nil {
			failing = ""
		}
		select {
		case <-t.C:
		case <-c.ctx.Done():
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, f := range c.rings {
				if err := f.live.Close(); err != nil {
					c.o.OnError(err)
				}
			}
			return
		}
	}
}

// look begins and ends runs.
func (c *Copies) look() error {
	l, err := offer.ReadLive(c.o.Dir)
	if err != nil {
		return err
	}
	wanted := map[string]*offer.LiveNode{}
	for i := range l.Nodes {
		if n := &l.Nodes[i]; n.Dir != "" {
			wanted[n.Dir] = n
		}
	}
	c.mu.Lock()
	c.said = *l
	kept := 0
	var first []string
	for _, dir := range slices.Sorted(maps.Keys(wanted)) {
		if c.rings[dir] != nil {
			kept++
		} else {
			first = append(first, dir)
		}
	}
	c.mu.Unlock()
	begun := map[string]*followedRing{}
	for _, dir := range first[:max(0, min(len(first), maxCopies-kept))] {
		node := wanted[dir].Name
		live, e := c.begin(wanted[dir], int64(len(wanted)))
		if e != nil {
			err = errors.Join(err, fmt.Errorf("node %s: %w", node, e)) // the next look tries again
			continue
		}
		begun[dir] = &followedRing{node: node, live: live}
	}
	for _, f := range c.replace(wanted, begun) {
		err = errors.Join(err, f.live.Close())
	}
	return err
}

// replace takes out the runs of copies that are gone, and adds new ones. At no time a tail sees neither.
func (c *Copies) replace(wanted map[string]*offer.LiveNode, begun map[string]*followedRing) (over []*followedRing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for dir, f := range c.rings {
		if wanted[dir] == nil {
			over = append(over, f)
			delete(c.rings, dir)
		}
	}
	maps.Copy(c.rings, begun)
	return over
}

// begin begins the run of a copy. share is the number of copies.
func (c *Copies) begin(n *offer.LiveNode, share int64) (Live, error) {
	dir, gaps := filepath.Join(c.o.Dir, n.Dir), func() []bundle.LiveGap { return c.gaps(n.Name) }
	if n.Rows {
		return c.o.Mirror(c.ctx, dir, gaps, c.o.OnError)
	}
	return c.o.Follow(c.ctx, dir, share, gaps, c.o.OnError)
}

// gaps is what the copy of a node lacks. The first node that was read also states the nodes that were not.
func (c *Copies) gaps(node string) (list []bundle.LiveGap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	first := ""
	read := map[string]bool{}
	for _, f := range c.rings {
		if f.live.Last().No == 0 {
			continue
		}
		read[f.node] = true
		if first == "" || f.node < first {
			first = f.node
		}
	}
	for _, n := range c.said.Nodes {
		if n.Name != node && (node != first || read[n.Name]) {
			continue
		}
		if !read[n.Name] {
			n.UpTo = now.Add(-c.o.Keep).UnixNano()
		}
		for _, g := range n.Gaps(now) {
			list = append(list, bundle.LiveGap(g))
		}
	}
	if at := time.Unix(0, c.said.At); now.Sub(at) > hubLate && node == first {
		list = append(list, bundle.LiveGap{From: c.said.At, To: now.Truncate(time.Second).UnixNano(), Reason: "not_read", Detail: "the hub follows no ring"})
	}
	return list
}

// all lists the runs by folder.
func (c *Copies) all() (map[string]Live, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.rings) == 0 {
		var why []string
		for _, n := range c.said.Nodes {
			why = append(why, fmt.Sprintf("node %s: %s", n.Name, n.Message))
		}
		if len(why) == 0 {
			return nil, badRequest("db live has no node: a LiveConfig says what the hub follows")
		}
		return nil, badRequest("db live has no node yet: %s", strings.Join(why[:min(len(why), 5)], "; "))
	}
	list := map[string]Live{}
	for dir, f := range c.rings {
		list[dir] = f.live
	}
	return list, nil
}

// Within returns the same with only the connections within namespaces.
func (c *Copies) Within(namespaces []string) store.Live {
	return &limited{c, append([]string{}, namespaces...)}
}

// limited implements store.Live.
type limited struct {
	all        *Copies
	namespaces []string
}

// Live implements store.Live.
func (l *limited) Live(ctx context.Context, last time.Duration) ([]string, error) {
	return l.all.views(ctx, last, l.within)
}

// LiveAfter implements store.Live.
func (l *limited) LiveAfter(ctx context.Context, after int64) ([]string, int64, error) {
	return l.all.after(ctx, after, l.within)
}

// limit is that of a question when it is answered.
type limit func(context.Context) (*bundle.Within, error)

// everything limits nothing.
func everything(context.Context) (*bundle.Within, error) { return nil, nil }

// within is the limit of a question that is asked now.
func (l *limited) within(ctx context.Context) (*bundle.Within, error) {
	o, err := l.all.ownersNow(ctx)
	return &bundle.Within{Namespaces: l.namespaces, Owners: o}, err
}

// ownersNow lists whose the addresses are: a ring names only what its node knows, but the other end of a connection may
// be a pod of another node.
func (c *Copies) ownersNow(ctx context.Context) (*bundle.Owners, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	if time.Since(c.named) < copiesEvery {
		return c.owners, nil
	}
	now := time.Now()
	known, err := offer.ReadOwners(c.o.Dir)
	if err != nil {
		return nil, err
	}
	list, err := c.all()
	if err != nil {
		return nil, err
	}
	o := &bundle.Owners{Until: known.Until}
	for _, x := range known.Had {
		o.Add(x.Addr, x.Namespace)
	}
	for _, live := range list {
		if live.Last().No == 0 {
			continue
		}
		v, err := live.View(ctx, 0, nil)
		if errors.Is(err, fs.ErrClosed) {
			continue
		}
		if err == nil {
			err = c.o.Owners(ctx, o, v.Bundle)
		}
		if err != nil {
			return nil, err
		}
	}
	c.owners, c.named = o, now
	return o, nil
}

// Live implements store.Live: a view of each ring.
func (c *Copies) Live(ctx context.Context, last time.Duration) ([]string, error) {
	return c.views(ctx, last, everything)
}

// LiveAfter implements store.Live. A cut of all rings is a number for the cut of each.
func (c *Copies) LiveAfter(ctx context.Context, after int64) ([]string, int64, error) {
	return c.after(ctx, after, everything)
}

// views makes a view of each ring.
func (c *Copies) views(ctx context.Context, last time.Duration, within limit) ([]string, error) {
	if last <= 0 || last > c.o.Keep {
		return nil, badRequest("the last %s: live has at most %s; make a snapshot for more", last, c.o.Keep)
	}
	list, err := c.all()
	if err != nil {
		return nil, err
	}
	in, err := within(ctx)
	if err != nil {
		return nil, err
	}
	var paths []string
	unread := 0
	for _, dir := range slices.Sorted(maps.Keys(list)) {
		if list[dir].Last().No == 0 {
			unread++
			continue
		}
		v, err := list[dir].View(ctx, last, in)
		if errors.Is(err, bundle.ErrNothingLive) || errors.Is(err, fs.ErrClosed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, v.Path)
	}
	switch {
	case len(paths) == 0 && unread > 0:
		return nil, badRequest("nothing of db live was read yet; ask again in a few seconds")
	case len(paths) == 0:
		return nil, badRequest("nothing was recorded in the last %s", last)
	}
	return paths, nil
}

// after waits for the next cut of a ring, and makes a view of each ring.
func (c *Copies) after(ctx context.Context, after int64, within limit) (paths []string, cut int64, err error) {
	before, known := c.cut(after)
	for {
		list, err := c.all()
		if err != nil {
			return nil, 0, err
		}
		if !known { // from now on
			before = cutOfAll{cuts: map[string]int64{}}
			for dir, l := range list {
				before.cuts[dir] = l.Last().No
			}
		}
		if !known || time.Since(before.at) >= copiesEvery && newer(list, before.cuts) {
			paths, cut, err := c.since(ctx, list, before.cuts, within, known)
			if err != nil || cut > 0 {
				return paths, cut, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-c.ctx.Done():
			return nil, 0, c.ctx.Err()
		case <-time.After(copiesEvery / 10):
		}
	}
}

func (c *Copies) cut(no int64) (cutOfAll, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, ok := c.cuts[no]
	return x, ok
}

// newer reports whether a ring has a newer cut.
func newer(list map[string]Live, than map[string]int64) bool {
	for dir, l := range list {
		if l.Last().No > than[dir] {
			return true
		}
	}
	return false
}

// since makes a view of each ring of what was finished after a cut, only of those with something if filled is set, and
// the number of the new cut, 0 if no ring has been read yet. Callers that are at the same cut get the same.
func (c *Copies) since(ctx context.Context, list map[string]Live, before map[string]int64, within limit, filled bool) (paths []string, cut int64, err error) {
	in, err := within(ctx)
	if err != nil {
		return nil, 0, err
	}
	now := map[string]int64{}
	for _, dir := range slices.Sorted(maps.Keys(list)) {
		l := list[dir]
		if l.Last().No == 0 {
			continue // it has not read anything yet
		}
		v, err := l.Since(ctx, before[dir], in)
		if errors.Is(err, fs.ErrClosed) { // there is another copy
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if now[dir] = v.Cut; !v.Empty || !filled {
			paths = append(paths, v.Path)
		}
	}
	if len(now) == 0 {
		return nil, 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for no, x := range c.cuts {
		if maps.Equal(x.cuts, now) {
			return paths, no, nil
		}
		if no <= c.no-cutsKept {
			delete(c.cuts, no)
		}
	}
	c.no++
	c.cuts[c.no] = cutOfAll{time.Now(), now}
	return paths, c.no, nil
}

// OpenBundle opens a bundle, or a view of a ring.
func (c *Copies) OpenBundle(path string, o bundle.OpenOptions) (*bundle.Bundle, error) {
	if list, err := c.all(); err == nil {
		for _, l := range list {
			if b, ok := l.Open(path); ok {
				return b, nil
			}
		}
	}
	return bundle.OpenWith(path, o)
}
