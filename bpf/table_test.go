//go:build linux

package bpf

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/bpf/internal/loader"
)

var update = flag.Bool("update", false, "write the tables of programs into bpf/PROGRAMS.md")

const (
	programsPage = "PROGRAMS.md"
	tablesBegin  = "<!-- go test ./bpf -run TestProgramTables -update writes what follows -->\n"
	tablesEnd    = "<!-- up to here -->\n"
)

type release = loader.Release

func newest(a, b release) release {
	if a.Compare(b) < 0 {
		return b
	}
	return a
}

// optional are helpers whose existence a program tests, so it loads without them.
var optional = map[string]asm.BuiltinFunc{recorderProgPacketIn: asm.FnGetCurrentTaskBtf, recorderProgPacketOut: asm.FnGetCurrentTaskBtf}

// The release in which the kernel introduced a feature, according to its history.
var (
	helperSince = map[asm.BuiltinFunc]release{
		asm.FnMapLookupElem: {Major: 3, Minor: 18}, asm.FnMapUpdateElem: {Major: 3, Minor: 18}, asm.FnKtimeGetNs: {Major: 4, Minor: 1}, asm.FnGetCurrentPidTgid: {Major: 4, Minor: 2}, asm.FnSkbLoadBytes: {Major: 4, Minor: 5},
		asm.FnGetSocketCookie: {Major: 4, Minor: 12}, asm.FnSkbCgroupId: {Major: 4, Minor: 18}, asm.FnSkFullsock: {Major: 5, Minor: 1}, asm.FnSkStorageGet: {Major: 5, Minor: 2}, asm.FnProbeReadUser: {Major: 5, Minor: 5}, asm.FnGetNetnsCookie: {Major: 5, Minor: 7},
		asm.FnProbeReadKernel: {Major: 5, Minor: 5}, asm.FnProbeReadKernelStr: {Major: 5, Minor: 5}, asm.FnRingbufReserve: {Major: 5, Minor: 8}, asm.FnRingbufSubmit: {Major: 5, Minor: 8},
		asm.FnRingbufDiscard: {Major: 5, Minor: 8}, asm.FnRingbufQuery: {Major: 5, Minor: 8}, asm.FnSkcToTcpSock: {Major: 5, Minor: 9}, asm.FnGetCurrentTask: {Major: 4, Minor: 8}, asm.FnGetCurrentTaskBtf: {Major: 5, Minor: 11}, asm.FnSockFromFile: {Major: 5, Minor: 11},
	}
	// Some helpers became available to some types of programs later.
	helperForType = map[ebpf.ProgramType]map[asm.BuiltinFunc]release{
		ebpf.CGroupSKB:      {asm.FnGetCurrentTaskBtf: {Major: 5, Minor: 15}, asm.FnGetCurrentPidTgid: {Major: 6, Minor: 10}},
		ebpf.CGroupSock:     {asm.FnGetSocketCookie: {Major: 5, Minor: 7}, asm.FnGetCurrentPidTgid: {Major: 5, Minor: 7}, asm.FnSkStorageGet: {Major: 5, Minor: 9}},
		ebpf.CGroupSockAddr: {asm.FnGetSocketCookie: {Major: 5, Minor: 7}, asm.FnGetCurrentPidTgid: {Major: 5, Minor: 7}, asm.FnSkStorageGet: {Major: 5, Minor: 9}},
		ebpf.Tracing:        {asm.FnGetSocketCookie: {Major: 5, Minor: 12}, asm.FnSkStorageGet: {Major: 5, Minor: 11}},
	}
	typeSince   = map[ebpf.ProgramType]release{ebpf.CGroupSKB: {Major: 4, Minor: 10}, ebpf.CGroupSock: {Major: 4, Minor: 10}, ebpf.CGroupSockAddr: {Major: 4, Minor: 17}, ebpf.RawTracepoint: {Major: 4, Minor: 17}, ebpf.Tracing: {Major: 5, Minor: 5}}
	attachSince = map[ebpf.AttachType]release{
		ebpf.AttachCGroupInet4PostBind: {Major: 4, Minor: 17}, ebpf.AttachCGroupInet6PostBind: {Major: 4, Minor: 17}, ebpf.AttachCGroupUDP4Sendmsg: {Major: 4, Minor: 18}, ebpf.AttachCGroupUDP6Sendmsg: {Major: 4, Minor: 18},
		ebpf.AttachCGroupUDP4Recvmsg: {Major: 5, Minor: 2}, ebpf.AttachCGroupUDP6Recvmsg: {Major: 5, Minor: 2}, ebpf.AttachCgroupInet4GetPeername: {Major: 5, Minor: 8}, ebpf.AttachCgroupInet6GetPeername: {Major: 5, Minor: 8},
		ebpf.AttachTraceIter: {Major: 5, Minor: 8},
	}
	mapSince     = map[ebpf.MapType]release{ebpf.Hash: {Major: 3, Minor: 19}, ebpf.Array: {Major: 3, Minor: 19}, ebpf.PerCPUArray: {Major: 4, Minor: 6}, ebpf.SkStorage: {Major: 5, Minor: 2}, ebpf.RingBuf: {Major: 5, Minor: 8}}
	linkSince    = release{Major: 5, Minor: 7}  // for control groups: programs detach when the recorder ends
	fetchSince   = release{Major: 5, Minor: 12} // atomic operations that return the old value
	dropSince    = release{Major: 5, Minor: 17} // kfree_skb reports the reason
	oldest       = release{Major: 5, Minor: 1}  // 32-bit jumps, which the compiler uses
	tracepointOf = map[string]release{"packet_dropped": dropSince}
)

// needs lists the helpers and maps of a program, and the first kernel that has everything.
func needs(t *testing.T, name string, p *ebpf.ProgramSpec, spec *ebpf.CollectionSpec) (helpers, mapTypes []string, since release) {
	t.Helper()
	known := func(r release, ok bool, what string) {
		if !ok {
			t.Errorf("%s uses %s, whose first kernel is missing in the tables", name, what)
		}
		since = newest(since, r)
	}
	since = newest(oldest, tracepointOf[name])
	r, ok := typeSince[p.Type]
	known(r, ok, p.Type.String())
	since = newest(since, attachSince[p.AttachType])
	if strings.HasPrefix(p.SectionName, "cgroup") {
		since = newest(since, linkSince)
	}
	called, used := map[string]bool{}, map[string]bool{}
	for _, in := range p.Instructions {
		switch {
		case in.IsBuiltinCall():
			fn := asm.BuiltinFunc(in.Constant)
			called[strings.TrimPrefix(fn.String(), "Fn")] = true
			if optional[name] == fn {
				continue
			}
			r, ok := helperSince[fn]
			if later, is := helperForType[p.Type][fn]; is {
				r = newest(r, later)
			}
			known(r, ok, fn.String())
		case in.OpCode.Class().IsStore() && in.OpCode.Mode() == asm.AtomicMode && strings.Contains(fmt.Sprint(in), "Fetch"), strings.Contains(fmt.Sprint(in), "Xchg"):
			since = newest(since, fetchSince)
		}
		if m := spec.Maps[in.Reference()]; m != nil && in.IsLoadFromMap() && !strings.HasPrefix(m.Name, ".") {
			r, ok := mapSince[m.Type]
			known(r, ok, m.Type.String())
			used[m.Type.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(called)), slices.Sorted(maps.Keys(used)), since
}

// counted is a program's row in a table.
type counted struct{ instructions, verified int }

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// TestProgramTables compares the tables of PROGRAMS.md with the object: the length of each
// program, the number of instructions that the verifier walked through, and its requirements.
func TestProgramTables(t *testing.T) {
	spec, err := loadRecorder()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(programsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tablesBegin)
	old, after, ok2 := strings.Cut(rest, tablesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the tables", programsPage)
	}
	p := load(t, Options{Owners: true, HeadersOnly: true})
	var complexity, matrix strings.Builder
	fmt.Fprintf(&complexity, "\nOn Linux %s, %s, with owners and headers only:\n\n| program | hook | instructions | walked by the verifier |\n|---|---|---|---|\n", kernelRelease(), machine())
	fmt.Fprint(&matrix, "\nWhat each needs, and since when the kernel has all of it:\n\n| programs | helpers | maps | since |\n|---|---|---|---|\n")
	needing := map[string][]string{} // programs by what they need
	documented := oldCounts(old)
	sameKernel := strings.Contains(old, "On Linux "+kernelRelease()+", ")
	all := release{}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		ps := spec.Programs[name]
		info, err := p.coll.Programs[name].Info()
		if err != nil {
			t.Fatal(err)
		}
		walked, _ := info.VerifiedInstructions()
		n := counted{int(ps.Instructions.Size() / asm.InstructionSize), int(walked)}
		if walked > 100_000 { // of a million that the kernel allows
			t.Errorf("%s: the verifier walked through %d instructions, want at most 100,000", name, walked)
		}
		if was := documented[name]; was.instructions != n.instructions || sameKernel && was.verified != n.verified {
			t.Logf("%s has %+v, the page has %+v", name, n, was)
		}
		fmt.Fprintf(&complexity, "| `%s` | `%s` | %d | %d |\n", name, ps.SectionName, n.instructions, n.verified)
		helpers, mapTypes, first := needs(t, name, ps, spec)
		need := fmt.Sprintf("%s | %s | %s", strings.Join(helpers, ", "), strings.Join(mapTypes, ", "), first)
		needing[need] = append(needing[need], "`"+name+"`")
		all = newest(all, first)
		if want := sinceOf(name); newest(first, tested) != want {
			t.Errorf("%s needs Linux %s for what it calls, but programs.go has %s", name, first, want)
		}
	}
	for _, need := range slices.SortedFunc(maps.Keys(needing), func(a, b string) int { return strings.Compare(needing[a][0], needing[b][0]) }) {
		fmt.Fprintf(&matrix, "| %s | %s |\n", strings.Join(needing[need], ", "), need)
	}
	fmt.Fprintf(&matrix, "\nNothing is missing from %s on.\n\n", all)
	now := complexity.String() + matrix.String()
	if *update {
		if err := os.WriteFile(programsPage, []byte(before+tablesBegin+now+tablesEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !sameKernel { // other verifiers walk other paths
		old, now = unverified(old), unverified(now)
	}
	if old != now {
		t.Errorf("the tables of %s do not match the programs; run this test with -update and read the difference", programsPage)
	}
}

// tested is the oldest kernel that make kernels tests.
var tested = release{Major: 5, Minor: 10}

func sinceOf(name string) release {
	if r, ok := since[name]; ok {
		return r
	}
	return tested
}

func machine() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Machine[:])
}

func oldCounts(text string) map[string]counted {
	m := map[string]counted{}
	for line := range strings.Lines(text) {
		f := strings.Split(line, "|")
		if len(f) != 6 {
			continue
		}
		a, err1 := strconv.Atoi(strings.TrimSpace(f[3]))
		b, err2 := strconv.Atoi(strings.TrimSpace(f[4]))
		if err1 == nil && err2 == nil {
			m[strings.Trim(f[1], " `")] = counted{a, b}
		}
	}
	return m
}

// unverified is a table without the numbers that depend on the kernel.
func unverified(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "On Linux ") {
			continue
		}
		if f := strings.Split(line, "|"); len(f) == 6 {
			if _, err := strconv.Atoi(strings.TrimSpace(f[4])); err == nil {
				f[4] = " "
				line = strings.Join(f, "|")
			}
		}
		b.WriteString(line)
	}
	return b.String()
}
