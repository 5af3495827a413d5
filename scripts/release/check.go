package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A result is one line in the table of check.
type result struct{ target, what, said string }

// check inspects and starts the results of build, and prints a table. linux/amd64 is the reference:
// other systems must print the same and make the same bundles.
func check(r *release, list []*target, out string, again bool) (err error) {
	var table []result
	note := func(t, what, format string, args ...any) {
		table = append(table, result{t, what, fmt.Sprintf(format, args...)})
		step("%s: %s: %s", t, what, table[len(table)-1].said)
	}
	if err := checkSums(out); err != nil {
		return err
	}
	work, err := filepath.Abs(filepath.Join(out, "check"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(t *target) bool { return t.run != nil && t.run.emulated }) {
		var end func() error
		if end, err = emulate(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	reference := ""
	for i, t := range append([]*target{targets[0]}, list...) {
		if i > 0 && t == targets[0] {
			continue // done first
		}
		dir := filepath.Join(work, t.os+"-"+t.arch)
		if err := checkTarget(r, t, out, dir, note); err != nil {
			return fmt.Errorf("%s: %w", t.name(), err)
		}
		if t.run == nil {
			continue
		}
		if err := checkRuns(t, dir, reference, note); err != nil {
			return fmt.Errorf("%s: %w", t.name(), err)
		}
		if reference == "" {
			reference = filepath.Join(dir, "work")
		}
	}
	for _, t := range list {
		if t.os == "linux" {
			if err := checkImages(r, t, out, work, note); err != nil {
				return fmt.Errorf("images of %s: %w", t.name(), err)
			}
			if err := checkDeb(r, t, out, note); err != nil {
				return fmt.Errorf("package for Debian of %s: %w", t.name(), err)
			}
		}
	}
	if again {
		if err := checkAgain(r, out, work); err != nil {
			return err
		}
		note(targets[0].name(), "built twice", "the programs and the archive have the same bytes")
	}
	fmt.Printf("| target | checked | result |\n|---|---|---|\n")
	for _, l := range table {
		fmt.Printf("| %s | %s | %s |\n", l.target, l.what, l.said)
	}
	return nil
}

type noter func(target, what, format string, args ...any)

// checkTarget unpacks an archive into dir and checks its contents.
func checkTarget(r *release, t *target, out, dir string, note noter) error {
	archive := filepath.Join(out, t.archive(r))
	packed, err := unpack(archive, dir)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w (make it first: make release)", archive, err)
	}
	top := filepath.Join(dir, t.stem(r))
	var sizes []string
	for _, p := range t.programs {
		exe := filepath.Join(top, t.file(p))
		if err := t.checkProgram(exe); err != nil {
			return err
		}
		info, err := os.Stat(exe)
		if err != nil {
			return err
		}
		b, err := inspect(exe)
		if err != nil {
			return err
		}
		if !p.cgo && !b.static {
			return fmt.Errorf("%s is not static", exe)
		}
		sizes = append(sizes, fmt.Sprintf("%s %.1f MB", p.name, float64(info.Size())/1e6))
	}
	note(t.name(), "size", "archive %.1f MB: %s", float64(packed)/1e6, strings.Join(sizes, ", "))
	libs := fmt.Sprintf("%s, needs nothing but the system", t.machine)
	if t.os == "linux" {
		libc, err := neededLibc(filepath.Join(top, pcapsule.name))
		if err != nil {
			return err
		}
		libs = fmt.Sprintf("%s, needs glibc %s or newer; the recorder is static", t.machine, libc)
	}
	note(t.name(), "header", "%s", libs)
	if t.os == "darwin" {
		pages, err := checkSignature(filepath.Join(top, pcapsule.name))
		switch {
		case errors.Is(err, errUnsigned) && t.arch == "amd64":
			note(t.name(), "signature", "none, and macOS on Intel needs none")
		case err != nil:
			return err
		default:
			note(t.name(), "signature", "ad hoc, the hashes of %d pages agree", pages)
		}
	}
	sbom, err := os.ReadFile(filepath.Join(top, "sbom.cdx.json"))
	if err != nil {
		return err
	}
	n, err := t.checkSBOM(r, top, sbom)
	if err != nil {
		return err
	}
	note(t.name(), "SBOM", "%d components, as the programs say", n)
	return nil
}

// checkSums compares every file with SHA256SUMS.
func checkSums(out string) error {
	text, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	if err != nil {
		return fmt.Errorf("%w (make it first: make release)", err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
			return fmt.Errorf("%s is not as SHA256SUMS says", name)
		}
		listed[name] = true
	}
	files, err := released(out)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !listed[f] {
			return fmt.Errorf("SHA256SUMS does not list %s", f)
		}
	}
	return nil
}

// unpack unpacks an archive of ours into dir and returns its size.
func unpack(archive, dir string) (int64, error) {
	data, err := os.ReadFile(archive)
	if err != nil {
		return 0, err
	}
	put := func(name string, mode os.FileMode, r io.Reader) error {
		to := filepath.Join(dir, filepath.FromSlash(path.Clean("/"+name)))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, mode)
	}
	if strings.HasSuffix(archive, ".zip") {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return 0, err
		}
		for _, m := range z.File {
			f, err := m.Open()
			if err != nil {
				return 0, err
			}
			if err := errors.Join(put(m.Name, m.Mode(), f), f.Close()); err != nil {
				return 0, err
			}
		}
		return int64(len(data)), nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return int64(len(data)), nil
		}
		if err != nil {
			return 0, err
		}
		if h.Typeflag == tar.TypeReg {
			if err := put(h.Name, os.FileMode(h.Mode), t); err != nil {
				return 0, err
			}
		}
	}
}

// checkAgain builds linux/amd64 with an empty build cache and compares the archives.
func checkAgain(r *release, out, work string) error {
	t := targets[0]
	dir := filepath.Join(work, "again")
	if err := compile(r, t, filepath.Join(dir, "bin"), filepath.Join(dir, "go-cache")); err != nil {
		return err
	}
	if err := t.pack(r, filepath.Join(dir, "bin"), dir); err != nil {
		return err
	}
	first, err := os.ReadFile(filepath.Join(out, t.archive(r)))
	if err != nil {
		return err
	}
	second, err := os.ReadFile(filepath.Join(dir, t.archive(r)))
	if err != nil {
		return err
	}
	if !bytes.Equal(first, second) {
		return fmt.Errorf("%s differs from the one in %s, from the same commit", filepath.Join(dir, t.archive(r)), out)
	}
	return nil
}

// checkImages checks that the images have programs for the claimed machine, and starts each of these
// programs. The one that bundles captures must make the same bundle as the archive's in work.
func checkImages(r *release, t *target, out, work string, note noter) error {
	var names []string
	for _, p := range t.images {
		names = append(names, filepath.Join(out, t.image(r, p)))
	}
	if err := checkArch(t.name(), names); err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Join(out, "bin", t.os+"-"+t.arch))
	if err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	start := func(p program, args ...string) (string, error) {
		args = slices.Concat(t.run.environment(), t.run.prefix, []string{filepath.Join(dir, t.file(p))}, args)
		c, err := t.run.tree.command(here, []string{here, dir, work}, args...)
		if err != nil {
			return "", err
		}
		said, err := c.Output()
		if err != nil {
			return "", fmt.Errorf("starting %s of the image: %v\n%s", p.name, err, said)
		}
		return string(said), nil
	}
	for _, p := range t.images {
		said, err := start(p, "--version")
		if err != nil {
			return err
		}
		if !strings.Contains(said, t.name()) {
			return fmt.Errorf("%s of the image is %q, but must be for %s", p.name, said, t.name())
		}
		if !p.static {
			continue
		}
		made := filepath.Join(work, t.os+"-"+t.arch, "image.pcapsule")
		if _, err := start(p, "bundle", "samples/http1.pcapng", "-o", made); err != nil {
			return err
		}
		if err := sameTree(filepath.Join(made, "data"), filepath.Join(work, t.os+"-"+t.arch, "work", "http1.pcapsule", "data")); err != nil {
			return err
		}
	}
	note(t.name(), "images", "%d, each with one program for the machine it claims, which starts; the bundle that pcapsule makes is the archive's", len(names))
	return nil
}

// checkDeb installs a package on a fresh system, or only unpacks it for another machine, and runs
// lintian.
func checkDeb(r *release, t *target, out string, note noter) error {
	deb, err := filepath.Abs(filepath.Join(out, fmt.Sprintf("pcapsule_%s_%s.deb", r.debian(), t.arch)))
	if err != nil {
		return err
	}
	// The tree itself does not change: this runs on a copy in memory.
	script := "dpkg -i \"$1\" >/dev/null && pcapsule --version && pcapsule-recorder --version && dpkg -V pcapsule && dpkg -r pcapsule >/dev/null && ! [ -e /usr/bin/pcapsule ]"
	if t.arch != "amd64" {
		script = "dpkg-deb -x \"$1\" /tmp/x && [ \"$(dpkg-deb -f \"$1\" Architecture)\" = " + t.arch + " ] && ls /tmp/x/usr/bin"
	}
	if err := plain.make(); err != nil {
		return err
	}
	c, err := plain.command("/", []string{filepath.Dir(deb)}, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "sh", "-ec", script, "sh", deb)
	if err != nil {
		return err
	}
	c.Env = append(os.Environ(), "IN_ROOT_SCRATCH=1")
	said, err := c.Output()
	if err != nil {
		return fmt.Errorf("installing %s: %w\n%s", filepath.Base(deb), err, said)
	}
	what := "installed on a minimal Debian 12, started, and removed"
	if t.arch != "amd64" {
		what = "unpacked; its programs were started from the archive"
	}
	lint, err := bookworm.command("/", []string{filepath.Dir(deb)}, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "lintian", "--allow-root", "--fail-on", "none", "--suppress-tags", strings.Join(suppressed, ","), deb)
	if err != nil {
		return err
	}
	problems, err := lint.Output()
	if err != nil {
		return fmt.Errorf("lintian: %w\n%s", err, problems)
	}
	for line := range strings.Lines(string(problems)) {
		if strings.HasPrefix(line, "E: ") {
			return fmt.Errorf("lintian: %s", strings.TrimSpace(line))
		}
	}
	warnings := strings.Count("\n"+string(problems), "\nW: ")
	note(t.name(), "Debian package", "%s; lintian: no errors, %d warnings", what, warnings)
	if warnings > 0 {
		fmt.Fprint(os.Stderr, string(problems))
	}
	return nil
}

// suppressed are lintian tags that do not apply to a package outside Debian's archive whose programs
// link their dependencies statically, so that they run on every Debian.
var suppressed = []string{"embedded-library", "statically-linked-binary", "initial-upload-closes-no-bugs", "no-manual-page", "bogus-mail-host", "bogus-mail-host-in-debian-changelog"}
