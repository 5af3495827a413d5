//go:build linux

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Prefix of the kernel's names of reasons.
const reasonPrefix = "SKB_DROP_REASON_"

// exchanged returns a kernel's description of its types in which two reasons have each other's
// number. It edits the values in the enumeration, as in the kernel's Documentation/bpf/btf.rst.
func exchanged(t *testing.T, types []byte, numbers map[string]uint32, a, b string) *btf.Spec {
	t.Helper()
	types = slices.Clone(types)
	le := binary.NativeEndian
	head := le.Uint32(types[4:])
	section := func(at int) []byte { return types[head+le.Uint32(types[at:]):][:le.Uint32(types[at+4:])] }
	kinds, names := section(8), section(16)
	for _, x := range []struct{ name, as string }{{a, b}, {b, a}} {
		name := bytes.Index(names, []byte("\x00"+reasonPrefix+x.name+"\x00")) + 1
		if name == 0 {
			t.Skipf("needs the kernel's drop reasons: %s", x.name)
		}
		value := le.AppendUint32(le.AppendUint32(nil, uint32(name)), numbers[x.name])
		at := bytes.Index(kinds, value)
		if at < 0 || at%4 != 0 || bytes.Contains(kinds[at+1:], value) {
			t.Fatalf("no place, or several, for %s", x.name)
		}
		le.PutUint32(kinds[at+4:], numbers[x.as])
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(types))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestReasonsHaveTheKernelsNumbers drops a datagram to a port without a socket, then a packet of
// a protocol without a handler. Both are reported, with the kernel's numbers. If the kernel's
// types say that the first reason has the number of "not specified", the program must not report
// it: it has no numbers of its own.
func TestReasonsHaveTheKernelsNumbers(t *testing.T) {
	types, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skip("needs BTF: ", err)
	}
	numbers := map[string]uint32{}
	for number, name := range dropReasons() {
		numbers[name] = number
	}
	for i, tt := range []struct {
		name     string
		exchange []string
		want     []string
	}{
		{"the kernel's numbers", nil, []string{"NO_SOCKET", "IP_NOPROTO"}},
		{"no socket has the number of not specified", []string{"NO_SOCKET", "NOT_SPECIFIED"}, []string{"IP_NOPROTO"}},
		{"no handler has the number of not specified", []string{"IP_NOPROTO", "NOT_SPECIFIED"}, []string{"NO_SOCKET"}},
		{"other reasons exchange their numbers", []string{"NO_SOCKET", "IP_NOPROTO"}, []string{"NO_SOCKET", "IP_NOPROTO"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var kernel *btf.Spec
			if tt.exchange != nil {
				kernel = exchanged(t, types, numbers, tt.exchange[0], tt.exchange[1])
			}
			var want []uint32
			for _, name := range tt.want {
				n, ok := numbers[name]
				if !ok {
					t.Skipf("needs the kernel's drop reasons: %s", name)
				}
				want = append(want, n)
			}
			if got := reasons(t, kernel, byte(i+1)); !slices.Equal(got, want) {
				t.Errorf("reasons %v, want %v", got, want)
			}
		})
	}
}

// reasons loads the program with a description of the kernel's types, drops the two packets, and
// returns the reasons that are reported.
func reasons(t *testing.T, kernel *btf.Spec, host byte) (list []uint32) {
	t.Helper()
	spec, err := loadRecorder()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		if name != recorderProgPacketDropped {
			delete(spec.Programs, name)
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{KernelTypes: kernel}})
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer coll.Close()
	r, err := ringbuf.NewReader(coll.Maps[recorderMapEvents])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: coll.Programs[recorderProgPacketDropped]})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	to := [4]byte{127, 77, byte(os.Getpid()), host} // nobody else's
	last := to
	last[3] += 100
	for _, to := range [][4]byte{to, last} {
		noSocket(t, to)
		noHandler(t, to)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		r.SetDeadline(time.Now().Add(10 * time.Millisecond)) // the program wakes nobody
		record, err := r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var e Event
		if !e.Decode(record.RawSample) {
			continue
		}
		switch [4]byte(e.Local[:4]) {
		case to:
			list = append(list, e.Before)
		case last: // one of both is reported
			return list
		}
	}
	t.Fatal("no packet was reported")
	return nil
}

// noSocket sends a datagram to a port that nobody has.
func noSocket(t *testing.T, to [4]byte) {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: to[:], Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("to nobody")); err != nil {
		t.Fatal(err)
	}
}

// noHandler sends a packet of a protocol that no socket receives.
func noHandler(t *testing.T, to [4]byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Skip("needs CAP_NET_RAW: ", err)
	}
	defer unix.Close(fd)
	p := make([]byte, 28)
	p[0], p[3], p[8], p[9] = 0x45, byte(len(p)), 64, 253 // for experiments, RFC 3692
	copy(p[12:], []byte{127, 0, 0, 1})
	copy(p[16:], to[:])
	if err := unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: to}); err != nil {
		t.Fatal(err)
	}
}
