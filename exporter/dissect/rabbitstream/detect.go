package rabbitstream

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

const maxDetect = 16 << 10 // bytes of a frame that detection waits for

// detect accepts PeerProperties, with which every connection begins, and in the middle of a connection whole frames whose
// bytes have exactly the form of their command.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < headSize {
		if len(b) > 0 && b[0] != 0 {
			return dissect.No
		}
		return dissect.More
	}
	size := int(min(binary.BigEndian.Uint32(b), maxFrame+1))
	f := frame{key: binary.BigEndian.Uint16(b[4:]), version: binary.BigEndian.Uint16(b[6:])}
	if size < headSize-4 || size > maxDetect || !known(f.key) || f.version < 1 || f.version > 2 {
		return dissect.No
	}
	if len(b) < 4+size {
		return dissect.More
	}
	d, r := newReader(b[headSize:4+size]), &Row{}
	if f.key&response == 0 {
		_, whole := r.asked(sasl.Nobody{}, f, dir, &d)
		return verdict(whole, f.key == peerProperties && r.Client.OK, r.printable() || d.step > 0 && len(d.list) > 0 || f.key == publish && r.Messages.V > 0 || f.key == deliver)
	}
	if f.key &^= response; dir == dissect.ToServer || !correlated(f.key) {
		return dissect.No
	}
	d.Uint32()
	whole := r.answered(f, &d) && d.Left() == 0
	return verdict(whole, f.key == peerProperties && r.Server.OK, whole && table.Some(tables()["response"][int64(r.StatusCode.V)]) == r.ResponseCode)
}

// verdict is Yes if the bytes can only be this protocol, Likely if others hardly send them.
func verdict(whole, certain, likely bool) dissect.Verdict {
	switch {
	case whole && certain:
		return dissect.Yes
	case whole && likely:
		return dissect.Likely
	}
	return dissect.No
}
