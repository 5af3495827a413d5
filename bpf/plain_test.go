//go:build linux

package bpf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// plainProgram compiles the kernel programs as a plain C program that prints their results for
// packets.
func plainProgram(t testing.TB) string {
	t.Helper()
	cc := ""
	for _, name := range []string{os.Getenv("CC"), "cc", "gcc", "clang", "clang-14"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			cc = path
			break
		}
	}
	if cc == "" {
		t.Skip("needs a C compiler")
	}
	out := filepath.Join(t.TempDir(), "plain")
	var output []byte
	var err error
	// Some machines have no sanitizers; the program runs without them too.
	for _, checks := range [][]string{{"-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"}, nil} {
		args := append([]string{"-std=gnu11", "-O1", "-g", "-Wall", "-Werror", "-Wno-attributes", "-Wno-unknown-attributes", "-Wno-unknown-warning-option",
			"-Wno-unused", "-Wno-unknown-pragmas", "-I", "testdata/plain", "-o", out, "testdata/plain/main.c"}, checks...)
		if output, err = exec.Command(cc, args...).CombinedOutput(); err == nil {
			return out
		}
	}
	t.Fatalf("compiling the programs as plain C: %v\n%s", err, output)
	return ""
}

// ipPacket is an IP packet and its EtherType.
type ipPacket struct {
	kind uint16
	data []byte
	from string // place, for messages
}

// linkHeader returns the length of a packet's link header, and its EtherType.
func linkHeader(linkType uint16, b []byte) (n int, kind uint16) {
	typed := func(at int) (int, uint16) {
		if len(b) < at+2 {
			return 0, 0
		}
		return at + 2, binary.BigEndian.Uint16(b[at:])
	}
	switch linkType {
	case 1:
		n, kind = typed(12)
		for tags := 0; (kind == 0x8100 || kind == 0x88a8) && tags < 2; tags++ {
			n, kind = typed(n + 2)
		}
	case 113:
		n, kind = typed(14)
	case 276:
		if _, kind = typed(0); kind != 0 && len(b) >= 20 {
			n = 20
		}
	case 0, 108:
		n = 4
	}
	if len(b) > n && kind == 0 && (linkType == 101 || linkType == 228 || linkType == 229 || n == 4) {
		switch b[n] >> 4 {
		case 4:
			kind = 0x0800
		case 6:
			kind = 0x86dd
		}
	}
	return n, kind
}

// ipPackets reads the IP packets of a capture up to the first error.
func ipPackets(path string) (list []ipPacket) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	r, err := pcapng.NewReader(bufio.NewReader(f), pcapng.Options{})
	if err != nil {
		return nil
	}
	var b pcapng.Batch
	for no := 0; no < 20_000; {
		err := r.Next(&b)
		for i := range b.Packets {
			p := &b.Packets[i]
			no++
			n, kind := linkHeader(uint16(p.LinkType), p.Data)
			if (kind == 0x0800 || kind == 0x86dd) && len(p.Data) > n {
				list = append(list, ipPacket{kind, slices.Clone(p.Data[n:]), fmt.Sprintf("%s, packet %d", filepath.Base(path), no)})
			}
		}
		if err != nil {
			return list
		}
	}
	return list
}

// plainAnswer is an output line of the plain program.
type plainAnswer struct {
	len, cap         int
	same             int
	headers          int
	headersSame      int
	in, out          int // the filter's verdicts
	submitted        int
	family           int
	proto            int
	sport, dport     int
	source, receiver string
}

func askPlain(t *testing.T, program string, f *filter.Program, packets []ipPacket) []plainAnswer {
	t.Helper()
	var in bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&in, binary.NativeEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	ins := f.Instructions()
	put(uint32(len(ins)))
	for _, i := range ins {
		put(i.Op)
		put(i.Jt)
		put(i.Jf)
		put(i.K)
	}
	for _, p := range packets {
		put(uint32(len(p.data)))
		put(p.kind)
		in.Write(p.data)
	}
	c := exec.Command(program)
	c.Stdin = &in
	var output bytes.Buffer
	c.Stderr = &output
	text, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, output.Bytes())
	}
	var list []plainAnswer
	for line := range strings.Lines(string(text)) {
		var a plainAnswer
		fields := strings.Fields(strings.TrimSpace(line))
		for len(fields) < 14 {
			fields = append(fields, "-") // no addresses
		}
		if _, err := fmt.Sscan(strings.Join(fields, " "), &a.len, &a.cap, &a.same, &a.headers, &a.headersSame, &a.in, &a.out, &a.submitted, &a.family, &a.proto, &a.sport, &a.dport, &a.source, &a.receiver); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, a)
	}
	if len(list) != len(packets) {
		t.Fatalf("%d answers for %d packets", len(list), len(packets))
	}
	return list
}

// checkPlain compares the results of the programs with those of the exporter's decoder and the
// filter. It returns the number of packets with a transport header to compare.
func checkPlain(t *testing.T, program, expr string, packets []ipPacket) (whole int) {
	t.Helper()
	f, err := filter.Compile(expr, 276, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := decode.New(decode.Options{})
	var ends [decode.RoleLast + 1][]byte // of the header, not those beside it, which the decoder prefers
	var p *ipPacket
	d.OnAddress = func(a decode.Address) { ends[a.Role] = p.data[a.At : a.At+a.Size] }
	for i, a := range askPlain(t, program, f, packets) {
		p = &packets[i]
		n := len(p.data)
		if a.len != n || a.cap != min(n, Largest) || a.same != 1 || a.headersSame != 1 || a.headers > n || a.submitted != 1 {
			t.Errorf("%s of %d bytes: %+v", p.from, n, a)
		}
		for out, got := range []int{a.in, a.out} {
			cooked := make([]byte, cookedLen, cookedLen+n)
			binary.BigEndian.PutUint16(cooked, p.kind)
			cooked[7], cooked[8], cooked[9], cooked[10] = 3, 0xFF, 0xFE, byte(4*out)
			if want := f.Match(append(cooked, p.data...), uint32(cookedLen+n)); want != (got == 1) {
				t.Errorf("%s: filter %q, outgoing %d: program %d, filter %v", p.from, expr, out, got, want)
			}
		}
		var fr decode.Frame
		d.Decode(decode.Input{LinkType: 101, Data: p.data, OrigLen: uint32(n), No: int64(i)}, &fr)
		if fr.Kind != decode.KindIP || !fr.L4 || fr.NTunnels > 0 || fr.FragNos != nil {
			continue
		}
		whole++
		family, src, dst := 2, ends[decode.RoleSource], ends[decode.RoleDestination]
		if fr.IPVersion == 6 {
			family = 10
		}
		if a.family != family || a.proto != int(fr.Proto) || a.source != hex.EncodeToString(src) || a.receiver != hex.EncodeToString(dst) {
			t.Errorf("%s: %+v, decoder has %d %s to %s", p.from, a, fr.Proto, fr.Src, fr.Dst)
			continue
		}
		if (fr.Proto == 6 || fr.Proto == 17) && (a.sport != int(fr.SrcPort) || a.dport != int(fr.DstPort)) {
			t.Errorf("%s: ports %d to %d, decoder has %d to %d", p.from, a.sport, a.dport, fr.SrcPort, fr.DstPort)
		}
		if len(fr.Payload) == 0 {
			continue
		}
		at := int(uintptr(unsafe.Pointer(unsafe.SliceData(fr.Payload))) - uintptr(unsafe.Pointer(unsafe.SliceData(p.data))))
		switch fr.Proto {
		case 1, 58:
			at += 8 // in the decoder, its payload includes its header
		case 6, 17:
		default:
			continue
		}
		if at = min(at, n); a.headers != at {
			t.Errorf("%s: headers of %d bytes, decoder has %d", p.from, a.headers, at)
		}
	}
	return whole
}

var plainFilters = []string{"tcp port 80 or udp port 53", "ip6", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "udp[4:2] > 100", "net 10.0.0.0/8 or net 192.168.0.0/16", "greater 200", "icmp or icmp6"}

// TestPlainOverCaptures runs the programs' source, compiled as plain C, on captures of many
// protocols, and compares lengths, ends and verdicts with the project's decoder and filter.
func TestPlainOverCaptures(t *testing.T) {
	dir := captures.Dir(t)
	program := plainProgram(t)
	files, packets, whole, batches := 0, 0, 0, 0
	var batch []ipPacket
	check := func() {
		packets += len(batch)
		whole += checkPlain(t, program, plainFilters[batches%len(plainFilters)], batch)
		batches++
		batch = batch[:0]
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !slices.Contains([]string{".pcap", ".pcapng", ".cap"}, filepath.Ext(path)) {
			return err
		}
		list := ipPackets(path)
		if len(list) == 0 {
			return nil
		}
		files++
		if batch = append(batch, list...); len(batch) > 2000 {
			check()
		}
		if t.Failed() {
			return errors.New("enough")
		}
		return nil
	})
	check()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d packets of %d captures, %d with a complete transport header", packets, files, whole)
	if packets < 10_000 || whole < packets/2 {
		t.Errorf("only %d packets of %d captures, %d of them complete", packets, files, whole)
	}
}

// TestPlainOverSamples does the same with the project's own captures, truncated at every place
// around their headers.
func TestPlainOverSamples(t *testing.T) {
	program := plainProgram(t)
	paths, err := filepath.Glob("../samples/*.pcap*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var all []ipPacket
	for _, path := range paths {
		list := ipPackets(path)
		all = append(all, list...)
		for i := 0; i < min(len(list), 20); i++ {
			for n := 1; n < min(len(list[i].data), 90); n++ {
				all = append(all, ipPacket{list[i].kind, list[i].data[:n], fmt.Sprintf("%s cut to %d bytes", list[i].from, n)})
			}
		}
	}
	for _, expr := range plainFilters[:3] {
		if checkPlain(t, program, expr, all) == 0 {
			t.Error("nothing to compare")
		}
	}
}
