package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

const name = "shop.pcapsule"

// change replaces an object.
func change(t *testing.T, s *Store, rel string, data []byte) {
	t.Helper()
	if err := s.bucket.WriteAll(t.Context(), name+"/"+rel, data, nil); err != nil {
		t.Fatal(err)
	}
}

// TestAlteredStores changes, removes and adds an object of each kind: Check and Fetch name it, Copy does so
// for what it copies, and nothing has a final name.
func TestAlteredStores(t *testing.T) {
	dir := made(t, "shop.pcapng")
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rels := []string{"bagit.txt", "bag-info.txt", "manifest-sha256.txt", tagManifest, "data/bundle.json", "data/open.sql", "data/blocks-sha256.txt", "custody/log.jsonl", "data/tables/flows/part-000.parquet", b.Manifest.Inputs[0].Path}
	for _, rel := range rels {
		was, err := os.ReadFile(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(was)
		flipped[len(flipped)/2] ^= 1
		for kind, now := range map[string][]byte{"flipped": flipped, "shorter": was[:len(was)-1], "longer": append(bytes.Clone(was), '\n'), "missing": nil} {
			s := opened(t, "file://"+t.TempDir())
			pushed(t, s, dir)
			if now != nil {
				change(t, s, rel, now)
			} else if err := s.bucket.Delete(t.Context(), name+"/"+rel); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Check(t.Context(), name, nil); err == nil && r.OK() {
				t.Errorf("%s %s: Check finds nothing", rel, kind)
			}
			to := filepath.Join(t.TempDir(), "to.pcapsule")
			if r, err := s.Fetch(t.Context(), name, to, nil); err == nil && r.OK() {
				t.Errorf("%s %s: Fetch finds nothing", rel, kind)
			}
			if _, err := os.Stat(to); err == nil {
				t.Errorf("%s %s: the folder has its name", rel, kind)
			}
			if rel == tagManifest && kind != "missing" || rel == "custody/log.jsonl" && kind != "missing" && kind != "shorter" {
				continue // it may be another bundle's, or continued elsewhere
			}
			pushed(t, s, dir)
			if r, err := s.Check(t.Context(), name, nil); err != nil || !r.OK() {
				t.Errorf("%s %s: pushing again does not repair it: %+v, %v", rel, kind, r, err)
			}
		}
	}
	s := opened(t, "file://"+t.TempDir())
	pushed(t, s, dir)
	change(t, s, "data/more", []byte("x"))
	var damaged *bundle.DamagedError
	if _, err := s.Fetch(t.Context(), name, filepath.Join(t.TempDir(), "to.pcapsule"), nil); !errors.As(err, &damaged) || damaged.File != "data/more" {
		t.Errorf("an object that was added: %v", err)
	}
}

// TestInterruptedPush ends a push after each share of the bytes. What is there is not a bundle, and another push completes
// it.
func TestInterruptedPush(t *testing.T) {
	dir := made(t, "shop.pcapng")
	each(t, func(t *testing.T, s *Store) {
		for _, percent := range []int64{0, 10, 30, 70, 95} {
			ctx, stop := context.WithCancel(t.Context())
			_, err := s.Push(ctx, dir, func(done, total int64) {
				if done > 0 && done*100 >= total*percent {
					stop()
				}
			})
			stop()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("after %d %%: %v", percent, err)
			}
			list, err := s.List(t.Context())
			if err != nil || len(list) != 1 || list[0].Whole {
				t.Errorf("after %d %%: %+v, %v", percent, list, err)
			}
			if _, err := s.Fetch(t.Context(), name, filepath.Join(t.TempDir(), "x"), nil); !errors.Is(err, ErrNone) {
				t.Errorf("after %d %%, fetched: %v", percent, err)
			}
		}
		other := filepath.Join(t.TempDir(), name)
		if err := os.Rename(made(t, "tls.pcapng"), other); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(t.Context(), other, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("pushing another bundle meanwhile: %v", err)
		}
		if p := pushed(t, s, dir); p.Kept == 0 {
			t.Errorf("the last push began anew: %+v", p)
		}
		if r, err := s.Check(t.Context(), name, nil); err != nil || !r.OK() {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := s.Push(t.Context(), other, nil); !errors.Is(err, ErrTaken) {
			t.Errorf("pushing another bundle afterwards: %v", err)
		}
		if list, err := s.List(t.Context()); err != nil || len(list) != 1 || !list[0].Whole {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// TestDamagedIsNotPushed changes a file of the bundle without its size.
func TestDamagedIsNotPushed(t *testing.T) {
	dir := made(t, "shop.pcapng")
	path := filepath.Join(dir, "data", "tables", "flows", "part-000.parquet")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[10] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, s *Store) {
		var damaged *bundle.DamagedError
		if _, err := s.Push(t.Context(), dir, nil); !errors.As(err, &damaged) || !strings.HasSuffix(damaged.File, "flows/part-000.parquet") {
			t.Errorf("%v", err)
		}
		if ok, err := s.bucket.Exists(t.Context(), name+"/data/tables/flows/part-000.parquet"); ok || err != nil {
			t.Errorf("the altered file is there: %v, %v", ok, err)
		}
	})
}

func TestCustodyGrows(t *testing.T) {
	dir := made(t, "shop.pcapng")
	each(t, func(t *testing.T, s *Store) {
		pushed(t, s, dir)
		add := func(dir, note string) {
			b, err := bundle.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.AppendCustody(bundle.Entry{Event: "opened", Note: note}); err != nil {
				t.Fatal(err)
			}
		}
		back := filepath.Join(t.TempDir(), name)
		if _, err := s.Fetch(t.Context(), name, back, nil); err != nil {
			t.Fatal(err)
		}
		add(back, "here")
		if p := pushed(t, s, back); p.Files != 1 {
			t.Errorf("%+v", p)
		}
		if r, err := s.Check(t.Context(), name, nil); err != nil || !r.OK() || len(r.Custody) < 1 {
			t.Errorf("%+v, %v", r, err)
		}
		add(dir, "there")
		if _, err := s.Push(t.Context(), dir, nil); !errors.Is(err, ErrTaken) {
			t.Errorf("custody that forks: %v", err)
		}
	})
}

// TestInPlace reads packets by ranges: they are equal, few bytes are read, and a changed object is noticed.
func TestInPlace(t *testing.T) {
	dir := made(t, "shop.pcapng")
	each(t, func(t *testing.T, s *Store) {
		pushed(t, s, dir)
		here := filepath.Join(t.TempDir(), "copy.pcapsule")
		remote, err := s.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Copy(t.Context(), here, nil); err != nil {
			t.Fatal(err)
		}
		b, _, err := remote.Open(t.Context(), here)
		if err != nil {
			t.Fatal(err)
		}
		in := &b.Manifest.Inputs[0]
		if _, err := os.Stat(b.Path(in.Path)); err == nil {
			t.Error("the packets were copied")
		}
		f, err := b.OpenInput(in)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, in.Path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, in.Size))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
		}
		if n, err := f.ReadAt(make([]byte, 10), in.Size-3); n != 3 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		other := append(bytes.Clone(want[:len(want)-1]), want[len(want)-1]^1)
		change(t, s, in.Path, other) // within the second of the push, in a store that is fast
		if b, _, err = remote.Open(t.Context(), here); err == nil {
			if f, err = b.OpenInput(in); err == nil {
				_, err = f.ReadAt(make([]byte, 10), in.Size-10)
			}
		}
		if err == nil {
			t.Error("a packet file that was replaced by one of the same size is read")
		}
		change(t, s, in.Path, want[:len(want)-1])
		if remote, err = s.Find(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, _, err = remote.Open(t.Context(), here); err == nil {
			t.Error("a packet file of another size is opened")
		}
		var damaged *bundle.DamagedError
		again, err := newPackets(t.Context(), s, name, map[string]object{in.Path: {size: in.Size}}).load(block{in.Path, 0}, 10)
		if !errors.As(err, &damaged) {
			t.Errorf("an object that changed: %x, %v", again, err)
		}
	})
}

// TestChangedBlocks changes a byte of each block of a packet file between the listing and the answer, in a
// way that its size, time and tag do not show. Reading names file and block, returns nothing of it and
// keeps nothing. Other blocks are read.
func TestChangedBlocks(t *testing.T) {
	const rel = "data/packets/import/000-x"
	data := make([]byte, 3*blockSize+1000)
	for i := range data {
		data[i] = byte(i >> 10)
	}
	h := bundle.NewBlockHash()
	h.Write(data)
	sums := bundle.Blocks{rel: h.Sums()}
	for no := range sums[rel] {
		for _, off := range []int{0, 999} {
			s := opened(t, "file://"+t.TempDir())
			now := bytes.Clone(data)
			now[no*blockSize+off] ^= 1
			change(t, s, rel, now)
			there, err := s.objects(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			p := newPackets(t.Context(), s, name, there)
			p.sums = sums
			got := make([]byte, len(data))
			n, err := p.ReadAt(rel, got, 0)
			var damaged *bundle.DamagedError
			if !errors.As(err, &damaged) || damaged.File != rel || !strings.Contains(damaged.What, fmt.Sprintf("block %d,", no)) {
				t.Errorf("block %d: %v", no, err)
			}
			if n != no*blockSize || !bytes.Equal(got[:n], data[:n]) || !bytes.Equal(got[n:], make([]byte, len(got)-n)) {
				t.Errorf("block %d: %d bytes were returned", no, n)
			}
			if _, kept := p.blocks[block{rel, int64(no)}]; kept || len(p.blocks) != no {
				t.Errorf("block %d: %d blocks are kept", no, len(p.blocks))
			}
			change(t, s, rel, data)
			p.there, _ = s.objects(t.Context(), name)
			if n, err := p.ReadAt(rel, got, 0); n != len(data) || err != nil {
				t.Errorf("block %d, repaired: %d, %v", no, n, err)
			}
		}
	}
}

// TestReplacedBeforeOpening replaces packets before the bundle is found in its store, so that no listing
// shows it. A bundle without hashes of blocks says so.
func TestReplacedBeforeOpening(t *testing.T) {
	dir := made(t, "shop.pcapng")
	each(t, func(t *testing.T, s *Store) {
		pushed(t, s, dir)
		b, err := bundle.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		in := &b.Manifest.Inputs[0]
		was, err := os.ReadFile(b.Path(in.Path))
		if err != nil {
			t.Fatal(err)
		}
		was[len(was)-1] ^= 1
		change(t, s, in.Path, was)
		remote, err := s.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		here := filepath.Join(t.TempDir(), "copy.pcapsule")
		if err := remote.Copy(t.Context(), here, nil); err != nil {
			t.Fatal(err)
		}
		part, hashed, err := remote.Open(t.Context(), here)
		if err != nil || !hashed {
			t.Fatal(hashed, err)
		}
		f, err := part.OpenInput(in)
		if err != nil {
			t.Fatal(err)
		}
		var damaged *bundle.DamagedError
		if _, err := io.ReadAll(io.NewSectionReader(f, 0, in.Size)); !errors.As(err, &damaged) || damaged.File != in.Path {
			t.Errorf("packets that were replaced: %v", err)
		}
		list := filepath.Join(here, "manifest-sha256.txt")
		lines, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		old := slices.DeleteFunc(strings.SplitAfter(string(lines), "\n"), func(l string) bool { return strings.HasSuffix(l, "  data/blocks-sha256.txt\n") })
		if err := os.WriteFile(list, []byte(strings.Join(old, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, hashed, err := remote.Open(t.Context(), here); err != nil || hashed {
			t.Errorf("a bundle without hashes of blocks: %v, %v", hashed, err)
		}
	})
}

// TestMemoryOfPackets reads more blocks than are kept.
func TestMemoryOfPackets(t *testing.T) {
	s := opened(t, "file://"+t.TempDir())
	size := int64(3*maxBlocks) * blockSize / 2
	change(t, s, "x", bytes.Repeat([]byte("0123456789abcdef"), int(size/16)))
	there, err := s.objects(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	p := newPackets(t.Context(), s, name, there)
	for off := int64(0); off < size; off += blockSize / 2 {
		var b [16]byte
		if _, err := p.ReadAt("x", b[:], off); err != nil || string(b[:]) != "0123456789abcdef" {
			t.Fatalf("at %d: %q, %v", off, b, err)
		}
	}
	if len(p.blocks) != maxBlocks || p.recent.Len() != maxBlocks {
		t.Errorf("%d blocks are kept, want %d", len(p.blocks), maxBlocks)
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "x", "/tmp", "http://x/y", "s3://", "s3:///x", "s3://a/../b", "s3://user:secret@bucket", "file", "file://volume/x", "s3://b?unknown=1"} {
		if s, err := Open(t.Context(), bad); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v, %v", bad, s, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", bad, err)
		}
	}
	for _, bad := range []string{"s3://b", "s3://b/", "s3://b/x", "s3://b/.pcapsule", "s3://b/x%2f..%2fy.pcapsule", "s3://b/%00.pcapsule", "file:///"} {
		if s, name, err := OpenBundle(t.Context(), bad); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v, %q, %v", bad, s, name, err)
		}
	}
	if _, name, err := OpenBundle(t.Context(), "s3://b/p/q/x.pcapsule/?region=r"); err != nil || name != "x.pcapsule" {
		t.Errorf("%q, %v", name, err)
	}
}

// TestOnlyCreateCreates opens folders that do not exist.
func TestOnlyCreateCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	address := "file://" + filepath.ToSlash(dir)
	for _, address := range []string{address, address + "?create_dir=1"} {
		if s, err := Open(t.Context(), address); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v, %v; want that it does not exist", address, s, err)
		}
		if _, _, err := OpenBundle(t.Context(), address+"/x.pcapsule"); err == nil {
			t.Errorf("%s: its bundle was opened", address)
		}
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("opening created a folder: %v", err)
	}
	s, err := Create(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// TestHostileListings fetches bundles whose manifests name files outside the folder.
func TestHostileListings(t *testing.T) {
	for _, rel := range []string{"../x", "/x", "data/../../x", `a\b`, "C:x", "data//x"} {
		s := opened(t, "file://"+t.TempDir())
		change(t, s, tagManifest, fmt.Appendf(nil, "%064d  manifest-sha256.txt\n", 0))
		change(t, s, manifest, fmt.Appendf(nil, "%064d  %s\n", 0, rel))
		to := filepath.Join(t.TempDir(), "to")
		if _, err := s.Fetch(t.Context(), name, to, nil); err == nil {
			t.Errorf("%q was fetched", rel)
		}
	}
	if !errors.Is(transfer.Check([]transfer.File{{Name: "../x", SHA256: strings.Repeat("0", 64)}}), transfer.ErrListing) {
		t.Error("a name that leads out is accepted")
	}
}
