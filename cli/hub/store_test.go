package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/store/storetest"
)

// TestCopiesInAStore: a bundle goes to S3 and to a folder, again without an error, and comes back as it was.
func TestCopiesInAStore(t *testing.T) {
	storetest.New(t)
	made := filepath.Join(t.TempDir(), "node-a.pcapsule")
	if _, err := exporter.Run(t.Context(), []string{"../../samples/dns.pcap"}, made, exporter.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"s3://evidence/cluster-1?region=us-east-1", "file://" + filepath.Join(t.TempDir(), "new")} {
		b, err := newBucket(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		place := "pcapsule/incident-u1/node-a.pcapsule"
		if got := b.Address("pcapsule/incident-u1"); !strings.HasSuffix(got, "/pcapsule/incident-u1") || strings.Contains(got, "?") {
			t.Errorf("the address is %s", got)
		}
		for range 2 {
			if err := b.Push(t.Context(), made, place); err != nil {
				t.Fatalf("%s: %v", address, err)
			}
		}
		to := filepath.Join(t.TempDir(), "node-a.pcapsule")
		if err := b.Fetch(t.Context(), place, to); err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if r, err := bundle.Verify(t.Context(), to, nil); err != nil || !r.OK() {
			t.Errorf("%s: %v, %v", address, r, err)
		}
		if err := b.Fetch(t.Context(), "pcapsule/other-u2/node-a.pcapsule", filepath.Join(t.TempDir(), "x.pcapsule")); err == nil {
			t.Errorf("%s: a bundle came from nowhere", address)
		}
	}
	for _, address := range []string{"evidence", "http://evidence", "s3://", "s3://user:word@evidence"} {
		if b, err := newBucket(t.Context(), address); err == nil || strings.Contains(err.Error(), "word@") {
			t.Errorf("%s: %v, %v", address, b, err)
		}
	}
	if _, err := os.Stat(made); err != nil {
		t.Error(err)
	}
}
