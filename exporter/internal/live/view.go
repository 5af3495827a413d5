package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/namespaces"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// View is a bundle of a part of the run.
type View struct {
	Path   string
	Bundle *bundle.Bundle
	Cut    int64
	Empty  bool // it has no call and no coverage row

	key    string
	owners *bundle.Owners // of a view within namespaces
	made   time.Time
}

// Request selects the content of a view.
type Request struct {
	Last     time.Duration // before now; 0: everything that is kept
	Finished bool          // only rows finished after the cut After, and nothing that is open
	After    int64
	Gaps     []bundle.LiveGap // of the packets
	Within   *bundle.Within   // only what is within these namespaces; nil: everything

	ends bool // with the ends of open connections, which say which calls are within
}

// ranged reports whether a view has the rows of a range.
func (r *Request) ranged() bool { return r.Last > 0 && !r.Finished }

// View makes a bundle. A view of the same cut and the same request is made once.
func (s *Store) View(ctx context.Context, r Request, packets bundle.Packets, extra func(rows []table.Coverage, f write.Folder) ([]write.Part, error)) (*View, error) {
	in := r.Within
	r.Within, r.ends = nil, in != nil && r.Finished // the same view for all namespaces
	v, err := s.whole(ctx, r, packets, extra)
	if err != nil || in == nil {
		return v, err
	}
	return s.within(ctx, v, in, packets)
}

// within makes the part of a view that is within namespaces. Views of others are not held up, and one is made at a time.
func (s *Store) within(ctx context.Context, whole *View, in *bundle.Within, packets bundle.Packets) (*View, error) {
	s.narrowing.Lock()
	defer s.narrowing.Unlock()
	key := fmt.Sprintf("%s within %q", whole.key, in.Namespaces)
	s.mu.Lock()
	made := s.keyed(key, in.Owners)
	s.made++
	dir := filepath.Join(s.dir, "views", fmt.Sprintf("%06d.pcapsule", s.made))
	s.mu.Unlock()
	if made != nil {
		return made, nil
	}
	m, files, err := narrow(ctx, whole, dir, in)
	var b *bundle.Bundle
	if err == nil {
		b, err = bundle.Assemble(dir, m, files, packets)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		err = fs.ErrClosed
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	v := &View{Path: dir, Bundle: b, Cut: whole.Cut, Empty: empty(m), key: key, owners: in.Owners, made: time.Now()}
	s.views = append(s.views, v)
	return v, nil
}

// keyed returns the view that was made for a request, nil if there is none.
func (s *Store) keyed(key string, o *bundle.Owners) *View {
	for _, v := range s.views {
		if v.key == key && v.owners == o {
			return v
		}
	}
	return nil
}

// whole makes a bundle of the rows of all namespaces.
func (s *Store) whole(ctx context.Context, r Request, packets bundle.Packets, extra func(rows []table.Coverage, f write.Folder) ([]write.Part, error)) (*View, error) {
	if r.ranged() {
		s.cutting.Lock()
		defer s.cutting.Unlock()
	}
	p, v, err := s.prepare(r, extra)
	if err != nil || v != nil {
		return v, err
	}
	if r.ranged() {
		var files []string
		files, err = cutOlder(ctx, p.view.Path, p.from, p.m, p.linked)
		p.files = append(files, p.files...)
	} else {
		for _, x := range p.linked {
			p.files = append(p.files, x.rel)
		}
	}
	v = p.view
	if err == nil {
		v.Empty = empty(p.m) && !p.covered
		v.Bundle, err = bundle.Assemble(v.Path, p.m, p.files, packets)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		err = fs.ErrClosed
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(v.Path))
	}
	v.made = time.Now()
	s.views = append(s.views, v)
	return v, nil
}

// prepared is a view whose parts are linked, so sets can be removed.
type prepared struct {
	view    *View
	m       *bundle.Manifest
	from    int64
	linked  []linked
	files   []string // further ones
	covered bool     // they state coverage gaps
}

// prepare links the parts of a view, or returns the view that was made before.
func (s *Store) prepare(r Request, extra func(rows []table.Coverage, f write.Folder) ([]write.Part, error)) (*prepared, *View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fs.ErrClosed
	}
	key := fmt.Sprintf("%d %+v", s.cut.No, r)
	if v := s.keyed(key, nil); v != nil {
		return nil, v, nil
	}
	sets, from := s.choose(r)
	p := &prepared{m: s.manifest(sets), from: from}
	stretch(p.m, r.Gaps, from)
	if r.ranged() && len(r.Gaps) == 0 && s.removed <= from && (p.m.Window.LastNs == nil && len(s.open.Parts) == 0 || s.cut.Now < from) {
		return nil, nil, bundle.ErrNothingLive
	}
	s.made++
	dir := filepath.Join(s.dir, "views", fmt.Sprintf("%06d.pcapsule", s.made))
	var err error
	if p.linked, err = s.link(dir, sets, p.m); err == nil {
		p.files, err = s.cover(dir, r, from, extra)
	}
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.covered, p.view = len(p.files) > 0, &View{Path: dir, Cut: s.cut.No, key: key}
	return p, nil, nil
}

// empty reports whether a bundle has no call and no coverage row.
func empty(m *bundle.Manifest) bool {
	return !slices.ContainsFunc(m.Tables, func(t bundle.Table) bool {
		return t.Rows > 0 && (namespaces.IsCalls(t.Name) || t.Name == "coverage")
	})
}

// Opened returns the view at a path, nil if there is none.
func (s *Store) Opened(path string) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		if v.Path == path {
			return v
		}
	}
	return nil
}

// chosen is a set of a view, with the tables that it contributes.
type chosen struct {
	*Set
	tables func(name string) bool // nil: all
}

// remembered are the tables that Known has completely.
func remembered(name string) bool { return name == "endpoints" || name == "clocks" }

// choose lists the sets of a view, and the capture time from which it has rows.
func (s *Store) choose(r Request) (list []chosen, from int64) {
	list = append(list, chosen{&s.empty, nil}, chosen{&s.known, nil})
	if r.Last > 0 {
		from = s.cut.At.UnixNano() - int64(r.Last)
	}
	others := func(name string) bool { return !remembered(name) }
	short := r.Finished || r.Last > 0 && r.Last <= smallFor && from > s.gone
	for i := range s.large {
		if x := &s.large[i]; !short && x.To >= from {
			list = append(list, chosen{x, others})
		}
	}
	for i := range s.small {
		x := &s.small[i]
		rows := x.To >= from && (short || x.Cut > s.merged) && (!r.Finished || x.Cut > r.After && x.To > s.shown)
		switch ends := x.Cut > s.merged; {
		case rows && ends:
			list = append(list, chosen{x, nil})
		case rows:
			list = append(list, chosen{x, others})
		case ends:
			list = append(list, chosen{x, remembered})
		}
	}
	switch {
	case !r.Finished:
		list = append(list, chosen{&s.open, nil})
	case r.ends:
		list = append(list, chosen{&s.open, func(name string) bool { return name == "flows" }})
	}
	return list, from
}

// manifest describes a view.
func (s *Store) manifest(sets []chosen) *bundle.Manifest {
	m := &bundle.Manifest{SchemaVersion: bundle.SchemaVersion, Tool: bundle.Tool{Name: "pcapsule"}, Options: map[string]string{"live": fmt.Sprint(s.cut.No)}, Calls: map[string]int64{},
		Inputs: s.cut.Inputs, SideInputs: []bundle.SideInput{}, Warnings: s.cut.Warnings}
	m.Accounts.Counters = s.cut.Counters
	first, last := int64(0), int64(0)
	for _, x := range sets {
		if x.Set == &s.empty || x.Set == &s.known || x.tables != nil && !x.tables("calls") {
			continue
		}
		m.Accounts.Packets += x.Packets
		for p, n := range x.Calls {
			m.Calls[p] += n
		}
		if x.First != 0 && (first == 0 || x.First < first) {
			first = x.First
		}
		last = max(last, x.Last)
	}
	if first != 0 {
		m.Window = bundle.Window{FirstNs: bundle.At(first), LastNs: bundle.At(last)}
	}
	return m
}

// stretch makes the window of a view include the gaps after a time, so that its coverage states them.
func stretch(m *bundle.Manifest, gaps []bundle.LiveGap, from int64) {
	for _, g := range gaps {
		if g.To < from {
			continue
		}
		begin := max(g.From, from)
		if m.Window.FirstNs == nil || begin < int64(*m.Window.FirstNs) {
			m.Window.FirstNs = bundle.At(begin)
		}
		if m.Window.LastNs == nil || g.To > int64(*m.Window.LastNs) {
			m.Window.LastNs = bundle.At(max(begin, g.To))
		}
	}
}

// link fills the folder of a view.
func (s *Store) link(dir string, sets []chosen, m *bundle.Manifest) (list []linked, err error) {
	tables := map[[2]string]*bundle.Table{}
	for _, x := range sets {
		for _, p := range x.Parts {
			if x.tables != nil && !x.tables(p.Table) {
				continue
			}
			rel := filepath.ToSlash(filepath.Dir(p.Rel)) + "/" + x.Dir + "-" + filepath.Base(p.Rel)
			to := filepath.Join(dir, filepath.FromSlash(rel))
			from := filepath.Join(s.dir, "sets", x.Dir, filepath.FromSlash(p.Rel))
			err := os.Link(from, to)
			if errors.Is(err, fs.ErrNotExist) {
				if err = os.MkdirAll(filepath.Dir(to), 0o700); err == nil {
					err = os.Link(from, to)
				}
			}
			if err != nil {
				return nil, err
			}
			list = append(list, linked{p, rel})
			if p.Protocol != "" {
				p.Columns = s.columnsOf(p.Protocol)
			}
			count(tables, p)
		}
	}
	for _, t := range tables {
		m.Tables = append(m.Tables, *t)
	}
	slices.SortFunc(m.Tables, func(a, b bundle.Table) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list, nil
}

// columnsOf are the columns of the parts of table calls of a protocol.
func (s *Store) columnsOf(protocol string) []bundle.Column {
	for _, p := range s.empty.Parts {
		if p.Protocols != nil {
			return p.Protocols[protocol]
		}
	}
	return nil
}

// count adds a part to the table of its manifest.
func count(tables map[[2]string]*bundle.Table, p write.Part) {
	key := [2]string{p.Table, p.Protocol}
	if tables[key] == nil {
		tables[key] = &bundle.Table{Name: p.Table, Protocol: p.Protocol, Columns: append([]bundle.Column{}, p.Columns...)}
	}
	tables[key].Rows += p.Rows
	tables[key].Parts++
}

// source of the gaps of a view that are not in its sets.
const source = "live"

// lagging is how far the run may be behind the recorder before a view reports it.
const lagging = 3 * time.Second

// cover adds what a view lacks to its coverage, and returns the files.
func (s *Store) cover(dir string, r Request, from int64, extra func([]table.Coverage, write.Folder) ([]write.Part, error)) (files []string, err error) {
	var rows []table.Coverage
	hole := func(from, to int64, reason, detail string) {
		rows = append(rows, table.Coverage{FileID: -1, Source: source, FromNs: from, ToNs: max(from, to), Kind: "hole", Reason: reason, Detail: detail})
	}
	for _, g := range r.Gaps {
		if g.To >= from {
			hole(g.From, g.To, g.Reason, g.Detail)
		}
	}
	if n := s.lost(r); n > 0 {
		hole(max(s.gone, s.shown), 0, "retention", fmt.Sprintf("calls were removed before they were asked for; cuts of the live run: %d", n))
	}
	if !r.Finished && s.removed > from {
		hole(max(from, s.removed-int64(s.keep)), s.removed, "retention", s.why+"; the ring may still have the packets: make a snapshot")
	}
	if now := time.Now().UnixNano(); !s.cut.Idle && now-s.cut.Now > int64(lagging) {
		hole(s.cut.Now, now, "not_read", fmt.Sprintf("the live run is %s behind the recorder", time.Duration(now-s.cut.Now).Round(100*time.Millisecond)))
	}
	if len(rows) == 0 {
		return nil, nil
	}
	parts, err := extra(rows, Folder{dir})
	for _, p := range parts {
		files = append(files, p.Rel)
	}
	return files, err
}

// lost is the number of cuts whose calls were removed before they were asked for.
func (s *Store) lost(r Request) int64 {
	first := s.cut.No + 1
	if len(s.small) > 0 {
		first = s.small[0].Cut
	}
	if !r.Finished || r.After == 0 {
		return 0
	}
	return first - r.After - 1
}

// dropViews removes views that are no longer kept.
func (s *Store) dropViews() (err error) {
	for len(s.views) > viewsKept && time.Since(s.views[0].made) > viewFor {
		err = errors.Join(err, os.RemoveAll(s.views[0].Path))
		s.views = s.views[1:]
	}
	return err
}
