package store

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Bounds of reading packets in place.
const (
	blockSize = bundle.BlockSize // bytes of one request: a call's packets are seldom more, and lie together
	maxBlocks = 256              // in memory
	patience  = 2 * time.Minute
	attempts  = 3
)

// Copy copies the bundle's files except its packets to the folder dir, which must not exist, and verifies
// each. Open opens it. Packets are most of a bundle's bytes, and questions seldom need them.
func (b *Remote) Copy(ctx context.Context, dir string, progress func(done, total int64)) error {
	m, err := b.Manifest(ctx)
	if err != nil {
		return err
	}
	isInput := func(f transfer.File) bool {
		return slices.ContainsFunc(m.Inputs, func(in bundle.Input) bool { return in.Path == f.Name })
	}
	temp := hidden(dir)
	if err := b.receive(ctx, slices.DeleteFunc(slices.Clone(b.files), isInput), temp, progress); err != nil {
		return err
	}
	return os.Rename(temp, dir)
}

// Open opens the bundle whose other files Copy has put into dir. Its packets are read from the store by
// ranges, as long as ctx lasts. Each block is compared with its hash before any of its bytes is returned.
// hashed is false if the bundle has no hashes of blocks, as those of older releases: then only the size,
// time and tag of the objects are compared.
func (b *Remote) Open(ctx context.Context, dir string) (opened *bundle.Bundle, hashed bool, err error) {
	p := newPackets(ctx, b.store, b.Name, b.there)
	if opened, err = bundle.OpenPart(dir, p); err == nil {
		p.sums, err = opened.Blocks()
	}
	if err != nil {
		return nil, false, err
	}
	return opened, p.sums != nil, nil
}

func newPackets(ctx context.Context, s *Store, name string, there map[string]object) *packets {
	return &packets{ctx: ctx, store: s, name: name, there: there, wait: patience, blocks: map[block]*list.Element{}}
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
	wait  time.Duration // for a block
	sums  bundle.Blocks // nil: the bundle has none

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
		if data, err = p.load(at, min(blockSize, size-at.no*blockSize)); err == nil || p.ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
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

// sameTime compares the time of a listing with that of an answer, which may have whole seconds.
func sameTime(listed, now time.Time) bool {
	return listed.Equal(now) || now.Nanosecond() == 0 && listed.Unix() == now.Unix()
}

// same reports whether an answer is of the object that was listed: its size, its time, and the tag that S3 gives to
// each content.
func (o *object) same(r *blob.Reader) bool {
	var answer s3.GetObjectOutput
	if r.As(&answer) && answer.ETag != nil && o.tag != "" && *answer.ETag != o.tag {
		return false
	}
	return r.Size() == o.size && sameTime(o.time, r.ModTime())
}

// ranged reports whether an answer says that it has the n bytes at off. A server that sends the object from its beginning
// would otherwise give bytes of another place.
func ranged(r *blob.Reader, off, n, size int64) bool {
	var answer s3.GetObjectOutput
	switch {
	case !r.As(&answer): // a folder; LIMIT: what Azure says of the range is not compared
		return true
	case answer.ContentRange == nil:
		return off == 0 && n == size
	}
	return *answer.ContentRange == fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, size)
}

func (p *packets) load(at block, n int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.wait)
	defer cancel()
	key := p.name + "/" + at.rel
	r, err := p.store.bucket.NewRangeReader(ctx, key, at.no*blockSize, n, nil)
	if err != nil {
		return nil, p.store.failed("reading", key, err)
	}
	defer r.Close()
	o := p.there[at.rel]
	if !o.same(r) {
		return nil, &bundle.DamagedError{File: at.rel, What: "changed in the store since the bundle was opened"}
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, p.store.failed("reading", key, err)
	}
	if more, err := r.Read(make([]byte, 1)); more > 0 || !errors.Is(err, io.EOF) || !ranged(r, at.no*blockSize, n, o.size) {
		return nil, p.store.failed("reading", key, errors.New("the server did not send the range that was requested"))
	}
	if p.sums != nil {
		if err := p.sums.Check(at.rel, at.no, data); err != nil {
			return nil, err
		}
	}
	return data, nil
}
