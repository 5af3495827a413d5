package exporter

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/join"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// DecryptStats are the totals of Decrypt.
type DecryptStats struct {
	Packets int64 // read
	PDUs    int64 // written; a record that is too long for one packet counts once per piece
	Bytes   int64 // of plaintext in them
	Written int64 // size of the capture

	Connections map[string]int64 // encrypted ones, by key state: none, unverified, verified
	Reasons     map[string]int64 // reasons of those not decrypted completely
	Warnings    []string
}

// Decrypt writes the content of TLS, DTLS and QUIC as a PCAPNG capture of upper-layer PDUs (link
// type 252), for tools that cannot decrypt. inputs are captures, folders, bundles and "-". Each
// record, datagram or piece of a stream is one PDU, in the order of the packets that completed
// them, with the addresses, ports and frame number of the capture. Options selects the keys and
// the packets; a bundle's own keys are used too.
//
// The errors are those of Run. It is not an error if nothing can be decrypted. The output is
// complete only if the error is nil. If out has a method Dir, standard input is kept in that
// folder while it is read, else in the system's folder for temporary files.
func Decrypt(ctx context.Context, paths []string, out io.Writer, o Options) (*DecryptStats, error) {
	return decrypt(ctx, paths, out, o, all.Protocols)
}

func decrypt(ctx context.Context, paths []string, out io.Writer, o Options, protocols func(*secrets.Store) []*dissect.Protocol) (*DecryptStats, error) {
	stats := &DecryptStats{Connections: map[string]int64{}, Reasons: map[string]int64{}}
	paths, names, err := insideBundles(paths, &o, stats)
	if err != nil {
		return nil, err
	}
	sources, err := read.Open(paths, o.Stdin)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
	sources.Rename(names)
	dir := os.TempDir()
	if d, ok := out.(interface{ Dir() string }); ok {
		dir = d.Dir()
	}
	if err := sources.KeepStdin(dir, len(o.Keys) > 0); err != nil {
		return nil, err
	}
	keys, err := read.LoadKeys(sources, o.Keys, o.Identities)
	if err != nil {
		return nil, err
	}
	defer keys.Store.Close()
	stats.Warnings = append(stats.Warnings, keys.Warnings()...)
	w, err := newPlainWriter(ctx, out, sources, o, stats)
	if err != nil {
		return nil, err
	}
	if err := w.run(ctx, sources, o, func() []*dissect.Protocol { return protocols(keys.Store) }); err != nil {
		return nil, err
	}
	return stats, nil
}

// insideBundles replaces bundles with their packet files, and adds the keys in the bundles.
// names are the original names of the files.
func insideBundles(paths []string, o *Options, stats *DecryptStats) (list []string, names map[string]string, err error) {
	names = map[string]string{}
	o.Keys = slices.Clone(o.Keys)
	for _, p := range paths {
		if !looksBundle(p) {
			list = append(list, p)
			continue
		}
		b, err := bundle.OpenWith(p, bundle.OpenOptions{})
		if err != nil {
			return nil, nil, err
		}
		for i := range b.Manifest.Inputs {
			in := &b.Manifest.Inputs[i]
			list = append(list, b.Path(in.Path))
			names[b.Path(in.Path)] = in.Name
		}
		for _, rel := range []string{join.KeysPath, join.SealedKeysPath} {
			switch _, err := os.Lstat(b.Path(rel)); {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return nil, nil, &KeysError{Path: p, Err: err}
			case rel == join.SealedKeysPath && len(o.Identities) == 0:
				stats.Warnings = append(stats.Warnings, p+": its keys are encrypted and were not used, since no identity was given")
			default:
				o.Keys = append(o.Keys, b.Path(rel))
			}
		}
	}
	return list, names, nil
}

// looksBundle reports whether a path is a bundle's folder or a ZIP, which is never a capture.
func looksBundle(p string) bool {
	if p == "-" {
		return false
	}
	info, err := os.Stat(p)
	if err != nil {
		return false
	}
	if info.IsDir() {
		_, err := os.Stat(filepath.Join(p, "data", "bundle.json"))
		return err == nil
	}
	if !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(p)
	if err != nil {
		return false // reading it reports the reason
	}
	defer f.Close()
	var head [4]byte
	n, _ := io.ReadFull(f, head[:])
	return string(head[:n]) == "PK\x03\x04"
}

// linkUpperPDU is LINKTYPE_WIRESHARK_UPPER_PDU.
const linkUpperPDU = 252

// maxPDU is the longest packet to write, so that its block fits into 262,144 bytes.
const maxPDU = 261_000

// places is the number of packets with a remembered position. A PDU of an earlier packet, which
// waited for a lost one, has no frame number.
const places = 1 << 18

type place struct {
	no, frame int64
	file      int32
}

// plainWriter is the last stage: it writes decrypted bytes.
type plainWriter struct {
	w      *pcapng.Writer
	stats  *DecryptStats
	links  []round.Link
	total  int64
	opt    Options
	places []place
	order  []round.Place
	head   []byte
	data   []byte
}

// newPlainWriter writes the section header and an interface for each input.
func newPlainWriter(ctx context.Context, out io.Writer, sources *read.Inputs, o Options, stats *DecryptStats) (*plainWriter, error) {
	section := pcapng.Section{Application: "pcapsule " + o.Release,
		Comments: []string{"Plaintext of encrypted connections, taken out of captured packets. These are no packets: see the comment of each interface."}}
	w, err := pcapng.NewWriter(out, section, pcapng.WriterOptions{})
	if err != nil {
		return nil, err
	}
	files, err := sources.Hash(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		hash := ""
		if f.SHA256 != nil {
			hash = " (SHA-256 " + hex.EncodeToString(f.SHA256) + ")"
		}
		i := pcapng.Interface{LinkType: linkUpperPDU, SnapLen: 262144, TsResol: 9, FCSLen: -1, Name: bundle.SafeName(f.Name), Description: "plaintext, not packets",
			Comments: []string{fmt.Sprintf("What TLS, DTLS or QUIC carried in %q%s: a PDU is the plaintext of one record, datagram or piece of a stream, every byte authenticated, at the time of the packet that completed it; its original frame number is that packet's.", f.Name, hash)}}
		if f.SHA256 != nil && len(files) > 1 { // LIMIT: a slice with packets of several clocks counts as one here
			i = i.Marked(&pcapng.ClockMark{ID: pcapng.ClockOfSection(f.SHA256, 0)})
		}
		if _, err := w.AddInterface(i); err != nil {
			return nil, err
		}
	}
	return &plainWriter{w: w, stats: stats, opt: o, places: make([]place, places)}, nil
}

// run is build without tables: the same reading, rounds and shards.
func (j *plainWriter) run(ctx context.Context, sources *read.Inputs, o Options, protocols func() []*dissect.Protocol) error {
	j.total = sources.Total()
	reader, err := pipe(ctx, o.reads(sources, nil, protocols), true, protocols, o, j.round)
	if err != nil {
		return err
	}
	m := &bundle.Manifest{}
	reader.Describe(m)
	j.stats.Warnings = append(j.stats.Warnings, m.Warnings...)
	err = j.w.Flush()
	j.stats.Written = j.w.Offset()
	return err
}

// round writes the plaintext of a round in the order of its packets.
func (j *plainWriter) round(r *round.Round) error {
	j.links = append(j.links, r.Facts.Links...)
	for i := range r.Packets {
		p := &r.Packets[i]
		j.places[p.No%places] = place{p.No, p.Frame, p.File}
	}
	j.stats.Packets += int64(len(r.Packets))
	j.order = r.Order(j.order, func(b *flow.Batch) int { return len(b.Plain) }, func(b *flow.Batch, i int) int64 { return b.Plain[i].At })
	for _, at := range j.order {
		out := &r.Out[at.Shard]
		if err := j.write(&out.Plain[at.I], out.PlainBytes(&out.Plain[at.I])); err != nil {
			return err
		}
	}
	for s := range r.Out {
		for i := range r.Out[s].Conns {
			j.count(r.Out[s].Conns[i].Row)
		}
	}
	j.opt.progress(Progress{ReadBytes: r.Facts.ReadBytes, TotalBytes: j.total, Packets: j.stats.Packets, Calls: j.stats.PDUs, Stage: "reading"})
	return nil
}

// count counts a finished connection.
func (j *plainWriter) count(c *table.Connection) {
	if !c.Encryption.OK {
		return
	}
	j.stats.Connections[c.KeyState.V]++
	if c.KeyReason.OK {
		j.stats.Reasons[c.KeyReason.V]++
	}
}

// write writes one PDU, in pieces if it is too long.
func (j *plainWriter) write(p *flow.Plain, data []byte) error {
	at := j.places[p.No%places]
	if at.no != p.No {
		at = place{file: j.links[p.First].File}
	}
	j.head = pduHead(j.head[:0], p, at.frame)
	for len(data) > 0 {
		n := min(len(data), maxPDU-len(j.head))
		j.data = append(append(j.data[:0], j.head...), data[:n]...)
		// A time near the end of the 64-bit range would overflow when it is written.
		ns := min(max(p.Time, 0), math.MaxInt64-1)
		pdu := pcapng.Packet{Kind: pcapng.KindEnhanced, Interface: at.file, Time: ns, TimeOK: true, OrigLen: uint32(len(j.data)), Data: j.data}
		if err := j.w.WritePacket(&pdu, nil); err != nil {
			return err
		}
		j.stats.PDUs++
		j.stats.Bytes += int64(n)
		data = data[n:]
	}
	return nil
}

// Tags of an upper PDU, Wireshark's wsutil/exported_pdu_tlvs.h.
const (
	tagEnd       = 0
	tagDissector = 12
	tagTable     = 14
	tagIPv4Src   = 20
	tagIPv4Dst   = 21
	tagIPv6Src   = 22
	tagIPv6Dst   = 23
	tagPortType  = 24
	tagSrcPort   = 25
	tagDstPort   = 26
	tagFrame     = 30
	tagTableNo   = 32
)

// portTypes are the format's numbers for transports, by IP protocol.
var portTypes = map[uint8]uint32{132: 1, 6: 2, 17: 3}

// pduHead appends the tags before a PDU's bytes.
func pduHead(b []byte, p *flow.Plain, frame int64) []byte {
	if t := table.TraitsOf(p.Protocol); t.Port != 0 {
		b = tagText(b, tagTable, "tcp.port")
		b = tagNumber(b, tagTableNo, uint32(t.Port))
	} else { // HTTP/3 has no name, because it needs the QUIC connection around it
		b = tagText(b, tagDissector, cmp.Or(t.Wireshark, "data"))
	}
	src, dst := p.Ends[0], p.Ends[1]
	if p.Server {
		src, dst = dst, src
	}
	if from, to := src.Addr.Netip(), dst.Addr.Netip(); from.Is4() && to.Is4() {
		b = tagText(b, tagIPv4Src, string(from.AsSlice()))
		b = tagText(b, tagIPv4Dst, string(to.AsSlice()))
	} else {
		b = tagText(b, tagIPv6Src, string(src.Addr[:]))
		b = tagText(b, tagIPv6Dst, string(dst.Addr[:]))
	}
	if t := portTypes[p.Proto]; t != 0 {
		b = tagNumber(b, tagPortType, t)
		b = tagNumber(b, tagSrcPort, uint32(src.Port))
		b = tagNumber(b, tagDstPort, uint32(dst.Port))
	}
	if frame > 0 && frame < 1<<32 {
		b = tagNumber(b, tagFrame, uint32(frame))
	}
	return append(b, 0, tagEnd, 0, 0)
}

// tagText appends a tag, padded to a multiple of four bytes.
func tagText(b []byte, tag uint16, v string) []byte {
	size := (len(v) + 3) &^ 3
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, tag), uint16(size))
	return append(append(b, v...), make([]byte, size-len(v))...)
}

func tagNumber(b []byte, tag uint16, v uint32) []byte {
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, tag), 4)
	return binary.BigEndian.AppendUint32(b, v)
}
