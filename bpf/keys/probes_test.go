//go:build linux && (amd64 || arm64)

package keys

import (
	"errors"
	"os"
	"reflect"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestCookiesAsConstants changes programs for kernels without cookies: each call for the
// cookie becomes a constant of the same length, and nothing else changes.
func TestCookiesAsConstants(t *testing.T) {
	for name, read := range map[string]func() (*ebpf.CollectionSpec, error){"keys": loadKeys, "plain": loadPlain} {
		before, err := read()
		if err != nil {
			t.Fatal(err)
		}
		after := before.Copy()
		const cookie = cookieWrite | cookieEx | 1023
		replaced := 0
		for program, ps := range after.Programs {
			setCookie(ps.Instructions, cookie)
			old := before.Programs[program].Instructions
			if len(ps.Instructions) != len(old) || ps.Instructions.Size() != old.Size() {
				t.Fatalf("%s: %s has %d instructions of %d bytes, had %d of %d", name, program, len(ps.Instructions), ps.Instructions.Size(), len(old), old.Size())
			}
			for i, in := range ps.Instructions {
				if !old[i].IsBuiltinCall() || asm.BuiltinFunc(old[i].Constant) != asm.FnGetAttachCookie {
					if in.OpCode != old[i].OpCode || in.Constant != old[i].Constant {
						t.Errorf("%s: instruction %d of %s changed to %v", name, i, program, in)
					}
					continue
				}
				replaced++
				if in.OpCode.ALUOp() != asm.Mov || in.Dst != asm.R0 || uint32(in.Constant) != cookie || in.OpCode.Class() != asm.ALUClass {
					t.Errorf("%s: instruction %d of %s is %v, want w0 = %#x", name, i, program, in, uint32(cookie))
				}
			}
		}
		if replaced < 2 {
			t.Errorf("%s: %d calls for the cookie, want several", name, replaced)
		}
	}
}

// TestProbesWithoutCookies attaches copies of a program, as needed before Linux 5.15.
func TestProbesWithoutCookies(t *testing.T) {
	spec, err := loadKeys()
	if err != nil {
		t.Fatal(err)
	}
	p, refused, err := newProbes(spec, false, nil, nil)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.coll.Close()
	for program, err := range refused {
		t.Errorf("%s: %v", program, err)
	}
	at := uint64(runtime.FuncForPC(reflect.ValueOf(TestCookiesAsConstants).Pointer()).Entry()) & 0xfff
	c, err := p.attach("/proc/self/exe", where{keysProgGoKey, at, 7, false}, where{keysProgRelease, at, 8, false})
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_SYS_ADMIN: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.(closers)); n != 4 {
		t.Errorf("%d closers, want a copy and a probe for each of 2 places", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.attach("/proc/self/exe", where{keysProgGoKey, at, 7, false}, where{keysProgGoKey, 1 << 40, 8, false}); err == nil {
		t.Error("a probe far outside the file is attached")
	}
}
