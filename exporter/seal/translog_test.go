package seal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/exporter/seal/logtest"
)

const firstSeal = "seal-000.dsse.json"

// proved puts a seal into a log and returns the proof.
func proved(t *testing.T, b *bundle.Bundle, l *logtest.Log) (key note.Verifier, proof []byte) {
	t.Helper()
	key = must(seal.ParseLogKey([]byte(l.Key + "\n")))(t)
	entry := must(seal.LogEntry(b, firstSeal))(t)
	index := must(l.Add(entry))(t)
	for range 3 {
		must(l.Add([]byte("later")))(t)
	}
	return key, must(seal.ProveLogged(key, entry, index, l.Fetch))(t)
}

func newLog(t *testing.T, name string, entries int) *logtest.Log {
	t.Helper()
	return must(logtest.New(name, entries))(t)
}

// verdict is the one about logs.
func verdict(t *testing.T, b *bundle.Bundle, trust seal.Trust) (v seal.Verdict) {
	t.Helper()
	for _, v = range seal.Check(ctx, must(bundle.Verify(ctx, b.Dir, nil))(t), trust) {
		if v.Check == "log" && v.Place != "" {
			return v
		}
	}
	return seal.Verdict{}
}

// TestLogsOfAllSizes proves entries of logs with partial and full tiles.
func TestLogsOfAllSizes(t *testing.T) {
	b, trust := sealed(t)
	for _, n := range []int{0, 1, 2, 255, 256, 257, 600} {
		l := newLog(t, "log.example/1", n)
		key, proof := proved(t, b, l)
		if err := seal.CheckProof(proof, must(b.ReadCustodyFile(firstSeal))(t), key); err != nil {
			t.Errorf("%d entries before it: %v", n, err)
		}
	}
	l := newLog(t, "log.example/1", 300)
	key, proof := proved(t, b, l)
	added := must(seal.AddProof(b, firstSeal, key, proof, bundle.Entry{}))(t)
	if added.File != "custody/seal-000.tlog-proof" || added.Origin != "log.example/1" || added.Index != 300 || added.Size != 304 {
		t.Errorf("%+v", added)
	}
	if v := verdict(t, b, trust); v.State != seal.NotChecked || !strings.Contains(v.Detail, "--log-key") {
		t.Errorf("without a key: %+v", v)
	}
	trust.Logs = []note.Verifier{key}
	if v := verdict(t, b, trust); v.State != seal.Yes {
		t.Errorf("with the key: %+v", v)
	}
	if f := faults(t, b.Dir, trust); len(f) > 0 {
		t.Errorf("an intact bundle: %q", f)
	}
	// A log of the same name with another key, and one that the reader does not know.
	other := newLog(t, "log.example/1", 0)
	trust.Logs = []note.Verifier{must(seal.ParseLogKey([]byte(other.Key)))(t)}
	if v := verdict(t, b, trust); v.State != seal.NotChecked || len(faults(t, b.Dir, trust)) != 1 {
		t.Errorf("with the key of another log: %+v", v)
	}
}

// TestEachByteOfAProof changes each byte of a proof.
func TestEachByteOfAProof(t *testing.T) {
	b, _ := sealed(t)
	data := must(b.ReadCustodyFile(firstSeal))(t)
	key, proof := proved(t, b, newLog(t, "log.example/1", 9))
	for i := range proof {
		bad := bytes.Clone(proof)
		bad[i] ^= 1
		if err := seal.CheckProof(bad, data, key); err == nil {
			t.Errorf("byte %d of %d may change", i, len(proof))
		}
		if err := seal.CheckProof(proof[:i], data, key); err == nil {
			t.Errorf("the proof may end at byte %d of %d", i, len(proof))
		}
	}
}

func TestProofsThatAreRefused(t *testing.T) {
	b, _ := sealed(t)
	l := newLog(t, "log.example/1", 4)
	key, proof := proved(t, b, l)
	entry := must(seal.LogEntry(b, firstSeal))(t)
	other := newLog(t, "log.example/1", 4)
	_, ofOther := proved(t, b, other)
	for _, tt := range []struct {
		name  string
		proof func() ([]byte, error)
		want  string
	}{
		{"another leaf", func() ([]byte, error) { return seal.ProveLogged(key, entry, 3, l.Fetch) }, "another entry at 3"},
		{"not published yet", func() ([]byte, error) { return seal.ProveLogged(key, entry, 8, l.Fetch) }, "does not have the entry yet"},
		{"a number below 0", func() ([]byte, error) { return seal.ProveLogged(key, entry, -1, l.Fetch) }, "does not have the entry yet"},
		{"a checkpoint that another key signed", func() ([]byte, error) { return seal.ProveLogged(key, entry, 4, other.Fetch) }, "is not signed by log.example/1"},
		{"no checkpoint", func() ([]byte, error) {
			return seal.ProveLogged(key, entry, 4, func(string) ([]byte, error) { return []byte("<html>"), nil })
		}, "reading the checkpoint"},
		{"no answer", func() ([]byte, error) {
			return seal.ProveLogged(key, entry, 4, func(string) ([]byte, error) { return nil, errors.New("stalled") })
		}, "stalled"},
		{"tiles of another log", func() ([]byte, error) {
			return seal.ProveLogged(key, entry, 4, func(name string) ([]byte, error) {
				if name == "checkpoint" {
					return l.Fetch(name)
				}
				data, err := other.Fetch(name)
				if len(data) > 0 {
					data[0] ^= 1
				}
				return data, err
			})
		}, "tiles"},
		{"a short tile", func() ([]byte, error) {
			return seal.ProveLogged(key, entry, 4, func(name string) ([]byte, error) {
				data, err := l.Fetch(name)
				if name != "checkpoint" {
					data = data[:32]
				}
				return data, err
			})
		}, "bytes instead of"},
	} {
		if _, err := tt.proof(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := seal.AddProof(b, firstSeal, key, ofOther, bundle.Entry{}); err == nil {
		t.Error("a proof of another log was added")
	}
	// A proof of another seal, and one that is not in the custody log.
	if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Cid")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.AddProof(b, "seal-001.dsse.json", key, proof, bundle.Entry{}); err == nil {
		t.Error("a proof of another seal was added")
	}
	if err := b.AddCustodyFile("seal-000.tlog-proof", proof); err != nil {
		t.Fatal(err)
	}
	if v := verdict(t, b, seal.Trust{Logs: []note.Verifier{key}}); v.State != seal.No {
		t.Errorf("a proof that the custody log does not have: %+v", v)
	}
}

func FuzzProof(f *testing.F) {
	l, err := logtest.New("log.example/1", 3)
	if err != nil {
		f.Fatal(err)
	}
	data := []byte("a seal")
	key, err := seal.ParseLogKey([]byte(l.Key))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\nlog\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— log AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, proof []byte) {
		if seal.CheckProof(proof, data, key) == nil {
			t.Fatal("a proof that nobody signed")
		}
	})
}
