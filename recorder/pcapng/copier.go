package pcapng

import (
	"fmt"
)

// Copier copies packets of several captures into one. Each interface of each capture
// is described once, before its first packet, and keeps its link type and all options.
type Copier struct {
	w   *Writer
	ids map[copyKey]int32
}

type copyKey struct {
	source int
	index  int32
}

// NewCopier returns a Copier that writes to w.
func NewCopier(w *Writer) *Copier { return &Copier{w: w, ids: map[copyKey]int32{}} }

// Interface describes an interface of a source, unless it is already described, and returns
// its number in the output. Call it first to put all interfaces before the packets.
func (c *Copier) Interface(source int, i *Interface) (int32, error) {
	key := copyKey{source, i.Index}
	if id, ok := c.ids[key]; ok {
		return id, nil
	}
	id, err := c.w.AddInterface(*i)
	if err != nil {
		return 0, fmt.Errorf("copying interface %d of input %d: %w", i.Index, source, err)
	}
	c.ids[key] = id
	return id, nil
}

// Packet writes a packet of a source's interface, with more options after its own. If the packet
// has no time, or a time that does not fit, and nothing else in the output shows that, it gets a
// comment.
func (c *Copier) Packet(source int, i *Interface, p *Packet, more *OptionList) error {
	id, err := c.Interface(source, i)
	if err != nil {
		return err
	}
	out := *p
	out.Interface = id
	if !p.TimeOK && !c.w.canBeSimple(&out, more) {
		var note OptionList
		if p.Kind == KindSimple {
			note.Comment("the captured packet has no time")
		} else {
			note.Comment("the captured packet's time does not fit")
		}
		if more != nil {
			note.b, note.err = append(note.b, more.b...), more.err
		}
		more = &note
	}
	if err := c.w.WritePacket(&out, more); err != nil {
		return fmt.Errorf("copying packet at %d of input %d: %w", p.Offset, source, err)
	}
	return nil
}
