package commit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Part is the size of a part, the bytes of a packet that can be hidden alone, for packet files of a
// size. One byte proves the most, and costs the most time (docs/design/023-derived-bundles.md).
func Part(size int64) int {
	const few, many = 8 << 20, 64 << 20
	switch {
	case size <= few:
		return 1
	case size <= many:
		return 8
	}
	return 32
}

// MaxPart is the size of the largest part.
const MaxPart = 1 << 10

// optionPlace is the place of an option.
const optionPlace = math.MaxUint32

// fields is the first group of a packet: what its block says, other than its data and options.
func fields(p *pcapng.Packet) (b [4 + 8 + 1 + 4 + 2 + 4]byte) {
	binary.BigEndian.PutUint32(b[:], uint32(p.Interface))
	binary.BigEndian.PutUint64(b[4:], uint64(p.Time))
	if p.TimeOK {
		b[12] = 1
	}
	binary.BigEndian.PutUint32(b[13:], p.OrigLen)
	binary.BigEndian.PutUint16(b[17:], p.LinkType)
	binary.BigEndian.PutUint32(b[19:], uint32(len(p.Data)))
	return b
}

// Bundle commits to the packets of each file of a bundle, in parts of 1 to MaxPart bytes; 0 selects Part.
func Bundle(ctx context.Context, b *bundle.Bundle, seed Key, part int) ([]bundle.Commitment, error) {
	files := make([]bundle.Commitment, len(b.Manifest.Inputs))
	if part == 0 {
		size := int64(0)
		for i := range files {
			size += b.Manifest.Inputs[i].Size
		}
		part = Part(size)
	}
	errs := make([]error, len(files))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				in := &b.Manifest.Inputs[i]
				if errs[i] = ctx.Err(); errs[i] == nil {
					files[i], errs[i] = packetsOf(b.Path(in.Path), in.FileID, seed.File(in.FileID), part)
				}
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()
	return files, errors.Join(errs...)
}

// packetsOf commits to the packets of a file. file is the key of the file.
func packetsOf(path string, id int32, file Key, part int) (bundle.Commitment, error) {
	s, err := openPackets(path, part)
	if err != nil {
		return bundle.Commitment{}, err
	}
	defer s.close()
	var t Tree
	workers := make([]*leafer, max(1, runtime.GOMAXPROCS(0)))
	for i := range workers {
		workers[i] = &leafer{key: file, hash: newHasher(), packets: packets{part: part}}
	}
	var batches [2]pcapng.Batch
	var wg sync.WaitGroup
	leaves := []Hash{}
	for k := 0; ; k = 1 - k {
		err := s.r.Next(&batches[k])
		wg.Wait() // the other batch
		for _, h := range leaves {
			t.Add(h)
		}
		if err == io.EOF {
			return bundle.Commitment{FileID: id, Packets: t.Size(), Part: uint32(part), Root: bundle.Digest(t.Root())}, nil
		}
		if err != nil {
			return bundle.Commitment{}, err
		}
		list := batches[k].Packets
		leaves = slices.Grow(leaves[:0], len(list))[:len(list)]
		size := (len(list) + len(workers) - 1) / len(workers)
		first := t.Size()
		for i, w := range workers {
			from, to := min(i*size, len(list)), min((i+1)*size, len(list))
			wg.Go(func() { w.leaves(list[from:to], first+uint64(from), leaves[from:to]) })
		}
	}
}

// leafer makes the leaves of packets. One goroutine uses it.
type leafer struct {
	key  Key
	walk walker
	hash *hasher
	packets
}

// leaves makes the leaves of packets from a number on.
func (x *leafer) leaves(list []pcapng.Packet, first uint64, to []Hash) {
	for i := range list {
		x.p = &list[i]
		x.at = layoutOf(x.p.LinkType, x.p.Data)
		to[i] = x.hash.of(x.walk.at(&x.key, first+uint64(i)), &x.packets)
	}
}

// packets are the packets of a file.
type packets struct {
	f    *os.File
	r    *pcapng.Reader
	b    pcapng.Batch
	i    int
	part int            // size of a part
	p    *pcapng.Packet // the current one
	at   layout         // of it
}

func openPackets(path string, part int) (*packets, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &packets{f: f, r: r, part: part}, nil
}

func (x *packets) close() { x.f.Close() } // read only

func (x *packets) next() error {
	for x.i == len(x.b.Packets) {
		if err := x.r.Next(&x.b); err != nil {
			return err
		}
		x.i = 0
	}
	x.p = &x.b.Packets[x.i]
	x.i++
	x.at = layoutOf(x.p.LinkType, x.p.Data)
	return nil
}

// groups are the fields of a packet, the parts of its data, and its options.
//
// The place of a part is its offset + 1, so that no other part can stand there.
func (x *packets) groups(do func(group int, at uint32, content []byte)) {
	f := fields(x.p)
	do(0, 0, f[:])
	g, from := 1, 0
	x.at.cuts(x.part, len(x.p.Data), func(end int) {
		do(g, uint32(from)+1, x.p.Data[from:end])
		g, from = g+1, end
	})
	options(x.p, func(code, value []byte) {
		do(g, optionPlace, append(code, value...))
		g++
	})
}

// optionsAt is the number of the first group that is an option.
func (x *packets) optionsAt() int {
	g := 1
	x.at.cuts(x.part, len(x.p.Data), func(int) { g++ })
	return g
}

func (x *packets) same(o source) bool {
	p, q := x.p, o.(*packets).p
	return p.Time == q.Time && p.TimeOK == q.TimeOK && p.Interface == q.Interface && p.LinkType == q.LinkType && p.OrigLen == q.OrigLen && p.BigEndian == q.BigEndian &&
		bytes.Equal(p.Data, q.Data) && bytes.Equal(p.Options, q.Options)
}
