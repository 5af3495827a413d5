// Package proxy reads the header of the PROXY protocol, versions 1 and 2, in which a proxy or load
// balancer passes the client's address to a server (haproxy.org, proxy-protocol.txt).
//
// The header is a separate row without a response. The connection's other protocol follows it.
package proxy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	word     = "PROXY "                 // begins version 1, section 2.1
	longest  = 107                      // bytes of version 1
	sign     = "\r\n\r\n\x00\r\nQUIT\n" // begins version 2, section 2.2
	headSize = 16                       // bytes of version 2 before addresses
	maxSize  = 4 << 10                  // bytes of version 2; a load balancer adds some hundred
	maxText  = 255                      // bytes of a text
	maxTLVs  = 64
)

// Row is one header.
type Row struct {
	table.Call
	Version    int32             `col:"proxy_version" doc:"version of the PROXY protocol: 1 or 2"`
	Family     table.Opt[string] `col:"proxy_family" enc:"dict" doc:"tcp4, tcp6, udp4, udp6, unix stream or unix datagram; null if the proxy states no addresses"`
	ClientIP   table.Opt[string] `col:"proxy_client_ip" enc:"dict" doc:"address of the client as the proxy states it, RFC 5952; not proven by packets"`
	ClientPort table.Opt[int32]  `col:"proxy_client_port" doc:"port of the client as the proxy states it"`
	ServerIP   table.Opt[string] `col:"proxy_server_ip" enc:"dict" doc:"address that the client connected to, as the proxy states it"`
	ServerPort table.Opt[int32]  `col:"proxy_server_port" doc:"port that the client connected to, as the proxy states it"`
	Authority  table.Opt[string] `col:"proxy_authority" enc:"dict" doc:"host name that the client sent, usually of SNI"`
	ALPN       table.Opt[string] `col:"proxy_alpn" enc:"dict" doc:"protocol that the proxy's client selected by ALPN"`
	UniqueID   table.Opt[string] `col:"proxy_unique_id" doc:"identity of the connection as the proxy states it; in hexadecimal digits if it is not text"`
	TLS        table.Opt[string] `col:"proxy_tls_version" enc:"dict" doc:"version of TLS between client and proxy, such as TLSv1.3"`
	TLSSubject table.Opt[string] `col:"proxy_tls_client_cn" enc:"dict" doc:"common name of the client's certificate"`
	Verified   table.Opt[bool]   `col:"proxy_tls_verified" doc:"the client presented a certificate, and the proxy verified it"`
	Cipher     table.Opt[string] `col:"proxy_tls_cipher" enc:"dict" doc:"cipher between client and proxy"`
	Namespace  table.Opt[string] `col:"proxy_netns" enc:"dict" doc:"network namespace of the proxy"`
	Cloud      table.Opt[string] `col:"proxy_cloud_endpoint" enc:"dict" doc:"identity of the private endpoint that the cloud's load balancer adds: VPC endpoint, private link, PSC connection"`
}

// Protocol is the PROXY protocol.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "proxy",
		Doc:        "PROXY protocol, versions 1 and 2: the header before another protocol with the addresses of the real client",
		Versions:   "1, 2",
		Depth:      "addresses of the real client, and the fields of version 2",
		Transports: []dissect.Transport{dissect.TCP},
		Detect:     detect,
		New:        func(c *dissect.Conn) dissect.Dissector { return &conn{c: c} },
		Row:        &Row{},
	}
}

// detect accepts a whole header of version 1, and the first 16 bytes of version 2.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	switch {
	case dir == dissect.ToClient:
		return dissect.No
	case len(head) < len(sign) && strings.HasPrefix(sign, string(head)), len(head) < len(word) && strings.HasPrefix(word, string(head)):
		return dissect.More
	case bytes.HasPrefix(head, []byte(sign)):
		if len(head) < headSize {
			return dissect.More
		}
		if h, err := header2(head); err != nil || h.size > maxSize {
			return dissect.No
		}
		return dissect.Yes
	case bytes.HasPrefix(head, []byte(word)):
		line, whole := line1(head)
		if !whole && len(head) < longest && clip.Printable(bytes.TrimSuffix(head, []byte("\r"))) {
			return dissect.More
		}
		if _, err := parse1(line); !whole || err != nil {
			return dissect.No
		}
		return dissect.Yes
	}
	return dissect.No
}

// conn is the state of a connection: a header is the first that a client sends.
type conn struct {
	dissect.Stateless
	c *dissect.Conn
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Close implements dissect.Dissector.
func (k *conn) Close(dissect.End) {}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	switch {
	case in.Dir == dissect.ToClient || len(in.Data) == 0:
		return 0, nil
	case in.Data[0] == word[0]:
		line, whole := line1(in.Data)
		if !whole {
			return 0, nil
		}
		row, err := parse1(line)
		if err != nil {
			return 0, err
		}
		k.emit(in, len(line)+2, row)
		return len(line) + 2, nil
	}
	if len(in.Data) < headSize {
		return 0, nil
	}
	h, err := header2(in.Data)
	if err != nil {
		return 0, err
	}
	if len(in.Data) < h.size {
		k.c.Need(in.Dir, h.size)
		return 0, nil
	}
	row, err := h.parse(in.Data[:h.size])
	if err != nil {
		return 0, err
	}
	if row.damaged {
		k.c.Anomaly("checksum", "the checksum of the PROXY header is wrong", 0)
	}
	k.emit(in, h.size, row.Row)
	return h.size, nil
}

// emit emits the row of a header. What follows is another protocol.
func (k *conn) emit(in *dissect.Input, n int, row *Row) {
	row.Complete = true
	if !row.Method.OK {
		row.Method = table.Some("PROXY")
	}
	row.Host = row.Authority
	row.Summary = row.Method.V
	if row.ClientIP.OK {
		row.Summary += " " + endpoint(row.ClientIP, row.ClientPort) + " → " + endpoint(row.ServerIP, row.ServerPort)
	}
	if row.Authority.OK {
		row.Summary += " (" + row.Authority.V + ")"
	}
	var x dissect.Exchange
	x.Request(in, 0, n)
	k.c.Confirm()
	k.c.Emit(&x, row)
	k.c.Upgrade("", nil)
}

func endpoint(ip table.Opt[string], port table.Opt[int32]) string {
	if !port.OK {
		return ip.V
	}
	if strings.Contains(ip.V, ":") {
		return "[" + ip.V + "]:" + strconv.Itoa(int(port.V))
	}
	return ip.V + ":" + strconv.Itoa(int(port.V))
}

// line1 is the line of version 1 without its end.
func line1(b []byte) (line []byte, whole bool) {
	line, _, whole = bytes.Cut(b[:min(len(b), longest)], []byte("\r\n"))
	return line, whole
}

// parse1 reads the line of version 1, section 2.1.
func parse1(line []byte) (*Row, error) {
	row := &Row{Version: 1}
	f := strings.Split(string(line), " ")
	if len(f) < 2 || f[0] != strings.TrimSpace(word) {
		return nil, fmt.Errorf("reading a PROXY header: %.40q has no family", line)
	}
	switch f[1] {
	case "UNKNOWN":
		return row, nil
	case "TCP4", "TCP6":
	default:
		return nil, fmt.Errorf("reading a PROXY header: the family is %.20q, expected TCP4, TCP6 or UNKNOWN", f[1])
	}
	if len(f) != 6 {
		return nil, fmt.Errorf("reading a PROXY header: %d fields, expected 6", len(f))
	}
	row.Family = table.Some(strings.ToLower(f[1]))
	for i, to := range []*table.Opt[string]{&row.ClientIP, &row.ServerIP} {
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Zone() != "" || a.Is4() != (f[1] == "TCP4") {
			return nil, fmt.Errorf("reading a PROXY header: %.40q is no address of %s", f[2+i], f[1])
		}
		*to = table.Some(a.String())
	}
	for i, to := range []*table.Opt[int32]{&row.ClientPort, &row.ServerPort} {
		n, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("reading a PROXY header: %.20q is no port", f[4+i])
		}
		*to = table.Some(int32(n))
	}
	return row, nil
}

// header is the fixed part of version 2, section 2.2.
type header struct {
	command, family byte
	size            int // of the whole header
}

func header2(b []byte) (h header, err error) {
	h = header{b[12] & 15, b[13], headSize + int(binary.BigEndian.Uint16(b[14:]))}
	if string(b[:len(sign)]) != sign || b[12]>>4 != 2 || h.command > 1 {
		return h, fmt.Errorf("reading a PROXY header: version and command are %#02x, expected 0x20 or 0x21", b[12])
	}
	if _, ok := families[h.family]; !ok && h.command == 1 {
		return h, fmt.Errorf("reading a PROXY header: unknown family %#02x", h.family)
	}
	if h.size < headSize+families[h.family].size && h.command == 1 {
		return h, errors.New("reading a PROXY header: it is shorter than its addresses")
	}
	return h, nil
}

// families are the values of byte 14: name, and bytes of both addresses.
var families = map[byte]struct {
	name string
	size int
}{
	0x00: {}, 0x11: {"tcp4", 12}, 0x12: {"udp4", 12}, 0x21: {"tcp6", 36}, 0x22: {"udp6", 36}, 0x31: {"unix stream", 216}, 0x32: {"unix datagram", 216},
}

// read2 is a header of version 2 as read.
type read2 struct {
	*Row
	damaged bool
}

// parse reads the addresses and the fields after them.
func (h header) parse(b []byte) (r read2, err error) {
	row := &Row{Version: 2}
	r.Row = row
	c := cursor.New(b[headSize:])
	if h.command == 0 { // LOCAL: what follows has no meaning
		row.Method = table.Some("LOCAL")
		return r, nil
	}
	f := families[h.family]
	row.Family = table.NonEmpty(f.name)
	switch size := map[int]int{12: 4, 36: 16, 216: 108}[f.size]; size {
	case 4, 16:
		from, _ := netip.AddrFromSlice(c.Bytes(size))
		to, _ := netip.AddrFromSlice(c.Bytes(size))
		row.ClientIP, row.ServerIP = table.Some(from.String()), table.Some(to.String())
		row.ClientPort, row.ServerPort = table.Some(int32(c.Uint16())), table.Some(int32(c.Uint16()))
	case 108:
		c.Skip(f.size) // paths of sockets: no addresses
	}
	for n := 0; c.Left() > 0; n++ {
		kind, value := c.Uint8(), c.Bytes(int(c.Uint16()))
		if c.Short() {
			return r, errors.New("reading a PROXY header: a field is longer than the header")
		}
		if n == maxTLVs {
			break
		}
		if kind == typeCRC32C && len(value) == 4 {
			r.damaged = !sums(b, headSize+c.Used()-4)
		}
		r.field(kind, value)
	}
	return r, nil
}

// Types of fields, section 2.2.
const (
	typeALPN      = 0x01
	typeAuthority = 0x02
	typeCRC32C    = 0x03
	typeUniqueID  = 0x05
	typeSSL       = 0x20
	typeVersion   = 0x21
	typeCN        = 0x22
	typeCipher    = 0x23
	typeNetns     = 0x30
	typeAWS       = 0xea
	typeGCP       = 0xe0
	typeAzure     = 0xee
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sums reports whether the checksum at b[at] is right: that of the header with a zero in its place.
func sums(b []byte, at int) bool {
	sum := crc32.Update(crc32.Checksum(b[:at], castagnoli), castagnoli, make([]byte, 4))
	return crc32.Update(sum, castagnoli, b[at+4:]) == binary.BigEndian.Uint32(b[at:])
}

// field takes one field of type, length and value.
func (r *read2) field(kind byte, value []byte) {
	switch kind {
	case typeALPN:
		r.ALPN = text(value)
	case typeAuthority:
		r.Authority = text(value)
	case typeUniqueID:
		r.UniqueID = bytesOrText(value)
	case typeSSL:
		r.ssl(value)
	case typeNetns:
		r.Namespace = text(value)
	case typeAWS, typeAzure: // a sub-type is before the identity
		if len(value) > 1 {
			r.Cloud = bytesOrText(value[1:])
		}
	case typeGCP:
		if len(value) == 8 {
			r.Cloud = table.Some(strconv.FormatUint(binary.BigEndian.Uint64(value), 10))
		}
	}
}

// ssl reads PP2_TYPE_SSL, section 2.2.6.
func (r *read2) ssl(value []byte) {
	c := cursor.New(value)
	flags, verify := c.Uint8(), c.Uint32()
	if c.Short() || flags&1 == 0 {
		return
	}
	r.Verified = table.Some(flags&6 != 0 && verify == 0) // CERT_CONN or CERT_SESS
	for c.Left() > 0 {
		kind, v := c.Uint8(), c.Bytes(int(c.Uint16()))
		if c.Short() {
			return
		}
		switch kind {
		case typeVersion:
			r.TLS = text(v)
		case typeCN:
			r.TLSSubject = text(v)
		case typeCipher:
			r.Cipher = text(v)
		}
	}
}

func text(b []byte) table.Opt[string] { return table.NonEmpty(clip.Line(b, maxText)) }

// bytesOrText is text if b has no control characters, else hexadecimal digits. An identity of 4 bytes
// is a number in Azure.
func bytesOrText(b []byte) table.Opt[string] {
	if clip.Printable(b) && !bytes.ContainsFunc(b, func(r rune) bool { return r == '\uFFFD' }) {
		return text(b)
	}
	return table.NonEmpty(hex.EncodeToString(b[:min(len(b), maxText)]))
}
