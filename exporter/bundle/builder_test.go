package bundle

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestCreateRefusesWhatExists(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"file", "folder", "link"} {
		p := filepath.Join(dir, name)
		switch name {
		case "file":
			must(t, os.WriteFile(p, nil, 0o666))
		case "folder":
			must(t, os.Mkdir(p, 0o777))
		case "link":
			must(t, os.Symlink("nowhere", p))
		}
		if _, err := Create(p, testOptions()); !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v, want ErrExists", name, err)
		}
	}
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("left behind: %q", got)
	}
}

func TestFinishRefusesWhatAppearedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "a.pcapsule")
	b, err := Create(p, testOptions())
	must(t, err)
	m := fill(t, b)
	must(t, os.Mkdir(p, 0o777))
	if err := b.Finish(m); !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	if got := names(t, dir); len(got) != 1 || len(names(t, p)) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestFinishRefuses(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, b *Builder, m *Manifest)
		want string
	}{
		{"file left open", func(t *testing.T, b *Builder, m *Manifest) {
			_, err := b.Create("data/inputs/hosts")
			must(t, err)
		}, "not closed"},
		{"path above the bundle", func(t *testing.T, b *Builder, m *Manifest) { b.Path("data/../../x") }, "names of [a-z0-9._=-]"},
		{"path beside data", func(t *testing.T, b *Builder, m *Manifest) { b.Path("custody/x") }, "names of [a-z0-9._=-]"},
		{"bundle.json by hand", func(t *testing.T, b *Builder, m *Manifest) { b.Path(jsonName) }, "names of [a-z0-9._=-]"},
		{"line end in a name", func(t *testing.T, b *Builder, m *Manifest) { b.Path("data/a\nb") }, "names of [a-z0-9._=-]"},
		{"registered file that is not there", func(t *testing.T, b *Builder, m *Manifest) {
			b.Add("data/tables/x/part-000.parquet", 1, Digest{})
		}, "not there"},
		{"registered size that is not so", func(t *testing.T, b *Builder, m *Manifest) {
			b.Add("data/tables/flows/part-000.parquet", 1, Digest{})
		}, "registered with 1"},
		{"link in the payload", func(t *testing.T, b *Builder, m *Manifest) {
			must(t, os.Symlink("/etc/hostname", b.Path("data/inputs/hosts")))
		}, "plain file"},
		{"names that differ in case only", func(t *testing.T, b *Builder, m *Manifest) {
			must(t, os.WriteFile(b.Path("data/inputs/hosts"), nil, 0o666))
			must(t, os.WriteFile(filepath.Join(b.dir, "data/inputs/Hosts"), nil, 0o666))
		}, "plain name"},
		{"input that was not written", func(t *testing.T, b *Builder, m *Manifest) {
			m.Inputs = append(m.Inputs, Input{FileID: 1, Path: "data/packets/import/001-b"})
		}, "not written"},
		{"input with another hash", func(t *testing.T, b *Builder, m *Manifest) { m.Inputs[0].SHA256[0] ^= 1 }, "has SHA-256"},
		{"input outside packets", func(t *testing.T, b *Builder, m *Manifest) { m.Inputs[0].Path = "data/x" }, "data/packets/"},
		{"aborted before", func(t *testing.T, b *Builder, m *Manifest) { b.Abort() }, "aborted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			b, err := Create(filepath.Join(dir, "a.pcapsule"), testOptions())
			must(t, err)
			m := fill(t, b)
			tt.do(t, b, m)
			if err := b.Finish(m); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := names(t, dir); len(got) != 0 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

func TestAbortLeavesNothingWhileOthersWrite(t *testing.T) {
	dir := t.TempDir()
	b, err := Create(filepath.Join(dir, strings.Repeat("ä", 120)), testOptions())
	must(t, err)
	f, err := b.Create("data/packets/import/000-a")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := f.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	wg.Go(func() {
		for i := 0; b.Path("data/tables/t"+string(rune('a'+i%26))+"/p") != ""; i++ {
		}
	})
	b.Abort()
	wg.Wait()
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
	if err := b.Finish(&Manifest{}); !errors.Is(err, ErrAborted) {
		t.Errorf("finish: %v", err)
	}
}

func TestAbortAfterFinishDoesNothing(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a.pcapsule")
	b, err := Create(p, testOptions())
	must(t, err)
	must(t, b.Finish(fill(t, b)))
	b.Abort()
	must(t, verify(t, p).Err())
}

func TestFullDiskIsReportedAndLeavesNothing(t *testing.T) {
	t.Run("while a capture is written", func(t *testing.T) {
		dir := smallDisk(t, "256k")
		b, err := Create(filepath.Join(dir, "a.pcapsule"), testOptions())
		must(t, err)
		defer b.Abort()
		f, err := b.Create("data/packets/import/000-a")
		must(t, err)
		_, err = io.Copy(f, strings.NewReader(strings.Repeat("x", 1<<20)))
		if !errors.Is(err, syscall.ENOSPC) || !errors.Is(f.Close(), syscall.ENOSPC) {
			t.Errorf("got %v, want ENOSPC", err)
		}
		if err := b.Finish(&Manifest{}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("finish: %v, want ENOSPC", err)
		}
		if got := names(t, dir); len(got) != 0 {
			t.Errorf("left behind: %q", got)
		}
	})
	t.Run("while finishing", func(t *testing.T) {
		// For one page of free space more each time, so that each of Finish's last writes fails
		// once.
		for _, size := range []string{"400k", "404k", "408k", "412k", "416k", "420k", "424k"} {
			dir := smallDisk(t, size)
			b, err := Create(filepath.Join(dir, "a.pcapsule"), testOptions())
			must(t, err)
			defer b.Abort()
			f, err := b.Create("data/packets/import/000-first_half.pcapng")
			must(t, err)
			_, err = f.Write(capture)
			must(t, err)
			must(t, f.Close())
			m := &Manifest{Inputs: []Input{{Path: "data/packets/import/000-first_half.pcapng", SHA256: f.Sum(), Size: f.Size()}}}
			err = b.Finish(m)
			left := names(t, dir)
			if err == nil {
				must(t, verify(t, filepath.Join(dir, "a.pcapsule")).Err())
			} else if !errors.Is(err, syscall.ENOSPC) || len(left) != 0 {
				t.Errorf("%s: %v, left behind %q", size, err, left)
			}
		}
	})
	t.Run("while unpacking", func(t *testing.T) {
		src := build(t, testOptions())
		dir := smallDisk(t, "256k")
		zipped := filepath.Join(t.TempDir(), "a.zip")
		pack(t, src, zipped)
		z, err := newZipSource(zipped)
		must(t, err)
		defer z.Close()
		if err := z.unpack(filepath.Join(dir, "a")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("unpack: %v, want ENOSPC", err)
		}
		if got := names(t, dir); len(got) != 0 {
			t.Errorf("left behind: %q", got)
		}
	})
}
