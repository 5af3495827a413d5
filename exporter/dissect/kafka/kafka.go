// Package kafka reads the protocol of Apache Kafka.
//
// A row is one request with its response, paired by correlation id. Produce and Fetch are read
// here, so that a message of many megabytes costs no memory: its beginning is read, the rest is
// counted. All other messages are decoded by kmsg, which is generated from the protocol's
// definitions. Passwords and tokens of SASL never leave the package.
package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxMessage = 1 << 30   // bytes of a message; servers accept 100 MiB
	maxRead    = 128 << 10 // bytes of a message that are read; the rest is counted
	maxList    = 64        // topics, partitions and offsets in a row
	maxRecords = 16        // records whose keys and values are in a row
	maxInflate = 256 << 10 // bytes decompressed of the record batches of a message
	maxNamed   = 1024      // topics whose ids a message names
)

// Row is one request with its response.
type Row struct {
	table.Call
	APIKey       table.Opt[int32]  `col:"kafka_api_key" doc:"number of the API; null if the request was not captured"`
	API          table.Opt[string] `col:"kafka_api_key_name" enc:"dict" doc:"name of the API in capitals, such as PRODUCE or LIST_OFFSETS"`
	Version      table.Opt[int32]  `col:"kafka_api_version" doc:"version of the API"`
	Correlation  int32             `col:"kafka_correlation_id" doc:"correlation id, which pairs request and response"`
	Client       table.Opt[string] `col:"kafka_client_id" enc:"dict" doc:"client id of the request"`
	Request      table.Opt[string] `col:"kafka_request_summary" doc:"what the client requested, in one line"`
	Topics       []string          `col:"kafka_topics" doc:"names of the topics, at most 64; of a topic whose name is not known, its id"`
	TopicIDs     []string          `col:"kafka_topic_ids" doc:"ids of the topics (UUID), if the messages have them; at most 64"`
	Partitions   []string          `col:"kafka_partitions" doc:"partitions as topic/number, at most 64"`
	Offsets      []string          `col:"kafka_offsets" doc:"offsets of the records that were written, or returned from the requested offset on, as topic/number:first-last; at most 64. They link a record that was produced to the Fetch or ShareFetch that returned it"`
	Group        table.Opt[string] `col:"kafka_group" enc:"dict" doc:"consumer group"`
	Member       table.Opt[string] `col:"kafka_member" doc:"member id in the group"`
	Generation   table.Opt[int32]  `col:"kafka_generation" doc:"generation, or epoch of the member, in the group"`
	Transaction  table.Opt[string] `col:"kafka_transactional_id" enc:"dict" doc:"transactional id"`
	Acks         table.Opt[int32]  `col:"kafka_acks" doc:"acknowledgements that Produce asks for: 0 none, 1 the leader, -1 all replicas in sync"`
	Records      table.Opt[int64]  `col:"kafka_records" doc:"records in the batches that were read"`
	Batches      table.Opt[int64]  `col:"kafka_batches" doc:"record batches, or messages of formats 0 and 1"`
	Compression  table.Opt[string] `col:"kafka_compression" enc:"dict" doc:"compression of the first record batch: none, gzip, snappy, lz4, zstd"`
	Keys         []string          `col:"kafka_keys" doc:"keys of the first 16 records, at most 256 bytes each; hexadecimal after 0x if not text"`
	Values       []string          `col:"kafka_values" doc:"values of the first 16 records, at most 256 bytes each; hexadecimal after 0x if not text"`
	ErrorCode    table.Opt[int32]  `col:"kafka_error_code" doc:"first error code in the response; 0 if there is none"`
	ErrorMessage table.Opt[string] `col:"kafka_error_message" doc:"text of the server with the first error"`
	Errors       int32             `col:"kafka_errors" doc:"number of error codes in the response"`
	Throttle     table.Opt[int32]  `col:"kafka_throttle_ms" unit:"ms" doc:"how long the server delayed the response, or asks the client to wait, because of a quota"`
	Mechanism    table.Opt[string] `col:"kafka_sasl_mechanism" enc:"dict" doc:"SASL mechanism of the connection"`
	User         table.Opt[string] `col:"kafka_user" enc:"dict" doc:"user name of SASL on this connection"`
	Software     table.Opt[string] `col:"kafka_client_software" enc:"dict" doc:"name and version of the client's software, from ApiVersions"`
	Ahead        int32             `col:"kafka_ahead" doc:"number of earlier requests that were unanswered when this one was sent (pipelining)"`
	named        []idName          // what a response says of ids
	ids          bool              // ids stand for names
	Partial      bool              `col:"kafka_partial" doc:"only the beginning of a long message, or of its compressed records, was read, so lists and counts may be incomplete"`
}

// Protocol is Kafka.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "kafka",
		Doc:          "protocol of Apache Kafka, up to version 4",
		Versions:     "all versions of all API keys up to Kafka 4.4",
		Depth:        "requests with responses, topics, partitions, groups, errors, records with compression",
		Transports:   []dissect.Transport{dissect.TCP},
		Ports:        []uint16{9092, 9093, 9094, 9095, 19092, 29092},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		Resume:       resume,
		New:          newConn,
		Row:          &Row{},
		Traits:       table.Traits{Login: true, Before: "method IN ('ApiVersions', 'SaslHandshake', 'SaslAuthenticate')"},
	}
}

// call is a pending request, or a response without a request.
type call struct {
	uncounted bool // there may be more records than the row counts
	x         dissect.Exchange
	row       *Row
	key       int16
	version   int16
	acks0     bool // no response will come
	raw       bool // a SASL token without a header, see conn.rawSASL
	gap       bool
	bad       bool
	whole     bool // the request was captured completely
	wrote     []written
	wanted    []wanted
	fetching  fetching
	topic     string // of the records that came
	topics    bool   // they are of several topics
	texts     int    // bytes of text in row
	secret    []byte // of a token, until its place is noted
}

// callCost is the memory of a pending call in addition to its text.
const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// side is the position in a message that is being counted.
type side struct {
	left int64 // bytes of it still to come
	call *call
}

type conn struct {
	byid.Table[int32, *call]
	req, resp side
	unsure    bool // the position of responses is a guess since a loss
	rawSASL   bool // tokens without a header follow, see SaslHandshake version 0
	rawID     int32
	proven    bool   // a response had the correlation id of a request
	client    string // client id of the latest request
	mechanism string
	user      string
	software  string

	sessions     map[int32]*session
	sessionBytes int
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Conn, k.Emit = c, k.emit
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.sessionBytes
	if c := k.resp.call; c != nil {
		n += callCost + c.texts
	}
	if c := k.req.call; c != nil && c.acks0 {
		n += callCost + c.texts
	}
	return n
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := k.side(in.Dir)
	return in.Each(func(at int) (int, error) {
		if s.left > 0 {
			return k.count(s, in, at), nil
		}
		return k.message(s, in, at, in.End)
	})
}

func (k *conn) side(dir dissect.Dir) *side {
	if dir == dissect.ToServer {
		return &k.req
	}
	return &k.resp
}

// count takes more bytes of a long message.
func (k *conn) count(s *side, in *dissect.Input, at int) int {
	n := int(min(s.left, int64(len(in.Data)-at)))
	k.cite(s.call, in, at, at+n)
	if s.left -= int64(n); s.left == 0 {
		k.ended(in.Dir)
	}
	return n
}

func (k *conn) cite(c *call, in *dissect.Input, from, to int) {
	c.x.Add(in, from, to)
}

// message reads the beginning of a message, which is all of a short one. With cut, no more bytes of
// it will come.
func (k *conn) message(s *side, in *dissect.Input, at int, cut bool) (int, error) {
	b := in.Data[at:]
	if len(b) < 4 {
		return 0, nil
	}
	size := int64(int32(binary.BigEndian.Uint32(b)))
	if size < 4 || size > maxMessage {
		return 0, fmt.Errorf("reading a message: length %d is outside 4 to %d", size, maxMessage)
	}
	want := 4 + int(min(size, maxRead))
	if len(b) < want && !cut {
		if err := k.plausible(in.Dir, b); err != nil {
			return 0, err
		}
		k.Conn.Need(in.Dir, want)
		return 0, nil
	}
	b = b[:min(len(b), want)]
	if len(b) < 8 {
		return 0, nil
	}
	partial := int64(len(b)) < 4+size
	var c *call
	var err error
	if in.Dir == dissect.ToServer {
		c, err = k.request(b[4:], partial)
	} else {
		c, err = k.response(b[4:], partial)
	}
	if err != nil {
		return 0, err
	}
	k.cite(c, in, at, at+len(b))
	c.hide(in, at)
	s.call, s.left = c, 4+size-int64(len(b))
	if s.left == 0 {
		k.ended(in.Dir)
	}
	return len(b), nil
}

// hide marks the secret in the message at in.Data[at:].
func (c *call) hide(in *dissect.Input, at int) {
	if c == nil || len(c.secret) == 0 {
		return
	}
	if i := bytes.LastIndex(in.Data[at:], c.secret); i >= 0 {
		c.x.Hide(in, at+i, at+i+len(c.secret))
	}
	c.secret = nil
}

// ended handles the end of a message.
func (k *conn) ended(dir dissect.Dir) {
	s := k.side(dir)
	c := s.call
	*s = side{}
	if dir == dissect.ToClient {
		k.Emit(c, "")
		return
	}
	if c.whole = !c.gap; c.acks0 {
		k.Emit(c, "")
	}
}

// Gap implements dissect.Dissector. Bytes in a message of known length can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := k.side(in.Dir)
	if s.left == 0 && len(in.Data) >= 8 { // it waited for more of this message
		if n, err := k.message(s, in, 0, true); err != nil || n < len(in.Data) {
			return false
		}
	}
	if s.left < missing || s.call == nil {
		return false
	}
	s.call.gap = true
	if s.left -= missing; s.left == 0 {
		k.ended(in.Dir)
	}
	return true
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	s := k.side(dir)
	c := s.call
	*s = side{}
	k.unsure = k.unsure || dir == dissect.ToClient && !k.Conn.Starting()
	if c == nil {
		return
	}
	c.gap, c.bad = why == dissect.LossGap, why == dissect.LossMalformed
	if dir == dissect.ToClient || c.acks0 {
		k.Emit(c, string(why))
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	for _, s := range [...]*side{&k.resp, &k.req} {
		if c := s.call; c != nil && (s == &k.resp || c.acks0) {
			word := why.CallError()
			if why == dissect.EndFin {
				word = "cut"
			}
			k.Emit(c, word)
		}
	}
	k.Table.Close(why)
}
