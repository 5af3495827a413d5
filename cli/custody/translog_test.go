package custody

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/exporter/seal/logtest"
)

// TestSealInALog adds a seal to logs that answer, refuse, stall, lie and are not there.
func TestSealInALog(t *testing.T) {
	b := sealedBundle(t)
	for _, tt := range []struct {
		name   string
		change func(l *logtest.Log)
		want   string // of the error; none if empty
	}{
		{"refuses", func(l *logtest.Log) { l.Refuses = true }, "add: 403 Forbidden"},
		{"stalls", func(l *logtest.Log) { l.Stalled = true }, "did not answer or publish"},
		{"another key", func(l *logtest.Log) { l.Key = otherKey(t) }, "is not signed by"},
		{"answers", func(*logtest.Log) {}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := logtest.New("log.example/1", 3)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(l)
			server := httptest.NewServer(l)
			defer server.Close()
			f := logFlags{url: server.URL + "/", key: filepath.Join(t.TempDir(), "log.pub"), wait: 400 * time.Millisecond}
			if err := os.WriteFile(f.key, []byte(l.Key), 0o600); err != nil {
				t.Fatal(err)
			}
			key, err := f.check()
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.add(context.Background(), b, "custody/seal-000.dsse.json", key)
			if tt.want == "" {
				if err != nil || got.Index != 3 {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if _, err := b.ReadCustodyFile("seal-000.tlog-proof"); err == nil {
				t.Error("a proof was added")
			}
		})
	}
	for _, f := range []logFlags{{url: "http://127.0.0.1:1"}, {key: "log.pub"}, {url: "http://127.0.0.1:1", key: "log.pub"}} {
		if _, err := f.check(); err == nil {
			t.Errorf("%+v: no error", f)
		}
	}
}

// otherKey is a log's public key that belongs to no server.
func otherKey(t *testing.T) string {
	l, err := logtest.New("log.example/1", 0)
	if err != nil {
		t.Fatal(err)
	}
	return l.Key
}

func sealedBundle(t *testing.T) *bundle.Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "b.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{"../../samples/http1.pcapng"}, dir, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.NewSigner("Ann", key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Sign(context.Background(), b, seal.Options{Signers: []seal.Signer{s}}); err != nil {
		t.Fatal(err)
	}
	return b
}
