package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A member is one file of an archive.
type member struct {
	name string
	mode int64
	data []byte
}

// stem is the prefix of the names of a target's files.
func (t *target) stem(r *release) string {
	return fmt.Sprintf("pcapsule_%s_%s_%s", r.version, t.os, t.arch)
}

// archive is the name of a target's archive, in the usual format of that system.
func (t *target) archive(r *release) string {
	if t.os == "windows" {
		return t.stem(r) + ".zip"
	}
	return t.stem(r) + ".tar.gz"
}

// pack writes the archive and the SBOM of the programs in dir.
func (t *target) pack(r *release, dir, out string) error {
	step("packing %s", t.archive(r))
	members, err := t.members(dir)
	if err != nil {
		return err
	}
	sbom, err := t.sbom(r, dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, t.stem(r)+".cdx.json"), sbom, 0o644); err != nil {
		return err
	}
	members = append(members, member{"sbom.cdx.json", 0o644, sbom})
	return writeFile(filepath.Join(out, t.archive(r)), func(w io.Writer) error {
		if t.os == "windows" {
			return writeZip(w, t.stem(r), r.time, members)
		}
		return writeTar(w, t.stem(r), r.time, members)
	})
}

// members are the files of a target's archive except the SBOM.
func (t *target) members(dir string) ([]member, error) {
	var list []member
	for _, p := range t.programs {
		data, err := os.ReadFile(filepath.Join(dir, t.file(p)))
		if err != nil {
			return nil, err
		}
		list = append(list, member{t.file(p), 0o755, data})
	}
	for name, source := range map[string]string{viewerName: filepath.Join(dir, viewerName), "LICENSE": "LICENSE", "README.md": "README.md", "install.md": "docs/guide/install.md"} {
		data, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		list = append(list, member{name, 0o644, data})
	}
	notices, err := t.licences(dir)
	if err != nil {
		return nil, err
	}
	return append(list, member{"THIRD-PARTY-LICENSES.txt", 0o644, notices}), nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeTar writes members below top, sorted by name, with one time and owned by root.
func writeTar(w io.Writer, top string, at time.Time, members []member) error {
	z, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: top + "/", Mode: 0o755, ModTime: at, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	for _, m := range sorted(members) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: top + "/" + m.name, Mode: m.mode, Size: int64(len(m.data)), ModTime: at, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(m.data); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// writeZip writes the same as a ZIP. ZIP times have 2-second steps and no time zone.
func writeZip(w io.Writer, top string, at time.Time, members []member) error {
	z := zip.NewWriter(w)
	for _, m := range sorted(members) {
		h := &zip.FileHeader{Name: top + "/" + m.name, Method: zip.Deflate, Modified: at}
		h.SetMode(os.FileMode(m.mode))
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(m.data); err != nil {
			return err
		}
	}
	return z.Close()
}

func sorted(members []member) []member {
	list := slices.Clone(members)
	slices.SortFunc(list, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return list
}
