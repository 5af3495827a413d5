package quic

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxParameter = 256 // bytes of a value to show

// parameters reads the transport parameters of a side, RFC 9000 section 18.
func (q *conn) parameters(r role, b []byte) {
	list := &q.row.ClientParams
	if r == server {
		list = &q.row.ServerParams
	}
	*list = []string{}
	c := cursor.New(b)
	old := draft(q.version) != 0 && draft(q.version) < 27 // 16-bit numbers and lengths
	if old {
		c.Skip(2)
	}
	for c.Left() > 0 && !c.Short() {
		var number uint64
		var size int
		if old {
			number, size = uint64(c.Uint16()), int(c.Uint16())
		} else {
			number, size = readVarint(&c), int(min(readVarint(&c), 1<<20))
		}
		value := c.Bytes(size)
		if c.Short() {
			q.t.anomaly("malformed", "reading transport parameters of the %s: they end early", r)
			return
		}
		if len(*list) >= maxListed {
			q.t.anomaly("limit", "more than %d transport parameters", maxListed)
			return
		}
		*list = append(*list, q.parameter(r, number, value))
	}
}

// parameter reads one transport parameter and returns it as text.
func (q *conn) parameter(r role, number uint64, value []byte) string {
	x, ok := parameterOf(number)
	if number%31 == 27 && !ok { // reserved, RFC 9000 section 18.1
		return "grease=" + hexOf(value[:min(len(value), maxParameter)])
	}
	if !ok {
		x.name = fmt.Sprintf("0x%x", number)
	}
	q.storeParameter(r, number, value)
	switch x.form {
	case asFlag:
		if len(value) == 0 {
			return x.name
		}
	case asNumber:
		if v, n := varint(value); n > 0 && n == len(value) {
			return x.name + "=" + strconv.FormatUint(v, 10)
		}
	case asText:
		return x.name + "=" + clip.Line(value[:min(len(value), maxParameter)], maxParameter)
	case asTag:
		s := ""
		for rest := value[:min(len(value), maxParameter)]; len(rest) >= 4; rest = rest[4:] {
			if s != "" {
				s += ","
			}
			s += clip.Line(trimZeros(rest[:4]), 4)
		}
		return x.name + "=" + s
	case asVersions:
		if len(value)%4 == 0 {
			s := ""
			for rest := value[:min(len(value), maxParameter)]; len(rest) >= 4; rest = rest[4:] {
				if s != "" {
					s += ","
				}
				s += versionName(binary.BigEndian.Uint32(rest))
			}
			return x.name + "=" + s
		}
	case asAddress:
		if s := preferred(value); s != "" {
			return x.name + "=" + s
		}
	}
	return x.name + "=" + hexOf(value[:min(len(value), maxParameter)])
}

func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// storeParameter stores a parameter that the connection needs or that has a column.
func (q *conn) storeParameter(r role, number uint64, value []byte) {
	row := q.row
	set := func(c, s *table.Opt[int64]) {
		v, n := varint(value)
		if n == 0 || n != len(value) {
			q.t.anomaly("malformed", "reading transport parameter 0x%x: %d bytes are not a number", number, len(value))
			return
		}
		if r == server {
			c = s
		}
		*c = table.Some(int64(v))
	}
	switch number {
	case 0x01:
		set(&row.ClientIdle, &row.ServerIdle)
	case 0x03:
		set(&row.ClientMaxPayload, &row.ServerMaxPayload)
	case 0x04:
		set(&row.ClientMaxData, &row.ServerMaxData)
	case 0x02: // the token of the id of the server's long headers
		if e := &q.ends[server]; r == server && len(value) == 16 && e.known {
			copy(e.ids[0].token[:], value)
			e.ids[0].reset = true
		}
	case 0x0d:
		if id, token := preferredID(value); id != nil && r == server {
			q.addID(server, 1, id, token)
		}
	case 0x11:
		for i := 4; r == client && i+4 <= len(value); i += 4 { // the first is the current version
			q.offer(versionName(binary.BigEndian.Uint32(value[i:])))
		}
	case 0x3129:
		row.Agent = table.Some(clip.Line(value, 300))
	}
}
