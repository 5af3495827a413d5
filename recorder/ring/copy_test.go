package ring

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// copyTo copies a time range of a ring to a file, as a segment for agreeOnPackets.
func copyTo(t *testing.T, list []Segment, from, to int64) (Copied, Segment) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.pcapng")
	f, err := os.Create(path)
	must(t, err)
	w, err := pcapng.NewWriter(f, pcapng.Section{}, pcapng.WriterOptions{})
	must(t, err)
	c, err := Copy(context.Background(), w, list, from, to, nil)
	must(t, err)
	must(t, w.Flush())
	must(t, f.Close())
	return c, Segment{Path: path, Seal: &Seal{Packets: uint64(c.Packets)}}
}

func TestCopyWritesOneCapture(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	s := sockets(t, w)
	fill(t, w, s, declare(t, s, "a"), 0, 3)
	b := declare(t, s, "b")
	fill(t, w, s, b, 3, 2)
	must(t, s.Append(&Packet{Interface: b, Time: epoch + 9e9, Prefix: sll2, Data: udp(60), OrigLen: 80}))
	s.Flush()
	var list []Segment
	eventually(t, "an open segment", func() bool {
		var err error
		list, err = Segments(dir)
		must(t, err)
		if len(list) != 6 || !list[5].Open {
			return false
		}
		in, err := list[5].Reader()
		must(t, err)
		defer in.Close()
		found, err := scan(in)
		must(t, err)
		return found.tally.packets == 1
	})
	for _, c := range []struct {
		what     string
		from, to int64
		packets  int64
		names    string
	}{
		{"everything, including the open segment", 0, 1 << 62, 51, "map[a:30 b:21]"},
		{"a time range over three segments", epoch + 1e9 + 5, epoch + 3e9 + 4, 20, "map[a:15 b:5]"},
		{"nothing", epoch - 5, epoch - 1, 0, "map[]"},
	} {
		got, file := copyTo(t, list, c.from, c.to)
		names := map[string]int{}
		interfaces := map[int32]bool{}
		readAll(t, file.Path, func(i pcapng.Interface, p *pcapng.Packet) { names[i.Name]++; interfaces[p.Interface] = true })
		if got.Packets != c.packets || fmt.Sprint(names) != c.names || len(interfaces) != len(names) {
			t.Errorf("%s: %+v, %v, %d interfaces", c.what, got, names, len(interfaces))
		}
		if c.packets > 0 {
			agreeOnPackets(t, []Segment{file})
		}
	}
	// Removed after it was listed and before it is copied.
	must(t, os.Remove(list[0].Path))
	if got, _ := copyTo(t, list, 0, 1<<62); got.Packets != 41 || len(got.Missing) != 1 {
		t.Errorf("%+v", got)
	}
	finish(t, w)
	if _, err := Copy(context.Background(), nil, []Segment{list[1], {ID: ID{Series: "other"}}}, 1<<62, 0, nil); err == nil {
		t.Error("two series in one capture")
	}
}

// TestCopyJoinsPartsOfASeries checks that parts with other retention times are merged by time.
func TestCopyJoinsPartsOfASeries(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	var parts []*Series
	var ids []InterfaceID
	for _, name := range []string{"sockets", "sockets_1h", "sockets_30m"} {
		s, err := w.Series(SeriesOptions{Name: name, LinkType: 276})
		must(t, err)
		parts, ids = append(parts, s), append(ids, declare(t, s, "of "+name))
	}
	start := time.Now().UnixNano() // retention compares it with the current time
	for i := range int64(60) {
		k := (i*7 + i/5) % 3 // unevenly
		must(t, parts[k].Append(&Packet{Interface: ids[k], Time: start + i, Prefix: sll2, Data: udp(60), OrigLen: 80}))
		if i%20 == 19 {
			must(t, w.Seal(context.Background()))
		}
	}
	finish(t, w)
	list, err := Segments(dir)
	must(t, err)
	if base, err := OnlyBase(list); err != nil || base != "sockets" {
		t.Errorf("series %q, %v", base, err)
	}
	if _, err := OnlySeries(list); err == nil {
		t.Error("OnlySeries accepted several series")
	}
	got, file := copyTo(t, list, 0, 1<<62)
	next := start
	readAll(t, file.Path, func(i pcapng.Interface, p *pcapng.Packet) {
		if p.Time != next {
			t.Fatalf("packet of %d, want %d", p.Time-start, next-start)
		}
		next++
	})
	if got.Packets != 60 || next != start+60 || got.Segments != len(list) {
		t.Errorf("%+v of %d segments", got, len(list))
	}
	if got, _ := copyTo(t, list, start+10, start+19); got.Packets != 10 {
		t.Errorf("%+v", got)
	}
}

// TestCopyMarksClocks copies a ring of one node that two boots recorded.
func TestCopyMarksClocks(t *testing.T) {
	dir := t.TempDir()
	for _, boot := range []string{"first", "second", "second"} {
		w := create(t, Options{Dir: dir, BootID: boot})
		s := sockets(t, w)
		fill(t, w, s, declare(t, s, "a"), 0, 1)
		finish(t, w)
	}
	list, err := Segments(dir)
	must(t, err)
	_, file := copyTo(t, list, 0, 1<<62)
	boots := map[string]int{}
	readAll(t, file.Path, func(i pcapng.Interface, _ *pcapng.Packet) {
		m, ok := i.ClockMark()
		if !ok || m.ID != pcapng.ClockOfBoot(m.Node, m.BootID) {
			t.Fatalf("%+v", m)
		}
		boots[m.BootID]++
	})
	if fmt.Sprint(boots) != "map[first:10 second:20]" {
		t.Errorf("%v", boots)
	}
}
