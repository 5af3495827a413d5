package main

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// makeDeb makes the Debian package of the programs in dir.
func makeDeb(r *release, t *target, dir, out string) error {
	name := fmt.Sprintf("pcapsule_%s_%s.deb", r.debian(), t.arch)
	step("packing %s", name)
	files, err := debFiles(r, t, dir)
	if err != nil {
		return err
	}
	tree := filepath.Join(out, "bin", "deb-"+t.arch)
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	var size int64
	for _, f := range files {
		path := filepath.Join(tree, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, os.FileMode(f.mode)); err != nil {
			return err
		}
		size += int64(len(f.data))
	}
	needs, err := neededLibc(filepath.Join(dir, pcapsule.name))
	if err != nil {
		return err
	}
	control := fmt.Sprintf(`Package: pcapsule
Version: %s
Architecture: %s
Maintainer: pcapsule developers <developers@pcapsule.example>
Installed-Size: %d
Depends: libc6 (>= %s), libgcc-s1
Suggests: wireshark
Section: net
Priority: optional
Homepage: https://github.com/pcapsule/pcapsule
Description: packet captures as evidence that answers questions
 pcapsule turns pcap and pcapng files into bundles: the original packets, tables
 of every call in them, and hashes of both. It answers questions about bundles
 without a cluster, a server or a network, and every answer cites its packets.
 .
 pcapsule-recorder records the packets of a Kubernetes node.
`, r.debian(), t.arch, size/1024, needs)
	if err := os.MkdirAll(filepath.Join(tree, "DEBIAN"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "DEBIAN", "control"), []byte(control), 0o644); err != nil {
		return err
	}
	if err := touchAll(tree, r.time); err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	c, err := bookworm.command(".", []string{here}, "env", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()), "dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", tree, filepath.Join(out, name))
	if err != nil {
		return err
	}
	if err := c.Run(); err != nil {
		return fmt.Errorf("dpkg-deb: %w", err)
	}
	return nil
}

// debFiles are the files of the package, by installed path.
func debFiles(r *release, t *target, dir string) ([]member, error) {
	var files []member
	for _, p := range t.programs {
		data, err := os.ReadFile(filepath.Join(dir, t.file(p)))
		if err != nil {
			return nil, err
		}
		files = append(files, member{"usr/bin/" + p.name, 0o755, data})
	}
	for shell, path := range map[string]string{
		"bash": "usr/share/bash-completion/completions/pcapsule",
		"zsh":  "usr/share/zsh/vendor-completions/_pcapsule",
		"fish": "usr/share/fish/vendor_completions.d/pcapsule.fish",
	} {
		script, err := t.start(dir, "completion", shell)
		if err != nil {
			return nil, err
		}
		text, err := script.Output()
		if err != nil {
			return nil, fmt.Errorf("pcapsule completion %s: %w", shell, err)
		}
		files = append(files, member{path, 0o644, text})
	}
	page, err := t.start(dir, "man")
	if err != nil {
		return nil, err
	}
	manual, err := page.Output()
	if err != nil {
		return nil, fmt.Errorf("pcapsule man: %w", err)
	}
	viewer, err := os.ReadFile(filepath.Join(dir, viewerName))
	if err != nil {
		return nil, err
	}
	files = append(files, member{"usr/share/pcapsule/" + viewerName, 0o644, viewer})
	third, err := t.licences(dir)
	if err != nil {
		return nil, err
	}
	sbom, err := t.sbom(r, dir)
	if err != nil {
		return nil, err
	}
	changes := fmt.Sprintf("pcapsule (%s) unstable; urgency=medium\n\n  * Release %s\n  * Commit %s\n\n -- pcapsule developers <developers@pcapsule.example>  %s\n", r.debian(), r.version, r.commit, r.time.Format(time.RFC1123Z))
	const doc = "usr/share/doc/pcapsule/"
	for name, text := range map[string][]byte{doc + "changelog.gz": []byte(changes), doc + "third-party-licenses.gz": third, doc + "sbom.cdx.json.gz": sbom, "usr/share/man/man1/pcapsule.1.gz": manual} {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(text); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		files = append(files, member{name, 0o644, b.Bytes()})
	}
	copyright := "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: pcapsule\nSource: https://github.com/pcapsule/pcapsule\n\n" +
		"Files: *\nCopyright: 2026 the pcapsule authors\nLicense: Apache-2.0\n On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.\n" +
		"Comment: what is linked in, with its licences, is in third-party-licenses.gz\n"
	return append(files, member{doc + "copyright", 0o644, []byte(copyright)}), nil
}

// neededLibc is the oldest version of the C library that a program needs.
func neededLibc(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return "", fmt.Errorf("reading the symbols of %s: %w", path, err)
	}
	newest, text := 0, ""
	for _, s := range symbols {
		var major, minor int
		if n, _ := fmt.Sscanf(s.Version, "GLIBC_%d.%d", &major, &minor); n == 2 && major*1000+minor > newest {
			newest, text = major*1000+minor, strings.TrimPrefix(s.Version, "GLIBC_")
		}
	}
	if text == "" {
		return "", fmt.Errorf("%s names no version of the C library", path)
	}
	return text, nil
}

// touchAll sets one time for all files of a tree, and so for the package.
func touchAll(dir string, at time.Time) error {
	var paths []string
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}); err != nil {
		return err
	}
	for i := len(paths) - 1; i >= 0; i-- { // folders last
		if err := os.Chtimes(paths[i], at, at); err != nil {
			return err
		}
	}
	return nil
}
