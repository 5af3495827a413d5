package live

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// sharedFor is how long a set that is no longer needed can still be fetched.
const sharedFor = 30 * time.Second

// setName is the first file of a shared set, which describes it.
const setName = "set.json"

// state is what a shared cut says besides its files.
type state struct {
	Now      int64                       `json:"now"`
	Idle     bool                        `json:"idle"`
	Inputs   []string                    `json:"inputs"` // names of files
	Warnings []string                    `json:"warnings,omitempty"`
	Counters map[string]map[string]int64 `json:"counters"`

	Small []ref `json:"small"` // oldest first
	Large []ref `json:"large"`
	Known ref   `json:"known,omitzero"`
	Open  ref   `json:"open,omitzero"`

	Merged  int64  `json:"merged"` // the fields of a Store
	Gone    int64  `json:"gone"`
	Removed int64  `json:"removed"`
	Why     string `json:"why,omitempty"`
	Shown   int64  `json:"shown"`
}

// ref names a set.
type ref struct {
	File string `json:"file"`
	Cut  int64  `json:"cut"`
	To   int64  `json:"to"`
}

// Shared is a folder in which the sets of a store are left for other machines.
type Shared struct {
	dir, run string
	made     map[string]*sharedFile // by name
}

// sharedFile is a set or the description of an input.
type sharedFile struct {
	transfer.File
	unused time.Time // since when no cut needs it; zero: the newest one does
}

// NewShared begins a folder. What another run left there is removed.
func NewShared(dir string) (*Shared, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := rows.Clear(dir); err != nil {
		return nil, err
	}
	return &Shared{dir: dir, run: fmt.Sprintf("%x", time.Now().UnixNano()), made: map[string]*sharedFile{}}, nil
}

// Close removes the sets.
func (h *Shared) Close() error { return rows.Clear(h.dir) }

// Share leaves the newest cut. It must not run while another cut is published.
func (s *Store) Share(h *Shared) error {
	s.mu.Lock()
	c, small, large, known, open := s.cut, slices.Clone(s.small), slices.Clone(s.large), s.known, s.open
	said := state{Now: c.Now, Idle: c.Idle, Warnings: c.Warnings, Counters: c.Counters, Merged: s.merged, Gone: s.gone, Removed: s.removed, Why: s.why, Shown: s.shown}
	s.mu.Unlock()
	for _, f := range h.made {
		if f.unused.IsZero() {
			f.unused = c.At
		}
	}
	var files []transfer.File
	add := func(x *Set) (ref, error) {
		if x.Dir == "" {
			return ref{}, nil
		}
		f, err := h.set(s.Folder(x.Dir), x)
		files = append(files, f)
		return ref{File: f.Name, Cut: x.Cut, To: x.To}, err
	}
	var err error
	for i := range c.Inputs {
		f, e := h.input(&c.Inputs[i])
		files, said.Inputs, err = append(files, f), append(said.Inputs, f.Name), errors.Join(err, e)
	}
	var e error
	said.Known, e = add(&known)
	err = errors.Join(err, e)
	said.Open, e = add(&open)
	err = errors.Join(err, e)
	for _, list := range []struct {
		sets []Set
		refs *[]ref
	}{{small, &said.Small}, {large, &said.Large}} {
		for i := range slices.Backward(list.sets) {
			r, e := add(&list.sets[i])
			*list.refs, err = append(*list.refs, r), errors.Join(err, e)
		}
		slices.Reverse(*list.refs)
	}
	if err != nil {
		return fmt.Errorf("leaving rows for the hub: %w", err)
	}
	text, err := json.Marshal(&said)
	if err == nil {
		err = rows.Write(h.dir, &rows.Cut{Run: h.run, No: c.No, At: c.At.UnixNano(), Files: files, Earlier: h.earlier(c.At), State: text})
	}
	if err == nil {
		err = h.clean()
	}
	return err
}

// earlier lists the files that only earlier cuts need, and forgets those that nobody needs now.
func (h *Shared) earlier(now time.Time) (list []transfer.File) {
	for name, f := range h.made {
		switch {
		case f.unused.IsZero():
		case now.Sub(f.unused) > sharedFor:
			delete(h.made, name)
		default:
			list = append(list, f.File)
		}
	}
	slices.SortFunc(list, func(a, b transfer.File) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// clean removes the files that were forgotten.
func (h *Shared) clean() error {
	names := map[string]bool{}
	for name := range h.made {
		names[name] = true
	}
	return rows.Keep(h.dir, names)
}

// needed returns a file that was made before, for the newest cut.
func (h *Shared) needed(name string) (transfer.File, bool) {
	f := h.made[name]
	if f == nil {
		return transfer.File{}, false
	}
	f.unused = time.Time{}
	return f.File, true
}

// set makes the file of a set: a tar with set.json and the parts.
func (h *Shared) set(folder Folder, x *Set) (transfer.File, error) {
	name := x.Dir + ".tar"
	if f, ok := h.needed(name); ok {
		return f, nil
	}
	return h.write(name, func(w io.Writer) error {
		t := tar.NewWriter(w)
		text, err := json.Marshal(x)
		if err == nil {
			err = t.WriteHeader(&tar.Header{Name: setName, Mode: 0o600, Size: int64(len(text))})
		}
		if err == nil {
			_, err = t.Write(text)
		}
		for i := range x.Parts {
			if err == nil {
				err = addPart(t, folder, &x.Parts[i])
			}
		}
		return errors.Join(err, t.Close())
	})
}

func addPart(t *tar.Writer, folder Folder, p *write.Part) error {
	f, err := os.Open(filepath.Join(folder.dir, filepath.FromSlash(p.Rel)))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.WriteHeader(&tar.Header{Name: p.Rel, Mode: 0o600, Size: p.Bytes}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// input makes the file of an input. Its name has its hash, because the input that is being read changes.
func (h *Shared) input(in *bundle.Input) (transfer.File, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return transfer.File{}, err
	}
	sum := sha256.Sum256(text)
	name := fmt.Sprintf("i%06d-%x.json", in.FileID, sum[:8])
	if f, ok := h.needed(name); ok {
		return f, nil
	}
	return h.write(name, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// write makes a file.
func (h *Shared) write(name string, fill func(io.Writer) error) (f transfer.File, err error) {
	path := filepath.Join(h.dir, name)
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return f, err
	}
	sum := sha256.New()
	err = fill(io.MultiWriter(out, sum))
	info, e := out.Stat()
	if err = errors.Join(err, e, out.Close()); err != nil {
		return f, errors.Join(err, os.Remove(path))
	}
	f = transfer.File{Name: name, Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))}
	h.made[name] = &sharedFile{File: f}
	return f, nil
}
