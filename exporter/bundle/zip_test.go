package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pack stores the files of a bundle in a ZIP, below the folder's name.
func pack(t *testing.T, dir, to string) {
	t.Helper()
	f, err := os.Create(to)
	must(t, err)
	w := zip.NewWriter(f)
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(dir), path)
		must(t, err)
		member, err := w.CreateHeader(&zip.FileHeader{Name: filepath.ToSlash(rel), Method: zip.Store})
		must(t, err)
		data, err := os.ReadFile(path)
		must(t, err)
		_, err = member.Write(data)
		return err
	}))
	must(t, w.Close())
	must(t, f.Close())
}

func TestOpenZip(t *testing.T) {
	dir := build(t, testOptions())
	tmp := t.TempDir()
	zipped := filepath.Join(tmp, "moved.pcapsule.zip")
	pack(t, dir, zipped)
	b, err := Open(zipped)
	must(t, err)
	if b.Unpacked != filepath.Join(tmp, "moved.pcapsule") || b.Reused || b.Dir != b.Unpacked {
		t.Errorf("unpacked to %q, reused %v", b.Unpacked, b.Reused)
	}
	r, err := b.Verify(context.Background(), nil)
	must(t, err)
	must(t, r.Err())

	t.Run("again takes what is there", func(t *testing.T) {
		b, err := Open(zipped)
		must(t, err)
		if !b.Reused {
			t.Error("unpacked twice")
		}
	})
	t.Run("verify sees a change in the unpacked folder", func(t *testing.T) {
		extend(bagInfoName)(t, b.Dir)
		r, err := b.Verify(context.Background(), nil)
		must(t, err)
		if r.OK() || !strings.HasPrefix(r.Problems[0].File, b.Dir) {
			t.Errorf("problems %v", r.Problems)
		}
	})
	t.Run("verify sees a change in the ZIP though the folder is good", func(t *testing.T) {
		data, err := os.ReadFile(zipped)
		must(t, err)
		i := bytes.Index(data, capture[:100])
		data[i+50] ^= 1
		p := filepath.Join(t.TempDir(), "x.zip")
		must(t, os.WriteFile(p, data, 0o666))
		must(t, os.CopyFS(strings.TrimSuffix(p, ".zip"), os.DirFS(dir)))
		b, err := Open(p)
		must(t, err)
		r, err := b.Verify(context.Background(), nil)
		must(t, err)
		if !b.Reused || r.OK() || b.Verified() != Broken {
			t.Errorf("reused %v, problems %v", b.Reused, r.Problems)
		}
	})
	t.Run("something else beside it is left alone", func(t *testing.T) {
		p := filepath.Join(t.TempDir(), "y.zip")
		data, err := os.ReadFile(zipped)
		must(t, err)
		must(t, os.WriteFile(p, data, 0o666))
		must(t, os.Mkdir(strings.TrimSuffix(p, ".zip"), 0o777))
		if _, err := Open(p); !errors.Is(err, ErrExists) {
			t.Errorf("got %v, want ErrExists", err)
		}
	})
	t.Run("into a cache", func(t *testing.T) {
		cache := filepath.Join(t.TempDir(), "new", "cache")
		for _, reused := range []bool{false, true} {
			b, err := OpenWith(zipped, OpenOptions{CacheDir: cache})
			must(t, err)
			if filepath.Dir(b.Unpacked) != cache || b.Reused != reused {
				t.Errorf("unpacked to %s, reused %v", b.Unpacked, b.Reused)
			}
		}
	})
}

// member of a hostile ZIP.
type hostile struct {
	name string
	mode fs.FileMode
	text string
}

// hostileZip is a valid bundle with some additional members.
func hostileZip(t testing.TB, more ...hostile) []byte {
	t.Helper()
	dir := build(t, testOptions())
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	must(t, w.AddFS(os.DirFS(dir)))
	for _, m := range more {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(m.mode | 0o644)
		f, err := w.CreateHeader(h)
		must(t, err)
		_, err = f.Write([]byte(m.text))
		must(t, err)
	}
	must(t, w.Close())
	return buf.Bytes()
}

func TestHostileZipIsRefused(t *testing.T) {
	tests := []struct {
		name string
		more []hostile
		want string
	}{
		{"path above the folder", []hostile{{name: "../evil"}}, "leads out"},
		{"path above, deeper", []hostile{{name: "data/../../evil"}}, "leads out"},
		{"absolute path", []hostile{{name: "/etc/evil"}}, "leads out"},
		{"path with a drive", []hostile{{name: `C:\evil`}}, "leads out"},
		{"path with backslashes", []hostile{{name: `data\..\..\evil`}}, "leads out"},
		{"name with a line end", []hostile{{name: "data/a\nb"}}, "leads out"},
		{"symbolic link", []hostile{{name: "data/link", mode: fs.ModeSymlink, text: "/etc/passwd"}}, "not a plain file"},
		{"device", []hostile{{name: "data/dev", mode: fs.ModeDevice}}, "not a plain file"},
		{"member twice", []hostile{{name: jsonName}}, "twice"},
		{"member twice but for case", []hostile{{name: "DATA/Bundle.json"}}, "twice"},
		{"second bag", []hostile{{name: "other/bagit.txt"}}, "second bag"},
		{"file that is also a folder", []hostile{{name: "data/x"}, {name: "data/x/y"}}, "data/x"},
		{"bomb", []hostile{{name: "data/bomb", text: strings.Repeat("0", 160<<20)}}, "unpacks to more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tmp := t.TempDir()
			p := filepath.Join(tmp, "in", "a.pcapsule.zip")
			must(t, os.Mkdir(filepath.Dir(p), 0o777))
			must(t, os.WriteFile(p, hostileZip(t, tt.more...), 0o666))
			_, err := Open(p)
			var damaged *DamagedError
			if !errors.As(err, &damaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := append(names(t, tmp), names(t, filepath.Dir(p))...); len(got) != 2 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

func TestZipWithAFalseDirectoryIsRejected(t *testing.T) {
	tests := []struct {
		name  string
		field int // in the entry of the directory
		value uint32
		want  string
	}{
		{"more packed bytes than the ZIP has", 20, 1 << 22, "overlap"},
		{"fewer bytes than come out", 24, 10, "data/one"},
		{"more bytes than come out", 24, 1 << 21, "data/one"},
		{"another checksum", 16, 1, "checksum"},
		{"another method", 10, 99, "compression method 99"},
		{"encrypted", 8, 1, "encrypted"},
	}
	good := hostileZip(t, hostile{name: "data/one", text: strings.Repeat("a", 1<<20)})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := bytes.Clone(good)
			at := data[bytes.LastIndex(data, []byte("data/one"))-46+tt.field:]
			if tt.field < 16 {
				binary.LittleEndian.PutUint16(at, uint16(tt.value))
			} else {
				binary.LittleEndian.PutUint32(at, tt.value)
			}
			tmp := t.TempDir()
			p := filepath.Join(tmp, "a.zip")
			must(t, os.WriteFile(p, data, 0o666))
			if _, err := Open(p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := names(t, tmp); len(got) != 1 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

func TestHugeZipDirectoryIsNotRead(t *testing.T) {
	// 40 MB of empty entries would need many times as much memory.
	var buf bytes.Buffer
	entry := make([]byte, 46)
	copy(entry, "PK\x01\x02")
	n := maxDirectory/len(entry) + 200_000
	for range n {
		buf.Write(entry)
	}
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	binary.LittleEndian.PutUint16(end[8:], uint16(n))
	binary.LittleEndian.PutUint16(end[10:], uint16(n))
	binary.LittleEndian.PutUint32(end[12:], uint32(buf.Len()))
	buf.Write(end)
	_, err := readZipAt(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if !errors.Is(err, errDirectory) {
		t.Errorf("got %v, want %v", err, errDirectory)
	}
}

func TestZipOfNewerSchemaIsNotUnpacked(t *testing.T) {
	dir := build(t, testOptions())
	must(t, os.WriteFile(filepath.Join(dir, jsonName), []byte(`{"schema_version":2}`), 0o666))
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	must(t, w.AddFS(os.DirFS(dir)))
	must(t, w.Close())
	tmp := t.TempDir()
	p := filepath.Join(tmp, "a.zip")
	must(t, os.WriteFile(p, buf.Bytes(), 0o666))
	if _, err := Open(p); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("got %v, want ErrNewerSchema", err)
	}
	if got := names(t, tmp); len(got) != 1 {
		t.Errorf("left behind: %q", got)
	}
}

func TestZipOnAReadOnlyDiskIsUnpackedToTheCache(t *testing.T) {
	dir := t.TempDir()
	pack(t, build(t, testOptions()), filepath.Join(dir, "a.zip"))
	makeReadOnly(t, dir)
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	b, err := Open(filepath.Join(dir, "a.zip"))
	must(t, err)
	if !strings.HasPrefix(b.Unpacked, cache) {
		t.Errorf("unpacked to %s", b.Unpacked)
	}
}

func FuzzZip(f *testing.F) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, m := range [][2]string{
		{bagitName, bagitText}, {manifestName, ""}, {jsonName, `{"schema_version":1}`}, {tagManifestName, ""}, {"custody/log.jsonl", "{}\n"},
	} {
		p, err := w.Create("a/" + m[0])
		if err != nil {
			f.Fatal(err)
		}
		if _, err := p.Write([]byte(m[1])); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := readZipAt(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		tmp := t.TempDir()
		err = z.unpack(filepath.Join(tmp, "in", "side"))
		if err == nil {
			t.Fatal("unpacked into a folder that is not there")
		}
		dir := filepath.Join(tmp, "out")
		if err := z.unpack(dir); err != nil {
			if got := names(t, tmp); len(got) != 0 {
				t.Fatalf("left behind: %q", got)
			}
			return
		}
		if got := names(t, tmp); len(got) != 1 {
			t.Fatalf("outside the folder: %q", got)
		}
		b, err := Open(dir)
		if (b == nil) == (err == nil) {
			t.Fatalf("both or neither: %v, %v", b, err)
		}
		if _, err := Verify(context.Background(), dir, nil); err != nil && !errors.Is(err, ErrNotBundle) {
			t.Fatal(err)
		}
	})
}
