// Package ringtest makes rings for tests from captures. The same capture always results in
// segments with the same packets. It rejects captures with more than one link type.
package ringtest

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Fill records a capture into a new ring several times, each round one hour later, and starts
// a segment after every seal packets; 0 leaves that to the ring. It returns the segments.
func Fill(dir string, capture []byte, rounds, seal int) ([]ring.ID, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, err := ring.Create(ring.Options{Dir: dir, Node: "n", Recorder: "test", SegmentBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	defer w.Close(ctx)
	f := filling{w: w, seal: seal}
	for round := range rounds {
		if err := f.record(ctx, capture, int64(round)*int64(time.Hour)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(ctx); err != nil {
		return nil, err
	}
	segments, err := ring.Segments(dir)
	var list []ring.ID
	for _, x := range segments {
		list = append(list, x.ID)
	}
	return list, err
}

// filling is a ring that is being written.
type filling struct {
	w     *ring.Writer
	s     *ring.Series
	iface ring.InterfaceID
	seal  int
}

// record appends a capture, with its times moved by later nanoseconds.
func (f *filling) record(ctx context.Context, capture []byte, later int64) error {
	r, err := pcapng.NewReader(bytes.NewReader(capture), pcapng.Options{})
	if err != nil {
		return err
	}
	n := 0
	var b pcapng.Batch
	for err = r.Next(&b); err == nil; err = r.Next(&b) {
		for i := range b.Packets {
			p := &b.Packets[i]
			if f.s == nil {
				if f.s, err = f.w.Series(ring.SeriesOptions{Name: "sockets", LinkType: p.LinkType}); err != nil {
					return err
				}
				if f.iface, err = f.s.Interface(pcapng.Interface{Name: "n/shop/web"}); err != nil {
					return err
				}
			}
			if err := f.s.Append(&ring.Packet{Interface: f.iface, Time: p.Time + later, Data: p.Data, OrigLen: p.OrigLen}); err != nil {
				return err
			}
			if n++; f.seal > 0 && n%f.seal == 0 {
				if err := f.w.Seal(ctx); err != nil {
					return err
				}
			}
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}
