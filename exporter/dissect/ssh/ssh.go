// Package ssh reads SSH until encryption begins (RFC 4253): the versions of both sides, the
// algorithms that they offer, and the server's host key.
//
// A row is a connection. Encrypted bytes are counted and not cited. The fingerprints HASSH and
// HASSHserver are those of github.com/salesforce/hassh.
package ssh

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one connection.
const (
	maxVersion = 255       // bytes of a version line, RFC 4253 section 4.2
	maxBefore  = 64 << 10  // bytes of the lines that a server may send before it
	maxPacket  = 256 << 10 // bytes of a packet before encryption
	maxList    = 8 << 10   // bytes of a list of algorithms
)

// Messages, RFC 4253 section 12 and RFC 4419 section 5.
const (
	msgDisconnect = 1
	msgKexInit    = 20
	msgNewKeys    = 21
	msgReply      = 31 // KEXDH_REPLY, KEX_ECDH_REPLY
	msgGexReply   = 33
)

// Row is one connection.
type Row struct {
	table.Call
	ClientVersion table.Opt[string] `col:"ssh_client_version" enc:"dict" doc:"version line of the client, such as SSH-2.0-OpenSSH_9.2p1"`
	ServerVersion table.Opt[string] `col:"ssh_server_version" enc:"dict" doc:"version line of the server"`
	HASSH         table.Opt[string] `col:"ssh_hassh" enc:"dict" doc:"HASSH of the client: MD5 of the algorithms that it offers for key exchange, encryption, integrity and compression"`
	HASSHServer   table.Opt[string] `col:"ssh_hassh_server" enc:"dict" doc:"HASSH of the server (HASSHserver), from the algorithms that it offers"`
	ClientOffer   []string          `col:"ssh_client_algorithms" doc:"lists of algorithms that the client offers: key exchange, host keys, then encryption, integrity and compression, each to the server and to the client"`
	ServerOffer   []string          `col:"ssh_server_algorithms" doc:"lists of algorithms that the server offers, as in ssh_client_algorithms"`
	Kex           table.Opt[string] `col:"ssh_kex" enc:"dict" doc:"key exchange that both sides chose (RFC 4253 section 7.1)"`
	HostKeyType   table.Opt[string] `col:"ssh_host_key_algorithm" enc:"dict" doc:"algorithm of the host key that both sides chose"`
	Cipher        table.Opt[string] `col:"ssh_cipher" enc:"dict" doc:"encryption to the server that both sides chose"`
	MAC           table.Opt[string] `col:"ssh_mac" enc:"dict" doc:"integrity to the server that both sides chose; implied by ciphers such as chacha20-poly1305@openssh.com"`
	Compression   table.Opt[string] `col:"ssh_compression" enc:"dict" doc:"compression to the server that both sides chose"`
	HostKey       table.Opt[string] `col:"ssh_host_key" enc:"dict" doc:"fingerprint of the host key as OpenSSH writes it: SHA256: and base64"`
	Encrypted     bool              `col:"ssh_encrypted" doc:"both sides began to encrypt"`
	ClientBytes   int64             `col:"ssh_client_encrypted_bytes" unit:"bytes" doc:"encrypted bytes from the client; not in request_bytes and not cited"`
	ServerBytes   int64             `col:"ssh_server_encrypted_bytes" unit:"bytes" doc:"encrypted bytes from the server; not in response_bytes and not cited"`
}

// Protocol is SSH.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ssh",
		Doc:        "SSH versions and algorithms, with HASSH; a row for each connection",
		Versions:   "2.0, 1.99; of 1.3 and 1.5 the version lines",
		Depth:      "versions, algorithms and key exchange, before encryption",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{22, 2222},
		Detect:     detect,
		Resume:     func(dissect.Dir, []byte) dissect.Verdict { return dissect.Likely }, // what follows is counted
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Encrypts: true},
	}
}

// phase is the next expected message of a side.
type phase uint8

const (
	phaseVersion phase = iota
	phasePackets
	phaseOpaque // encrypted, or of a version that is not read
)

// side is the state of one direction.
type side struct {
	phase   phase
	before  int // bytes of lines before the version
	secret  bool
	bytes   int64
	version string
	offer   []string
}

// conn is the state of a connection.
type conn struct {
	c     *dissect.Conn
	x     dissect.Exchange
	sides [2]side
	row   *Row
	why   string // of a loss before encryption
	said  string // reason of DISCONNECT
	done  bool
}

const connCost = int(unsafe.Sizeof(conn{}) + unsafe.Sizeof(Row{}))

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c, row: &Row{}} }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s, at := &k.sides[in.Dir], 0
	for at < len(in.Data) {
		if s.phase == phaseOpaque {
			s.bytes += int64(len(in.Data) - at)
			return len(in.Data), nil
		}
		read := k.packet
		if s.phase == phaseVersion {
			read = k.version
		}
		n, err := read(s, in, at)
		if n == 0 || err != nil {
			return at, err
		}
		k.x.Add(in, at, at+n)
		at += n
	}
	return at, nil
}

// version reads the version line, or a line before it.
func (k *conn) version(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	line, n := lines.Next(b)
	start, _, _ := bytes.Cut(b[:min(len(b), 16)], []byte("\n"))
	switch {
	case len(b) > 5 && b[0] == 0 && b[5] == msgKexInit: // the version was not captured
		s.phase = phasePackets
		return k.packet(s, in, at)
	case len(b) > 0 && b[0] == 0 && len(b) <= 5:
		return 0, nil
	case !k.c.Info.RolesKnown && !lines.Plain(bytes.TrimRight(start, "\r")):
		s.phase, k.why = phaseOpaque, string(dissect.LossGap)
		s.bytes += int64(len(b))
		return len(b), nil
	case n == 0 && len(b) < 1024:
		return 0, nil
	case n == 0 || !bytes.HasPrefix(line, []byte("SSH-")) && (in.Dir == dissect.ToServer || s.before+n > maxBefore):
		return 0, fmt.Errorf("reading the version: %.40q is not one", b)
	case !bytes.HasPrefix(line, []byte("SSH-")):
		s.before += n
		return n, nil
	}
	k.c.Confirm()
	s.version = clip.Line(line, maxVersion)
	s.phase = phasePackets
	if k.sides[dissect.ToServer].old() || k.sides[dissect.ToClient].old() {
		for i := range k.sides {
			if o := &k.sides[i]; o.version != "" {
				o.phase = phaseOpaque
			}
		}
	}
	return n, nil
}

// old reports whether a side speaks version 1 only (RFC 4253 section 5.1), which the other side then speaks too.
func (s *side) old() bool {
	return s.version != "" && !strings.HasPrefix(s.version, "SSH-2.0-") && !strings.HasPrefix(s.version, "SSH-1.99-")
}

// packet reads a packet before encryption, RFC 4253 section 6.
func (k *conn) packet(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if len(b) < 6 {
		return 0, nil
	}
	size := int64(binary.BigEndian.Uint32(b))
	pad := int64(b[4])
	if size < pad+2 || size > maxPacket || b[5] == 0 || b[5] > 79 {
		return 0, fmt.Errorf("reading a packet: length %d with %d bytes of padding and message %d", size, pad, b[5])
	}
	if int64(len(b)) < 4+size {
		k.c.Need(in.Dir, int(4+size))
		return 0, nil
	}
	payload := b[5 : 4+size-pad]
	switch payload[0] {
	case msgKexInit:
		if err := s.algorithms(payload); err != nil {
			return 0, err
		}
	case msgReply, msgGexReply:
		if in.Dir == dissect.ToClient {
			k.hostKey(payload)
		}
	case msgDisconnect:
		c := cursor.New(payload[1:])
		c.Skip(4)
		if text := c.Bytes(int(min(c.Uint32(), maxList))); !c.Short() {
			k.said = clip.Line(text, maxVersion)
		}
	case msgNewKeys:
		s.phase, s.secret = phaseOpaque, true
	}
	return int(4 + size), nil
}

const offers = 8 // lists of KEXINIT that are kept; two lists of languages follow

// algorithms reads KEXINIT, RFC 4253 section 7.1.
func (s *side) algorithms(payload []byte) error {
	c := cursor.New(payload)
	c.Skip(1 + 16)
	var list []string
	for range offers {
		n := c.Uint32()
		if n > maxList {
			return fmt.Errorf("reading the algorithms: a list of %d bytes", n)
		}
		names := c.Bytes(int(n))
		if c.Short() || !clip.Printable(names) {
			return fmt.Errorf("reading the algorithms: the lists are longer than the packet, or no names")
		}
		list = append(list, clip.Text(names, maxList))
	}
	if s.offer == nil {
		s.offer = list
	}
	return nil
}

// hostKey reads the fingerprint of the server's key, the first field of the reply. The old group exchange has message
// 31 too, whose first field is a number, not a key.
func (k *conn) hostKey(payload []byte) {
	c := cursor.New(payload[1:])
	key := c.Bytes(int(min(c.Uint32(), maxPacket)))
	kind := cursor.New(key)
	name := kind.Bytes(int(min(kind.Uint32(), 64)))
	if c.Short() || kind.Short() || len(name) < 4 || !clip.Printable(name) || k.row.HostKey.OK {
		return
	}
	sum := sha256.Sum256(key)
	k.row.HostKey = table.Some("SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]))
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, _ int64) bool {
	s := &k.sides[in.Dir]
	if s.phase != phaseOpaque {
		return false
	}
	s.bytes += int64(len(in.Data))
	k.why = string(dissect.LossGap)
	return true
}

// Resync implements dissect.Dissector: after a loss, nothing else can be read. The first lines show whether they are
// the beginning.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	if k.c.Starting() {
		return
	}
	k.why = string(why)
	k.sides[dir].phase = phaseOpaque
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := connCost
	for i := range k.sides {
		for _, o := range k.sides[i].offer {
			n += len(o) + 16
		}
	}
	return n
}

// Shed implements dissect.Dissector: it emits the row, and later bytes are only counted.
func (k *conn) Shed() bool {
	if k.done || k.sides[0].phase == phaseVersion && k.sides[1].phase == phaseVersion {
		return false
	}
	k.emit("cut")
	k.sides[0].offer, k.sides[1].offer = nil, nil
	k.sides[0].phase, k.sides[1].phase = phaseOpaque, phaseOpaque
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if k.done || !k.x.HasRequest() && !k.x.HasResponse() {
		return
	}
	word := k.why
	if word == "" && !(k.sides[0].secret && k.sides[1].secret) && k.said == "" && k.sides[0].phase != phaseOpaque {
		word = why.CallError()
	}
	k.emit(word)
}

// emit emits the row.
func (k *conn) emit(why string) {
	k.done = true
	row, client, server := k.row, &k.sides[dissect.ToServer], &k.sides[dissect.ToClient]
	if why == "" && (client.version == "" || server.version == "") {
		why = string(dissect.LossGap)
	}
	row.ClientVersion, row.ServerVersion = table.NonEmpty(client.version), table.NonEmpty(server.version)
	row.ClientOffer, row.ServerOffer = client.offer, server.offer
	row.HASSH, row.HASSHServer = hassh(client.offer, 0), hassh(server.offer, 1)
	if client.offer != nil && server.offer != nil {
		for i, at := range []*table.Opt[string]{&row.Kex, &row.HostKeyType, &row.Cipher, nil, &row.MAC, nil, &row.Compression} {
			if at != nil {
				*at = choose(client.offer[i], server.offer[i])
			}
		}
	}
	row.Encrypted = client.secret && server.secret
	row.ClientBytes, row.ServerBytes = client.bytes, server.bytes
	if !k.x.HasRequest() && why == "" {
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method, row.StatusText = table.Some("SSH"), table.NonEmpty(k.said)
	if k.said != "" && !row.Encrypted {
		row.Outcome = table.Refused
	}
	s := "SSH " + strings.TrimPrefix(client.version, "SSH-") + " → " + strings.TrimPrefix(server.version, "SSH-")
	switch {
	case k.said != "":
		s += ", " + k.said
	case why != "":
		s += ", " + why
	case row.Cipher.OK:
		s += ", " + row.Cipher.V
	}
	row.Summary = s
	k.c.Emit(&k.x, row)
	k.x, k.row = dissect.Exchange{}, nil // their memory
}

// hassh is the fingerprint of an offer, of the lists for the direction that its side sends (0 to the
// server, 1 to the client).
func hassh(offer []string, dir int) table.Opt[string] {
	if offer == nil {
		return table.Opt[string]{}
	}
	sum := md5.Sum([]byte(strings.Join([]string{offer[0], offer[2+dir], offer[4+dir], offer[6+dir]}, ";")))
	return table.Some(hex.EncodeToString(sum[:]))
}

// choose is the first of the client's algorithms that the server has.
func choose(client, server string) table.Opt[string] {
	for name := range strings.SplitSeq(client, ",") {
		for other := range strings.SplitSeq(server, ",") {
			if name == other && name != "" {
				return table.Some(name)
			}
		}
	}
	return table.Opt[string]{}
}

// detect looks for a version line. Both sides send one, so it does not show which side is the
// client.
func detect(_ dissect.Dir, head []byte) dissect.Verdict {
	for _, prefix := range []string{"SSH-2.0-", "SSH-1.99-", "SSH-1.5-", "SSH-1.3-"} {
		if after, ok := bytes.CutPrefix(head, []byte(prefix)); ok {
			if len(after) > 0 && (after[0] <= ' ' || after[0] > '~') { // what follows the name of the software may be damaged
				return dissect.No
			}
			return dissect.Yes
		}
		if bytes.HasPrefix([]byte(prefix), head) {
			return dissect.More
		}
	}
	return dissect.No
}
