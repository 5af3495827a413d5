// Package mqtt reads MQTT 3.1, 3.1.1 and 5.0.
//
// A row is one message with its acknowledgements, in either direction: PUBLISH with PUBACK, or with
// PUBREC, PUBREL and PUBCOMP, SUBSCRIBE with SUBACK, CONNECT with CONNACK. They are paired by packet
// identifier, which each side chooses on its own. Payloads are read in pieces. Passwords and
// authentication data never leave the package.
package mqtt

import (
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxPacket  = 256 << 10 // bytes of a packet other than PUBLISH, and of what precedes its payload
	maxList    = 64        // filters and user properties in a row
	maxAliases = 1024      // topic aliases that are known in each direction
)

// Row is one message with its acknowledgements.
type Row struct {
	table.Call
	Packets    []string          `col:"mqtt_packets" doc:"types of the packets of this row, in order"`
	Version    table.Opt[string] `col:"mqtt_version" enc:"dict" doc:"3.1, 3.1.1 or 5.0; null if CONNECT was not captured"`
	Client     table.Opt[string] `col:"mqtt_client_id" enc:"dict" doc:"client identifier of CONNECT, or the one that the server assigned"`
	User       table.Opt[string] `col:"mqtt_user" enc:"dict" doc:"user name of CONNECT"`
	Topic      table.Opt[string] `col:"mqtt_topic" doc:"topic of a published message, also if only its alias was sent, at most 256 bytes"`
	Filters    []string          `col:"mqtt_filters" doc:"topic filters of SUBSCRIBE and UNSUBSCRIBE, at most 64"`
	PacketID   table.Opt[int32]  `col:"mqtt_packet_id" doc:"packet identifier, which pairs a message with its acknowledgement"`
	QoS        table.Opt[int32]  `col:"mqtt_qos" doc:"quality of service of a published message, or the highest one that a subscription requests"`
	Granted    []string          `col:"mqtt_granted" doc:"answer to each filter: the granted quality of service, or the reason of a refusal"`
	Retain     bool              `col:"mqtt_retain" doc:"the message is, or was, kept for later subscribers"`
	Delivered  bool              `col:"mqtt_delivered" doc:"the server sent the message to a subscriber"`
	Dup        bool              `col:"mqtt_dup" doc:"the message was sent before"`
	Value      table.Opt[string] `col:"mqtt_value" doc:"beginning of the payload, at most 256 bytes; hexadecimal after 0x if it is not text"`
	Reason     table.Opt[int32]  `col:"mqtt_reason_code" doc:"return or reason code of the answer, or of DISCONNECT"`
	ReasonText table.Opt[string] `col:"mqtt_reason" enc:"dict" doc:"name of mqtt_reason_code"`
	ReasonSaid table.Opt[string] `col:"mqtt_reason_string" doc:"text that was sent with the reason code"`
	KeepAlive  table.Opt[int32]  `col:"mqtt_keep_alive_s" unit:"s" doc:"keep alive time that the client announces, or that the server sets"`
	Clean      bool              `col:"mqtt_clean_start" doc:"the client begins a new session"`
	Present    bool              `col:"mqtt_session_present" doc:"the server continues a session"`
	Will       table.Opt[string] `col:"mqtt_will_topic" doc:"topic of the message that the server publishes if the connection is lost"`
	ReplyTo    table.Opt[string] `col:"mqtt_response_topic" doc:"topic to which the answer goes"`
	Related    table.Opt[string] `col:"mqtt_correlation_data" doc:"correlation data of the message; hexadecimal after 0x if it is not text"`
	Expiry     table.Opt[int64]  `col:"mqtt_expiry_s" unit:"s" doc:"lifetime of the message, or of the session"`
	Alias      table.Opt[int32]  `col:"mqtt_topic_alias" doc:"topic alias of the message"`
	Server     table.Opt[string] `col:"mqtt_server_reference" doc:"other server that the client should use"`
}

// Protocol is MQTT.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "mqtt",
		Doc:          "MQTT 3.1, 3.1.1 and 5.0",
		Versions:     "3.1, 3.1.1, 5.0",
		Depth:        "packets with their acknowledgements, topics, quality of service, properties and the payload",
		Transports:   []dissect.Transport{dissect.TCP},
		Ports:        []uint16{1883, 1884, 8883},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		Resume:       resume,
		Prefaced:     true,
		New:          newConn,
		Row:          &Row{},
		Traits:       table.Traits{Login: true},
	}
}

// call is a message that waits for its acknowledgement, or an acknowledgement without its message.
type call struct {
	x        dissect.Exchange
	asked    dissect.QueuedRequest
	row      *Row
	from     dissect.Dir // who sent the message
	kind     byte
	size     int64 // of the payload
	ping     bool
	answered bool
	received bool // PUBREC was read
	released bool // PUBREL was read
	unsure   bool // the version is not known, and the payload may begin with properties
	whole    bool
	gap      bool
	bad      bool
	texts    int
}

// callCost is the memory of a waiting call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return true }

// side is the state of one direction.
type side struct {
	sent    byid.Table[uint16, *call] // by packet identifier
	call    *call                     // the message whose payload is being read
	left    int64
	aliases map[uint16]string
	held    int // bytes of the budget for aliases
}

type conn struct {
	c       *dissect.Conn
	sides   [2]side
	pings   dissect.Queue[*call]
	login   *call   // CONNECT or AUTH without its answer
	waits   [2]bool // a packet of that side waits for the other side
	version byte    // 0 if it is not known
	client  string
	user    string
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	for i := range k.sides {
		k.sides[i].sent.Conn, k.sides[i].sent.Emit = c, k.emit
	}
	k.pings = dissect.Queue[*call]{Conn: c, Emit: k.emit}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.sides[in.Dir]
	return in.Each(func(at int) (int, error) {
		if s.call != nil {
			return k.payload(s, in, at), nil
		}
		return k.packet(in, at)
	})
}

// Gap implements dissect.Dissector. Bytes of a payload can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if s.call == nil || missing > s.left {
		return false
	}
	s.call.x.ReqBody.Missing(missing)
	s.call.gap = true
	if s.left -= missing; s.left == 0 {
		k.published(s)
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	s := &k.sides[dir]
	s.sent.Resync(dissect.ToServer, why)
	k.sides[dir.Other()].sent.Resync(dissect.ToClient, why) // acknowledgements may be lost
	k.pings.Resync(dir, why)
	if c := s.call; c != nil {
		s.call, s.left = nil, 0
		c.gap, c.bad = why == dissect.LossGap, why == dissect.LossMalformed
		k.emit(c, string(why))
	}
	k.forget(s)
}

// forget drops the topic aliases of a direction: a lost packet may have changed them.
func (k *conn) forget(s *side) {
	k.c.Release(s.held)
	s.aliases, s.held = nil, 0
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := 0
	for _, c := range [...]*call{k.sides[0].call, k.sides[1].call, k.login} {
		if c != nil {
			n += callCost + c.texts
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for i := range k.sides {
		if c := k.sides[i].call; c != nil && c.x.ReqBody.Spill() {
			return true
		}
	}
	for i := range k.sides {
		if k.sides[i].sent.Shed() {
			return true
		}
		if s := &k.sides[i]; s.held > 0 {
			k.forget(s)
			return true
		}
	}
	return k.pings.Shed()
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for i := range k.sides {
		if c := k.sides[i].call; c != nil {
			k.sides[i].call = nil
			word := why.CallError()
			if why == dissect.EndFin {
				word = "cut"
			}
			k.emit(c, word)
		}
	}
	if c := k.login; c != nil {
		k.login = nil
		k.emit(c, why.CallError())
	}
	for i := range k.sides {
		k.sides[i].sent.Close(why)
		k.forget(&k.sides[i])
	}
	k.pings.Close(why)
}
