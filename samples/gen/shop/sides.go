package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sort"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

func some(n uint64) pcapng.Counter { return pcapng.Counter{N: n, Known: true} }

// comment is the recorder's comment about a pod.
func (g *segment) comment(p *pod, from int64) workload.InterfaceComment {
	id := workload.Identity{Kind: "pod", Name: p.name, Namespace: p.ns, Pod: p.name, PodUID: uid("Pod", p.ns, p.name), Container: p.svc.Name, Image: p.svc.Image, Node: p.node,
		Labels: []workload.Label{{Name: "app", Value: p.svc.Name}, {Name: "team", Value: p.svc.Team}}, ValidFrom: from}
	if p.svc.Kind != "Pod" {
		id.Workload, id.WorkloadKind = p.svc.Name, p.svc.Kind
	}
	if p.svc.Port != 0 {
		id.Services = []string{p.svc.Name}
	}
	return workload.InterfaceComment{Ring: g.ring, Cgroup: p.cgroupID(), Identity: id, Addresses: []netip.Addr{netip.MustParseAddr(p.ip)}, How: "cgroup"}
}

// start is the start time of a pod's process; process ids are invented.
func (g *segment) start() int64 { return g.s.sc.day(-6).UnixNano() }

func (g *segment) process(p *pod) workload.Process {
	return workload.Process{Key: fmt.Sprintf("%d@%d", p.pid(), g.start()), PID: p.pid(), Parent: 900, Start: g.start(), Name: p.svc.Name, Exe: "/app/" + p.svc.Name,
		UID: 1000, User: "app", Cgroup: p.cgroup(), Container: p.container(), PodUID: uid("Pod", p.ns, p.name)}
}

// socket is one end of a conversation in one pod.
type socket struct {
	iface         int
	proto         uint8
	local, remote netip.AddrPort
}

// owners describes the processes.
func (g *segment) owners() (out []byte) {
	for _, p := range g.pods {
		proc := g.process(p)
		out = workload.AppendOwnerLine(out, workload.OwnerLine{Process: &proc})
	}
	return out
}

// sockets numbers the sockets of packets; a server's datagrams share one socket for all peers.
type sockets map[socket]uint64

// options returns the packet options with its socket.
func (x sockets) options(more *pcapng.OptionList, p *packet, of *pod) {
	k, ok := socketOf(p)
	if !ok {
		return
	}
	if k.proto == 17 && k.local.Port() < k.remote.Port() && k.local.Port() < 32768 {
		k.remote = netip.AddrPort{}
	}
	if x[k] == 0 {
		x[k] = uint64(len(x) + 1)
	}
	s := pcapng.Socket{Cookie: x[k], Netns: uint64(p.iface + 1)}
	pid := uint32(of.pid())
	if p.sent {
		s.Kind = workload.Writer.Number()
		more.ProcessThread(pid, pid)
	} else {
		s.Kind, s.PID, s.TID = workload.LastUser.Number(), pid, pid
	}
	more.Socket(&s)
}

func socketOf(p *packet) (k socket, ok bool) {
	d := p.data
	if len(d) < 20 || d[0]>>4 != 4 {
		return k, false
	}
	head := int(d[0]&15) * 4
	proto := d[9]
	if proto != 6 && proto != 17 || len(d) < head+4 || binary.BigEndian.Uint16(d[6:])&0x1fff != 0 {
		return k, false
	}
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[12:16])), binary.BigEndian.Uint16(d[head:]))
	dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[16:20])), binary.BigEndian.Uint16(d[head+2:]))
	if !p.sent {
		src, dst = dst, src
	}
	return socket{p.iface, proto, src, dst}, true
}

// events returns the events of the node and the cluster.
func (g *segment) events() (out []byte) {
	list := append([]event(nil), g.s.story.events...)
	for _, p := range g.pods {
		list = append(list, event{at: g.s.sc.day(-6).Add(-1e9), pod: p, kind: "k8s", typ: "Normal", reason: "Started", message: "Started container " + p.svc.Name, object: "Pod"})
	}
	sort.SliceStable(list, func(a, b int) bool { return list[a].at.Before(list[b].at) })
	for _, e := range list {
		if e.pod.node != g.node {
			continue
		}
		h := workload.Happening{TsNs: e.at.UnixNano(), Kind: e.kind, Exit: -1, Process: workload.Process{UID: -1}}
		switch e.kind {
		case workload.KindKubernetes:
			name, kind := e.pod.name, e.object
			h.Event = &workload.Event{TsNs: h.TsNs, FirstNs: h.TsNs, Type: e.typ, Reason: e.reason, Message: e.message, Kind: kind, Namespace: e.pod.ns, Name: name,
				UID: uid(kind, e.pod.ns, name), Count: max(e.count, 1), Source: "kubelet", Node: g.node}
		default:
			h.Process = g.process(e.pod)
			if e.kind == "exit" {
				h.Signal = 9
			}
		}
		out = workload.AppendHappening(out, &h)
	}
	return out
}
