package exporter

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

var goodNames = regexp.MustCompile(`^[A-Za-z0-9._=/-]+$`)

// TestIntactBundlesAreNotBlamed: a bundle of each sample verifies where it was made, and after a way through tar or the
// transport ZIP. Verifying changes nothing. Its names are different on a file system
// that ignores case, too.
func TestIntactBundlesAreNotBlamed(t *testing.T) {
	samples, err := filepath.Glob("../samples/*.pcap*")
	if err != nil || len(samples) < 50 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, sample := range nightly.Some(samples, 15) {
		path := filepath.Join(t.TempDir(), "b.pcapsule")
		if _, err := Run(t.Context(), []string{sample}, path, Options{Release: "test"}); err != nil {
			t.Fatalf("%s: %v", sample, err)
		}
		before := listed(t, path)
		for way, take := range map[string]func(*testing.T, string) string{
			"where it was made": func(_ *testing.T, p string) string { return p }, "tar": throughTar, "ZIP": throughZIP,
		} {
			r, err := bundle.Verify(t.Context(), take(t, path), nil)
			if err != nil || !r.OK() {
				t.Errorf("%s, %s: %v %+v", sample, way, err, r)
			}
		}
		if after := listed(t, path); after != before {
			t.Errorf("%s: verifying changed\n%s to\n%s", sample, before, after)
		}
	}
}

// listed lists the files of a bundle with their sizes and times, and checks their names.
func listed(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if seen[strings.ToLower(rel)] || !goodNames.MatchString(filepath.ToSlash(rel)) || len(d.Name()) > 100 {
			t.Errorf("name %q", rel)
		}
		seen[strings.ToLower(rel)] = true
		info, err := d.Info()
		fmt.Fprintln(&out, rel, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// throughTar unpacks a tar of a bundle, with other times and modes, into a folder of another name.
func throughTar(t *testing.T, path string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.AddFS(os.DirFS(path))
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "Another Name")
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			return to
		}
		file := filepath.Join(to, filepath.FromSlash(h.Name))
		if err == nil && h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(file, 0o700)
		} else if err == nil {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.MkdirAll(filepath.Dir(file), 0o700)
			}
			if err == nil {
				err = os.WriteFile(file, data, 0o400)
			}
			if err == nil {
				err = os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// throughZIP packs and unpacks a bundle.
func throughZIP(t *testing.T, path string) string {
	t.Helper()
	b, err := bundle.Open(path)
	var data bytes.Buffer
	if err == nil {
		_, err = b.Pack(t.Context(), &data, nil)
	}
	to := filepath.Join(t.TempDir(), "b.pcapsule")
	if err == nil {
		_, err = bundle.Unpack(t.Context(), bytes.NewReader(data.Bytes()), int64(data.Len()), to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}
