package commit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Part is the size of a part of a packet to which Bundle commits alone (docs/design/023-derived-bundles.md).
const Part = 16

// maxPart is the size of the largest part that a proof can have.
const maxPart = 1 << 10

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

// Bundle commits to the packets of each file of a bundle.
func Bundle(ctx context.Context, b *bundle.Bundle, seed Key) ([]bundle.Commitment, error) {
	files := make([]bundle.Commitment, len(b.Manifest.Inputs))
	errs := make([]error, len(files))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				in := &b.Manifest.Inputs[i]
				if errs[i] = ctx.Err(); errs[i] == nil {
					files[i], errs[i] = packetsOf(b.Path(in.Path), in.FileID, seed.File(in.FileID), Part)
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
	n, root, err := commitTo(s, file)
	return bundle.Commitment{FileID: id, Packets: n, Part: uint32(part), Root: root}, err
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
