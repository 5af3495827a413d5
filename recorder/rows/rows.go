// Package rows reads and writes the folder in which a node leaves the rows of its live run for
// other machines, and copies of this folder.
//
// Each file has a set of rows and never changes. rows.json, which is replaced as a whole, lists the
// files of the newest cut with their hashes. Names that lead out of the folder are refused.
//
// A set NAME.tar has set.json and then the parts that it lists, Parquet files as in a bundle
// (docs/format/parts.md), and nothing else: sNUMBER has the rows of one cut, lNUMBER those of up to
// 30 cuts, kNUMBER endpoints and clocks of any set, oNUMBER rows of open calls and connections.
// iNUMBER-HASH.json describes a segment as inputs of bundle.json does. The recorder serves the
// folder to the hub as GET /v1/rows?run=RUN&no=N (without files if it is cut N of that run) and
// GET /v1/rows/NAME, whose ETag is the hash.
package rows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Version is that of rows.json; others are refused.
const Version = 1

// Limits of a cut.
const (
	MaxFiles  = 10_000
	MaxCut    = 16 << 20 // bytes of its JSON
	maxRun    = 64
	wantedFor = time.Minute // after the last request
)

const (
	listing = "rows.json"
	wanted  = "wanted"
)

// ErrNone means that a folder has no cut: no program dissects, or it has just begun.
var ErrNone = errors.New("no rows are there yet")

// Cut lists the sets of a cut.
type Cut struct {
	Version int             `json:"version"`
	Run     string          `json:"run"` // of the program that dissects; another one has other sets
	No      int64           `json:"no"`
	At      int64           `json:"at"`                // when it was made by the node's clock, ns since 1970 UTC
	Files   []transfer.File `json:"files"`             // first those that every view needs, then from the newest to the oldest
	Earlier []transfer.File `json:"earlier,omitempty"` // of earlier cuts, which will be removed soon
	State   json.RawMessage `json:"state"`             // for the exporter
}

var goodName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,80}\.(tar|json)$`)

// Named reports whether a name is valid for a set.
func Named(name string) bool { return name != listing && goodName.MatchString(name) }

// Check returns why a cut must not be used.
func (c *Cut) Check() error {
	if c.Version != Version {
		return fmt.Errorf("rows have format version %d, this release reads %d: upgrade recorders and hub to the same release", c.Version, Version)
	}
	if c.Run == "" || len(c.Run) > maxRun || c.No <= 0 {
		return fmt.Errorf("a cut of run %.80q with number %d", c.Run, c.No)
	}
	if n := len(c.Files) + len(c.Earlier); n > MaxFiles {
		return fmt.Errorf("a cut has %d files, the limit is %d", n, MaxFiles)
	}
	for _, list := range [][]transfer.File{c.Files, c.Earlier} {
		for _, f := range list {
			if !Named(f.Name) {
				return fmt.Errorf("%.120q cannot be the name of a set", f.Name)
			}
		}
		if err := transfer.Check(list); err != nil {
			return err
		}
	}
	return nil
}

// Find returns a file of the cut or of an earlier one.
func (c *Cut) Find(name string) (transfer.File, bool) {
	f, ok := transfer.Find(c.Files, name)
	if !ok {
		f, ok = transfer.Find(c.Earlier, name)
	}
	return f, ok
}

// Write makes a cut the newest one of a folder.
func Write(dir string, c *Cut) error {
	c.Version = Version
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return whole.Replace(filepath.Join(dir, listing), 0o600, whole.Text(text))
}

// Read reads the newest cut of a folder. It returns ErrNone if there is none.
func Read(dir string) (*Cut, error) { return NewReader(dir).Next() }

// Reader reads each cut of a folder once.
type Reader struct {
	path string
	last fs.FileInfo // of the cut that was read; a new cut is another file
}

// NewReader makes a reader of a folder.
func NewReader(dir string) *Reader { return &Reader{path: filepath.Join(dir, listing)} }

// Next reads the newest cut. It returns nil if it has read that one, and ErrNone if there is none.
func (r *Reader) Next() (*Cut, error) {
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() > MaxCut {
		err = fmt.Errorf("%s has %d bytes, the limit is %d", listing, info.Size(), MaxCut)
	}
	if err != nil {
		return nil, err
	}
	if r.last != nil && os.SameFile(info, r.last) && info.ModTime().Equal(r.last.ModTime()) && info.Size() == r.last.Size() {
		return nil, nil
	}
	r.last = info
	var c Cut
	text, err := io.ReadAll(io.LimitReader(f, MaxCut))
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", listing, err)
	}
	return &c, nil
}

// Clear removes the cut and all sets of a folder.
func Clear(dir string) error {
	err := os.Remove(filepath.Join(dir, listing))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, Keep(dir, nil))
}

// Keep removes the sets of a folder except those with the names.
func Keep(dir string, names map[string]bool) error {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if Named(e.Name()) && !names[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Want marks a folder: a client requests its rows.
func Want(dir string) error {
	path := filepath.Join(dir, wanted)
	now := time.Now()
	err := os.Chtimes(path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(path, nil, 0o600)
	}
	return err
}

// Wanted reports whether a client requested the rows of a folder in the last minute.
func Wanted(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, wanted))
	return err == nil && time.Since(info.ModTime()).Abs() < wantedFor
}
