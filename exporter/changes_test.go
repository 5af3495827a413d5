package exporter

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// aPacket is a packet of a capture of Ethernet.
type aPacket struct {
	at   int64 // ns
	size int   // bytes on the wire
	data []byte
}

// changes are changes of a capture that leave its calls as they are, except for the columns named:
// those that tell times, and the identity, which TCP's numbers determine.
var changes = []struct {
	name  string
	write func(list []aPacket) []byte
	other string
	times bool // times change, too
}{
	{"big-endian", func(l []aPacket) []byte { return aPcap(binary.BigEndian, 1, l) }, "", false},
	{"microseconds", func(l []aPacket) []byte { return aPcap(binary.LittleEndian, 1000, l) }, "ts ts_ns elapsed_us send_us receive_us ttfb_us wait_us detail", true},
	{"pcapng", func(l []aPacket) []byte { return aPcapng(binary.LittleEndian, l) }, "", false},
	{"big-endian pcapng", func(l []aPacket) []byte { return aPcapng(binary.BigEndian, l) }, "", false},
	{"a year later", later, "ts ts_ns detail", true},
	{"numbers of TCP that wrap", wrapped, "call_id", false},
	{"inside VXLAN", func(l []aPacket) []byte { return aPcap(binary.LittleEndian, 1, inVXLAN(l, false)) }, "", false},
	{"inside VXLAN with checksums that were never computed", func(l []aPacket) []byte { return aPcap(binary.LittleEndian, 1, inVXLAN(l, true)) }, "", false},
}

// tellsTimes are the protocols whose rows show times of packets in other columns.
var tellsTimes = map[string]bool{"icmp": true, "ntp": true}

// TestChangedCaptures changes how samples are written, not what they say: each call must stay, with the
// same packets and the same columns.
func TestChangedCaptures(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		whole := readCalls(t, aPcap(binary.LittleEndian, 1, list), 0, 0)
		for _, change := range changes {
			got := readCalls(t, change.write(list), 0, 0)
			if len(got) != len(whole) {
				t.Errorf("%s: %d calls became %d", change.name, len(whole), len(got))
			}
			left := slices.Clone(whole)
			for _, c := range got {
				if len(left) == 0 {
					break
				}
				w := left.nearest(c)
				left = slices.DeleteFunc(left, func(x *someCall) bool { return x == w })
				for _, name := range w.otherColumns(c) {
					if kind, _, _ := strings.Cut(name, " "); !slices.Contains(strings.Fields(change.other), kind) &&
						!(change.times && tellsTimes[c.row.Base().Protocol] && (name == "summary" || name == "ntp_offset_us")) {
						t.Errorf("%s: %q: %s %.80q was %.80q", change.name, c.row.Base().Summary, name, c.columns[name], w.columns[name])
					}
				}
			}
		}
	})
}

// TestReorderedCaptures delays all packets by up to 10 ms, or those of handshakes by up to 50 ms, in their
// order, not in their times: a complete call stays the same.
func TestReorderedCaptures(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		whole := readCalls(t, aPcap(binary.LittleEndian, 1, list), 0, 0)
		for _, handshakes := range []bool{false, true} {
			rnd := rand.New(rand.NewSource(1))
			order, key := make([]int, len(list)), make([]int64, len(list))
			for i, p := range list {
				tcp := tcpAt(p.data)
				switch order[i], key[i] = i, p.at; {
				case !handshakes:
					key[i] += rnd.Int63n(10e6)
				case tcp != nil && tcp[13]&2 != 0:
					key[i] += rnd.Int63n(50e6)
				}
			}
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(key[a], key[b]) })
			moved := make([]aPacket, len(list))
			for i, k := range order {
				moved[i] = list[k]
			}
			got := readMoved(t, aPcap(binary.LittleEndian, 1, moved), func(no int64) int64 { return int64(order[no]) })
			for what, example := range whole.contradictions(got) {
				if kind, _, _ := strings.Cut(what, ":"); !slices.Contains(reordered, kind) {
					t.Errorf("handshakes %v: %s: %s", handshakes, what, example)
				}
			}
		}
	})
}

// reordered are the kinds of differences of a reordered capture that are not mended yet, or cannot be: a
// message that was overtaken by the end of its connection (sctp), a data connection that was overtaken by
// the last reply (ftp), equal echo requests (icmp), an ICMP error that overtook the datagram it quotes (openvpn),
// an RST that overtook the FIN of its side (ssh), and connections whose handshake comes after more data than the
// stream waits for (tls).
var reordered = strings.Split("ftp packets,icmp column,openvpn pair,sctp packets,ssh pair,tls column,tls pair", ",")

// TestSnappedCaptures cuts packets to a snap length: no call is complete with less than it had, and each
// keeps its ports and roles, its method, path and status. Of HTTP/1 most calls are read: their first lines
// suffice.
func TestSnappedCaptures(t *testing.T) {
	requests, read := 0, 0
	everySample(t, func(t *testing.T, list []aPacket) {
		whole := readCalls(t, aPcap(binary.LittleEndian, 1, list), 0, 0)
		roles, sent := map[string]bool{}, map[string][]*table.Call{}
		for _, w := range whole {
			roles[rolesOf(w.row.Base())] = true
			sent[sentAs(w.row.Base())] = append(sent[sentAs(w.row.Base())], w.row.Base())
			if w.row.Base().Protocol == "http1" {
				requests++
			}
		}
		for _, snap := range []int{66, 96, 128, 256} {
			for _, c := range readCalls(t, aPcap(binary.LittleEndian, 1, snappedTo(snap, list)), 0, 0) {
				b := c.row.Base()
				if !roles[rolesOf(b)] {
					t.Errorf("%d bytes: %s: %q has other ends: %s", snap, b.Protocol, b.Summary, rolesOf(b))
				}
				if x := sent[sentAs(b)]; x != nil {
					if !slices.ContainsFunc(x, func(x *table.Call) bool {
						return !differs(x.Method, b.Method) && !differs(x.Path, b.Path) && !differs(x.StatusCode, b.StatusCode)
					}) {
						t.Errorf("%d bytes: %s: %q became %q", snap, b.Protocol, x[0].Summary, b.Summary)
					}
					if snap == 128 && b.Protocol == "http1" {
						read++
					}
				}
				if b.Complete && !snapped[b.Protocol] && !slices.ContainsFunc(whole, func(w *someCall) bool {
					x := w.row.Base()
					return x.CallID == b.CallID && x.RequestBytes <= b.RequestBytes && x.ResponseBytes <= b.ResponseBytes && x.RequestBodyWire.V <= b.RequestBodyWire.V && x.ResponseBodyWire.V <= b.ResponseBodyWire.V
				}) {
					t.Errorf("%d bytes: %s: %q is complete with less", snap, b.Protocol, b.Summary)
				}
			}
		}
	})
	if read < requests*9/10 {
		t.Errorf("of %d calls of HTTP/1, %d are read from packets of 128 bytes", requests, read)
	}
}

// TestSnappedAnswers cuts packets to a snap length: a question in a datagram, or a stream of HTTP/2, whose answer was captured
// in part is not unanswered.
func TestSnappedAnswers(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		outcomes := map[string][]string{}
		for _, c := range readCalls(t, aPcap(binary.LittleEndian, 1, list), 0, 0) {
			b := c.row.Base()
			outcomes[sentAs(b)] = append(outcomes[sentAs(b)], b.Outcome)
		}
		for _, snap := range []int{66, 96, 128, 200} {
			for _, c := range readCalls(t, aPcap(binary.LittleEndian, 1, snappedTo(snap, list)), 0, 0) {
				b := c.row.Base()
				was := outcomes[sentAs(b)]
				if b.Outcome == table.NoAnswer && (b.Transport == "udp" && was != nil || b.Protocol == "http2" && b.Error.V == "gap") && !slices.Contains(was, table.NoAnswer) {
					t.Errorf("%d bytes: %s %q is %s, was %s", snap, b.Protocol, b.Summary, b.Outcome, was)
				}
			}
		}
	})
}

// TestSnappedCopies has each sample together with a copy whose snapshot length cuts packets: over TCP, all calls stay as
// they are without the copy, whichever of the two files comes first.
func TestSnappedCopies(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		same := func(no int64) int64 { return no }
		whole, short := aPcap(binary.LittleEndian, 1, list), aPcap(binary.LittleEndian, 1, snappedTo(96, list))
		want := overTCP(readCalls(t, whole, 0, 0))
		for _, both := range [][][]byte{{whole, short}, {short, whole}} {
			if got := overTCP(readTogether(t, same, both...)); !slices.Equal(got, want) {
				t.Errorf("%d calls, %d alone:\n%s\n\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

// TestSwappedCopies has each sample together with a copy in which neighbours within 5 ms are swapped, so that answers come
// before their questions, and that copy alone: no question becomes unanswered without a mark.
func TestSwappedCopies(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		swapped := slices.Clone(list)
		for i := 0; i+1 < len(list); i += 2 {
			if a, b := &swapped[i], &swapped[i+1]; b.at-a.at <= 5e6 {
				a.data, b.data, a.size, b.size = b.data, a.data, b.size, a.size
			}
		}
		same := func(no int64) int64 { return no }
		whole, other := aPcap(binary.LittleEndian, 1, list), aPcap(binary.LittleEndian, 1, swapped)
		unanswered := map[string]bool{}
		for _, c := range readCalls(t, whole, 0, 0) {
			b := c.row.Base()
			unanswered[wordsOf(b)] = unanswered[wordsOf(b)] || b.Outcome == table.NoAnswer
		}
		for i, both := range [][][]byte{{whole, other}, {other, whole}, {other}} {
			for _, c := range readTogether(t, same, both...) {
				if b := c.row.Base(); b.Transport != "tcp" && b.Outcome == table.NoAnswer && b.Anomalies == 0 && !unanswered[wordsOf(b)] {
					t.Errorf("order %d: %s: %q of %s", i, b.Protocol, b.Summary, b.SrcIP)
				}
			}
		}
	})
}

// snappedTo cuts packets to a snapshot length.
func snappedTo(length int, list []aPacket) []aPacket {
	cut := slices.Clone(list)
	for i := range cut {
		cut[i].data = cut[i].data[:min(length, len(cut[i].data))]
	}
	return cut
}

// overTCP lists what the calls over TCP say.
func overTCP(calls someCalls) (keys []string) {
	for _, c := range calls {
		if b := c.row.Base(); b.Transport == "tcp" {
			keys = append(keys, fmt.Sprintf("%s %s %s %d %d", b.Protocol, b.Summary, b.Outcome, b.RequestBytes, b.ResponseBytes))
		}
	}
	slices.Sort(keys)
	return keys
}

// TestChangedBytes gives each segment with payload a wrong checksum, and the others the right one, as in a capture
// whose payload was changed for publication. The acknowledgements show which bytes arrived, and in which order.
func TestChangedBytes(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		changed := slices.Clone(list)
		for i, p := range changed {
			if tcpAt(p.data) == nil {
				continue
			}
			data := slices.Clone(p.data)
			if ip := data[14:]; ip[0]>>4 == 4 { // without padding
				data = data[:min(14+int(binary.BigEndian.Uint16(ip[2:])), len(data))]
			}
			seg := tcpAt(data)
			binary.BigEndian.PutUint16(seg[16:], 0)
			sum := sumOf(data, seg)
			if len(seg) > int(seg[12]>>4)*4 {
				sum ^= 0x1234
			}
			binary.BigEndian.PutUint16(seg[16:], sum)
			changed[i].data = data
		}
		want := map[string]int{}
		for _, key := range overTCP(readCalls(t, aPcap(binary.LittleEndian, 1, list), 0, 0)) {
			want[key]++
		}
		for _, key := range overTCP(readCalls(t, aPcap(binary.LittleEndian, 1, changed), 0, 0)) {
			// What nothing acknowledges is not read: calls can be missing, and a transfer of FTP can lack its data.
			if want[key]--; want[key] < 0 && strings.Contains(key, " ok ") && !strings.HasPrefix(key, "ftp ") {
				t.Errorf("no such call in the sample: %s", key)
			}
		}
	})
}

// sentAs identifies a call by its protocol, client and time.
func sentAs(b *table.Call) string {
	return fmt.Sprint(b.Protocol, " ", b.SrcIP, ":", b.SrcPort, " ", b.TsNs)
}

// wordsOf identifies a call by its protocol, client and words.
func wordsOf(b *table.Call) string {
	return fmt.Sprint(b.Protocol, " ", b.SrcIP, ":", b.SrcPort, " ", b.Summary)
}

// differs reports whether two values are known and different.
func differs[T comparable](a, b table.Opt[T]) bool { return a.OK && b.OK && a.V != b.V }

// snapped are the protocols with complete calls of cut packets that are not mended yet: a transfer of FTP
// whose data connection shows nothing, an error of NATS whose command was cut, CLOSE of NFS and SMB with
// one response fewer, pushes of Redis, and an association of SCTP, whose packets are counted.
var snapped = map[string]bool{"ftp": true, "nats": true, "nfs": true, "redis": true, "sctp": true, "smb": true}

func rolesOf(b *table.Call) string {
	return fmt.Sprint(b.SrcIP, ":", b.SrcPort, " ", b.DstIP, ":", b.DstPort)
}

// TestDatagramsTwice repeats datagrams of UDP that have an identification, within 50 µs on one interface:
// no call is added. Without one, equal datagrams are both read (docs/design/017-assembly.md).
func TestDatagramsTwice(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		rnd := rand.New(rand.NewSource(1))
		whole := readCalls(t, aPcap(binary.LittleEndian, 1, list), 0, 0)
		var twice []aPacket
		var was []int64
		for i, p := range list {
			twice, was = append(twice, p), append(was, int64(i))
			if ip := ipAt(p.data); ip != nil && protoOf(ip) == 17 && ip[0]>>4 == 4 && ip[4]|ip[5] != 0 && rnd.Intn(3) == 0 {
				p.at += 50e3
				twice, was = append(twice, p), append(was, int64(i))
			}
		}
		got := readMoved(t, aPcap(binary.LittleEndian, 1, twice), func(no int64) int64 { return was[no] })
		if len(got) != len(whole) {
			t.Errorf("%d calls became %d with repeated datagrams", len(whole), len(got))
		}
	})
}

// everySample runs a test with the packets of each sample that has only Ethernet.
func everySample(t *testing.T, run func(t *testing.T, list []aPacket)) {
	samples, err := filepath.Glob("../samples/*.pcap*")
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples: ", err)
	}
	for _, path := range samples {
		if filepath.Base(path) == "vantages.pcapng" { // it has each packet twice
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if list := ethernet(data); len(list) > 0 && (nightly.On() || len(list) < 400) {
			t.Run(filepath.Base(path), func(t *testing.T) { run(t, list) })
		}
	}
}

// ethernet lists the packets of a capture with times in ns, or nothing if it has another link type.
func ethernet(data []byte) (list []aPacket) {
	le := binary.LittleEndian
	if le.Uint32(data) != 0x0a0d0d0a {
		unit := int64(1000)
		if le.Uint32(data) == 0xa1b23c4d {
			unit = 1
		}
		if le.Uint32(data[20:]) != 1 {
			return nil
		}
		for _, p := range packetBlocks(data) {
			b := data[p[0]:p[1]]
			list = append(list, aPacket{int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:]))*unit, int(le.Uint32(b[12:])), b[16:]})
		}
		return list
	}
	for at := 0; at+12 <= len(data); at += int(le.Uint32(data[at+4:])) {
		b := data[at:]
		switch le.Uint32(b) {
		case 1:
			if le.Uint16(b[8:]) != 1 || !strings.Contains(string(b[16:le.Uint32(b[4:])]), "\x09\x00\x01\x00\x09") {
				return nil
			}
		case 6:
			n := le.Uint32(b[20:])
			list = append(list, aPacket{int64(le.Uint32(b[12:]))<<32 | int64(le.Uint32(b[16:])), int(le.Uint32(b[24:])), b[28 : 28+n]})
		}
	}
	return list
}

// aPcap is a capture file with times in units of ns.
func aPcap(o binary.AppendByteOrder, unit int64, list []aPacket) []byte {
	magic := uint32(0xa1b23c4d)
	if unit == 1000 {
		magic = 0xa1b2c3d4
	}
	b := o.AppendUint16(o.AppendUint16(o.AppendUint32(nil, magic), 2), 4)
	for _, v := range []uint32{0, 0, 1 << 18, 1} {
		b = o.AppendUint32(b, v)
	}
	for _, p := range list {
		for _, v := range []uint32{uint32(p.at / 1e9), uint32(p.at % 1e9 / unit), uint32(len(p.data)), uint32(p.size)} {
			b = o.AppendUint32(b, v)
		}
		b = append(b, p.data...)
	}
	return b
}

func aPcapng(o binary.AppendByteOrder, list []aPacket) (b []byte) {
	block := func(kind uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		n := uint32(len(body) + 12)
		b = o.AppendUint32(append(o.AppendUint32(o.AppendUint32(b, kind), n), body...), n)
	}
	block(0x0a0d0d0a, append(o.AppendUint16(o.AppendUint16(o.AppendUint32(nil, 0x1a2b3c4d), 1), 0), 255, 255, 255, 255, 255, 255, 255, 255))
	idb := o.AppendUint16(o.AppendUint16(o.AppendUint32(o.AppendUint16(o.AppendUint16(nil, 1), 0), 1<<18), 9), 1)
	block(1, append(idb, 9, 0, 0, 0, 0, 0, 0, 0))
	for _, p := range list {
		e := o.AppendUint32(nil, 0)
		for _, v := range []uint32{uint32(p.at >> 32), uint32(p.at), uint32(len(p.data)), uint32(p.size)} {
			e = o.AppendUint32(e, v)
		}
		block(6, append(e, p.data...))
	}
	return b
}

func later(list []aPacket) []byte {
	list = slices.Clone(list)
	for i := range list {
		list[i].at += 365 * 86400e9
	}
	return aPcap(binary.LittleEndian, 1, list)
}

// ipAt is the IP packet of a frame, nil if it has none or is in a VLAN.
func ipAt(frame []byte) []byte {
	if len(frame) < 14+40 {
		return nil
	}
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == 0x0800 && binary.BigEndian.Uint16(frame[14+6:])&0x3fff == 0, kind == 0x86dd:
		return frame[14:]
	}
	return nil
}

func protoOf(ip []byte) byte {
	if ip[0]>>4 == 6 {
		return ip[6]
	}
	return ip[9]
}

// tcpAt is the TCP segment of a frame, nil if it has none.
func tcpAt(frame []byte) []byte {
	ip := ipAt(frame)
	if ip == nil || protoOf(ip) != 6 {
		return nil
	}
	n := 40
	if ip[0]>>4 == 4 {
		n = int(ip[0]&15) * 4
	}
	if len(ip) < n+20 {
		return nil
	}
	return ip[n:]
}

// wrapped moves the numbers of each direction so that they wrap after its 100th byte.
func wrapped(list []aPacket) []byte {
	be, moves := binary.BigEndian, map[string]uint32{}
	way := func(frame, tcp []byte, back bool) string {
		ip := frame[14:]
		from, to := string(ip[12:16])+string(tcp[:2]), string(ip[16:20])+string(tcp[2:4])
		if ip[0]>>4 == 6 {
			from, to = string(ip[8:24])+string(tcp[:2]), string(ip[24:40])+string(tcp[2:4])
		}
		if back {
			from, to = to, from
		}
		return from + to
	}
	list = slices.Clone(list)
	for i := range list {
		tcp := tcpAt(list[i].data)
		if tcp == nil {
			continue
		}
		if key := way(list[i].data, tcp, false); moves[key] == 0 {
			moves[key] = -be.Uint32(tcp[4:]) - 100
		}
		if key := way(list[i].data, tcp, true); moves[key] == 0 && tcp[13]&16 != 0 {
			moves[key] = -be.Uint32(tcp[8:]) - 100
		}
	}
	for i := range list {
		tcp := tcpAt(list[i].data)
		if tcp == nil {
			continue
		}
		frame := slices.Clone(list[i].data)
		mine, theirs := moves[way(frame, tcp, false)], moves[way(frame, tcp, true)]
		list[i].data, tcp = frame, tcpAt(frame)
		fits := sumOf(frame, tcp) == 0
		add := func(b []byte, n uint32) { be.PutUint32(b, be.Uint32(b)+n) }
		add(tcp[4:], mine)
		if tcp[13]&16 != 0 {
			add(tcp[8:], theirs)
		}
		for o := tcp[20:min(int(tcp[12]>>4)*4, len(tcp))]; len(o) > 1; {
			n := max(int(o[1]), 2)
			if o[0] <= 1 {
				n = 1
			}
			if o[0] == 5 {
				for k := 2; k+4 <= n && n <= len(o); k += 4 {
					add(o[k:], theirs)
				}
			}
			o = o[min(n, len(o)):]
		}
		if fits {
			be.PutUint16(tcp[16:], 0)
			be.PutUint16(tcp[16:], sumOf(frame, tcp))
		}
	}
	return aPcap(binary.LittleEndian, 1, list)
}

// sumOf is TCP's checksum; 0 if the segment has the right one.
func sumOf(frame, tcp []byte) uint16 {
	ip := frame[14:]
	size := int(binary.BigEndian.Uint16(ip[2:])) - int(ip[0]&15)*4
	src, dst := ip[12:16], ip[16:20]
	if ip[0]>>4 == 6 {
		size, src, dst = int(binary.BigEndian.Uint16(ip[4:])), ip[8:24], ip[24:40]
	}
	tcp = tcp[:min(size, len(tcp))]
	return ^frames.Sum(src, dst, []byte{0, 6}, binary.BigEndian.AppendUint16(nil, uint16(len(tcp))), tcp)
}

// inVXLAN puts each frame into a tunnel, RFC 7348. With unfinished, the checksums of TCP inside are 0.
func inVXLAN(list []aPacket, unfinished bool) (out []aPacket) {
	be := binary.BigEndian
	for i, p := range list {
		inner := slices.Clone(p.data)
		if tcp := tcpAt(inner); tcp != nil && unfinished {
			be.PutUint16(tcp[16:], 0)
		}
		b := []byte{2, 0, 0, 0, 9, 1, 2, 0, 0, 0, 9, 2, 8, 0, 0x45, 0}
		b = be.AppendUint16(b, uint16(36+p.size))
		b = append(be.AppendUint16(b, uint16(i)), 0, 0, 64, 17, 0, 0, 192, 168, 9, 1, 192, 168, 9, 2)
		be.PutUint16(b[24:], ^frames.Sum(b[14:34]))
		b = be.AppendUint16(b, 50000)
		b = be.AppendUint16(b, 4789)
		b = append(be.AppendUint16(b, uint16(16+p.size)), 0, 0, 8, 0, 0, 0, 0, 0, 7, 0)
		out = append(out, aPacket{p.at, p.size + len(b), append(b, inner...)})
	}
	return out
}
