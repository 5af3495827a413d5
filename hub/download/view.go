package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// Grant is the part of a snapshot that a person may get.
type Grant struct {
	User       string
	All        bool
	Namespaces []string // only the traffic within these, sorted; if not All
}

// View is the part of bundles that a person gets.
type View struct {
	Namespaces []string           // only the traffic within these, sorted; nil: of all
	Select     resource.Selection // what the snapshot is about
}

// whole reports whether it is all of a bundle.
func (v *View) whole() bool { return v.Namespaces == nil && !v.Select.Cuts() }

// viewOf is the part of a snapshot that a grant allows.
func viewOf(s *resource.Snapshot, g Grant) View {
	v := View{Select: s.Spec.Select}
	if !g.All {
		v.Namespaces = append([]string{}, g.Namespaces...)
	}
	return v
}

// Cutter makes a view of a bundle: the bundle without the data of other namespaces, and of what was not selected.
type Cutter interface {
	// Namespaces lists those that a bundle has.
	Namespaces(ctx context.Context, bundle string) ([]string, error)
	// View prepares a view of the bundles of a snapshot. Its ends without a name belong to whom another of the bundles
	// names, or the hub knows.
	View(ctx context.Context, bundles []string, v View, known *offer.Owners) (Cut, error)
}

// Cut makes the bundle of a view at to. It returns
//   - ErrNothing if no packet belongs to the view,
//   - another error otherwise, and leaves nothing behind.
type Cut func(ctx context.Context, bundle, to string) error

// ErrNothing means that no packet of a bundle belongs to a view.
var ErrNothing = errors.New("nothing of this view")

// errUnfinished means that a view is being made.
var errUnfinished = errors.New("the part of the bundles that was selected, or that you may see, is being made")

// Limits of views.
const (
	maxViews   = 32               // of one snapshot; the oldest goes
	maxSpaces  = 1000             // namespaces of a snapshot whose rights are checked
	grantAge   = 10 * time.Second // for which the rights of a token are cached
	maxGrants  = 1000
	viewWait   = 10 * time.Second // for which a request waits; then the client asks again
	nothingExt = ".nothing"       // beside bundles: a node with nothing to see
	viewsName  = ".views"         // beside the folder of bundles; hidden, because a view is not the snapshot
)

// granted is a recent answer of Kubernetes.
type granted struct {
	Grant
	at time.Time
}

// grant determines the rights of a token to a snapshot. A client requests many files at once, and each would cost one
// question to Kubernetes per namespace.
func (h *handler) grant(ctx context.Context, token string, what Content) (Grant, error) {
	key := sha256.Sum256([]byte(token + "\x00" + what.Resource + "\x00" + what.Namespace + "\x00" + what.Name))
	h.mu.Lock()
	g, ok := h.grants[key]
	h.mu.Unlock()
	if ok && time.Since(g.at) < grantAge {
		return g.Grant, nil
	}
	now, err := h.Allow(ctx, token, what, func() ([]string, error) { return h.namespaces(ctx, what) })
	if err != nil {
		return now, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.grants) >= maxGrants {
		clear(h.grants)
	}
	h.grants[key] = granted{now, time.Now()}
	return now, nil
}

// namespaces lists those of the live calls, or of a snapshot's bundles; none before it is ready.
func (h *handler) namespaces(ctx context.Context, what Content) ([]string, error) {
	switch {
	case what == live && h.Spaces != nil:
		return h.atMost(h.Spaces(), what), nil
	case h.Cutter == nil || what.Resource != resource.Snapshots.Resource:
		return nil, nil
	}
	s, dir, err := h.Find(what.Namespace, what.Name)
	if errors.Is(err, ErrNone) || err == nil && s.Status.Phase != resource.Ready {
		return nil, nil // as if there were no right, so that nobody learns which snapshots there are
	}
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	list, ok := h.spaces[dir]
	h.mu.Unlock()
	if ok {
		return list, nil
	}
	for _, n := range bundlesOf(s) {
		more, err := h.Cutter.Namespaces(ctx, filepath.Join(dir, n))
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	list = h.atMost(list, what)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.spaces) >= maxLists {
		clear(h.spaces)
	}
	h.spaces[dir] = list
	return list, nil
}

// atMost limits the namespaces whose rights are checked.
func (h *handler) atMost(list []string, what Content) []string {
	if len(list) <= maxSpaces {
		return list
	}
	h.Log.Warn("too many namespaces; rights to the others are not asked for", "resource", what.Resource, "name", what.Name, "namespaces", len(list), "asked", maxSpaces)
	return list[:maxSpaces]
}

// bundlesOf are the names of a snapshot's bundles.
func bundlesOf(s *resource.Snapshot) (names []string) {
	for _, n := range s.Status.Nodes {
		if n.Bundle != "" && resource.NodeName(n.Name) {
			names = append(names, n.Name+offer.Extension)
		}
	}
	return names
}

// viewFolder is the folder of the bundles of a view. They have the names of those of the snapshot, whose selection does
// not change.
func viewFolder(dir string, v *View) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(v.Namespaces == nil) + "\x00" + strings.Join(v.Namespaces, "\x00")))
	return filepath.Join(filepath.Dir(dir), viewsName, hex.EncodeToString(sum[:16]))
}

// place is the path of the bundle of a node; dir is the folder of all bundles, and v the part that a person gets.
// ErrNothing: nothing belongs to the view. If the part of a node is missing, its bundle is the one that states the gap,
// unless that could name something that the person may not see.
func (v *View) place(dir string, n *resource.Node) (string, error) {
	name := n.Name + offer.Extension
	whole := filepath.Join(dir, name)
	if v.whole() {
		return whole, nil
	}
	part := filepath.Join(viewFolder(dir, v), name)
	if _, err := os.Stat(part + nothingExt); err != nil {
		return part, nil
	}
	if n.Gone() && v.Namespaces == nil {
		return whole, nil
	}
	return part, ErrNothing
}

// view makes a person's view, or returns errUnfinished if it takes longer. It works in the background, so that it
// continues if the client goes away.
func (h *handler) view(ctx context.Context, s *resource.Snapshot, dir string, v *View) error {
	if h.Cutter == nil {
		return errors.New("this hub makes no views")
	}
	folder := viewFolder(dir, v)
	if err := finished(s, folder); err == nil || !errors.Is(err, errUnfinished) {
		return err
	}
	h.mu.Lock()
	job := h.making[folder]
	if job == nil {
		job = &making{done: make(chan struct{})}
		h.making[folder] = job
		go h.make(job, s, dir, folder, v)
	}
	h.mu.Unlock()
	select {
	case <-job.done:
		return job.err
	case <-time.After(viewWait):
	case <-ctx.Done():
	}
	return errUnfinished
}

// making is a view in progress. Once done is closed, err is the reason if it failed.
type making struct {
	done chan struct{}
	err  error
}

// finished returns nil if a view has each node.
func finished(s *resource.Snapshot, folder string) error {
	for _, name := range bundlesOf(s) {
		_, err := os.Stat(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			_, err = os.Stat(filepath.Join(folder, name+nothingExt))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return errUnfinished
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// make makes a view. It keeps what a killed hub has made.
func (h *handler) make(job *making, s *resource.Snapshot, dir, folder string, v *View) {
	err := func() error {
		if err := oldest(filepath.Dir(folder), filepath.Base(folder)); err != nil {
			return err
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		cut, err := h.cut(s, dir, v)
		if err != nil {
			return err
		}
		for _, name := range bundlesOf(s) {
			to := filepath.Join(folder, name)
			if _, err := os.Stat(to); err == nil {
				continue
			}
			err := cut(context.Background(), filepath.Join(dir, name), to)
			if errors.Is(err, ErrNothing) {
				err = os.WriteFile(to+nothingExt, nil, 0o600)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		h.Log.Error("making a view of a snapshot", "snapshot", s.Name, "namespaces", v.Namespaces, "error", err)
	}
	job.err = err
	h.mu.Lock()
	delete(h.making, folder) // after an error, the next request tries again
	h.mu.Unlock()
	close(job.done)
}

// cut prepares the making of a view. A node names only what it knows, but the other end of a connection may be a pod of
// another node.
func (h *handler) cut(s *resource.Snapshot, dir string, v *View) (Cut, error) {
	known, err := offer.ReadOwners(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	if from, to, err := s.Window(); err == nil && h.Owners != nil {
		if now := h.Owners(time.Unix(0, int64(from)), time.Unix(0, int64(to))); now.Until > known.Until {
			known = now
		}
	}
	var paths []string
	for _, name := range bundlesOf(s) {
		paths = append(paths, filepath.Join(dir, name))
	}
	return h.Cutter.View(context.Background(), paths, *v, known)
}

// oldest removes the oldest views if there would be too many.
func oldest(dir, but string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at := map[string]time.Time{}
	var names []string
	for _, e := range list {
		if info, err := e.Info(); err == nil && e.Name() != but {
			at[e.Name()] = info.ModTime()
			names = append(names, e.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return at[a].Compare(at[b]) })
	for len(names) >= maxViews {
		if err := os.RemoveAll(filepath.Join(dir, names[0])); err != nil {
			return err
		}
		names = names[1:]
	}
	return nil
}
