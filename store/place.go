package store

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// Bounds of reading packets in place.
const (
	blockSize = 1 << 20 // bytes of one request
	maxBlocks = 64      // in memory
	patience  = 2 * time.Minute
	attempts  = 3
)

// Copy copies a bundle's files except its packets to the folder dir, which must not exist, and verifies
// each. OpenCopy opens it. Packets are most of a bundle's bytes, and questions seldom need them.
func (s *Store) Copy(ctx context.Context, name, dir string, progress func(done, total int64)) error {
	m, err := s.describe(ctx, name)
	if err != nil {
		return err
	}
	inputs := map[string]bool{}
	for i := range m.Inputs {
		inputs[m.Inputs[i].Path] = true
	}
	temp := hidden(dir)
	if err := s.receive(ctx, name, temp, func(rel string) bool { return !inputs[rel] }, progress); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

// describe reads a bundle's description.
func (s *Store) describe(ctx context.Context, name string) (*bundle.Manifest, error) {
	data, err := s.read(ctx, name+"/"+bundleJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s/%s: %w", s.Address, name, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	m, err := bundle.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", s.Address, name, err)
	}
	return m, nil
}

// Fingerprint is the SHA-256 of a bundle's tag manifest, which identifies it.
func (s *Store) Fingerprint(ctx context.Context, name string) (string, error) {
	list, err := s.files(ctx, name)
	if err != nil {
		return "", err
	}
	for _, f := range list {
		if f.Name == tagManifest {
			return f.SHA256, nil
		}
	}
	return "", ErrNone
}

// OpenCopy opens the bundle whose other files Copy has put into dir. Its packets are read from the store
// by ranges, without being hashed, as long as ctx lasts.
func (s *Store) OpenCopy(ctx context.Context, name, dir string) (*bundle.Bundle, error) {
	there, err := s.objects(ctx, name)
	if err != nil {
		return nil, err
	}
	return bundle.OpenPart(dir, newPackets(ctx, s, name, there))
}

func newPackets(ctx context.Context, s *Store, name string, there map[string]object) *packets {
	return &packets{ctx: ctx, store: s, name: name, there: there, blocks: map[block]*list.Element{}}
}

type block struct {
	rel string
	no  int64
}

type loaded struct {
	block
	data []byte
}

// packets reads a bundle's packet files in blocks, and keeps those that were used last.
type packets struct {
	ctx   context.Context
	store *Store
	name  string
	there map[string]object

	mu     sync.Mutex
	blocks map[block]*list.Element
	recent list.List // of *loaded, the last used first
}

// Size implements bundle.Packets.
func (p *packets) Size(rel string) (int64, error) {
	o, ok := p.there[rel]
	if !ok {
		return 0, fmt.Errorf("%s/%s/%s: %w", p.store.Address, p.name, rel, fs.ErrNotExist)
	}
	return o.size, nil
}

// ReadAt implements bundle.Packets.
func (p *packets) ReadAt(rel string, b []byte, off int64) (n int, err error) {
	size, err := p.Size(rel)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("reading %s at %d", rel, off)
	}
	for n < len(b) && off < size {
		data, err := p.block(block{rel, off / blockSize}, size)
		if err != nil {
			return n, err
		}
		k := copy(b[n:], data[off%blockSize:])
		n += k
		off += int64(k)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// block returns a block of a file, from memory or the store.
func (p *packets) block(at block, size int64) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.blocks[at]; ok {
		p.recent.MoveToFront(e)
		return e.Value.(*loaded).data, nil
	}
	var data []byte
	var err error
	for range attempts {
		if data, err = p.load(at, min(blockSize, size-at.no*blockSize)); err == nil || p.ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	p.blocks[at] = p.recent.PushFront(&loaded{at, data})
	if p.recent.Len() > maxBlocks {
		old := p.recent.Remove(p.recent.Back()).(*loaded)
		delete(p.blocks, old.block)
	}
	return data, nil
}

// sameTime compares the times of listings with those of answers, which have whole seconds.
func sameTime(a, b time.Time) bool { return a.Unix() == b.Unix() }

func (p *packets) load(at block, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	key := p.name + "/" + at.rel
	r, err := p.store.bucket.NewRangeReader(ctx, key, at.no*blockSize, n, nil)
	if err != nil {
		return nil, p.store.failed("reading", key, err)
	}
	defer r.Close()
	if o := p.there[at.rel]; r.Size() != o.size || !sameTime(r.ModTime(), o.time) {
		return nil, &bundle.DamagedError{File: at.rel, What: "changed in the store since the bundle was opened"}
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, p.store.failed("reading", key, err)
	}
	return data, nil
}
