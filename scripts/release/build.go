package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/pcapsule/pcapsule"

// build makes the archives of targets in out, and SHA256SUMS of all files there.
func build(r *release, list []*target, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := download(); err != nil {
		return err
	}
	for _, t := range list {
		if err := t.tree.make(); err != nil {
			return err
		}
		dir := filepath.Join(out, "bin", t.os+"-"+t.arch)
		if err := compile(r, t, dir, ""); err != nil {
			return err
		}
		if err := t.pack(r, dir, out); err != nil {
			return fmt.Errorf("packing %s: %w", t.name(), err)
		}
		if t.os == "linux" {
			if err := makeDeb(r, t, dir, out); err != nil {
				return fmt.Errorf("making the Debian package of %s: %w", t.name(), err)
			}
			for _, p := range t.images {
				if err := makeImage(r, t, p, dir, out); err != nil {
					return fmt.Errorf("making the image of %s for %s: %w", p.name, t.name(), err)
				}
			}
		}
	}
	if slices.ContainsFunc(list, func(t *target) bool { return len(t.images) > 0 }) {
		if err := forClusters(r, out); err != nil {
			return err
		}
	}
	if err := putPage(r, out); err != nil {
		return err
	}
	return writeSums(out)
}

// forClusters makes what installs the images in out.
func forClusters(r *release, out string) error {
	if err := writeChart(r, out); err != nil {
		return fmt.Errorf("packing the chart: %w", err)
	}
	if err := writeCluster(r, out); err != nil {
		return fmt.Errorf("packing the archive for clusters: %w", err)
	}
	return nil
}

// download fetches all modules first, so that compiling in a tree needs no network.
func download() error {
	c := exec.Command("go", "mod", "download")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("downloading modules: %w", err)
	}
	return nil
}

// compile builds a target's programs in dir, with the Go build cache goCache, or the default one.
func compile(r *release, t *target, dir, goCache string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	paths, err := goPaths()
	if err != nil {
		return err
	}
	if goCache != "" {
		paths["GOCACHE"] = goCache
		if err := os.MkdirAll(goCache, 0o755); err != nil {
			return err
		}
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, p := range t.allPrograms() {
		step("building %s for %s", p.name, t.name())
		flags, link := p.flags(), fmt.Sprintf("-s -w -buildid= -X %[1]s/internal/version.Release=%[2]s -X %[1]s/internal/version.Commit=%[3]s", module, r.version, r.commit)
		env := []string{
			"PATH=" + paths["GOROOT"] + "/bin:/usr/bin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "GOTOOLCHAIN=local", "GOPROXY=off", "GOFLAGS=-mod=readonly",
			"GOOS=" + t.os, "GOARCH=" + t.arch, "GOMODCACHE=" + paths["GOMODCACHE"], "GOCACHE=" + paths["GOCACHE"],
			// The cache keeps the objects compiled for macOS outside the tree's own files.
			"ZIG_GLOBAL_CACHE_DIR=" + paths["GOCACHE"] + "/zig", "ZIG_LOCAL_CACHE_DIR=" + paths["GOCACHE"] + "/zig",
			fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()),
		}
		if p.cgo {
			env = append(append(env, "CGO_ENABLED=1"), t.env...)
			extern := t.link
			if p.static {
				// Without glibc's resolver and its users and groups, which load libraries.
				flags, extern = append(flags, "-tags=netgo,osusergo"), extern+" -static"
				if t.arch == "arm64" {
					cc, err := t.relaxed(dir)
					if err != nil {
						return err
					}
					env = append(env, cc)
				}
			}
			link += " -linkmode=external -extldflags '" + extern + "'"
		} else {
			env = append(env, "CGO_ENABLED=0")
		}
		args := slices.Concat([]string{"env", "-i"}, env, []string{"go", "build"}, flags, []string{"-ldflags", link, "-o", filepath.Join(dir, t.file(p)), "./" + p.source()})
		c, err := t.command([]string{paths["GOROOT"] + ":ro", paths["GOMODCACHE"], paths["GOCACHE"], here}, args...)
		if err != nil {
			return err
		}
		c.Stdout = os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("building %s for %s: %w", p.name, t.name(), err)
		}
	}
	return putPage(r, dir)
}

// allPrograms are the programs of a target, and those that are only in images.
func (t *target) allPrograms() []program {
	list := slices.Clone(t.programs)
	for _, p := range t.images {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// command returns a command that runs in the target's tree or, without one, on this machine.
func (t *target) command(shared []string, args ...string) (*exec.Cmd, error) {
	if t.tree == nil {
		c := exec.Command(args[0], args[1:]...)
		c.Stderr = os.Stderr
		return c, nil
	}
	return t.tree.command(".", shared, args...)
}

// treeName names the compilers of a target.
func (t *target) treeName() string {
	if t.tree == nil {
		return "of the machine"
	}
	return t.tree.name
}

// file is the file name of a program below a target's folder of programs.
func (t *target) file(p program) string {
	if p.static {
		return filepath.Join("static", p.name)
	}
	if t.os == "windows" {
		return p.name + ".exe"
	}
	return p.name
}

// goPaths are the folders of Go on this machine.
func goPaths() (map[string]string, error) {
	names := []string{"GOROOT", "GOMODCACHE", "GOCACHE"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("asking go env: %w", err)
	}
	values := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(values) != len(names) {
		return nil, fmt.Errorf("asking go env: %d answers, want %d", len(values), len(names))
	}
	paths := map[string]string{}
	for i, n := range names {
		paths[n] = values[i]
	}
	return paths, nil
}

// writeSums writes SHA256SUMS, which sha256sum -c reads, over every file of the release.
func writeSums(out string) error {
	files, err := released(out)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(out, f))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), f)
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(b.String()), 0o644)
}

// released lists the files of a release in out.
func released(out string) ([]string, error) {
	var files []string
	for _, pattern := range []string{"*.tar.gz", viewerName, "*.zip", "*.deb", "*.image.tar", "*.cluster.tar", "*.cdx.json", "*.intoto.json", chartFolder + "/*"} {
		found, err := filepath.Glob(filepath.Join(out, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			rel, err := filepath.Rel(out, f)
			if err != nil {
				return nil, err
			}
			files = append(files, filepath.ToSlash(rel))
		}
	}
	slices.Sort(files)
	return files, nil
}
