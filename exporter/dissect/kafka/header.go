package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// API keys that are read here or matter for the state of a connection.
const (
	apiProduce          = 0
	apiFetch            = 1
	apiMetadata         = 3
	apiControlled       = 7
	apiSaslHandshake    = 17
	apiVersions         = 18
	apiSaslAuthenticate = 36
	apiShareFetch       = 78
)

const unsupportedVersion = 35 // error code

const maxClientID = 1 << 10 // bytes of a client id that is believable

// header is the head of a request.
type header struct {
	key, version int16
	id           int32
	client       []byte
	size         int // bytes of the header
}

var (
	errShort  = errors.New("the header is not complete")
	errHeader = errors.New("expected an API key, its version, a correlation id and a client id")
)

// readHeader reads the head of a request after its length. msg says whether the API is known;
// of an unknown one the size is not.
func readHeader(b []byte) (h header, msg kmsg.Request, err error) {
	if len(b) < 2 {
		return h, nil, errShort
	}
	h.key = int16(binary.BigEndian.Uint16(b))
	if msg = kmsg.RequestForKey(h.key); msg == nil {
		return h, nil, errHeader
	}
	if len(b) < 8 {
		return h, msg, errShort
	}
	h.version, h.id, h.size = int16(binary.BigEndian.Uint16(b[2:])), int32(binary.BigEndian.Uint32(b[4:])), 8
	if h.version < 0 || h.version > msg.MaxVersion()+4 { // versions that are newer than the library
		return h, msg, errHeader
	}
	msg.SetVersion(h.version)
	if h.key == apiControlled && h.version == 0 {
		return h, msg, nil
	}
	if len(b) < 10 {
		return h, msg, errShort
	}
	n := int(int16(binary.BigEndian.Uint16(b[8:])))
	if h.size = 10; n > 0 {
		h.size += n
	}
	if n < -1 || n > maxClientID {
		return h, msg, errHeader
	}
	h.client = b[10:min(h.size, len(b))]
	if !clip.Printable(h.client) {
		return h, msg, errHeader
	}
	if len(b) < h.size {
		return h, msg, errShort
	}
	if msg.IsFlexible() {
		r := newReader(b[h.size:], true)
		if r.tags(); r.Short() {
			return h, msg, errShort
		}
		h.size += r.Used()
	}
	return h, msg, nil
}

// plausible checks the first bytes of a message that is not complete.
func (k *conn) plausible(dir dissect.Dir, b []byte) error {
	if dir == dissect.ToClient || k.rawSASL {
		return nil
	}
	_, msg, err := readHeader(b[4:])
	if msg == nil && k.proven { // see newer, which needs all of the header
		return nil
	}
	if err != nil && !errors.Is(err, errShort) {
		return fmt.Errorf("reading a request: %w, got %.32x", err, b)
	}
	return nil
}

// request reads the beginning of a request, after its length.
func (k *conn) request(b []byte, partial bool) (*call, error) {
	h, msg, err := readHeader(b)
	if err != nil && k.rawSASL {
		return k.token(b), nil
	}
	if msg == nil {
		if c := k.newer(b); c != nil {
			return c, nil
		}
	}
	if err != nil && !(partial && errors.Is(err, errShort)) {
		return nil, fmt.Errorf("reading a request: %w, got %.32x", err, b)
	}
	k.rawSASL, k.client = false, string(h.client)
	c := k.newCall(&h)
	row, name := c.row, c.row.Method.V
	f := k.collect(c)
	f.partial = partial
	body := b[min(h.size, len(b)):]
	switch {
	case h.version > msg.MaxVersion():
		f.partial = true // newer than what is known
	case h.key == apiProduce:
		f.produce(body, h.version)
		c.acks0 = row.Acks == table.Some[int32](0)
	case h.key == apiFetch:
		f.fetch(body, h.version)
	case partial:
	default:
		if err := f.decode(msg.ReadFrom, msg, body); err != nil {
			return nil, fmt.Errorf("reading %s version %d: %w", name, h.version, err)
		}
		k.learn(c, msg)
	}
	f.finish()
	row.Request = table.Some(f.asked())
	if !c.acks0 {
		k.Put(h.id, c, callCost+c.texts)
	}
	return c, nil
}

// newCall begins a call with the header of its request.
func (k *conn) newCall(h *header) *call {
	row := &Row{Correlation: h.id, Mechanism: table.NonEmpty(k.mechanism), User: table.NonEmpty(k.user),
		Software: table.NonEmpty(k.software), Ahead: int32(k.Len())}
	row.APIKey, row.Version = table.Some(int32(h.key)), table.Some(int32(h.version))
	name := tables()["api"].Name(int64(h.key), "api_")
	row.Method, row.API = table.Some(name), table.Some(capitals(name))
	row.Client = table.NonEmpty(message.Text(h.client))
	return &call{row: row, key: h.key, version: h.version}
}

// newer reads the header of a request whose API is not known: a later one, or a vendor's. That header is
// evidence enough if a response identified the connection, and the client id is that of the request before. It returns nil
// if not.
func (k *conn) newer(b []byte) *call {
	r := newReader(b, false)
	h := header{key: r.int16(), version: r.int16(), id: r.int32(), client: r.str()}
	if r.Short() || !k.proven || k.client == "" || string(h.client) != k.client || h.key < 0 || h.version < 0 {
		return nil
	}
	c := k.newCall(&h)
	c.row.Partial, c.row.Request = true, table.Some("")
	k.Put(h.id, c, callCost)
	return c
}

// learn remembers the fields of a request that describe its connection.
func (k *conn) learn(c *call, msg kmsg.Request) {
	switch m := msg.(type) {
	case *kmsg.SASLHandshakeRequest:
		k.mechanism = message.Text([]byte(m.Mechanism))
		c.row.Mechanism = table.NonEmpty(k.mechanism)
	case *kmsg.SASLAuthenticateRequest:
		k.authenticate(c, m.SASLAuthBytes)
	case *kmsg.ApiVersionsRequest:
		if m.ClientSoftwareName != "" {
			k.software = message.Text([]byte(m.ClientSoftwareName + " " + m.ClientSoftwareVersion))
			c.row.Software = table.Some(k.software)
		}
	}
}

// authenticate takes the user's name from a token and nothing else of it.
func (k *conn) authenticate(c *call, token []byte) {
	if user := sasl.User(k.Conn, k.mechanism, token); len(user) > 0 {
		k.user = message.Text(user)
	}
	c.row.User, c.row.Mechanism = table.NonEmpty(k.user), table.NonEmpty(k.mechanism)
	c.row.AuthKind = table.NonEmpty(sasl.Kind(k.mechanism))
	c.secret = token[bytes.LastIndexByte(token, 0)+1:] // the password of PLAIN (RFC 4616), else the whole token
}

// token is a SASL token without a header, which follows SaslHandshake version 0.
func (k *conn) token(b []byte) *call {
	k.rawID--
	c := &call{row: &Row{Correlation: k.rawID, Ahead: int32(k.Len())}, key: apiSaslAuthenticate, raw: true}
	c.row.Method, c.row.API = table.Some("SaslAuthenticate"), table.Some("SASL_AUTHENTICATE")
	c.row.APIKey = table.Some[int32](apiSaslAuthenticate)
	k.authenticate(c, b)
	c.row.Request = table.Some("token without a header")
	k.Put(k.rawID, c, callCost)
	return c
}

// response reads the beginning of a response, after its length.
func (k *conn) response(b []byte, partial bool) (*call, error) {
	id := int32(binary.BigEndian.Uint32(b))
	c, ok := k.Take(id)
	if !ok && k.rawSASL {
		if c, ok = k.Take(k.rawID); ok {
			c.row.ErrorCode = table.Some[int32](0)
			return c, nil
		}
	}
	if !ok {
		if k.unsure || k.Conn.Unproved() {
			return nil, fmt.Errorf("reading a response: no request has correlation id %d", id)
		}
		return &call{row: &Row{Correlation: id}, key: -1}, nil
	}
	k.unsure, k.proven = false, true
	k.Conn.Confirm()
	f := k.collect(c)
	f.response, f.partial = true, partial
	msg := kmsg.ResponseForKey(c.key)
	if msg == nil || c.version > msg.MaxVersion() {
		f.partial = true
		f.finish()
		return c, nil
	}
	msg.SetVersion(c.version)
	body := b[4:]
	if msg.IsFlexible() && c.key != apiVersions {
		r := newReader(body, true)
		r.tags()
		body = body[r.Used():]
	}
	switch {
	case c.key == apiProduce:
		f.produced(body, c.version)
	case c.key == apiFetch:
		f.fetched(body, c.version)
	case c.key == apiShareFetch:
		f.shareFetched(body, c.version)
	case partial:
	case c.key == apiVersions && len(body) >= 2 && int16(binary.BigEndian.Uint16(body)) == unsupportedVersion:
		f.failed(unsupportedVersion, nil) // answered in version 0
	default:
		if err := f.decode(msg.ReadFrom, msg, body); err != nil {
			c.bad = true
			k.Conn.Anomaly("malformed", fmt.Sprintf("reading the response of %s version %d: %v", c.row.Method.V, c.version, err), 0)
		}
	}
	f.finish()
	switch m := msg.(type) {
	case *kmsg.MetadataResponse:
		c.name(m)
	case *kmsg.SASLHandshakeResponse:
		k.rawSASL = c.version == 0 && m.ErrorCode == 0
	}
	return c, nil
}

// name takes the ids of topics.
func (c *call) name(m *kmsg.MetadataResponse) {
	for i := range m.Topics {
		t := &m.Topics[i]
		if t.Topic != nil && *t.Topic != "" && t.TopicID != [16]byte{} && len(c.row.named) < maxNamed {
			c.row.named = append(c.row.named, idName{t.TopicID, message.Text([]byte(*t.Topic))})
		}
	}
}

// capitals is the name as Kafka's own list of APIs has it: LIST_OFFSETS for ListOffsets.
func capitals(name string) string {
	var b strings.Builder
	for i, c := range name {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	return strings.ToUpper(b.String())
}
