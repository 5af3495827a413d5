package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// archive is a folder of Debian packages. It uses the machine's apt with separate lists and settings,
// because it has other releases and architectures than the machine.
type archive struct {
	dir string
	apt []string // options for every apt command

	updated bool // the package lists were updated in this run
}

// guestSuite is the Debian release whose programs run in the guest.
const guestSuite = "bookworm"

// guestPackages are the packages that the guest needs in addition to our program.
var guestPackages = []string{"busybox-static", "openssl", "libssl3", "libc6"}

func newArchive(ctx context.Context, dir string, list []kernel) (*archive, error) {
	mirror, err := mirror()
	if err != nil {
		return nil, err
	}
	suites, archs := []string{guestSuite}, []string{}
	for _, k := range list {
		suites, archs = append(suites, k.suite), append(archs, k.arch)
	}
	slices.Sort(suites)
	slices.Sort(archs)
	suites, archs = slices.Compact(suites), slices.Compact(archs)
	a := &archive{dir: dir}
	for _, d := range []string{"apt/state/lists/partial", "apt/cache/archives/partial", "packages", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	var sources strings.Builder
	for _, s := range suites {
		fmt.Fprintf(&sources, "deb [arch=%s] %s %s main\n", strings.Join(archs, ","), mirror, s)
	}
	list0 := filepath.Join(dir, "apt/sources.list")
	before, _ := os.ReadFile(list0)
	if err := errors.Join(os.WriteFile(list0, []byte(sources.String()), 0o644), os.WriteFile(filepath.Join(dir, "apt/status"), nil, 0o644)); err != nil {
		return nil, err
	}
	for _, s := range []string{"Dir::State=" + dir + "/apt/state", "Dir::State::status=" + dir + "/apt/status", "Dir::Cache=" + dir + "/apt/cache", "Dir::Etc::sourcelist=" + list0,
		"Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root", "APT::Architecture=" + archs[0], "Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"} {
		a.apt = append(a.apt, "-o", s)
	}
	for _, arch := range archs {
		a.apt = append(a.apt, "-o", "APT::Architectures::="+arch)
	}
	lists, err := filepath.Glob(filepath.Join(dir, "apt/state/lists/*_Packages*"))
	if err == nil && len(lists) > 0 && string(before) == sources.String() {
		return a, nil
	}
	return a, errors.Join(err, a.update(ctx))
}

// update fetches the lists of packages.
func (a *archive) update(ctx context.Context) error {
	a.updated = true
	_, err := command(ctx, a.dir, "apt-get", append(a.apt, "-qq", "update")...)
	return err
}

// mirror is the Debian mirror of the machine.
func mirror() (string, error) {
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(string(b)) {
			if url, ok := strings.CutPrefix(line, "URIs:"); ok && !strings.Contains(url, "security") {
				return strings.Fields(url)[0], nil
			}
		}
	}
	files, _ = filepath.Glob("/etc/apt/sources.list.d/*.list")
	for _, f := range append([]string{"/etc/apt/sources.list"}, files...) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			for _, word := range strings.Fields(line) {
				if strings.HasPrefix(line, "deb ") && strings.HasPrefix(word, "http") && !strings.Contains(word, "security") {
					return word, nil
				}
			}
		}
	}
	return "", errors.New("apt has no sources: kernels come from Debian's packages")
}

// newest returns the newest package whose name matches.
func (a *archive) newest(ctx context.Context, pattern, arch string) (string, error) {
	out, err := command(ctx, a.dir, "apt-cache", append(a.apt, "pkgnames", literal(pattern))...)
	if err != nil {
		return "", err
	}
	re, err := regexp.Compile("^" + pattern + "$")
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range strings.Fields(out) {
		if re.MatchString(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%w: %s for %s", errNoPackage, pattern, arch)
	}
	slices.SortFunc(found, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) })
	return found[len(found)-1], nil
}

var errNoPackage = errors.New("the mirror has no such package")

// literal is the literal prefix of a pattern.
func literal(pattern string) string {
	text, _, _ := strings.Cut(pattern, `\`)
	return text
}

func numbers(name string) (list []int) {
	n, in := 0, false
	for _, c := range name + " " {
		if c >= '0' && c <= '9' {
			n, in = n*10+int(c-'0'), true
		} else if in {
			list = append(list, n)
			n, in = 0, false
		}
	}
	return list
}

// unpack fetches a package of a release, unless it is cached, and returns the folder with its files.
func (a *archive) unpack(ctx context.Context, name, arch, suite string) (string, error) {
	dir := filepath.Join(a.dir, "packages", name+"_"+arch+"_"+suite)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(filepath.Join(a.dir, "packages"), ".partial-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if _, err := command(ctx, tmp, "apt-get", append(a.apt, "-qq", "download", name+":"+arch+"/"+suite)...); err != nil {
		return "", err
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return "", fmt.Errorf("%w: %s for %s in %s", errNoPackage, name, arch, suite)
	}
	if _, err := command(ctx, tmp, "dpkg-deb", "-x", debs[0], "x"); err != nil {
		return "", err
	}
	return dir, os.Rename(filepath.Join(tmp, "x"), dir)
}

// command runs a program and returns its output.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	var out, trouble strings.Builder
	c.Stdout, c.Stderr = &out, &trouble
	if err := c.Run(); err != nil {
		text := strings.TrimSpace(trouble.String())
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
		return "", fmt.Errorf("running %s: %w: %s", name, err, text)
	}
	return out.String(), nil
}
