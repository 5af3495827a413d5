package quic

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// form is how a transport parameter's value is written.
type form uint8

const (
	asHex form = iota
	asNumber
	asFlag
	asText
	asVersions // version_information, RFC 9368 section 3
	asAddress  // preferred_address
	asTag      // four letters of Google's
)

// parameter is a transport parameter by its number in IANA's registry, or by use.
type parameter struct {
	name string
	form form
}

var parameterNames = map[uint64]parameter{
	0x00:             {"original_destination_connection_id", asHex},
	0x01:             {"max_idle_timeout", asNumber},
	0x02:             {"stateless_reset_token", asHex},
	0x03:             {"max_udp_payload_size", asNumber},
	0x04:             {"initial_max_data", asNumber},
	0x05:             {"initial_max_stream_data_bidi_local", asNumber},
	0x06:             {"initial_max_stream_data_bidi_remote", asNumber},
	0x07:             {"initial_max_stream_data_uni", asNumber},
	0x08:             {"initial_max_streams_bidi", asNumber},
	0x09:             {"initial_max_streams_uni", asNumber},
	0x0a:             {"ack_delay_exponent", asNumber},
	0x0b:             {"max_ack_delay", asNumber},
	0x0c:             {"disable_active_migration", asFlag},
	0x0d:             {"preferred_address", asAddress},
	0x0e:             {"active_connection_id_limit", asNumber},
	0x0f:             {"initial_source_connection_id", asHex},
	0x10:             {"retry_source_connection_id", asHex},
	0x11:             {"version_information", asVersions},
	0x20:             {"max_datagram_frame_size", asNumber},
	0x173e:           {"discard", asHex},
	0x26ab:           {"google_handshake_message", asHex},
	0x2ab2:           {"grease_quic_bit", asFlag},
	0x3127:           {"initial_round_trip_time", asNumber},
	0x3128:           {"google_connection_options", asTag},
	0x3129:           {"user_agent", asText},
	0x4752:           {"google_quic_version", asVersions},
	0x7157:           {"timestamp_old", asNumber},
	0x7158:           {"timestamp", asNumber},
	0xff73db:         {"version_information_draft", asVersions},
	0xff02de1a:       {"min_ack_delay_draft", asNumber},
	0xff04de1b:       {"min_ack_delay", asNumber},
	0xde1a:           {"loss_bits_or_min_ack_delay", asNumber},
	0x17f7586d2cb571: {"reset_stream_at", asFlag},
	0x3e:             {"initial_max_path_id", asNumber},
	0x1057:           {"loss_bits", asNumber},
}

const maxParameter = 256 // bytes of a value that are shown

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
			q.t.anomaly("limit", "over %d transport parameters", maxListed)
			return
		}
		*list = append(*list, q.parameter(r, number, value))
	}
}

// parameter reads one transport parameter and returns it as text.
func (q *conn) parameter(r role, number uint64, value []byte) string {
	x, ok := parameterNames[number]
	if number%31 == 27 && !ok { // reserved, RFC 9000 section 18.1
		return "grease=" + hexOf(value[:min(len(value), maxParameter)])
	}
	if !ok {
		x.name = fmt.Sprintf("0x%x", number)
	}
	q.take(r, number, value)
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
		return x.name + "=" + text(value[:min(len(value), maxParameter)])
	case asTag:
		s := ""
		for rest := value[:min(len(value), maxParameter)]; len(rest) >= 4; rest = rest[4:] {
			if s != "" {
				s += ","
			}
			s += text(trimZeros(rest[:4]))
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

// take keeps what the connection needs of a parameter, or has a column for.
func (q *conn) take(r role, number uint64, value []byte) {
	row := q.row
	set := func(c, s *table.Opt[int64]) {
		v, n := varint(value)
		if n == 0 || n != len(value) {
			q.t.anomaly("malformed", "reading transport parameter 0x%x: %d bytes are no number", number, len(value))
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
			q.giveID(server, 1, id, token)
		}
	case 0x11:
		for i := 4; r == client && i+4 <= len(value); i += 4 { // the first is the one in use
			q.offer(versionName(binary.BigEndian.Uint32(value[i:])))
		}
	case 0x3129:
		row.Agent = table.Some(cutText(text(value), 300))
	}
}
