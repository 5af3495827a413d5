//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/pcapsule/pcapsule/bpf/internal/loader"
)

// hook is a program and its place in a cgroup.
type hook struct {
	program string
	attach  ebpf.AttachType
	without string
}

func ownerHooks() []hook {
	const made, used, accepted = "the processes that created sockets", "the processes that last used datagram sockets and connected", "the processes that accepted connections"
	return []hook{
		{recorderProgSocketCreated, ebpf.AttachCGroupInetSockCreate, made},
		{recorderProgSocketBound4, ebpf.AttachCGroupInet4PostBind, made},
		{recorderProgSocketBound6, ebpf.AttachCGroupInet6PostBind, made},
		{recorderProgSocketConnect4, ebpf.AttachCGroupInet4Connect, used},
		{recorderProgSocketConnect6, ebpf.AttachCGroupInet6Connect, used},
		{recorderProgSocketSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, used},
		{recorderProgSocketSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, used},
		{recorderProgSocketRecvmsg4, ebpf.AttachCGroupUDP4Recvmsg, used},
		{recorderProgSocketRecvmsg6, ebpf.AttachCGroupUDP6Recvmsg, used},
		{recorderProgSocketNamed4, ebpf.AttachCgroupInet4GetPeername, accepted},
		{recorderProgSocketNamed6, ebpf.AttachCgroupInet6GetPeername, accepted},
	}
}

// AttachOwners starts recording who uses sockets of a cgroup. What cannot be attached is added
// to Missing.
func (p *Programs) AttachOwners(cgroup string) {
	for _, h := range ownerHooks() {
		if err := p.attachCgroup(cgroup, h); err != nil {
			p.Missing[h.program] = loader.Refused(h.program, since[h.program], err)
		}
	}
}

// AttachPackets starts recording packets of a cgroup and all groups below.
func (p *Programs) AttachPackets(cgroup string) error {
	for _, h := range []hook{{recorderProgPacketIn, ebpf.AttachCGroupInetIngress, ""}, {recorderProgPacketOut, ebpf.AttachCGroupInetEgress, ""}} {
		if err := p.attachCgroup(cgroup, h); err != nil {
			return err
		}
	}
	return nil
}

func (p *Programs) attachCgroup(cgroup string, h hook) error {
	prog := p.coll.Programs[h.program]
	if prog == nil {
		return p.Missing[h.program]
	}
	err := p.attach(h.program, cgroup, func() (link.Link, error) {
		return link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: h.attach, Program: prog})
	})
	if err != nil {
		return fmt.Errorf("attaching %s to cgroup %s: %w", h.program, cgroup, err)
	}
	return nil
}

// attach attaches a program, for as long as this process runs or, with Pins, longer.
func (p *Programs) attach(name, cgroup string, make func() (link.Link, error)) error {
	if p.pins != nil {
		return p.pins.place(name, p.coll.Programs[name], cgroup, make)
	}
	l, err := make()
	if err == nil {
		p.links = append(p.links, l)
	}
	return err
}

// point is a tracepoint.
type point struct{ name, without string }

// tracepoints returns the tracepoint of each program.
func tracepoints(network bool) map[string]point {
	m := map[string]point{
		recorderProgProcessExec:   {"sched_process_exec", "programs that processes run"},
		recorderProgProcessFork:   {"sched_process_fork", "new processes"},
		recorderProgProcessExit:   {"sched_process_exit", "ends of processes"},
		recorderProgProcessOom:    {"mark_victim", "processes killed for lack of memory"},
		recorderProgProcessMoved:  {"cgroup_attach_task", "moves between control groups"},
		recorderProgCgroupMade:    {"cgroup_mkdir", "new control groups"},
		recorderProgCgroupRemoved: {"cgroup_rmdir", "removed control groups"},
	}
	if network {
		m[recorderProgTcpState] = point{"inet_sock_set_state", "TCP states"}
		m[recorderProgTcpRetransmit] = point{"tcp_retransmit_skb", "TCP retransmissions"}
		m[recorderProgTcpResetSent] = point{"tcp_send_reset", "TCP resets sent"}
		m[recorderProgTcpResetReceived] = point{"tcp_receive_reset", "TCP resets received"}
		m[recorderProgPacketDropped] = point{"kfree_skb", "dropped packets with their reasons"}
	}
	return m
}

// AttachEvents starts reporting events of processes and, if wanted, of the network stack. What cannot be
// attached is added to Missing.
func (p *Programs) AttachEvents(network bool) {
	for name, point := range tracepoints(network) {
		prog := p.coll.Programs[name]
		if prog == nil {
			continue
		}
		err := p.attach(name, "", func() (link.Link, error) {
			return link.AttachRawTracepoint(link.RawTracepointOptions{Name: point.name, Program: prog})
		})
		if err != nil {
			p.Missing[name] = loader.Refused(name, since[name], fmt.Errorf("attaching to tracepoint %s: %w", point.name, err))
		}
	}
}

// Hook is a place in the kernel to which a program is attached.
type Hook struct {
	Program string
	Place   string
	For     string // packets, owners or events
	Without string // what recordings lack if the program is refused
}

// Hooks lists the places that recording uses.
func Hooks() []Hook {
	list := []Hook{{recorderProgPacketIn, "cgroup ingress", "packets", "received packets"}, {recorderProgPacketOut, "cgroup egress", "packets", "sent packets"}}
	for _, h := range ownerHooks() {
		list = append(list, Hook{h.program, "cgroup " + h.attach.String(), "owners", h.without})
	}
	list = append(list, Hook{recorderProgOpenSockets, "iterator task_file", "owners", "owners of sockets opened before the recording"})
	points := tracepoints(true)
	for _, name := range slices.Sorted(maps.Keys(points)) {
		list = append(list, Hook{name, "tracepoint " + points[name].name, "events", points[name].without})
	}
	return list
}

// Degraded lists what recordings lack because of the programs in Missing, with the reasons, in
// the order of Hooks. Parts with the same reason are joined.
func (p *Programs) Degraded() (list []string) {
	lacks := map[string][]string{}
	var reasons []string
	for _, h := range Hooks() {
		err := p.Missing[h.Program]
		if err == nil {
			continue
		}
		reason := err.Error()
		var refused *RefusedError
		if errors.As(err, &refused) {
			reason = refused.Reason()
		}
		if lacks[reason] == nil {
			reasons = append(reasons, reason)
		}
		if !slices.Contains(lacks[reason], h.Without) {
			lacks[reason] = append(lacks[reason], h.Without)
		}
	}
	for _, r := range reasons {
		list = append(list, fmt.Sprintf("not recorded: %s (%s)", strings.Join(lacks[r], ", "), r))
	}
	return list
}
