package forensics_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// TestCoverageHasTheDamageOfACaseWithoutPackets: nothing was read, because nothing could be.
func TestCoverageHasTheDamageOfACaseWithoutPackets(t *testing.T) {
	head := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	for name, tail := range map[string][]byte{"damaged": bytes.Repeat([]byte{0xff}, 500), "": nil} {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "a.pcap"), filepath.Join(dir, "a.pcapsule")
		if err := os.WriteFile(in, append(head[:len(head):len(head)], tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := exporter.Run(ctx, []string{in}, out, exporter.Options{Release: "test"}); err != nil {
			t.Fatal(err)
		}
		cov, err := open(t, out).Coverage(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, h := range cov.Holes {
			if got += h.Reason; h.From != 0 || h.To != 0 || !strings.Contains(h.Detail, "at an unknown time: 500 bytes") {
				t.Errorf("%+v", h)
			}
		}
		if cov.State != forensics.None || got != name {
			t.Errorf("state %s, gaps %q, want %q", cov.State, got, name)
		}
	}
}
