package ring

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// must fails the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, opt Options) *Writer {
	t.Helper()
	if opt.OnError == nil {
		opt.OnError = func(err error) { t.Logf("ring reported: %v", err) }
	}
	if opt.Node == "" {
		opt.Node = "worker-3"
	}
	w, err := Create(opt)
	must(t, err)
	return w
}

// finish closes a ring within 20 s.
func finish(t testing.TB, w *Writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must(t, w.Close(ctx))
}

func sockets(t testing.TB, w *Writer) *Series {
	t.Helper()
	s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276})
	must(t, err)
	return s
}

func declare(t testing.TB, s *Series, name string) InterfaceID {
	t.Helper()
	id, err := s.Interface(pcapng.Interface{Name: name, Description: "a workload", Comments: []string{`{"ring":"r"}`}})
	must(t, err)
	return id
}

// sll2 is a header of LINKTYPE_LINUX_SLL2 for IPv4.
var sll2 = []byte{0x08, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0}

// udp returns an IPv4 UDP packet of n bytes.
func udp(n int) []byte {
	b := make([]byte, max(n, 28))
	b[0], b[2], b[3], b[8], b[9] = 0x45, byte(n>>8), byte(n), 64, 17
	copy(b[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	b[20], b[22], b[24], b[25] = 4, 5, byte((n-20)>>8), byte(n-20)
	return b
}

const epoch = 1_770_000_000_000_000_000

func packet(iface InterfaceID, n int) *Packet {
	return &Packet{Interface: iface, Time: epoch + int64(n)*1000, Prefix: sll2, Data: udp(100), OrigLen: 120, ID: uint64(n), Flags: 1}
}

// readAll calls f for each packet of a segment file.
func readAll(t testing.TB, path string, f func(i pcapng.Interface, p *pcapng.Packet)) {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	r, err := pcapng.NewReader(file, pcapng.Options{})
	must(t, err)
	var b pcapng.Batch
	for {
		err := r.Next(&b)
		if err == io.EOF {
			break
		}
		must(t, err)
		for i := range b.Packets {
			f(b.Interfaces[b.Packets[i].Interface], &b.Packets[i])
		}
	}
	if d := r.Damage(); len(d) > 0 {
		t.Fatalf("%s: %v", filepath.Base(path), d[0])
	}
}

func TestPacketsAreReadAsWritten(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir, Recorder: "test 1"})
	s := sockets(t, w)
	a, b := declare(t, s, "worker-3/shop/web"), declare(t, s, "worker-3/shop/db")
	for n := 1; n <= 100; n++ {
		p := packet(a, n)
		if n%2 == 0 {
			p.Interface, p.PID, p.TID, p.Drops, p.Comment = b, 7, 8, 3, "a comment"
		}
		must(t, s.Append(p))
	}
	finish(t, w)
	list, err := Segments(dir)
	must(t, err)
	if len(list) != 1 || list[0].ID != (ID{"sockets", "worker-3", 1}) || list[0].Seal.Packets != 100 || list[0].Seal.Interfaces != 2 {
		t.Fatalf("%+v", list)
	}
	n := 0
	readAll(t, list[0].Path, func(i pcapng.Interface, p *pcapng.Packet) {
		n++
		want := "worker-3/shop/web"
		if n%2 == 0 {
			want = "worker-3/shop/db"
			if pid, tid, _ := p.ProcessThread(); pid != 7 || tid != 8 {
				t.Fatalf("process %d, thread %d", pid, tid)
			}
			if drops, _ := p.DropCount(); drops != 3 {
				t.Fatalf("%d dropped", drops)
			}
			if c := pcapng.Comments(p.Options, p.BigEndian); fmt.Sprint(c) != "[a comment]" {
				t.Fatalf("comments %q", c)
			}
		}
		id, _ := p.PacketID()
		if i.Name != want || p.Time != epoch+int64(n)*1000 || len(p.Data) != 120 || p.OrigLen != 120 || p.LinkType != 276 || id != uint64(n) {
			t.Fatalf("packet %d of %s: %+v", n, i.Name, p)
		}
	})
	if n != 100 {
		t.Fatalf("%d packets", n)
	}
}
