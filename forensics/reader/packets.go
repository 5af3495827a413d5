package reader

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/internal/carve"
	"github.com/pcapsule/pcapsule/forensics/internal/cite"
	"github.com/pcapsule/pcapsule/forensics/internal/layers"
)

type citeRange = table.Range

// packets is table packets, sorted by number, without the packets' bytes.
type packets struct {
	no, file, frame, index, offset, ts, flow, flags, length, caplen, payload []int64

	runs   []cite.Run
	labels map[int64]string
	files  []*carve.File
	fileAt map[int64]int // by file_id
}

func (r *Reader) packetTable() (*packets, error) {
	if r.packets != nil {
		return r.packets, nil
	}
	p := &packets{labels: forensics.FileLabels([]*bundle.Bundle{r.b})[0], fileAt: map[int64]int{}}
	t, err := r.table("packets", "packet_no")
	if err != nil {
		return nil, err
	}
	for name, to := range map[string]*[]int64{"packet_no": &p.no, "file_id": &p.file, "frame": &p.frame, "file_index": &p.index, "offset": &p.offset, "ts_ns": &p.ts, "flow_id": &p.flow,
		"flags": &p.flags, "len": &p.length, "caplen": &p.caplen, "payload": &p.payload} {
		list := make([]int64, t.rows)
		if t.Has(name) {
			if err := t.load(name); err != nil {
				return nil, err
			}
		}
		for row := range list {
			list[row] = t.int(name, row)
			if name == "flow_id" && t.at(name, row) == nil {
				list[row] = -1
			}
		}
		*to = list
		delete(t.columns, name) // it is not needed twice
	}
	if !slices.IsSortedFunc(p.no, cmp.Compare[int64]) {
		return nil, &bundle.DamagedError{File: "data/tables/packets", What: "packets are not in the order of their numbers"}
	}
	for i, no := range p.no {
		frame, hidden := p.frameOf(i)
		p.runs = cite.Extend(p.runs, no, p.file[i], frame, hidden)
	}
	for i := range r.b.Manifest.Inputs {
		in := &r.b.Manifest.Inputs[i]
		p.fileAt[int64(in.FileID)] = len(p.files)
		p.files = append(p.files, carve.NewFile(&opened{b: r.b, in: in}, in.Size, forensics.PacketSource(in)))
	}
	r.packets = p
	return p, nil
}

// frameOf is the number of a packet as people count it; hidden says that Wireshark does not show it.
func (p *packets) frameOf(i int) (frame int64, hidden bool) {
	if p.frame[i] > 0 {
		return p.frame[i], false
	}
	return p.index[i] + 1, true
}

// within are the rows of packets first to last.
func (p *packets) within(first, last int64) (from, to int) {
	from, _ = slices.BinarySearch(p.no, first)
	to = from
	for to < len(p.no) && p.no[to] <= last {
		to++
	}
	return from, to
}

// opened is a packet file, opened when it is first read.
type opened struct {
	b  *bundle.Bundle
	in *bundle.Input
	f  io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (o *opened) ReadAt(p []byte, at int64) (int, error) {
	if o.f == nil {
		f, err := o.b.OpenInput(o.in)
		if err != nil {
			return 0, err
		}
		o.f = f
	}
	return o.f.ReadAt(p, at)
}

// read reads the packet of a row.
func (p *packets) read(row int) (forensics.Packet, error) {
	at, ok := p.fileAt[p.file[row]]
	if !ok {
		return forensics.Packet{}, &bundle.DamagedError{File: "data/tables/packets", What: fmt.Sprintf("file_id %d is not in bundle.json", p.file[row])}
	}
	packet, i, err := p.files[at].Packet(p.offset[row])
	if err != nil {
		return forensics.Packet{}, err
	}
	return forensics.Packet{LinkType: i.LinkType, Data: bytes.Clone(packet.Data), Layers: layers.Split(uint32(i.LinkType), packet.Data)}, nil
}

// maxRefs is how many packets of a call are listed.
const maxRefs = 10_000

// refs lists the packets of a call.
func (r *Reader) refs(x *forensics.Exchange) error {
	p, err := r.packetTable()
	if err != nil {
		return err
	}
	paths := map[int64]string{}
	for _, in := range r.b.Manifest.Inputs {
		paths[int64(in.FileID)] = in.Path
	}
	turned, err := r.turned()
	if err != nil {
		return err
	}
	asked := x.AskedByServer()
	own, err := r.ownFlows(x)
	if err != nil {
		return err
	}
	seen := map[int64]bool{}
	for _, c := range x.Cites {
		from, to := p.within(c.First, c.Last)
		for row := from; row < to; row++ {
			if seen[p.no[row]] {
				continue
			}
			seen[p.no[row]] = true
			if len(x.Packets) >= maxRefs {
				x.MoreRefs++
				continue
			}
			sender := "client"
			switch fromServer := p.flags[row]&0x100 != 0 != turned[p.flow[row]]; {
			case own != nil && !own[p.flow[row]]:
				sender = "network"
			case fromServer != asked:
				sender = "server"
			}
			ref := forensics.PacketRef{PacketNo: p.no[row], File: paths[p.file[row]], FileIndex: p.index[row], Frame: p.frame[row], TsNs: p.ts[row], Len: p.length[row], CapLen: p.caplen[row], Payload: p.payload[row], From: sender}
			if ref.Cited, err = r.cite([]citeRange{{First: p.no[row], Last: p.no[row]}}); err != nil {
				return err
			}
			x.Packets = append(x.Packets, ref)
		}
	}
	slices.SortFunc(x.Packets, func(a, b forensics.PacketRef) int { return cmp.Compare(a.PacketNo, b.PacketNo) })
	x.Frames, err = r.cite(x.Cites)
	return err
}

// turned are the flows whose packets have the direction before content showed which end is the client.
func (r *Reader) turned() (map[int64]bool, error) {
	if r.b.Manifest.Accounts.Counters["flow"][bundle.TurnedFlows] == 0 {
		return nil, nil
	}
	t, err := r.table("flows", "flow_id")
	if err == nil {
		err = t.load("turned")
	}
	out := map[int64]bool{}
	for row := range t.rows {
		if t.at("turned", row) == true {
			out[t.int("flow_id", row)] = true
		}
	}
	return out, err
}

// ownFlows are the flows of the call's connection, if the call also cites an ICMP error about it; nil otherwise.
func (r *Reader) ownFlows(x *forensics.Exchange) (map[int64]bool, error) {
	if !x.Undelivered() {
		return nil, nil
	}
	t, err := r.table("flows", "flow_id")
	if err == nil {
		err = t.load("conn_id")
	}
	out := map[int64]bool{}
	for row := range t.rows {
		if t.at("conn_id", row) == x.Call.Get("conn_id") {
			out[t.int("flow_id", row)] = true
		}
	}
	return out, err
}

// listPackets answers /mcp/calls/{id}/packets.
func (r *Reader) listPackets(id string, q query) (any, error) {
	x, err := r.exchange(id, 1)
	if err != nil {
		return nil, err
	}
	from := min(max(int(q.number("from")), 0), len(x.Packets))
	var list []forensics.Packet
	for _, ref := range x.Packets[from:min(from+q.limit(), len(x.Packets))] {
		p, err := r.readRef(ref)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return r.mask().Packets(x, list, from), nil
}

func (r *Reader) readRef(ref forensics.PacketRef) (forensics.Packet, error) {
	row, _ := r.packets.within(ref.PacketNo, ref.PacketNo)
	p, err := r.packets.read(row)
	p.PacketRef = ref
	return p, err
}

// onePacket answers /mcp/calls/{id}/packet.
func (r *Reader) onePacket(id string, q query) (any, error) {
	x, err := r.exchange(id, 64<<10)
	if err != nil {
		return nil, err
	}
	for _, ref := range x.Packets {
		if ref.PacketNo == q.number("packet_no") {
			p, err := r.readRef(ref)
			if err != nil {
				return nil, err
			}
			return r.mask().Packet(x, &p, q.text("bytes") == "recorded"), nil
		}
	}
	return nil, fmt.Errorf("packet %d of this call: %w", q.number("packet_no"), forensics.ErrNotFound)
}

// slice writes packets as PCAPNG: those that calls cite or, with whole, all of their connections.
func (r *Reader) slice(ctx context.Context, w io.Writer, calls []place, whole bool) error {
	if err := r.load("cites", "conn_id"); err != nil {
		return err
	}
	p, err := r.packetTable()
	if err != nil {
		return err
	}
	picked := make([]bool, len(p.no))
	conns := map[int64]bool{}
	for _, c := range calls {
		if id, ok := c.of.at("conn_id", c.row).(int64); ok {
			conns[id] = true
		}
		for _, rg := range citesOf(c.of.at("cites", c.row)) {
			from, to := p.within(rg.First, rg.Last)
			for row := from; row < to; row++ {
				picked[row] = true
			}
		}
	}
	if whole {
		t, err := r.table("flows", "flow_id")
		if err == nil {
			err = t.load("conn_id")
		}
		if err != nil {
			return err
		}
		flows := map[int64]bool{}
		for row := range t.rows {
			if conns[t.int("conn_id", row)] && t.at("conn_id", row) != nil {
				flows[t.int("flow_id", row)] = true
			}
		}
		for row, flow := range p.flow {
			picked[row] = picked[row] || flows[flow]
		}
	}
	_, err = carve.Write(ctx, w, p.files, carve.Options{Application: "pcapsule"}, func(yield func(carve.Pick) error) error {
		for row, yes := range picked {
			if !yes {
				continue
			}
			at, ok := p.fileAt[p.file[row]]
			if !ok {
				return &bundle.DamagedError{File: "data/tables/packets", What: fmt.Sprintf("file_id %d is not in bundle.json", p.file[row])}
			}
			frame, hidden := p.frameOf(row)
			pick := carve.Pick{File: at, Offset: p.offset[row], Index: p.index[row], Cited: cite.Text([]cite.Frames{{File: p.labels[p.file[row]], First: frame, Last: frame, Hidden: hidden}})}
			if err := yield(pick); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
