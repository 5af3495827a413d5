// Package logtest is a transparency log in memory, for tests: tiles as in C2SP tlog-tiles, and POST
// to /add as in the servers of Tessera.
package logtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Log is a log. Its zero fields make an honest one; New makes its keys.
type Log struct {
	Key     string // public
	Sign    note.Signer
	Stalled bool // it publishes no entry
	Refuses bool // it takes none

	mu     sync.Mutex
	n      int64
	hashes []tlog.Hash
	point  []byte
}

// New makes a log with some entries.
func New(name string, entries int) (*Log, error) {
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	l := &Log{Key: public}
	if l.Sign, err = note.NewSigner(secret); err != nil {
		return nil, err
	}
	for i := range entries {
		if _, err := l.Add(fmt.Appendf(nil, "entry %d", i)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(list []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range list {
		if i >= int64(len(l.hashes)) {
			return nil, errors.New("no such hash")
		}
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// Add adds an entry and returns its index.
func (l *Log) Add(entry []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	more, err := tlog.StoredHashes(l.n, entry, l)
	if err != nil {
		return 0, err
	}
	l.hashes = append(l.hashes, more...)
	l.n++
	if l.Stalled {
		return l.n - 1, nil
	}
	root, err := tlog.TreeHash(l.n, l)
	if err != nil {
		return 0, err
	}
	l.point, err = note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.Sign.Name(), l.n, root)}, l.Sign)
	return l.n - 1, err
}

// Fetch reads a file of the log.
func (l *Log) Fetch(name string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "checkpoint" {
		return l.point, nil
	}
	t, err := tlog.ParseTilePath("tile/8/" + strings.TrimPrefix(name, "tile/"))
	if err != nil {
		return nil, err
	}
	return tlog.ReadTileData(t, l)
}

// ServeHTTP implements http.Handler.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var data []byte
	var err error
	switch {
	case r.Method == http.MethodPost && l.Refuses:
		http.Error(w, "no", http.StatusForbidden)
		return
	case r.Method == http.MethodPost:
		if data, err = io.ReadAll(r.Body); err == nil {
			var index int64
			index, err = l.Add(data)
			data = fmt.Append(nil, index)
		}
	default:
		data, err = l.Fetch(strings.TrimPrefix(r.URL.Path, "/"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	_, _ = w.Write(data)
}
