//go:build linux

package bpf

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/pcapsule/pcapsule/recorder/filter"
)

// verdict is the known value of the return register before an instruction.
type verdict int

const (
	unreached verdict = iota
	pass              // 1 on all paths to here
	unknown
)

func join(a, b verdict) verdict {
	switch {
	case a == unreached:
		return b
	case b == unreached || a == b:
		return a
	}
	return unknown
}

// exits follows every path through a program's main function and returns the verdict at each
// exit.
func exits(ins asm.Instructions) map[int]verdict {
	for i := 1; i < len(ins); i++ {
		if btf.FuncMetadata(&ins[i]) != nil {
			ins = ins[:i] // followed by the functions that it calls
			break
		}
	}
	labels := map[string]int{}
	for i := range ins {
		if s := ins[i].Symbol(); s != "" {
			labels[s] = i
		}
	}
	offsets, at := map[int]int{}, 0 // in units of eight bytes, like jumps
	where := make([]int, len(ins))
	for i := range ins {
		offsets[at], where[i] = i, at
		at += int(ins[i].Width())
	}
	before := make([]verdict, len(ins))
	before[0] = unknown
	out := map[int]verdict{}
	for work := []int{0}; len(work) > 0; {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		in := ins[i]
		after := before[i]
		op := in.OpCode
		switch {
		case op.JumpOp() == asm.Exit:
			out[i] = join(out[i], before[i])
			continue
		case op.JumpOp() == asm.Call:
			after = unknown
		case in.Dst == asm.R0 && (op.Class().IsALU() || op.Class().IsLoad()):
			after = unknown
			if op.Class().IsALU() && op.ALUOp() == asm.Mov && op.Source() == asm.ImmSource && in.Constant == 1 {
				after = pass
			}
		case op.Class().IsStore() && op.Mode() == asm.AtomicMode && in.Src == asm.R0:
			after = unknown
		}
		next := []int{}
		if op.JumpOp() != asm.Ja {
			next = append(next, i+1)
		}
		if op.Class().IsJump() && op.JumpOp() != asm.Call {
			to, ok := labels[in.Reference()]
			if !ok {
				to = offsets[where[i]+1+int(in.Offset)]
			}
			next = append(next, to)
		}
		for _, n := range next {
			if merged := join(before[n], after); merged != before[n] {
				before[n] = merged
				work = append(work, n)
			}
		}
	}
	return out
}

// TestEveryExitPasses proves for each program that returns a verdict to the kernel that
// every path through it ends in 1, "pass".
func TestEveryExitPasses(t *testing.T) {
	spec, err := loadRecorder()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, p := range spec.Programs {
		if !strings.HasPrefix(p.SectionName, "cgroup") {
			continue
		}
		checked++
		found := exits(p.Instructions)
		if len(found) == 0 {
			t.Errorf("%s has no exit", name)
		}
		for i, v := range found {
			if v != pass {
				t.Errorf("%s: exit at instruction %d may return a value other than 1", name, i)
			}
		}
	}
	if want := 2 + len(ownerHooks()); checked != want {
		t.Errorf("%d programs return a verdict, want %d", checked, want)
	}
}

// TestExitsAreFollowed shows that the proof above can fail.
func TestExitsAreFollowed(t *testing.T) {
	for _, c := range []struct {
		name string
		ins  asm.Instructions
		want verdict
	}{
		{"one exit that passes", asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}, pass},
		{"one exit that drops", asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, unknown},
		{"result of a call", asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.FnKtimeGetNs.Call(), asm.Return()}, unknown},
		{"a branch that does not pass", asm.Instructions{
			asm.Mov.Imm(asm.R0, 1), asm.JEq.Imm(asm.R1, 0, "end"), asm.Mov.Imm(asm.R0, 0), asm.Return().WithSymbol("end"),
		}, unknown},
		{"two branches that pass", asm.Instructions{
			asm.Mov.Imm(asm.R0, 0), asm.JEq.Imm(asm.R1, 0, "end"), asm.Mov.Imm(asm.R0, 1), asm.Return(),
			asm.Mov.Imm32(asm.R0, 1).WithSymbol("end"), asm.Return(),
		}, pass},
	} {
		got := pass
		for _, v := range exits(c.ins) {
			if v != pass {
				got = v
			}
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// frame is an IPv4 UDP packet with an Ethernet header, as the kernel's test run requires.
func frame(length int, dport uint16) []byte {
	b := make([]byte, 14+length)
	b[12], b[13] = 8, 0
	ip := b[14:]
	if length < 28 {
		return b
	}
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(length))
	ip[8], ip[9] = 64, 17
	copy(ip[12:], []byte{10, 1, 2, 3, 10, 4, 5, 6})
	binary.BigEndian.PutUint16(ip[20:], 4000)
	binary.BigEndian.PutUint16(ip[22:], dport)
	binary.BigEndian.PutUint16(ip[24:], uint16(length-20))
	return b
}

func (p *Programs) run(t *testing.T, name string, data []byte) {
	t.Helper()
	ret, err := p.coll.Programs[name].Run(&ebpf.RunOptions{Data: data, Repeat: 1})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if ret != 1 {
		t.Errorf("%s returned %d for a packet of %d bytes, want 1", name, ret, len(data)-14)
	}
}

// TestPacketsPassAtEveryExit runs the packet programs to each of their exits.
func TestPacketsPassAtEveryExit(t *testing.T) {
	port53, err := filter.Compile("udp port 53", 276, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		o      Options
		length int
		want   func(Counters) bool
	}{
		{"delivered", Options{}, 60, func(c Counters) bool { return c.Delivered == 1 }},
		{"delivered in each class", Options{}, 3000, func(c Counters) bool { return c.Delivered == 1 }},
		{"truncated by the snap length", Options{Snap: 40}, 60, func(c Counters) bool { return c.Delivered == 1 && c.Truncated == 1 }},
		{"headers only", Options{HeadersOnly: true}, 600, func(c Counters) bool { return c.Truncated == 1 }},
		{"refused by the filter", Options{Filter: port53.Instructions()}, 60, func(c Counters) bool { return c.Filtered == 1 }},
		{"no room", Options{RingBytes: 4096}, 3500, func(c Counters) bool { return c.Failed == 1 }},
		{"with owners", Options{Owners: true, OwnTGID: 1}, 60, func(c Counters) bool { return c.Delivered == 1 }},
		{"too short for its headers", Options{HeadersOnly: true, Owners: true}, 20, func(c Counters) bool { return c.Delivered == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := load(t, c.o)
			p.run(t, "packet_in", frame(c.length, 4001))
			p.run(t, "packet_out", frame(c.length, 4001))
			in, out, err := p.Counts()
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []Counters{in, out} {
				if !got.Balanced() || !c.want(got) {
					t.Errorf("counters %+v", got)
				}
			}
		})
	}
}

// TestOwnGroupIsLeftOut runs the exit for the recorder's own packets.
func TestOwnGroupIsLeftOut(t *testing.T) {
	var own uint64
	{
		p := load(t, Options{})
		p.run(t, "packet_out", frame(60, 1))
		rec, _, err := readOne(p)
		if err != nil {
			t.Fatal(err)
		}
		own = rec.Cgroup
	}
	if own == 0 {
		t.Skip("needs a kernel that gives test packets a control group")
	}
	p := load(t, Options{OwnCgroup: own})
	p.run(t, "packet_out", frame(60, 1))
	if _, out, err := p.Counts(); err != nil || out.Excluded != 1 || !out.Balanced() {
		t.Errorf("counters %+v, %v", out, err)
	}
}
