//go:build linux

package bpf

import (
	"cmp"
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
)

var update = flag.Bool("update", false, "write the tables of programs into docs/design/005-recorder.md")

const (
	designPage  = "../docs/design/005-recorder.md"
	tablesBegin = "<!-- go test ./bpf -run TestProgramTables -update writes what follows -->\n"
	tablesEnd   = "<!-- up to here -->\n"
)

// release is a version of the kernel.
type release struct{ major, minor int }

func (r release) String() string { return fmt.Sprintf("%d.%d", r.major, r.minor) }

func newest(a, b release) release {
	if cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor)) < 0 {
		return b
	}
	return a
}

// Since which release the kernel has something, by its own history.
var (
	helperSince = map[asm.BuiltinFunc]release{
		asm.FnMapLookupElem: {3, 18}, asm.FnMapUpdateElem: {3, 18}, asm.FnKtimeGetNs: {4, 1}, asm.FnGetCurrentPidTgid: {4, 2}, asm.FnSkbLoadBytes: {4, 5},
		asm.FnGetSocketCookie: {4, 12}, asm.FnSkbCgroupId: {4, 18}, asm.FnSkFullsock: {5, 1}, asm.FnSkStorageGet: {5, 2}, asm.FnProbeReadUser: {5, 5},
		asm.FnProbeReadKernel: {5, 5}, asm.FnProbeReadKernelStr: {5, 5}, asm.FnRingbufReserve: {5, 8}, asm.FnRingbufSubmit: {5, 8},
		asm.FnRingbufDiscard: {5, 8}, asm.FnRingbufQuery: {5, 8}, asm.FnSkcToTcpSock: {5, 9}, asm.FnGetCurrentTaskBtf: {5, 11}, asm.FnSockFromFile: {5, 11},
	}
	// Some helpers were opened to some types of programs later.
	helperForType = map[ebpf.ProgramType]map[asm.BuiltinFunc]release{
		ebpf.CGroupSKB:      {asm.FnGetCurrentTaskBtf: {5, 15}, asm.FnGetCurrentPidTgid: {6, 10}},
		ebpf.CGroupSock:     {asm.FnGetSocketCookie: {5, 7}, asm.FnGetCurrentPidTgid: {5, 7}, asm.FnSkStorageGet: {5, 9}},
		ebpf.CGroupSockAddr: {asm.FnGetSocketCookie: {5, 7}, asm.FnGetCurrentPidTgid: {5, 7}, asm.FnSkStorageGet: {5, 9}},
		ebpf.Tracing:        {asm.FnGetSocketCookie: {5, 12}, asm.FnSkStorageGet: {5, 11}},
	}
	typeSince   = map[ebpf.ProgramType]release{ebpf.CGroupSKB: {4, 10}, ebpf.CGroupSock: {4, 10}, ebpf.CGroupSockAddr: {4, 17}, ebpf.RawTracepoint: {4, 17}, ebpf.Tracing: {5, 5}}
	attachSince = map[ebpf.AttachType]release{
		ebpf.AttachCGroupInet4PostBind: {4, 17}, ebpf.AttachCGroupInet6PostBind: {4, 17}, ebpf.AttachCGroupUDP4Sendmsg: {4, 18}, ebpf.AttachCGroupUDP6Sendmsg: {4, 18},
		ebpf.AttachCGroupUDP4Recvmsg: {5, 2}, ebpf.AttachCGroupUDP6Recvmsg: {5, 2}, ebpf.AttachCgroupInet4GetPeername: {5, 8}, ebpf.AttachCgroupInet6GetPeername: {5, 8},
		ebpf.AttachTraceIter: {5, 8},
	}
	mapSince     = map[ebpf.MapType]release{ebpf.Hash: {3, 19}, ebpf.Array: {3, 19}, ebpf.PerCPUArray: {4, 6}, ebpf.SkStorage: {5, 2}, ebpf.RingBuf: {5, 8}}
	linkSince    = release{5, 7}  // of control groups: what is attached ends with the recorder
	fetchSince   = release{5, 12} // atomic operations that give the old value
	dropSince    = release{5, 17} // kfree_skb says why
	oldest       = release{5, 1}  // 32-bit jumps, which the compiler uses
	tracepointOf = map[string]release{"packet_dropped": dropSince}
)

// needs says which helpers and maps a program uses, and since when the kernel has all of it.
func needs(t *testing.T, name string, p *ebpf.ProgramSpec, spec *ebpf.CollectionSpec) (helpers, mapTypes []string, since release) {
	t.Helper()
	known := func(r release, ok bool, what string) {
		if !ok {
			t.Errorf("%s uses %s, of which the tables do not know since when it is there", name, what)
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
			r, ok := helperSince[fn]
			if later, is := helperForType[p.Type][fn]; is {
				r = newest(r, later)
			}
			known(r, ok, fn.String())
			called[strings.TrimPrefix(fn.String(), "Fn")] = true
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

// counted is what a table has of a program.
type counted struct{ instructions, verified int }

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// TestProgramTables holds the tables of the design page to the object: how long each program
// is, how many instructions the verifier walked through, what it needs of the kernel.
func TestProgramTables(t *testing.T) {
	spec, err := loadRecorder()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(designPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tablesBegin)
	old, after, ok2 := strings.Cut(rest, tablesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the tables", designPage)
	}
	p := load(t, Options{Owners: true, HeadersOnly: true})
	var complexity, matrix strings.Builder
	fmt.Fprintf(&complexity, "\nOn Linux %s, %s, with owners and headers only:\n\n| program | hook | instructions | walked by the verifier |\n|---|---|---|---|\n", kernelRelease(), machine())
	fmt.Fprint(&matrix, "\nWhat each needs, and since when the kernel has all of it:\n\n| program | helpers | maps | since |\n|---|---|---|---|\n")
	said := oldCounts(old)
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
		if was := said[name]; was.instructions != n.instructions || sameKernel && was.verified != n.verified {
			t.Logf("%s has %+v, the page says %+v", name, n, was)
		}
		fmt.Fprintf(&complexity, "| `%s` | `%s` | %d | %d |\n", name, ps.SectionName, n.instructions, n.verified)
		helpers, mapTypes, since := needs(t, name, ps, spec)
		fmt.Fprintf(&matrix, "| `%s` | %s | %s | %s |\n", name, strings.Join(helpers, ", "), strings.Join(mapTypes, ", "), since)
		all = newest(all, since)
	}
	fmt.Fprintf(&matrix, "\nFrom %s on nothing is missing.\n\n", all)
	now := complexity.String() + matrix.String()
	if *update {
		if err := os.WriteFile(designPage, []byte(before+tablesBegin+now+tablesEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !sameKernel { // another verifier walks other ways
		old, now = unverified(old), unverified(now)
	}
	if old != now {
		t.Errorf("the tables of %s are not those of the programs; run this test with -update and read the difference", designPage)
	}
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

// unverified is a table without what depends on the kernel.
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
