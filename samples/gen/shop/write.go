package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

const (
	linkSLL2  = 276
	snapLen   = 261_000
	headerLen = 20
)

// write makes all files of the sample.
func (s *shop) write(dir string) error {
	for _, n := range s.sc.Nodes {
		seg := &segment{s: s, node: n}
		if err := seg.write(dir); err != nil {
			return fmt.Errorf("writing %s: %w", n, err)
		}
	}
	entries := s.log.close(s.clock)
	if err := s.audit(entries); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "scenario.json"), s.sc); err != nil {
		return err
	}
	if err := writeLog(filepath.Join(dir, "log.jsonl.gz"), entries); err != nil {
		return err
	}
	return writeTruth(filepath.Join(dir, "truth.json"), s.truth(entries))
}

// audit compares the requests that clients logged with those that servers logged.
func (s *shop) audit(entries []*Entry) error {
	asked := map[string]int{}
	for _, e := range entries {
		switch {
		case e.Protocol == "http1" || e.Protocol == "http2" || e.Protocol == "dns":
			asked[e.ServerRole]++
		case e.Protocol == "grpc":
			asked[e.ServerRole+"-grpc"]++
		}
	}
	for role, n := range s.log.served {
		if asked[role] != n {
			return fmt.Errorf("%s got %d requests, its clients made %d; hint: run it again", role, n, asked[role])
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// writeTruth writes one line per question, so that the file stays readable.
func writeTruth(path string, t *Truth) error {
	short := *t
	short.Counts, short.Questions, short.Plants = nil, nil, nil
	head, err := line(short)
	if err != nil {
		return err
	}
	// The lists are empty at the end of the object: they are filled in line by line.
	text := strings.TrimSuffix(string(head), `"counts":null,"questions":null,"plants":null}`)
	var b bytes.Buffer
	b.WriteString(text)
	for i, list := range [][]any{anys(t.Counts), anys(t.Questions), anys(t.Plants)} {
		fmt.Fprintf(&b, "%q:[\n", []string{"counts", "questions", "plants"}[i])
		for j, v := range list {
			one, err := line(v)
			if err != nil {
				return err
			}
			b.Write(one)
			if j+1 < len(list) {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
		}
		b.WriteString([]string{"],\n", "],\n", "]}\n"}[i])
	}
	if !json.Valid(b.Bytes()) {
		return fmt.Errorf("writing %s: not JSON", path)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func anys[T any](list []T) (out []any) {
	for _, v := range list {
		out = append(out, v)
	}
	return out
}

func line(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

func writeLog(path string, entries []*Entry) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(z)
	enc.SetEscapeHTML(false)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// segment writes what the recorder of one node would have written.
type segment struct {
	s       *shop
	node    string
	ring    string
	pods    []*pod
	packets []packet
}

type packet struct {
	at    int64 // nanoseconds, the scenario's time
	iface int
	frame
}

// uid derives an id from a name, in the format of the API server.
func uid(kind, ns, name string) string {
	h := sha256.Sum256([]byte(kind + "/" + ns + "/" + name))
	h[6], h[8] = h[6]&0x0f|0x40, h[8]&0x3f|0x80 // version and variant, RFC 9562 section 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// pid is the process id of a pod: invented, because one process plays all of them.
func (p *pod) pid() int64 { return 2000 + int64(netip.MustParseAddr(p.ip).As4()[3])*7 }

func (p *pod) container() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(p.ns+"/"+p.name))) }

func (p *pod) cgroup() string {
	return "/kubepods.slice/kubepods-pod" + strings.ReplaceAll(uid("Pod", p.ns, p.name), "-", "_") + ".slice/cri-containerd-" + p.container() + ".scope"
}

// cgroupID is the short form of the same, as for sockets.
func (p *pod) cgroupID() string { return fmt.Sprint(10_000 + p.pid()) }

func (g *segment) write(dir string) error {
	g.ring = fmt.Sprintf("%x", sha256.Sum256([]byte(g.s.sc.Name+g.node)))[:8]
	for _, p := range g.s.all {
		if !p.inside() || p.node != g.node {
			continue
		}
		frames, err := p.rec.finish()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		for _, f := range frames {
			g.packets = append(g.packets, packet{g.s.clock.at(f.real), len(g.pods), f})
		}
		g.pods = append(g.pods, p)
	}
	slices.SortStableFunc(g.packets, func(a, b packet) int { return int(a.at - b.at) })
	if len(g.packets) == 0 {
		return fmt.Errorf("no packets")
	}
	var b bytes.Buffer
	if err := g.pcapng(&b); err != nil {
		return err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	base := filepath.Join(dir, g.node)
	for ending, content := range map[string][]byte{".pcapng.zst": z.EncodeAll(b.Bytes(), nil), ".owners.jsonl": g.owners(), ".events": g.events(), ".keys": g.keys()} {
		if err := os.WriteFile(base+ending, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (g *segment) keys() []byte {
	if b := g.s.keys.nodes[g.node]; b != nil {
		return b.Bytes()
	}
	return nil
}

func (g *segment) pcapng(out *bytes.Buffer) error {
	first := g.packets[0].at
	clocks := []ring.Clock{{Real: ring.Time(first), Monotonic: 1_000_000_000, Boot: 1_000_000_000, MaxError: int64(time.Millisecond), Synchronized: true, Source: "ntp"}}
	head, err := json.Marshal(ring.Header{Version: 1, Ring: g.ring, Node: g.node, Series: "sockets", Sequence: 1, Recorder: "pcapsule sample", BootID: uid("Boot", "", g.node), Clocks: clocks})
	if err != nil {
		return err
	}
	w, err := pcapng.NewWriter(out, pcapng.Section{Application: "pcapsule sample", Comments: []string{string(head)}}, pcapng.WriterOptions{})
	if err != nil {
		return err
	}
	for _, p := range g.pods {
		if _, err := w.AddInterface(pcapng.Interface{LinkType: linkSLL2, SnapLen: snapLen, TsResol: 9, FCSLen: -1, Name: g.node + "/" + p.ns + "/" + p.name,
			Description: "pod " + p.ns + "/" + p.name + ", container " + p.svc.Name, Comments: []string{workload.FormatInterfaceComment(g.comment(p, first))}}); err != nil {
			return err
		}
	}
	hash, err := hex.DecodeString(g.ring)
	if err != nil {
		return err
	}
	id := uint64(hash[0])<<56 | uint64(hash[1])<<48 | uint64(hash[2])<<40
	var more pcapng.OptionList
	numbers := sockets{}
	counts := make([]uint64, len(g.pods))
	for n, p := range g.packets {
		data := make([]byte, headerLen, headerLen+len(p.data))
		binary.BigEndian.PutUint16(data, 0x0800)
		binary.BigEndian.PutUint32(data[4:], 2)
		binary.BigEndian.PutUint16(data[8:], 0xfffe)
		flags := pcapng.Flags(1 | 1<<2) // in, unicast
		if p.sent {
			data[10] = 4
			flags = 2
		}
		data = append(data, p.data...)
		more.Reset()
		more.Flags(flags)
		more.PacketID(id | uint64(n+1))
		numbers.options(&more, &p, g.pods[p.iface])
		counts[p.iface]++
		if err := w.WritePacket(&pcapng.Packet{Time: p.at, TimeOK: true, Interface: int32(p.iface), OrigLen: uint32(len(data)), LinkType: linkSLL2, Data: data}, &more); err != nil {
			return err
		}
	}
	last := g.packets[len(g.packets)-1].at
	for i, n := range counts {
		ticks, ok := w.Ticks(int32(i), last)
		if !ok {
			return fmt.Errorf("time %d does not fit", last)
		}
		if err := w.WriteStatistics(pcapng.Statistics{Interface: uint32(i), Ticks: ticks, Received: some(n), OSDropped: some(0), Delivered: some(n)}); err != nil {
			return err
		}
	}
	return w.Flush()
}
