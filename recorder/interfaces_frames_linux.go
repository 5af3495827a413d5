package recorder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// round reads the next block, if it is ready. It reports whether it was.
func (l *listening) round() (bool, error) {
	block := l.ring[l.next*packetBlock : (l.next+1)*packetBlock]
	status := (*atomic.Uint32)(unsafe.Pointer(&block[8]))
	if status.Load()&unix.TP_STATUS_USER == 0 {
		return false, nil
	}
	ne := binary.NativeEndian
	n, at := ne.Uint32(block[12:]), uint64(ne.Uint32(block[16:]))
	for range n {
		if at+frameHeader+linkAddress > packetBlock {
			return true, fmt.Errorf("reading packet ring: frame at %d of a block of %d", at, packetBlock)
		}
		if err := l.frame(block[at:]); err != nil {
			return true, err
		}
		if l.o.Count > 0 && l.left == 0 {
			break
		}
		at += uint64(ne.Uint32(block[at:]))
	}
	status.Store(unix.TP_STATUS_KERNEL)
	l.next = (l.next + 1) % l.blocks
	return true, nil
}

func (l *listening) frame(b []byte) error {
	ne := binary.NativeEndian
	at := int64(ne.Uint32(b[4:]))*1e9 + int64(ne.Uint32(b[8:]))
	captured, length, status, mac := ne.Uint32(b[12:]), ne.Uint32(b[16:]), ne.Uint32(b[20:]), uint32(ne.Uint16(b[24:]))
	if uint64(mac)+uint64(captured) > uint64(len(b)) {
		return fmt.Errorf("reading packet ring: frame of %d bytes at %d", captured, mac)
	}
	data := b[mac : mac+captured]
	if status&unix.TP_STATUS_LOSING != 0 {
		l.count()
	}
	addr := b[frameHeader:]
	hatype, pktType := ne.Uint16(addr[8:]), addr[10]
	d := l.device(int(ne.Uint32(addr[4:])), at)
	// The loopback receives what it sends at once; one copy is enough.
	if d.skip || hatype != hatypeEther && hatype != hatypeLoopback || d.loopback && pktType == cooked.FromUs {
		l.mu.Lock()
		l.refused++
		l.mu.Unlock()
		return nil
	}
	if l.judge != nil {
		if fate := l.judge.Frame(data); fate != policy.Kept {
			l.mu.Lock()
			l.refused++
			if fate == policy.Forbidden {
				l.never++
			}
			l.mu.Unlock()
			return nil
		}
	}
	if err := l.declare(d); err != nil {
		return err
	}
	// The packet is a field so that each one does not cost an allocation.
	l.packet = ring.Packet{Interface: d.id, Time: at, Data: data, OrigLen: length, ID: l.nextID, Drops: l.pending}
	if status&unix.TP_STATUS_VLAN_VALID != 0 && len(data) >= 12 {
		// The kernel removed the tag from the frame; on the wire it was here.
		l.packet.Prefix, l.packet.Data, l.packet.OrigLen = tagged(l.head[:0], b, data), data[12:], length+4
	}
	l.packet.Flags = uint32(frameFlags(pktType, status))
	return l.keep(&l.packet, d, data)
}

// tagged appends the start of a frame with its VLAN tag restored.
func tagged(head, b, data []byte) []byte {
	ne := binary.NativeEndian
	tpid := uint16(unix.ETH_P_8021Q)
	if ne.Uint32(b[20:])&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = ne.Uint16(b[36:])
	}
	head = append(head, data[:12]...)
	head = binary.BigEndian.AppendUint16(head, tpid)
	return binary.BigEndian.AppendUint16(head, uint16(ne.Uint32(b[32:])))
}

func frameFlags(pktType uint8, status uint32) pcapng.Flags {
	f := cooked.Flags(pktType == cooked.FromUs, pktType, false, nil)
	if pktType == cooked.ToOthers {
		f |= 4 << 2 // not for us: promiscuous
	}
	if status&unix.TP_STATUS_CSUMNOTREADY != 0 {
		f |= pcapng.FlagChecksumNotReady
	}
	if status&unix.TP_STATUS_CSUM_VALID != 0 {
		f |= pcapng.FlagChecksumValid
	}
	return f
}

func (l *listening) keep(p *ring.Packet, d *device, frame []byte) error {
	err := l.out.append(p)
	if err == nil {
		l.keys.frame(frame, p.Time)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.pending = 0
		d.delivered++
		l.bytes += uint64(len(p.Prefix) + len(p.Data))
		l.nextID++
		if l.left > 0 {
			l.left--
		}
		return nil
	case errors.Is(err, ring.ErrDisk):
		d.lost++
		if !l.trouble {
			l.trouble = true
			l.o.OnError(err)
		}
		return nil
	}
	return err
}

// device returns an interface by its index.
func (l *listening) device(index int, at int64) *device {
	d := l.devices[index]
	if d != nil && (d.skip || d.since != 0) {
		return d
	}
	if len(l.devices) >= maxDevices {
		return &device{skip: true}
	}
	name, mac := fmt.Sprintf("interface-%d", index), []byte(nil)
	d = &device{since: at}
	if i, err := net.InterfaceByIndex(index); err == nil {
		name, d.loopback = i.Name, i.Flags&net.FlagLoopback != 0
		if len(i.HardwareAddr) == 6 {
			mac = i.HardwareAddr
		}
	}
	c := workload.InterfaceComment{Ring: l.name, How: "none", Identity: workload.Identity{Node: l.here.Node, ValidFrom: at}}
	d.name = machine.Clean(l.here.Node+"/-/"+name, 200)
	d.about = pcapng.Interface{Name: d.name, Description: machine.Clean("network interface "+name, 400), MAC: mac,
		Filter: l.o.Filter, Comments: []string{workload.FormatInterfaceComment(c)}}
	l.devices[index] = d
	return d
}

// declare declares an interface to the output, before the interface's first frame.
func (l *listening) declare(d *device) error {
	if d.ready {
		return nil
	}
	id, err := l.out.declare(d.about)
	if err != nil {
		return err
	}
	d.id, d.ready = id, true
	l.mu.Lock()
	l.order = append(l.order, d)
	l.mu.Unlock()
	return nil
}
