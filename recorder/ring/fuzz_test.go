package ring

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// memory returns a folder in memory, where syncs cost nothing, if there is one.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ring")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// beginAgain starts and ends a recorder, without the background goroutines, which would look
// like new coverage to the fuzzer each time.
func beginAgain(dir string, key ed25519.PrivateKey) error {
	w, err := newWriter(Options{Dir: dir, Node: "n", Key: key})
	if err != nil {
		return err
	}
	return errors.Join(w.chain.close(), w.lock.Close())
}

// FuzzSeals reads arbitrary bytes as seals.jsonl, and continues writing after them.
func FuzzSeals(f *testing.F) {
	dir, key, _ := sealedRing(f, 2)
	whole, err := os.ReadFile(filepath.Join(dir, sealsName))
	must(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)-40])
	f.Add(bytes.ReplaceAll(whole, []byte(`"packets":10`), []byte(`"packets":-1`)))
	f.Add([]byte("{}\n{\"record\":null}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := memory(t)
		must(t, os.WriteFile(filepath.Join(dir, sealsName), b, 0o644))
		if r, err := Open(dir); (r == nil) == (err == nil) {
			t.Fatalf("%v and %v", r, err)
		}
		before, err := Verify(dir, VerifyOptions{})
		if (before == nil) == (err == nil) {
			t.Fatalf("%v and %v", before, err)
		}
		if err := beginAgain(dir, key); err != nil {
			return
		}
		after, err := Verify(dir, VerifyOptions{})
		if err != nil {
			t.Fatalf("not readable after writing: %v", err)
		}
		if before != nil && before.OK() && len(before.Keys) > 0 && before.Keys[0] == KeyID(public(key)[0]) && !after.OK() {
			t.Fatalf("valid before writing, now %v", after.Problems)
		}
	})
}

// FuzzRecovery recovers arbitrary bytes as a hidden segment. The result must be valid.
func FuzzRecovery(f *testing.F) {
	dir, _, _ := sealedRing(f, 1)
	id := ID{"sockets", "worker-3", 1}
	whole, err := os.ReadFile(filepath.Join(dir, id.Segment()))
	must(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := memory(t)
		must(t, os.WriteFile(filepath.Join(dir, id.hidden()), b, 0o644))
		must(t, beginAgain(dir, nil))
		rep, err := Verify(dir, VerifyOptions{})
		must(t, err)
		list, err := Segments(dir)
		must(t, err)
		if !rep.OK() || len(rep.Open) > 0 || len(list) > 1 {
			t.Fatalf("%+v, %d segments", rep, len(list))
		}
		for _, s := range list {
			kept, err := os.ReadFile(s.Path)
			must(t, err)
			packets := uint64(0)
			if !optionsAreSound(kept) {
				return // options are the recorder's; recovery does not check them
			}
			readAll(t, s.Path, func(pcapng.Interface, *pcapng.Packet) { packets++ })
			if !bytes.HasPrefix(b, kept) || packets != s.Seal.Packets {
				t.Fatalf("%d packets, sealed with %d", packets, s.Seal.Packets)
			}
		}
	})
}

// optionsAreSound reports whether a reader finds no damage in options, times and versions.
func optionsAreSound(b []byte) bool {
	r, err := pcapng.NewReader(bytes.NewReader(b), pcapng.Options{})
	if err != nil {
		return false
	}
	var batch pcapng.Batch
	for r.Next(&batch) == nil {
	}
	for _, d := range r.Damage() {
		if d.Kind == pcapng.DamageOptions || d.Kind == pcapng.DamageTime || d.Kind == pcapng.DamageVersion {
			return false
		}
	}
	return true
}

// FuzzNames parses arbitrary file names.
func FuzzNames(f *testing.F) {
	f.Add(".sockets-worker-3-000000042.pcapng")
	f.Fuzz(func(t *testing.T, name string) {
		id, kind, hidden, ok := ParseName(name)
		if back := id.Side(kind); ok && strings.TrimPrefix(name, ".") != back || !ok && (hidden || kind != "") {
			t.Fatalf("%q: %+v %q %v %v", name, id, kind, hidden, ok)
		}
	})
}
