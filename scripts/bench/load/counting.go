package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// counting is the minimal program for every packet of a control group: it only counts. Its cost is the
// lower bound for every program there.
func counting(group string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("raising the limit of locked memory: %w", err)
	}
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("making a counter: %w", err)
	}
	defer count.Close()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupSKB, License: "GPL", Instructions: asm.Instructions{
		asm.LoadMapValue(asm.R1, count.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 1), // pass
		asm.Return(),
	}})
	if err != nil {
		return fmt.Errorf("loading a counting program: %w", err)
	}
	defer prog.Close()
	for _, at := range []ebpf.AttachType{ebpf.AttachCGroupInetIngress, ebpf.AttachCGroupInetEgress} {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: group, Attach: at, Program: prog})
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", group, err)
		}
		defer l.Close()
	}
	fmt.Fprintln(os.Stderr, "recording nothing, counting")
	<-ctx.Done()
	var n uint64
	if err := count.Lookup(uint32(0), &n); err != nil {
		return fmt.Errorf("reading the counter: %w", err)
	}
	fmt.Fprintf(os.Stderr, "counted %d\n", n)
	return nil
}
