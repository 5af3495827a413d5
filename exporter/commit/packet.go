package commit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// chunk is the size of a group of payload.
const chunk = 1 << 10

// splitter finds where the headers of a packet end. One goroutine uses it.
type splitter struct {
	d *decode.Decoder
	f decode.Frame
}

func newSplitter() *splitter { return &splitter{d: decode.New(decode.Options{})} }

// head is the length of the link, network and transport headers, 0 if they are not known.
func (s *splitter) head(p *pcapng.Packet) int {
	s.d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: p.Index}, &s.f)
	if s.f.Kind != decode.KindIP || s.f.FragNos != nil || s.f.Payload == nil {
		return 0
	}
	return min(max(cap(p.Data)-cap(s.f.Payload), 0), len(p.Data))
}

// groups calls do for each group of a packet: its fields in the file with its headers, then its
// payload in pieces, then its options.
func groups(p *pcapng.Packet, head int, do func(group int, content ...[]byte)) {
	var b [4 + 8 + 1 + 4 + 2]byte
	binary.BigEndian.PutUint32(b[:], uint32(p.Interface))
	binary.BigEndian.PutUint64(b[4:], uint64(p.Time))
	if p.TimeOK {
		b[12] = 1
	}
	binary.BigEndian.PutUint32(b[13:], p.OrigLen)
	binary.BigEndian.PutUint16(b[17:], p.LinkType)
	do(0, b[:], p.Data[:head])
	g := 1
	for rest := p.Data[head:]; len(rest) > 0; g++ {
		n := min(chunk, len(rest))
		do(g, rest[:n])
		rest = rest[n:]
	}
	do(g, p.Options)
}

func groupLeaf(salt Hash, content ...[]byte) Hash {
	switch len(content) {
	case 1:
		return LeafHash(salt[:], content[0])
	default:
		return LeafHash(salt[:], content[0], content[1])
	}
}

// ofGroups is the leaf of a packet or row from the tree of its groups.
func ofGroups(t *Tree) Hash {
	root := t.Root()
	return LeafHash(root[:])
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
					files[i], errs[i] = packetsOf(b.Path(in.Path), in.FileID, seed.File(in.FileID))
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
func packetsOf(path string, id int32, file Key) (bundle.Commitment, error) {
	s, err := openPackets(path)
	if err != nil {
		return bundle.Commitment{}, err
	}
	defer s.close()
	n, root, err := commitTo(s, file)
	return bundle.Commitment{FileID: id, Packets: n, Root: root}, err
}

// packets are the packets of a file.
type packets struct {
	f     *os.File
	r     *pcapng.Reader
	b     pcapng.Batch
	i     int
	split *splitter
	p     *pcapng.Packet // the current one
}

func openPackets(path string) (*packets, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &packets{f: f, r: r, split: newSplitter()}, nil
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
	return nil
}

func (x *packets) head() int { return x.split.head(x.p) }

func (x *packets) groups(head int, do func(group int, content ...[]byte)) bool {
	if head > len(x.p.Data) {
		return false
	}
	groups(x.p, head, do)
	return true
}

func (x *packets) same(o source) bool {
	p, q := x.p, o.(*packets).p
	return p.Time == q.Time && p.TimeOK == q.TimeOK && p.Interface == q.Interface && p.LinkType == q.LinkType && p.OrigLen == q.OrigLen &&
		bytes.Equal(p.Data, q.Data) && bytes.Equal(p.Options, q.Options)
}
