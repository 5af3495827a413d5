package derive_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// TestTextsOfOthersGo takes texts that are in captures of real programs for secrets: what the
// tables show can be removed, however it was sent.
func TestTextsOfOthersGo(t *testing.T) {
	dir := captures.Dir(t)
	r := rand.New(rand.NewPCG(16, 3))
	tried := 0
	for _, kind := range []string{"http1", "http2", "grpc", "redis", "postgresql", "dns", "mixed", "tls", "quic", "websocket", "tunnel", "ipfrag", "link"} {
		_ = filepath.WalkDir(filepath.Join(dir, kind), func(path string, e fs.DirEntry, err error) error {
			info, ierr := os.Stat(path)
			if err != nil || ierr != nil || e.IsDir() || info.Size() > 150_000 || r.IntN(100) >= nightly.Of(8, 100) {
				return nil
			}
			tried += removesTexts(t, r, path)
			return nil
		})
	}
	t.Logf("%d captures", tried)
}

func removesTexts(t *testing.T, r *rand.Rand, path string) int {
	out := filepath.Join(t.TempDir(), "o.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{path}, out, exporter.Options{Release: "test"}); err != nil {
		return 0
	}
	b, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	texts := derive.Texts(context.Background(), b)
	if len(texts) == 0 {
		return 0
	}
	secret := texts[r.IntN(len(texts))]
	if _, err := netip.ParseAddr(secret); err == nil || strings.Contains(path, secret) {
		return 0 // addresses stay, and so do names of files
	}
	policy := "version: 1\nextends: none\npatterns:\n  - {name: secret, match: " + strconv.Quote(regexp.QuoteMeta(secret)) + "}\n"
	to := filepath.Join(t.TempDir(), "d.pcapsule")
	x, err := derive.Redact(context.Background(), b, to, derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, quiet)
	if errors.Is(err, derive.ErrNothing) {
		return 0 // the text is a part of something that is not searched as text
	}
	if err != nil {
		t.Errorf("%s: %q: %v", path, secret, err)
		return 1
	}
	d, err := bundle.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Payload() {
		data, err := os.ReadFile(d.Path(f.Path))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s: %s holds %q", path, f.Path, secret)
		}
	}
	if place := derive.Find(context.Background(), d, secret); place != "" {
		t.Errorf("%s: %s holds %q", path, place, secret)
	}
	if x.Rounds > 2 {
		t.Logf("%s: %d rounds, %v: %.60q", strings.TrimPrefix(path, "../../../shared/captures/"), x.Rounds, x.Derived.Rules, secret)
	}
	again, err := exporter.Rederive(context.Background(), d, exporter.Options{Release: "test"})
	if err != nil || !again.OK() {
		t.Errorf("%s: rederiving: %v %+v", path, err, again)
	}
	return 1
}
