package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
)

// Take fills in the decoded fields of an IP packet; namespace is the network namespace that its
// interface shows, 0 unknown.
func (p *Packet) Take(f *decode.Frame, namespace uint64) {
	p.Kind, p.Proto, p.Version, p.Type, p.Code, p.Direction = f.Kind, f.Proto, f.IPVersion, f.Type, f.Code, f.LinkDirection
	p.Problems, p.L4, p.PDU, p.VLAN, p.Network = f.Problems, f.L4, f.PDU, -1, f.Network(namespace)
	p.Carrier = f.Carrier + p.Network
	if f.NVLANs > 0 {
		p.VLAN = int32(f.VLANs[0])
	}
	p.IPLen, p.PayloadLen = int32(min(f.IPLen, 1<<31-1)), int32(min(f.PayloadLen, 1<<31-1))
	p.TTL = f.TTL
	p.WScale, p.HasTS, p.TSVal, p.IPID = f.WScale, f.HasTS, f.TSVal, f.IPID
	p.SrcPort, p.DstPort, p.TCPFlags, p.Window, p.MSS = f.SrcPort, f.DstPort, f.Flags, f.Window, f.MSS
	p.Seq, p.Ack, p.Src, p.Dst, p.Payload, p.FragNos, p.Pieces = f.Seq, f.Ack, f.Src, f.Dst, f.Payload, f.FragNos, f.Pieces
	p.Multipath, p.Mapped, p.Mapping = f.Multipath, f.Mapped, f.Mapping
	p.Device = f.IfIndex // SLL2 distinguishes the devices of a capture
	if f.NTunnels > 0 {
		p.Tunnels = slices.Clone(f.Tunnels[:f.NTunnels])
	}
}

// GivenUp makes the packet that reports an incomplete datagram to its conversation; without d.Frame, to
// all conversations of its hosts.
func GivenUp(d *decode.Incomplete, namespace uint64, clock int32) Packet {
	p := Packet{Capture: Capture{No: d.First, Time: d.Last, Interface: d.Interface, Clock: clock}, Said: Said{GivenUp: true}}
	if n := len(d.Nos); n > 0 {
		p.No = d.Nos[n-1]
	}
	if d.Frame == nil {
		p.Portless, p.Src, p.Dst, p.Proto, p.VLAN = true, d.Src, d.Dst, d.Proto, -1
		return p
	}
	p.Take(d.Frame, namespace)
	return p
}
