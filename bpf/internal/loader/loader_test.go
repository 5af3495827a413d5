//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func TestRefusedErrors(t *testing.T) {
	_, kernel := Running()
	verifier := &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"0: R1=ctx", "239: (85) call bpf_skb_load_bytes#26", "R4 invalid zero-sized read: u64=[0,192]", "processed 240 insns (limit 1000000)", ""}}
	for _, row := range []struct {
		name   string
		err    *RefusedError
		want   string
		rights bool // looks like missing rights
	}{
		{"a newer kernel is needed", Refused("p", Release{99, 1}, verifier), "program p needs Linux 99.1, this is " + kernel, false},
		{"the verifier refuses", Refused("p", Release{}, fmt.Errorf("loading: %w", verifier)), "program p is refused by the verifier of Linux " + kernel + ": 0: R1=ctx; 239: (85) call bpf_skb_load_bytes#26; R4 invalid zero-sized read: u64=[0,192]", false},
		{"the verifier was not reached", Refused("p", Release{}, &ebpf.VerifierError{Cause: unix.EPERM}), "program p is refused by Linux " + kernel + ": operation not permitted", true},
	} {
		if LockedDown() {
			t.Skip("needs a kernel that is not locked down")
		}
		if got := row.err.Error(); got != row.want {
			t.Errorf("%s: %s\nwant %s", row.name, got, row.want)
		}
		if got := errors.Is(row.err, os.ErrPermission); got != row.rights {
			t.Errorf("%s: looks like missing rights: %t, want %t", row.name, got, row.rights)
		}
	}
}

// TestOneRefusedProgramKeepsNoOther loads a good program and one that no verifier accepts.
func TestOneRefusedProgramKeepsNoOther(t *testing.T) {
	program := func(value asm.Register) *ebpf.ProgramSpec {
		return &ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "BSD", Instructions: asm.Instructions{asm.Mov.Reg(asm.R0, value), asm.Mov.Imm(asm.R0, 0), asm.Return()}}
	}
	spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"good": program(asm.R1), "bad": program(asm.R7)}, Maps: map[string]*ebpf.MapSpec{}}
	coll, refused, err := Programs(spec, map[string]Release{"bad": {5, 10}}, nil)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer coll.Close()
	if coll.Programs["good"] == nil || coll.Programs["bad"] != nil || len(refused) != 1 {
		t.Fatalf("loaded %v, refused %v", coll.Programs, refused)
	}
	if text := refused["bad"].Error(); !strings.Contains(text, "refused by the verifier of Linux") || !strings.Contains(text, "R7 !read_ok") {
		t.Error(text)
	}
}
