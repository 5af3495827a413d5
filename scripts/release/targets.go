package main

import (
	"path/filepath"
	"slices"
	"strings"
)

// A target is a system that the release has an archive for.
type target struct {
	os, arch string
	tree     *tree    // tree that builds it
	env      []string // the C compiler, in that tree
	link     string   // flags for the C compiler when it links
	programs []program
	images   []program // static programs, each with an image of its own
	machine  string    // name in debug/elf, debug/pe and debug/macho
	libc     []string  // the only system libraries that a program may need
	run      *runner   // how to start it here; nil if that is impossible
}

// A program is one file of an archive.
type program struct {
	name   string
	cgo    bool   // DuckDB is C++
	static bool   // as in an image, which has no libraries
	user   string // in an image; empty: root, because Kubernetes gives capabilities to no other user
	folder string // of its source; empty: cmd/ and its name

	profile string // of its work, for the compiler (profile-guided optimization); empty: none
}

var (
	pcapsule = program{name: "pcapsule", cgo: true, profile: bundling}
	recorder = program{name: "pcapsule-recorder"}

	inImages = []program{recorder, {name: "pcapsule-hub", user: user}, {name: "pcapsule", cgo: true, static: true, user: user, profile: bundling}}
)

// bundling is a profile of pcapsule bundle over the traffic of make bench. It does not have the name that go build looks for,
// because with a profile all packages are compiled a second time.
const bundling = "cmd/pcapsule/release.pgo"

// flags are the arguments of go build for a program.
func (p program) flags() []string {
	list := []string{"-trimpath", "-buildvcs=false"}
	if p.profile != "" {
		list = append(list, "-pgo="+p.profile)
	}
	return list
}

// source is the folder of a program's source.
func (p program) source() string {
	if p.folder != "" {
		return p.folder
	}
	return "cmd/" + p.name
}

// A runner starts programs of another system on this one.
type runner struct {
	tree   *tree
	prefix []string
	env    []string
	// emulated programs need QEMU also for the programs that they start; see emulate.
	emulated bool
}

// gnuLink drops code that main cannot reach. The C++ library is linked statically, from a folder that has nothing else
// (make-tree.sh). libgcc is not: every Linux has it, and the static one needs a newer glibc (2.35).
const gnuLink = "-Wl,--gc-sections -L/opt/static/"

// targets is the table of the release.
var targets = []*target{
	{
		os: "linux", arch: "amd64", tree: bookworm, link: gnuLink + "x86_64-linux-gnu", machine: "EM_X86_64",
		env:      []string{"CC=x86_64-linux-gnu-gcc", "CXX=x86_64-linux-gnu-g++"},
		programs: []program{pcapsule, recorder}, images: inImages,
		libc: []string{"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "libgcc_s.so.1", "ld-linux-x86-64.so.2"},
		run:  &runner{tree: plain},
	},
	{
		os: "linux", arch: "arm64", tree: bookworm, link: gnuLink + "aarch64-linux-gnu", machine: "EM_AARCH64",
		env:      []string{"CC=aarch64-linux-gnu-gcc", "CXX=aarch64-linux-gnu-g++"},
		programs: []program{pcapsule, recorder}, images: inImages,
		libc: []string{"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "libgcc_s.so.1", "ld-linux-aarch64.so.1"},
		run:  &runner{tree: bookworm, prefix: []string{"qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"}, emulated: true},
	},
	{
		os: "windows", arch: "amd64", tree: trixie, link: "-Wl,--gc-sections", machine: "IMAGE_FILE_MACHINE_AMD64",
		env:      []string{"CC=x86_64-w64-mingw32ucrt-gcc", "CXX=x86_64-w64-mingw32ucrt-g++"},
		programs: []program{pcapsule},
		libc:     []string{"kernel32.dll", "ws2_32.dll", "rstrtmgr.dll", "api-ms-win-crt-*.dll"},
		run:      &runner{tree: trixie, prefix: []string{"wine"}, env: []string{"WINEDEBUG=-all"}},
	},
	{
		os: "darwin", arch: "arm64", tree: bookworm, link: darwinLink, machine: "CpuArm64",
		env:      zig("aarch64-macos.12.0"),
		programs: []program{pcapsule},
		libc:     darwinLibraries,
	},
	{
		os: "darwin", arch: "amd64", tree: bookworm, link: darwinLink, machine: "CpuAmd64",
		env:      zig("x86_64-macos.12.0"),
		programs: []program{pcapsule},
		libc:     darwinLibraries,
	},
}

const darwinLink = "-Wl,-dead_strip"

var darwinLibraries = []string{stubs[0].library, stubs[1].library, stubs[2].library, "/usr/lib/libSystem.B.dylib"}

// zig is the environment of a build for macOS.
func zig(triple string) []string {
	here, _ := filepath.Abs("scripts/release/darwin") // Go runs the compiler in other folders
	return []string{"ZIG=/opt/zig/ziglang/zig", "CC=" + here + "/cc " + triple, "CXX=" + here + "/c++ " + triple}
}

func (t *target) name() string { return t.os + "/" + t.arch }

func targetNames() string {
	var names []string
	for _, t := range targets {
		names = append(names, t.name())
	}
	return strings.Join(names, ", ")
}

// chosen returns the targets with these names, or all if there are none.
func chosen(names []string) ([]*target, error) {
	if len(names) == 0 {
		return targets, nil
	}
	var list []*target
	for _, n := range names {
		i := slices.IndexFunc(targets, func(t *target) bool { return t.name() == n })
		if i < 0 {
			return nil, usagef("unknown target %s; the targets are %s", n, targetNames())
		}
		list = append(list, targets[i])
	}
	return list, nil
}
