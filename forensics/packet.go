package forensics

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/internal/layers"
)

// Layer is one header of a packet, or what follows the headers; its fields have the names of Wireshark.
type Layer = layers.Layer

// LayerField is a value in a packet and the bytes that it was read from.
type LayerField = layers.Field

// Packet is one packet of a call as it was recorded.
type Packet struct {
	PacketRef
	LinkType uint16
	Data     []byte
	Layers   []Layer
}

// ReadPackets reads up to most packets of a call that Call found, from the from-th on.
func (c *Case) ReadPackets(ctx context.Context, x *Exchange, from, most int) ([]Packet, error) {
	from = min(max(from, 0), len(x.Packets))
	return c.readPackets(ctx, x, x.Packets[from:min(from+most, len(x.Packets))])
}

// ReadPacket reads one packet of a call that Call found. It returns ErrNotFound if the packet is not one of them.
func (c *Case) ReadPacket(ctx context.Context, x *Exchange, no int64) (*Packet, error) {
	for i, p := range x.Packets {
		if p.PacketNo == no {
			list, err := c.readPackets(ctx, x, x.Packets[i:i+1])
			if err == nil && len(list) == 1 {
				return &list[0], nil
			}
			return nil, err
		}
	}
	return nil, fmt.Errorf("packet %d of this call: %w", no, ErrNotFound)
}

func (c *Case) readPackets(ctx context.Context, x *Exchange, refs []PacketRef) ([]Packet, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	at := map[int64]int{}
	var numbers []int64
	for i, p := range refs {
		at[p.PacketNo] = i
		numbers = append(numbers, p.PacketNo)
	}
	files := c.openFiles()
	defer files.close()
	rows, err := c.db.Query(ctx, `SELECT packet_no, file_id, "offset" FROM packets_raw WHERE packet_no IN (SELECT unnest(?))`+c.ofBundle(x.Bundle)+" ORDER BY packet_no", numbers)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Packet
	for rows.Next() {
		file, err := files.find(x.Bundle, rows.Int(1))
		if err != nil {
			return nil, err
		}
		p, i, err := files.list[file].Packet(rows.Int(2))
		if err != nil {
			return nil, err
		}
		list = append(list, Packet{PacketRef: refs[at[rows.Int(0)]], LinkType: i.LinkType, Data: bytes.Clone(p.Data), Layers: layers.Split(uint32(i.LinkType), p.Data)})
	}
	return list, rows.Err()
}
