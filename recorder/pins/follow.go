package pins

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Limits of following a ring.
const (
	SealsFile    = "seals.jsonl"
	maxGrowing   = 10_000   // files of an answer, the newest
	maxGrown     = 4 << 20  // bytes of an answer
	maxFirstLine = 64 << 10 // of the seals
	maxRingID    = 128
)

// Growing is a listing of a ring that is being written.
type Growing struct {
	Node  string        `json:"node"`
	Ring  string        `json:"ring"`
	Now   ring.Time     `json:"now"` // the node's clock
	Files []GrowingFile `json:"files"`
}

// GrowingFile is a segment, a side file or the seals of a ring.
type GrowingFile struct {
	Name    string    `json:"name"` // of a segment without the dot that it has while it is written
	Size    int64     `json:"size"`
	Changed ring.Time `json:"changed"`
	Open    bool      `json:"open,omitempty"` // a segment that is being written
}

// Growing lists the files of the ring that have changed since a time of the node's clock. The oldest
// are left out if there are too many.
func (s *Store) Growing(since ring.Time) (*Growing, error) {
	g := &Growing{Node: s.node, Now: ring.Time(time.Now().UnixNano()), Files: []GrowingFile{}}
	var err error
	if g.Ring, err = ringID(s.ring); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(s.ring)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		_, kind, hidden, ok := ring.ParseName(e.Name())
		if !ok && e.Name() != SealsFile || hidden && kind != "pcapng" || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // renamed or removed meanwhile
		}
		f := GrowingFile{Name: strings.TrimPrefix(e.Name(), "."), Size: info.Size(), Changed: ring.Time(info.ModTime().UnixNano()), Open: hidden}
		if f.Changed >= since || f.Open {
			g.Files = append(g.Files, f)
		}
	}
	slices.SortFunc(g.Files, func(a, b GrowingFile) int { return int(min(max(b.Changed-a.Changed, -1), 1)) })
	g.Files = g.Files[:min(len(g.Files), maxGrowing)]
	return g, nil
}

// ringID reads the identity of a ring, which its first record has.
func ringID(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, SealsFile))
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(f, maxFirstLine).ReadSlice('\n')
	var first struct {
		Record struct {
			Ring string `json:"ring"`
		} `json:"record"`
	}
	if err == nil {
		err = json.Unmarshal(line, &first)
	}
	if err != nil || first.Record.Ring == "" || len(first.Record.Ring) > maxRingID {
		return "", ring.ErrNotRing
	}
	return first.Record.Ring, nil
}

// openGrowing opens a file of the ring by the name that Growing lists.
func (s *Store) openGrowing(name string) (*os.File, error) {
	_, kind, hidden, ok := ring.ParseName(name)
	switch {
	case name == SealsFile:
	case !ok || hidden || name != filepath.Base(name):
		return nil, fs.ErrNotExist
	case kind == "pcapng":
		return ring.OpenSegment(s.ring, name)
	}
	root, err := os.OpenRoot(s.ring)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(name)
}

// grown answers with the bytes of a file from an offset to another, as many as an answer may have.
func (s *Store) grown(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseInt(r.FormValue("from"), 10, 64)
	to, err2 := strconv.ParseInt(r.FormValue("to"), 10, 64)
	if err != nil || err2 != nil || from < 0 || to < from {
		http.Error(w, "from and to: must be offsets in the file", http.StatusBadRequest)
		return
	}
	f, err := s.openGrowing(r.PathValue("name"))
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "the ring has no such file", http.StatusNotFound)
		return
	}
	if err != nil {
		answer(w, nil, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		answer(w, nil, err)
	case !info.Mode().IsRegular():
		http.Error(w, "the ring has no such file", http.StatusNotFound)
	case from > info.Size():
		http.Error(w, fmt.Sprintf("the file has only %d bytes", info.Size()), http.StatusRequestedRangeNotSatisfiable)
	default:
		n := min(info.Size()-from, to-from, maxGrown)
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		w.Header().Set("Cache-Control", "no-store, no-transform")
		_, _ = io.Copy(w, io.NewSectionReader(f, from, n)) // the client sees that bytes are missing
	}
}

// Growing asks which files of the ring have changed since a time of the node's clock.
func (c *Client) Growing(ctx context.Context, since ring.Time) (*Growing, error) {
	var g Growing
	if err := c.get(ctx, "v1/follow", url.Values{"since": {strconv.FormatInt(int64(since), 10)}}, func(r io.Reader) error { return json.NewDecoder(r).Decode(&g) }); err != nil {
		return nil, fmt.Errorf("following the ring: %w", err)
	}
	if len(g.Files) > maxGrowing {
		return nil, fmt.Errorf("following the ring: the node lists %d files, the limit is %d", len(g.Files), maxGrowing)
	}
	return &g, nil
}

// Grown writes the bytes of a file between two offsets to w, up to 4 MiB, and returns their number.
func (c *Client) Grown(ctx context.Context, name string, from, to int64, w io.Writer) (n int64, err error) {
	query := url.Values{"from": {strconv.FormatInt(from, 10)}, "to": {strconv.FormatInt(to, 10)}}
	err = c.get(ctx, "v1/follow/"+name, query, func(r io.Reader) error {
		n, err = io.Copy(w, io.LimitReader(r, min(to-from, maxGrown)))
		return err
	})
	return n, err
}

// get reads an answer.
func (c *Client) get(ctx context.Context, path string, query url.Values, read func(io.Reader) error) error {
	at := c.URL.JoinPath(path)
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	return c.send(req, read)
}
