package live

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Limits of sets that other machines made.
const (
	maxDescription = 4 << 20  // bytes of set.json
	maxInput       = 16 << 20 // bytes of an input's description
	maxParts       = 2000     // of a set
	maxInputs      = 10_000
	maxText        = 1000 // bytes of a text for people

	adoptedPrefix = "of-" // begins the folder of a set, so that it cannot be one of ours
)

// Adopted takes over cuts that another machine has shared, from a folder with its files.
type Adopted struct {
	store *Store
	from  string
	// schema returns what a part must have; nil: there is no such table.
	schema func(name, protocol string) *table.Schema
	sets   map[string]*Set // by file
	inputs map[string]*bundle.Input
}

// Adopt begins to take over cuts. The store's run must have begun with its own empty tables.
func (s *Store) Adopt(from string, schema func(name, protocol string) *table.Schema) *Adopted {
	return &Adopted{store: s, from: from, schema: schema, sets: map[string]*Set{}, inputs: map[string]*bundle.Input{}}
}

// Cut takes over a cut. After an error the store is as it was.
func (a *Adopted) Cut(ctx context.Context, c *rows.Cut) error {
	var said state
	if err := json.Unmarshal(c.State, &said); err != nil {
		return fmt.Errorf("reading the state of cut %d: %w", c.No, err)
	}
	next := Cut{No: c.No, At: time.Unix(0, c.At), Now: said.Now, Idle: said.Idle, Warnings: texts(said.Warnings), Counters: said.Counters}
	if next.Counters == nil {
		next.Counters = map[string]map[string]int64{}
	}
	if len(said.Inputs) > maxInputs {
		return fmt.Errorf("cut %d has %d inputs, the limit is %d", c.No, len(said.Inputs), maxInputs)
	}
	used := map[string]bool{}
	for _, name := range said.Inputs {
		in, err := a.input(name)
		if err != nil {
			return fmt.Errorf("input %.120q: %w", name, err)
		}
		used[name] = true
		next.Inputs = append(next.Inputs, *in)
	}
	get := func(r ref) (*Set, error) {
		if used[r.File] {
			return nil, fmt.Errorf("set %.120q occurs twice", r.File)
		}
		used[r.File] = true
		return a.set(ctx, r)
	}
	var known, open Set
	for _, x := range []struct {
		ref
		to *Set
	}{{said.Known, &known}, {said.Open, &open}} {
		if x.File == "" {
			continue
		}
		s, err := get(x.ref)
		if err != nil {
			return err
		}
		*x.to = *s
	}
	var lists [2][]Set
	for i, refs := range [][]ref{said.Small, said.Large} {
		for _, r := range refs {
			if _, there := transfer.Find(c.Files, r.File); !there { // the receiver had no room for it
				if r.To > said.Removed {
					said.Removed, said.Why = r.To, "the hub has no room for more rows of this node"
				}
				continue
			}
			s, err := get(r)
			if err != nil {
				return err
			}
			lists[i] = append(lists[i], *s)
		}
	}
	return a.publish(next, &said, lists[0], lists[1], known, open, used)
}

// publish makes a cut visible, and removes what it does not need.
func (a *Adopted) publish(c Cut, said *state, small, large []Set, known, open Set, used map[string]bool) error {
	s := a.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.small, s.large, s.known, s.open, s.cut = small, large, known, open, c
	s.merged, s.gone, s.removed, s.why, s.shown = said.Merged, said.Gone, said.Removed, text(said.Why), said.Shown
	var err error
	for name, x := range a.sets {
		if !used[name] {
			err = errors.Join(err, s.remove(x))
			delete(a.sets, name)
		}
	}
	for name := range a.inputs {
		if !used[name] {
			delete(a.inputs, name)
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return errors.Join(err, s.dropViews())
}

// text shortens a text of another machine.
func text(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

func texts(list []string) []string {
	out := []string{}
	for _, s := range list[:min(len(list), maxText)] {
		out = append(out, text(s))
	}
	return out
}

// open opens a file of the folder.
func (a *Adopted) open(name string) (*os.File, int64, error) {
	if !rows.Named(name) {
		return nil, 0, errors.New("this cannot be the name of a set")
	}
	f, err := os.Open(filepath.Join(a.from, name))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// input reads the description of an input.
func (a *Adopted) input(name string) (*bundle.Input, error) {
	if in := a.inputs[name]; in != nil {
		return in, nil
	}
	f, size, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxInput {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", size, maxInput)
	}
	var in bundle.Input
	if err := json.NewDecoder(f).Decode(&in); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(in.Path, "data/packets/") || !filepath.IsLocal(filepath.FromSlash(in.Path)) {
		return nil, fmt.Errorf("its packets are at %.120q, which is not in data/packets", in.Path)
	}
	a.inputs[name] = &in
	return &in, nil
}

// set unpacks a set.
func (a *Adopted) set(ctx context.Context, r ref) (*Set, error) {
	if x := a.sets[r.File]; x != nil {
		return x, nil
	}
	x, err := a.unpack(ctx, r.File)
	if err != nil {
		return nil, fmt.Errorf("set %.120q: %w", r.File, err)
	}
	x.Cut, x.To = r.Cut, r.To
	a.sets[r.File] = x
	return x, nil
}

// unpack reads a set into the folder of the store. It leaves nothing there after an error.
func (a *Adopted) unpack(ctx context.Context, name string) (x *Set, err error) {
	f, size, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := tar.NewReader(f)
	h, err := t.Next()
	if err != nil || h.Name != setName || h.Size > maxDescription {
		return nil, fmt.Errorf("it does not begin with %s: %w", setName, errors.Join(err, errUnexpected))
	}
	x = &Set{}
	if err := json.NewDecoder(t).Decode(x); err != nil {
		return nil, fmt.Errorf("reading %s: %w", setName, err)
	}
	if len(x.Parts) > maxParts {
		return nil, fmt.Errorf("it has %d parts, the limit is %d", len(x.Parts), maxParts)
	}
	x.Dir = adoptedPrefix + strings.TrimSuffix(name, ".tar")
	folder := a.store.Folder(x.Dir)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder.dir))
		}
	}()
	seen := map[string]bool{}
	for i := range x.Parts {
		p := &x.Parts[i]
		if seen[p.Rel] {
			return nil, fmt.Errorf("part %.120q occurs twice", p.Rel)
		}
		seen[p.Rel] = true
		if err := a.part(ctx, t, p, folder, size); err != nil {
			return nil, fmt.Errorf("part %.120q: %w", p.Rel, err)
		}
	}
	if _, err := t.Next(); err != io.EOF {
		return nil, fmt.Errorf("after its parts: %w", errors.Join(err, errUnexpected))
	}
	return x, nil
}

var errUnexpected = errors.New("something else than expected")

var partFile = regexp.MustCompile(`^part-[0-9]{3,6}\.parquet$`)

// part unpacks a part, and checks all of its rows.
func (a *Adopted) part(ctx context.Context, t *tar.Reader, p *write.Part, folder Folder, most int64) error {
	schema := a.schema(p.Table, p.Protocol)
	switch dir := p.Folder(); {
	case schema == nil:
		return fmt.Errorf("no table %.80q of protocol %.80q is known here", p.Table, p.Protocol)
	case !strings.HasPrefix(p.Rel, dir) || !partFile.MatchString(p.Rel[len(dir):]):
		return fmt.Errorf("table %s has its parts in %s", p.Table, dir)
	case p.Rows < 0 || p.Bytes < 0 || p.Bytes > most:
		return fmt.Errorf("%d rows in %d bytes, of a set with %d bytes", p.Rows, p.Bytes, most)
	}
	h, err := t.Next()
	if err != nil {
		return err
	}
	if h.Name != p.Rel || h.Size != p.Bytes || h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%.120q with %d bytes: %w", h.Name, h.Size, errUnexpected)
	}
	path := folder.Path(p.Rel)
	if path == "" {
		return fs.ErrClosed
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, t)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return parts.Check(ctx, path, schema, p.Rows)
}
