//go:build linux && (amd64 || arm64)

package keys

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

func TestProgramsLoad(t *testing.T) {
	p, err := Load(1 << 20)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		t.Fatalf("%+v", ve)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Follow(); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(3, Plan{Mode: Only, Success: 1, Fields: []Field{{NoHop, 352}, {2328, 80}}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(3, Plan{Fields: make([]Field, MaxFields+1)}); err == nil {
		t.Error("a plan with too many fields is accepted")
	}
	if c, err := p.Counters(); err != nil || c.Seen != 0 {
		t.Error(c, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, n := range []int{0, headSize, processSize, goSize, fieldsSize, dumpSize} {
		for k := byte(0); k < 8; k++ {
			b := make([]byte, n)
			if n > 8 {
				b[8] = k
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Event
		if !e.Decode(b) {
			return
		}
		if e.Kind < Exec || e.Kind > Dump {
			t.Error("an event with an invalid kind")
		}
	})
}

func TestPlaintextProgramsLoad(t *testing.T) {
	p, err := Load(1 << 20)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	x, err := p.LoadPlain(1 << 20)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		t.Fatalf("%+v", ve)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if c, err := x.Counters(); err != nil || c != (PlainCounters{}) {
		t.Error(c, err)
	}
	if x.Sockets != nil {
		t.Log("ends of connections are unknown: ", x.Sockets)
	}
}

func FuzzDecodePlain(f *testing.F) {
	for _, n := range []int{0, headSize, plainHead, plainHead + 256} {
		b := make([]byte, n)
		if n >= plainHead {
			b[8], b[headSize+8], b[headSize+24] = plainKind, 100, 100
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Plain
		if p.Decode(b) && (len(p.Data) == 0 || p.Offset+uint64(len(p.Data)) > p.Call) {
			t.Errorf("%d bytes at %d of a call of %d", len(p.Data), p.Offset, p.Call)
		}
	})
}
