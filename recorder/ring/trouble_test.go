package ring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// TestAVanishedFolderIsWaitedFor moves the ring's folder away while it is written, and
// restores it in several ways.
func TestAVanishedFolderIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		what      string
		away, fix func(t *testing.T, dir string)
	}{
		{"it is moved back", func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+".away")) },
			func(t *testing.T, dir string) { must(t, os.Rename(dir+".away", dir)) }},
		{"an empty folder is in its place meanwhile", func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+".away"))
			must(t, os.Mkdir(dir, 0o755))
		}, func(t *testing.T, dir string) {
			must(t, os.Remove(dir)) // fails if anything was written to it
			must(t, os.Rename(dir+".away", dir))
		}},
		{"a copy replaces it, as on another mount", func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+".away")) },
			func(t *testing.T, dir string) { must(t, exec.Command("cp", "-a", dir+".away", dir).Run()) }},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ring")
			var said strings.Builder
			w := create(t, Options{Dir: dir, Node: "n", FlushEvery: 2 * time.Millisecond, RetryEvery: 3 * time.Millisecond,
				OnError: func(err error) { said.WriteString(err.Error() + "\n") }})
			s := sockets(t, w)
			a := declare(t, s, "a")
			n := 0
			appendPackets := func(count int) (refused int) {
				for range count {
					n++
					if err := s.Append(packet(a, n)); err != nil {
						refused++
					}
				}
				return refused
			}
			appendPackets(100)
			must(t, w.Seal(context.Background()))
			c.away(t, dir)
			eventually(t, "a dropped packet", func() bool { time.Sleep(time.Millisecond); return appendPackets(1) > 0 })
			appendPackets(100)
			c.fix(t, dir)
			eventually(t, "recovery", func() bool { time.Sleep(4 * time.Millisecond); return appendPackets(3) == 0 })
			appendPackets(100)
			finish(t, w)
			rep, err := Verify(dir, VerifyOptions{})
			must(t, err)
			list, err := Segments(dir)
			must(t, err)
			kept, holes := 0, 0
			for _, s := range list {
				readAll(t, s.Path, func(pcapng.Interface, *pcapng.Packet) { kept++ })
			}
			for _, h := range rep.Holes {
				holes += int(h.Packets)
			}
			if !rep.OK() || len(rep.Open) > 0 || kept+holes != n || holes == 0 {
				t.Fatalf("%d given, %d kept, %d in gaps; open %v, problems %v\n%s", n, kept, holes, rep.Open, rep.Problems, said.String())
			}
		})
	}
}

// TestAHangingDiskDoesNotBlock blocks runDisk in its check of the free space.
func TestAHangingDiskDoesNotBlock(t *testing.T) {
	w := create(t, Options{Dir: t.TempDir(), QueueBytes: 4 * chunkSize, Patience: 20 * time.Millisecond, Reserve: Reserve{Bytes: 1 << 60}})
	s := sockets(t, w)
	a := declare(t, s, "a")
	w.retention.Lock()
	big := &Packet{Interface: a, Time: epoch, Data: make([]byte, 40_000), OrigLen: 40_000}
	dropped := 0
	began := time.Now()
	for range 1000 {
		if errors.Is(s.Append(big), ErrDisk) {
			dropped++
		}
	}
	if took := time.Since(began); dropped < 900 || took > 5*time.Second {
		t.Fatalf("%d of 1000 dropped in %s", dropped, took)
	}
	st := w.Status()
	if !st.Series[0].Down || st.Series[0].Dropped != uint64(dropped) {
		t.Fatalf("%+v", st)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.Seal(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("sealing: %v", err)
	}
	if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("closing: %v", err)
	}
	if err := s.Append(big); !errors.Is(err, ErrClosed) {
		t.Fatalf("appending after that: %v", err)
	}
	w.retention.Unlock()
	eventually(t, "the end", func() bool { held, err := writing(w.opt.Dir); return err == nil && !held })
}

func TestMistakesOfTheCaller(t *testing.T) {
	w := create(t, Options{Dir: t.TempDir()})
	if _, err := w.Series(SeriesOptions{Name: "Sock-ets"}); err == nil {
		t.Error("a series with an invalid name was accepted")
	}
	s := sockets(t, w)
	if _, err := w.Series(SeriesOptions{Name: "sockets"}); err == nil {
		t.Error("a series was accepted twice")
	}
	if err := s.Append(&Packet{Interface: 3}); err != ErrInterface {
		t.Error(err)
	}
	a := declare(t, s, "a")
	must(t, s.Release(a))
	if err := s.Append(&Packet{Interface: a}); err != ErrInterface {
		t.Error(err)
	}
	if err := s.Release(a); err != ErrInterface {
		t.Error(err)
	}
	if _, err := s.Interface(pcapng.Interface{Name: strings.Repeat("x", 70_000)}); err == nil {
		t.Error("a name of 70,000 bytes was accepted")
	}
	if err := w.Countersign(Anchor{Of: 0, Witness: "nobody"}); err == nil {
		t.Error("an anchor without a signature was accepted")
	}
	finish(t, w)
	if err := w.Close(context.Background()); err != ErrClosed {
		t.Error(err)
	}
	if list := sequences(t, w.opt.Dir); len(list) != 0 {
		t.Errorf("segments without packets: %v", list)
	}
}

// TestLongPacketsAndManyInterfaces covers the limits of blocks.
func TestLongPacketsAndManyInterfaces(t *testing.T) {
	dir := t.TempDir()
	account := Account{Counters: &Counters{Seen: 5, Delivered: 4}, Holes: []Hole{{Reason: "policy", Packets: 2}}}
	w := create(t, Options{Dir: dir, Recorder: "test 1"})
	s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276, Account: func(Totals) Account { return account },
		Header: func(h *Header) { h.Kernel, h.Filter = "6.1", strings.Repeat("tcp or ", 12_000) }})
	must(t, err)
	var ids []InterfaceID
	for range 300 {
		ids = append(ids, declare(t, s, "node/shop/"+strings.Repeat("x", 200)))
	}
	for n, id := range ids {
		account.Interfaces = append(account.Interfaces, InterfaceAccount{ID: id, At: epoch, Start: epoch - 5, Lost: uint64(n)})
		must(t, s.Append(&Packet{Interface: id, Time: epoch + int64(n), Prefix: sll2, Data: make([]byte, 300_000), OrigLen: 300_020, Comment: strings.Repeat("c", 70_000)}))
	}
	must(t, s.Update(ids[0], pcapng.Interface{Name: "a better name"}))
	must(t, s.Append(packet(ids[0], 999)))
	finish(t, w)
	list, err := Segments(dir)
	must(t, err)
	names := map[string]int{}
	stats := 0
	for _, sg := range list {
		f, err := os.Open(sg.Path)
		must(t, err)
		r, err := pcapng.NewReader(f, pcapng.Options{OnBlock: func(b pcapng.Block) {
			if b.Type == pcapng.BlockStatistics {
				stats++
			}
			if b.Type == pcapng.BlockSection {
				sec, err := pcapng.ParseSection(b)
				must(t, err)
				if h, ok := ParseHeader(sec.Comments[0]); !ok || h.Sequence != sg.ID.Sequence || h.Kernel != "6.1" || h.Recorder != "test 1" {
					t.Errorf("header %+v", h)
				}
			}
		}})
		must(t, err)
		var b pcapng.Batch
		for r.Next(&b) == nil {
			for _, p := range b.Packets {
				names[b.Interfaces[p.Interface].Name]++
				if len(p.Data) != 120 && (len(p.Data) != maxCaptured || p.OrigLen != 300_020) {
					t.Fatalf("%d of %d bytes", len(p.Data), p.OrigLen)
				}
			}
		}
		if d := r.Damage(); len(d) > 0 {
			t.Fatal(d[0])
		}
		must(t, f.Close())
		if *sg.Seal.Balanced || sg.Seal.Counters.Seen != 5 || sg.Seal.Holes[0].Reason != "policy" {
			t.Fatalf("%+v", sg.Seal)
		}
	}
	if len(list) < 2 || stats < 300 || names["a better name"] != 1 || len(names) != 2 {
		t.Fatalf("%d segments, %d statistics, names %v", len(list), stats, names)
	}
	agreeOnPackets(t, list)
	rep, err := Verify(dir, VerifyOptions{})
	must(t, err)
	if !rep.OK() || len(rep.Unbalanced) != len(list) {
		t.Fatalf("%+v", rep)
	}
}

// TestTheSameTroubleIsReportedOnce checks that recurring errors of two series are reported
// once each.
func TestTheSameTroubleIsReportedOnce(t *testing.T) {
	var said []string
	w := create(t, Options{Dir: t.TempDir(), OnError: func(err error) { said = append(said, err.Error()) }})
	for i := range 100 {
		w.report(fmt.Errorf("segment a-%d: %d bytes free", i, 1000-i))
		w.report(fmt.Errorf("segment b-%d: %d bytes free", i, 500-i))
	}
	for i := range 3 * maxReported {
		w.report(errors.New(strings.Repeat("x", i+1)))
	}
	if len(said) != 2+3*maxReported || len(w.reported) > maxReported {
		t.Errorf("%d reported, want %d; %d remembered", len(said), 2+3*maxReported, len(w.reported))
	}
	finish(t, w)
}
