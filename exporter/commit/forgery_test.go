package commit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// frame is a TCP segment in Ethernet and IPv4 with a right checksum. Its payload begins at byte 54.
func frame(no int, payload string) []byte {
	b := make([]byte, 54, 54+len(payload))
	copy(b, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00\x45")
	binary.BigEndian.PutUint16(b[16:], uint16(40+len(payload)))
	b[22], b[23] = 64, 6
	copy(b[26:], []byte{10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 80})
	binary.BigEndian.PutUint32(b[38:], uint32(1000*no))
	b[46], b[47] = 5<<4, 0x18
	b = append(b, payload...)
	right(b)
	return b
}

// right writes the right checksum of a frame.
func right(b []byte) {
	x := layoutOf(1, b)
	if x.sum != 50 || x.cut(b) {
		return
	}
	b[50], b[51] = 0, 0
	sum := add(x.pseudo, b[x.start:x.end])
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[50:], ^uint16(sum))
}

const secretText = `{"user":"ann","card":"4111111111111111","total":100}`

func option(code uint16, text string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	for len(b)%4 > 0 {
		b = append(b, 0)
	}
	return b
}

func originals() (list []pcapng.Packet) {
	for i := range 12 {
		text := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-No: %d\r\n\r\n", i)
		if i == 3 {
			text = "POST / HTTP/1.1\r\n\r\n" + secretText
		}
		p := pcapng.Packet{Kind: pcapng.KindEnhanced, Time: int64(1e18) + int64(i)*1e6, TimeOK: true, LinkType: 1, Data: frame(i, text)}
		switch i { // frames without a checksum that the rules find
		case 6:
			p.Data = p.Data[:50] // UDP of 8 bytes
			copy(p.Data[16:], "\x00\x24")
			p.Data[23] = 17
			copy(p.Data[38:], "\x00\x10\x00\x00message!")
		case 8:
			p.Data[20] = 0x20 // the first fragment
		case 10:
			p.Data[21] = 9 // a later fragment
		case 11:
			p.Data[13] = 6 // ARP
		}
		p.OrigLen = uint32(len(p.Data))
		if i == 2 || i == 7 {
			p.Options = append(option(2, "\x01\x00\x00\x00"), option(1, "a comment")...)
		}
		if i == 9 {
			p.Data = p.Data[:70] // the rest was not captured
		}
		list = append(list, p)
	}
	return list
}

func written(t *testing.T, list []pcapng.Packet, link uint16) string {
	t.Helper()
	var buf bytes.Buffer
	w, err := pcapng.NewWriter(&buf, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.AddInterface(pcapng.Interface{LinkType: link, SnapLen: 262144, TsResol: 9, FCSLen: -1}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range list {
		p := list[i]
		var o pcapng.OptionList
		for it := pcapng.IterOptions(p.Options, false); it.Next(); {
			o.Add(it.Code, it.Value)
		}
		p.Options = nil
		if err := w.WritePacket(&p, &o); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "packets.pcapng")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// forger has what a recipient has: the derived packets and their proof, and everything that follows from them.
type forger struct {
	t       *testing.T
	part    int
	packets []pcapng.Packet // derived
	at      map[int]int     // of them, by their number in the original
	state   []byte
	hashes  []Hash
	nodes   map[[2]uint64]Key
	changes map[int]*forged
	link    uint16
	raw     func([]byte) []byte // the last change of the proof
	want    bundle.Commitment
}

// forged is what a proof says of one changed packet.
type forged struct {
	rule   uint64
	states []byte
	values [][]byte
}

// newForger makes an honest proof: packet 3 has a masked number, 5 was removed, and 7 has no comment.
func newForger(t *testing.T, part int) *forger {
	f := &forger{t: t, part: part, at: map[int]int{}, nodes: map[[2]uint64]Key{}, changes: map[int]*forged{}, link: 1}
	was := originals()
	key := Key{9}.File(0)
	var d []pcapng.Packet
	for i, p := range originals() {
		switch i {
		case 3:
			p.Data = bytes.Replace(p.Data, []byte("4111111111111111"), []byte("9999999999999999"), 1)
			right(p.Data)
		case 5:
			continue
		case 7:
			p.Options = option(2, "\x01\x00\x00\x00")
		}
		f.at[i] = len(d)
		d = append(d, p)
	}
	proof, want, err := Prove(written(t, was, 1), written(t, d, 1), 0, key, part, func(i int64) bool { return i != 5 }, func(int64) string { return "card" })
	if err != nil {
		t.Fatal(err)
	}
	f.packets, f.want = d, want
	r, err := parse(proof)
	if err != nil {
		t.Fatal(err)
	}
	f.hashes = r.hashes
	index := uint64(0)
	for _, x := range r.runs {
		f.state = append(f.state, bytes.Repeat([]byte{x.state}, int(x.n))...)
		if x.state == unchanged {
			blocks(index, index+x.n, func(at uint64, level int) {
				f.know(at, level, r.keys[0])
				r.keys = r.keys[1:]
			})
		}
		index += x.n
	}
	for i, s := range f.state {
		if s != changed {
			continue
		}
		c := &forged{rule: r.uvarint(maxRules)}
		n, runs := r.uvarint(maxGroups), r.uvarint(maxGroups)
		for k := range runs {
			c.states = append(c.states, bytes.Repeat([]byte{byte(k & 1)}, int(r.uvarint(n)))...)
		}
		for _, s := range c.states {
			c.values = append(c.values, r.take(map[byte]int{unchanged: len(Salt{}), changed: len(Hash{})}[s]))
		}
		f.changes[i] = c
	}
	return f
}

// know adds the keys below one that the proof shows.
func (f *forger) know(at uint64, level int, k Key) {
	f.nodes[[2]uint64{at, uint64(level)}] = k
	if level > 0 {
		f.know(at, level-1, k.child(0))
		f.know(at+1<<(level-1), level-1, k.child(1))
	}
}

// declare says that an unchanged packet was changed: its salts follow from keys in the proof.
func (f *forger) declare(i int, hide func(at uint32, content []byte) bool) {
	k := f.nodes[[2]uint64{uint64(i), 0}]
	var s salts
	s.reset(&k)
	h := newHasher()
	c := &forged{}
	was := originals()[i]
	x := &packets{part: f.part, p: &was, at: layoutOf(was.LinkType, was.Data)}
	x.groups(func(g int, at uint32, content []byte) {
		salt := s.of(g)
		if hide(at, content) {
			leaf := h.hash(salt, at, content)
			c.states, c.values = append(c.states, changed), append(c.values, leaf[:])
			return
		}
		c.states, c.values = append(c.states, unchanged), append(c.values, bytes.Clone(salt[:]))
	})
	f.state[i], f.changes[i] = changed, c
}

// hide hides what is shown of a changed packet at some places.
func (f *forger) hide(i int, from, to int) {
	c := f.changes[i]
	p := &f.packets[f.at[i]]
	x := &packets{part: f.part, p: p, at: layoutOf(p.LinkType, p.Data)}
	h := newHasher()
	x.groups(func(g int, at uint32, content []byte) {
		if g < len(c.states) && c.states[g] == unchanged && at > 0 && at != optionPlace && int(at)-1+len(content) > from && int(at)-1 < to {
			leaf := h.hash(Salt(c.values[g]), at, content)
			c.states[g], c.values[g] = changed, leaf[:]
		}
	})
}

// over hides the groups that have bytes between two offsets.
func over(from, to int) func(uint32, []byte) bool {
	return func(at uint32, content []byte) bool {
		return at > 0 && at != optionPlace && int(at)-1 < to && int(at)-1+len(content) > from
	}
}

func (f *forger) data(i int) []byte { return f.packets[f.at[i]].Data }

// put writes bytes into a packet, whose data is copied first.
func (f *forger) put(i, at int, text string) {
	p := &f.packets[f.at[i]]
	p.Data = bytes.Clone(p.Data)
	copy(p.Data[at:], text)
}

// encode writes the proof.
func (f *forger) encode() []byte {
	x := prover{names: []string{"card"}}
	for _, s := range f.state {
		x.state(s)
	}
	for i := range f.state {
		if c := f.changes[i]; c != nil {
			var runs []uint64
			for g, s := range c.states {
				if g == 0 && s == changed {
					runs = append(runs, 0)
				}
				if g == 0 || s != c.states[g-1] {
					runs = append(runs, 0)
				}
				runs[len(runs)-1]++
			}
			x.uvarint(c.rule, uint64(len(c.states)), uint64(len(runs)))
			x.uvarint(runs...)
			for _, v := range c.values {
				x.changes.Write(v)
			}
		}
	}
	out := x.encode(f.hashes) // with wrong keys, which come next
	index, n := uint64(0), 0
	for _, r := range x.runs {
		if r.state == unchanged {
			blocks(index, index+r.n, func(uint64, int) { n++ })
		}
		index += r.n
	}
	at := len(out) - x.changes.Len() - n*len(Key{})
	index = 0
	for _, r := range x.runs {
		if r.state == unchanged {
			blocks(index, index+r.n, func(first uint64, level int) {
				k := f.nodes[[2]uint64{first, uint64(level)}]
				at += copy(out[at:], k[:])
			})
		}
		index += r.n
	}
	if f.raw != nil {
		out = f.raw(out)
	}
	return out
}

// verdict is whether all is proved by the verifier here, and a bundle for the one in Python.
func (f *forger) verdict() (here bool, dir, text string) {
	t := f.t
	dir = t.TempDir()
	proof, path := f.encode(), written(t, f.packets, f.link)
	c, err := verified(t, proof, path, f.want)
	text = fmt.Sprintf("%+v %v", c, err)
	here = err == nil && c.Unproved == 0
	write := func(rel string, data []byte) {
		p := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	marshal := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	payload := marshal(map[string]any{"predicateType": "https://github.com/pcapsule/pcapsule/commitments/v2", "predicate": map[string]any{"files": []bundle.Commitment{f.want}}})
	const kind = "application/vnd.in-toto+json"
	sig := ed25519.Sign(testSigner, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload))
	write("data/derived/commitments.dsse.json", marshal(map[string]any{"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(payload),
		"signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(sig)}}}))
	write("data/bundle.json", marshal(map[string]any{"inputs": []any{map[string]any{"path": "data/p"}}, "derived": map[string]any{"proofs": []any{map[string]any{"file_id": 0, "path": "data/p"}}}}))
	write("data/derived/proof-000.bin", proof)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write("data/p", data)
	return here, dir, text
}

// testSigner signs the commitments of these tests.
var testSigner = ed25519.NewKeyFromSeed(make([]byte, 32))

// inPython asks the verifier of docs/format about bundles.
func inPython(t *testing.T, dirs []string) []string {
	t.Helper()
	const driver = `import sys
sys.path.insert(0, "../../docs/format")
import verify_derived
for d in sys.stdin.read().split():
    try:
        verify_derived.run(d, sys.argv[1])
    except SystemExit:
        pass`
	c := exec.Command("python3", "-B", "-c", driver, fmt.Sprintf("%x", testSigner.Public()))
	c.Stdin = strings.NewReader(strings.Join(dirs, "\n"))
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(dirs) {
		t.Fatalf("%d answers about %d bundles", len(lines), len(dirs))
	}
	return lines
}

// forgeries are attempts of somebody without a key of the original's signer.
func forgeries() map[string]func(f *forger) {
	list := map[string]func(f *forger){}
	// A byte of a place, written as it is, and declared changed with a checksum that is right.
	for name, at := range map[string]int{"MAC address": 3, "sender's MAC address": 9, "type of IP": 15, "IP identification": 19, "fragment": 20, "TTL": 22, "source address": 29,
		"destination address": 33, "source port": 35, "destination port": 37, "sequence number": 41, "acknowledgement": 45, "flags": 47, "window": 49, "urgent pointer": 53,
		"first byte of the payload": 54, "status": 63, "last byte": 70} {
		list[name+", as it is"] = func(f *forger) { f.put(4, at, "\x51") }
		list[name+", declared"] = func(f *forger) {
			f.declare(4, over(at, at+1))
			f.put(4, at, "\x51")
		}
		list[name+", declared, with the checksum"] = func(f *forger) {
			hide := over(at, at+1)
			f.declare(4, func(at uint32, c []byte) bool { return hide(at, c) || at == 51 })
			f.put(4, at, "\x51")
			right(f.data(4))
		}
	}
	for name, words := range map[string][2]string{"a user beside a mask": {`"ann"`, `"bob"`}, "a number beside a mask": {"100}", "777}"}, "a name beside a mask": {`"card"`, `"iban"`}, "a method": {"POST", "HEAD"}} {
		change := func(f *forger) int {
			at := bytes.Index(f.data(3), []byte(words[0]))
			f.put(3, at, words[1])
			return at
		}
		list[name] = func(f *forger) { change(f) }
		list[name+", hidden"] = func(f *forger) {
			at := bytes.Index(f.data(3), []byte(words[0]))
			f.hide(3, at, at+len(words[1]))
			f.put(3, at, words[1])
			right(f.data(3))
		}
	}
	// Masks where none belongs: in headers, also of frames without a checksum that the rules find.
	for name, at := range map[string][2]int{"a MAC address": {4, 3}, "an address": {4, 29}, "a port": {4, 37}, "a number of bytes": {4, 41}, "an address of short UDP": {6, 29}, "a port of short UDP": {6, 35},
		"an address of a first fragment": {8, 33}, "a port of a first fragment": {8, 37}, "an address of a fragment": {10, 29}, "the protocol of a fragment": {10, 23}, "the place of a fragment": {10, 21},
		"the type of a frame": {11, 13}, "a MAC address in ARP": {11, 24}, "an address in ARP": {11, 31}, "the kind of ARP": {11, 21}} {
		for _, mask := range Masks {
			list[fmt.Sprintf("%c as %s", mask, name)] = func(f *forger) {
				hide := over(at[1], at[1]+1)
				f.declare(at[0], func(place uint32, c []byte) bool { return hide(place, c) || at[0] == 4 && place == 51 })
				f.put(at[0], at[1], string(mask))
				right(f.data(at[0]))
			}
		}
	}
	// The whole of a packet that was published unchanged.
	list["another response"] = func(f *forger) {
		f.declare(4, func(at uint32, _ []byte) bool { return at > 54 && at != optionPlace || at == 51 })
		f.put(4, 54, "HTTP/1.1 500 NO")
		right(f.data(4))
	}
	list["another packet"] = func(f *forger) {
		f.declare(4, func(at uint32, _ []byte) bool { return at > 0 && at != optionPlace })
		f.put(4, 0, string(frame(4, "HTTP/1.1 500 NO")))
	}
	list["another number than its mask"] = func(f *forger) {
		f.put(3, bytes.Index(f.data(3), []byte("9999999999999999")), "4242424242424242")
		right(f.data(3))
	}
	// Fields, order and number of packets.
	for name, change := range map[string]func(p *pcapng.Packet){
		"later":                  func(p *pcapng.Packet) { p.Time++ },
		"earlier":                func(p *pcapng.Packet) { p.Time -= 1e9 },
		"another interface":      func(p *pcapng.Packet) { p.Interface = 1 },
		"longer on the wire":     func(p *pcapng.Packet) { p.OrigLen++ },
		"a byte less":            func(p *pcapng.Packet) { p.Data = p.Data[:len(p.Data)-1] },
		"a byte more":            func(p *pcapng.Packet) { p.Data = append(bytes.Clone(p.Data), 'x'); p.OrigLen++ },
		"an option more":         func(p *pcapng.Packet) { p.Options = append(bytes.Clone(p.Options), option(1, "x")...) },
		"an option before":       func(p *pcapng.Packet) { p.Options = append(option(1, "x"), p.Options...) },
		"another comment":        func(p *pcapng.Packet) { p.Options = append(option(2, "\x01\x00\x00\x00"), option(1, "b comment")...) },
		"another direction":      func(p *pcapng.Packet) { p.Options = append(option(2, "\x02\x00\x00\x00"), option(1, "a comment")...) },
		"options in other order": func(p *pcapng.Packet) { p.Options = append(option(1, "a comment"), option(2, "\x01\x00\x00\x00")...) },
		"an option of another kind": func(p *pcapng.Packet) {
			p.Options = append(option(3, "\x01\x00\x00\x00"), option(1, "a comment")...)
		},
	} {
		list[name] = func(f *forger) { change(&f.packets[f.at[2]]) }
		list[name+", declared"] = func(f *forger) {
			f.declare(2, func(at uint32, _ []byte) bool { return at == 0 || at == optionPlace })
			change(&f.packets[f.at[2]])
		}
		list[name+", of a changed packet"] = func(f *forger) { change(&f.packets[f.at[3]]) }
	}
	list["no comment, not declared"] = func(f *forger) { f.packets[f.at[2]].Options = option(2, "\x01\x00\x00\x00") }
	list["a comment that was removed"] = func(f *forger) {
		f.packets[f.at[7]].Options = append(option(2, "\x01\x00\x00\x00"), option(1, "a c0mment")...)
	}
	list["two packets in other order"] = func(f *forger) { f.packets[0], f.packets[1] = f.packets[1], f.packets[0] }
	list["a packet left out"] = func(f *forger) { f.packets = f.packets[:len(f.packets)-1] }
	list["a packet more"] = func(f *forger) { f.packets = append(f.packets, f.packets[0]) }
	list["a packet twice"] = func(f *forger) { f.packets[1] = f.packets[0] }
	list["a packet instead of the removed one"] = func(f *forger) {
		f.state[5] = changed
		f.changes[5] = &forged{states: f.changes[3].states, values: f.changes[3].values}
		f.packets = append(f.packets[:5], append([]pcapng.Packet{f.packets[3]}, f.packets[5:]...)...)
	}
	list["a packet removed, and not named"] = func(f *forger) { f.state[4] = removed; f.packets = append(f.packets[:4], f.packets[5:]...) }
	list["another link type"] = func(f *forger) { f.link = 105 }
	// Checksums.
	list["a wrong checksum"] = func(f *forger) {
		f.declare(4, over(50, 52))
		f.put(4, 50, "\x12\x34")
	}
	list["a masked checksum of a whole packet"] = func(f *forger) {
		f.declare(4, over(50, 52))
		f.put(4, 50, "xx")
	}
	list["a checksum of a changed packet that is wrong"] = func(f *forger) { f.put(3, 50, "\x12\x34") }
	list["a written checksum of a cut packet"] = func(f *forger) {
		f.declare(9, over(50, 52))
		f.put(9, 50, "\x12\x34")
	}
	list["masks over ports"] = func(f *forger) {
		f.declare(4, over(34, 38))
		f.put(4, 34, "9999")
		right(f.data(4))
	}
	list["a mask over the version of IP, so that no checksum is found"] = func(f *forger) {
		f.declare(4, over(14, 15))
		f.put(4, 14, "x")
	}
	list["a mask over the header's length, so that the payload moves"] = func(f *forger) {
		f.declare(4, over(46, 47))
		f.put(4, 46, "x")
	}
	// The proof.
	values := func(change func(c *forged, g int)) func(f *forger) {
		return func(f *forger) {
			for g, s := range f.changes[3].states {
				if s == changed {
					change(f.changes[3], g)
					return
				}
			}
		}
	}
	list["another leaf"] = values(func(c *forged, g int) { c.values[g] = bytes.Repeat([]byte{1}, 32) })
	list["another salt"] = values(func(c *forged, g int) { c.values[g-1] = bytes.Repeat([]byte{1}, 16) })
	list["two salts swapped"] = values(func(c *forged, g int) { c.values[g-1], c.values[g-2] = c.values[g-2], c.values[g-1] })
	list["a part said to be hidden"] = values(func(c *forged, g int) { c.states[g-1], c.values[g-1] = changed, bytes.Repeat([]byte{1}, 32) })
	list["a part said to be shown"] = values(func(c *forged, g int) { c.states[g], c.values[g] = unchanged, bytes.Repeat([]byte{1}, 16) })
	list["a group less"] = values(func(c *forged, g int) { c.states, c.values = c.states[:len(c.states)-1], c.values[:len(c.values)-1] })
	list["a group more"] = values(func(c *forged, g int) {
		c.states, c.values = append(c.states, changed), append(c.values, make([]byte, 32))
	})
	list["a rule without a name"] = func(f *forger) { f.changes[3].rule = 1 }
	list["another subtree that was removed"] = func(f *forger) { f.hashes[0][0] ^= 1 }
	list["no subtree that was removed"] = func(f *forger) { f.hashes = nil }
	list["a subtree more"] = func(f *forger) { f.hashes = append(f.hashes, Hash{}) }
	list["another key"] = func(f *forger) {
		for n, k := range f.nodes {
			k[0] ^= 1
			f.nodes[n] = k
		}
	}
	list["the removed packet said to be unchanged"] = func(f *forger) { f.state[5] = unchanged }
	list["a changed packet said to be unchanged"] = func(f *forger) { f.state[3] = unchanged; delete(f.changes, 3) }
	list["a proof of version 1"] = func(f *forger) {
		f.raw = func(b []byte) []byte { return bytes.Replace(b, []byte("proof 2"), []byte("proof 1"), 1) }
	}
	list["a proof that is cut"] = func(f *forger) { f.raw = func(b []byte) []byte { return b[:len(b)-1] } }
	list["a proof that is longer"] = func(f *forger) { f.raw = func(b []byte) []byte { return append(b, 0) } }
	list["an empty proof"] = func(f *forger) { f.raw = func([]byte) []byte { return []byte(magic + "\x00\x00\x00") } }
	list["parts of another size"] = func(f *forger) { f.want.Part++ }
	list["another number of packets"] = func(f *forger) { f.want.Packets-- }
	list["another root"] = func(f *forger) { f.want.Root[0] ^= 1 }
	return list
}

// TestForgeries: nobody gets "proved" for what is not in the original; neither from this verifier nor from that of docs/format.
func TestForgeries(t *testing.T) {
	if n := len(forgeries()); n < 60 {
		t.Errorf("%d forgeries", n)
	}
	type attempt struct {
		name, text string
		want, here bool
	}
	var list []attempt
	var dirs []string
	add := func(part int, name string, want bool, do func(f *forger)) {
		f := newForger(t, part)
		do(f)
		here, dir, text := f.verdict()
		list, dirs = append(list, attempt{fmt.Sprintf("%s, parts of %d", name, part), text, want, here}), append(dirs, dir)
	}
	for _, part := range []int{1, 16} {
		for name, do := range honest() { // with larger parts, bytes beside the mask are not proved
			add(part, name, part == 1, do)
		}
		for name, do := range forgeries() {
			add(part, name, false, do)
		}
	}
	for i, line := range inPython(t, dirs) {
		x := list[i]
		if python := strings.Contains(line, `"proved": true`); x.here != x.want || python != x.want {
			t.Errorf("%s: want proved %v: %s; in Python: %s", x.name, x.want, x.text, line)
		}
	}
}

// honest is what a redactor does, and what a third person can do after it: hide more.
func honest() map[string]func(f *forger) {
	return map[string]func(f *forger){
		"nothing": func(*forger) {},
		"more hidden": func(f *forger) {
			f.declare(4, func(at uint32, _ []byte) bool { return at >= 55 && at != optionPlace || at == 51 })
			f.put(4, 54, strings.Repeat("x", len(f.data(4))-54))
			right(f.data(4))
		},
		"frames without a checksum hidden": func(f *forger) {
			for i, at := range map[int]int{6: 42, 8: 42, 10: 34, 11: 42} {
				f.declare(i, over(at, 200))
				f.put(i, at, strings.Repeat("x", len(f.data(i))-at))
			}
		},
		"no options": func(f *forger) {
			f.declare(2, func(at uint32, _ []byte) bool { return at == optionPlace })
			f.packets[f.at[2]].Options = nil
		},
		"a cut packet hidden": func(f *forger) {
			f.declare(9, func(at uint32, _ []byte) bool { return at >= 55 && at != optionPlace || at == 51 })
			f.put(9, 54, strings.Repeat("x", 16))
			f.put(9, 50, "xx")
		},
	}
}
