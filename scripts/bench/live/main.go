// Command live measures how long a live run takes to show a call: it writes HTTP traffic to a ring at a
// rate, as a recorder does, follows the ring in the same program, and prints the lag from a call's last
// packet to the cut that shows it.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// maxLag is the target.
const maxLag = 3 * time.Second

func main() {
	rate := flag.Int("rate", 20_000, "packets per second")
	length := flag.Duration("for", 30*time.Second, "length of the measurement")
	dir := flag.String("dir", "", "folder for the ring; it must not exist")
	flag.Parse()
	if err := run(*rate, *length, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		os.Exit(1)
	}
}

func run(rate int, length time.Duration, dir string) error {
	ctx, stop := context.WithTimeout(context.Background(), length)
	defer stop()
	w, err := ring.Create(ring.Options{Dir: filepath.Join(dir, "ring"), Node: "n", Recorder: "bench", SegmentBytes: 64 << 20})
	if err != nil {
		return err
	}
	s, err := w.Series(ring.SeriesOptions{Name: "eth", LinkType: 1})
	if err != nil {
		return err
	}
	iface, err := s.Interface(pcapng.Interface{Name: "eth0"})
	if err != nil {
		return err
	}
	l, err := exporter.Follow(context.Background(), filepath.Join(dir, "ring"), exporter.FollowOptions{Temp: dir, OnError: func(err error) { fmt.Fprintln(os.Stderr, err) }})
	if err != nil {
		return err
	}
	sent := make(chan int64, 1)
	go func() { sent <- send(ctx, s, iface, rate) }()
	lags, heap := watch(ctx, l)
	n := <-sent
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	if err := w.Close(context.Background()); err != nil {
		return err
	}
	if slices.Sort(lags); len(lags) == 0 {
		return errors.New("no cut was made")
	}
	at := func(p int) time.Duration { return lags[min(len(lags)*p/100, len(lags)-1)].Round(10 * time.Millisecond) }
	fmt.Printf("%d packets in %s, %d per second; lag median %s, 95 %% %s, max %s; CPU %.1f s of writer and live run, heap at most %d MiB, peak memory %d MiB\n",
		n, length, int(float64(n)/length.Seconds()), at(50), at(95), lags[len(lags)-1].Round(10*time.Millisecond),
		time.Duration(u.Utime.Nano()+u.Stime.Nano()).Seconds(), heap>>20, u.Maxrss>>10)
	if most := lags[len(lags)-1]; most > maxLag {
		return fmt.Errorf("lag of %s, want at most %s", most, maxLag)
	}
	return nil
}

// watch collects the lag of calls spread evenly over the time, from the cuts: a call shows at the first
// cut that has read its last packet.
func watch(ctx context.Context, l *exporter.Live) (lags []time.Duration, heap uint64) {
	const step = 5 * time.Millisecond
	var before bundle.LiveCut
	for n := int64(0); ; {
		c, err := l.Wait(ctx, n)
		if err != nil {
			return lags, heap
		}
		n = c.No
		for t := before.Now + int64(step); before.Now != 0 && t <= c.Now; t += int64(step) {
			lags = append(lags, time.Duration(c.At.UnixNano()-t))
		}
		before = c
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapAlloc)
	}
}

// conns is the number of connections, each with ten packets for a call.
const conns = 200

// send writes packets at a rate until ctx ends.
func send(ctx context.Context, s *ring.Series, iface ring.InterfaceID, rate int) (n int64) {
	var list [conns]conn
	for i := range list {
		list[i].port = uint16(20_000 + i)
		list[i].seq, list[i].ack = rand.Uint32(), rand.Uint32() // equal ones would be one connection, translated
	}
	begin := time.Now()
	for ctx.Err() == nil {
		for due := int64(time.Since(begin).Seconds() * float64(rate)); n < due; n++ {
			c := &list[n/10%conns]
			frame := c.next()
			if err := s.Append(&ring.Packet{Interface: iface, Time: time.Now().UnixNano(), Data: frame, OrigLen: uint32(len(frame))}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return n
			}
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

// conn is a connection that stays open.
type conn struct {
	port     uint16
	step     int
	seq, ack uint32
	buf      []byte
}

var ask = []byte("GET /api/items/17 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\n\r\n")

const body = 6 * 900

var head = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", body)

// next is the next packet: a request, the response in seven, and two acknowledgements.
func (c *conn) next() []byte {
	step := c.step
	c.step = (step + 1) % 10
	switch {
	case step == 0:
		return c.frame(true, ask)
	case step == 1:
		return c.frame(false, head)
	case step < 8:
		return c.frame(false, make([]byte, 900))
	}
	return c.frame(true, nil)
}

func (c *conn) frame(client bool, payload []byte) []byte {
	b := append(c.buf[:0], make([]byte, 54)...)
	copy(b[12:], []byte{8, 0, 0x45, 0})
	binary.BigEndian.PutUint16(b[16:], uint16(40+len(payload)))
	b[22], b[23] = 64, 6
	src, dst, sp, dp, seq, ack := byte(1), byte(2), c.port, uint16(80), &c.seq, &c.ack
	if !client {
		src, dst, sp, dp, seq, ack = 2, 1, 80, c.port, &c.ack, &c.seq
	}
	copy(b[26:], []byte{10, 0, 0, src, 10, 0, 0, dst})
	binary.BigEndian.PutUint16(b[34:], sp)
	binary.BigEndian.PutUint16(b[36:], dp)
	binary.BigEndian.PutUint32(b[38:], *seq)
	binary.BigEndian.PutUint32(b[42:], *ack)
	b[46], b[47] = 5<<4, 0x18
	binary.BigEndian.PutUint16(b[48:], 65535)
	*seq += uint32(len(payload))
	b = append(b, payload...)
	c.buf = b
	return b
}
