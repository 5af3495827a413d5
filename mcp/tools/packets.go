package tools

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/shown"
)

// Answers about packets of a call.
type (
	CallPackets  = shown.CallPackets
	PacketRow    = shown.PacketRow
	PacketDetail = shown.PacketDetail
	PacketLayer  = shown.PacketLayer
	PacketField  = shown.PacketField
)

// CallPackets lists packets of a call, from the from-th on.
func (s *Invocation) CallPackets(ctx context.Context, id string, from, most int) (CallPackets, error) {
	x, err := s.Case.Call(ctx, id, forensics.CallOptions{MaxBody: 1})
	if err != nil {
		return CallPackets{}, err
	}
	list, err := s.Case.ReadPackets(ctx, x, from, most)
	if err != nil {
		return CallPackets{}, err
	}
	mask, err := s.masking(ctx)
	if err != nil {
		return CallPackets{}, err
	}
	return mask.Packets(x, list, from), nil
}

// PacketOfCall returns the layers and bytes of a packet of a call. Unless recorded is set, it masks the bytes
// that were sent by applications, except those of values that other answers show, too.
func (s *Invocation) PacketOfCall(ctx context.Context, id string, no int64, recorded bool) (PacketDetail, error) {
	x, err := s.Case.Call(ctx, id, forensics.CallOptions{MaxBody: shown.MaxPacketBytes})
	if err != nil {
		return PacketDetail{}, err
	}
	p, err := s.Case.ReadPacket(ctx, x, no)
	if err != nil {
		return PacketDetail{}, err
	}
	mask, err := s.masking(ctx)
	if err != nil {
		return PacketDetail{}, err
	}
	return mask.Packet(x, p, recorded), nil
}

func (s *Invocation) masking(ctx context.Context) (m shown.Mask, err error) {
	if s.Policy == nil {
		return m, nil
	}
	m.Policy = s.Policy
	m.Known, err = s.Case.Known(ctx)
	return m, err
}
