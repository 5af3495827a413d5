package dhcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// The fixed part of a message for IPv4, RFC 2131 section 2.
const (
	size4      = 240 // with the cookie
	atServer   = 44  // name of the server, 64 bytes
	atFile     = 108 // name of a file, 128 bytes
	atCookie   = 236
	cookie     = 0x63825363
	maxOptions = 512
)

// Options of IPv4 that are read, RFC 2132.
const (
	optMask         = 1
	optRouters      = 3
	optDNS          = 6
	optHostname     = 12
	optDomain       = 15
	optRequested    = 50
	optLease        = 51
	optOverload     = 52
	optType         = 53
	optServer       = 54
	optParameters   = 55
	optMessage      = 56
	optVendor       = 60
	optClientID     = 61
	optBootServer   = 66
	optBootFile     = 67
	optFQDN         = 81
	optEnd          = 255
	fileOverloaded  = 1
	snameOverloaded = 2
)

// types of messages for IPv4: RFC 2132 section 9.6, 3203, 4388, 6926, 7724.
var types = [...]string{"", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM", "FORCERENEW", "LEASEQUERY", "LEASEUNASSIGNED", "LEASEUNKNOWN", "LEASEACTIVE",
	"BULKLEASEQUERY", "LEASEQUERYDONE", "ACTIVELEASEQUERY", "LEASEQUERYSTATUS", "TLS"}

// expects4 are the requests that a server answers.
var expects4 = map[string]bool{"DISCOVER": true, "REQUEST": true, "INFORM": true, "LEASEQUERY": true, "BOOTREQUEST": true}

func parse4(b []byte) (m message, ok bool) {
	if len(b) < size4 || b[0] != 1 && b[0] != 2 || b[2] > 16 || b[3] > 16 || binary.BigEndian.Uint32(b[atCookie:]) != cookie {
		return m, false
	}
	row := &Row{}
	m = message{version: 4, request: b[0] == 1, id: int64(binary.BigEndian.Uint32(b[4:])), row: row}
	if b[2] > 0 && len(bytes.Trim(b[28:28+b[2]], "\x00")) > 0 {
		row.Client = table.Some(net.HardwareAddr(b[28 : 28+b[2]]).String())
	}
	row.Requested, row.Relay = address(b[12:16]), address(b[24:28])
	if a := address(b[16:20]); a.OK {
		row.Addresses = []string{a.V}
	}
	o := options4{row: row}
	m.end = size4 + o.read(b[size4:])
	if !o.over || o.overload&fileOverloaded == 0 {
		row.BootFile = text(bytes.TrimRight(b[atFile:atCookie], "\x00"))
	} else {
		o.read(b[atFile:atCookie])
	}
	if !o.over || o.overload&snameOverloaded == 0 {
		row.BootServer = text(bytes.TrimRight(b[atServer:atFile], "\x00"))
	} else {
		o.read(b[atServer:atFile])
	}
	if o.bootFile.OK {
		row.BootFile = o.bootFile
	}
	if o.bootServer.OK {
		row.BootServer = o.bootServer
	}
	m.kind, m.odd = o.kind, o.odd
	if m.kind == "" {
		m.kind = map[bool]string{true: "BOOTREQUEST", false: "BOOTREPLY"}[m.request]
	}
	m.expects = expects4[m.kind]
	return m, true
}

// options4 reads options of IPv4.
type options4 struct {
	row                  *Row
	kind, odd            string
	overload             uint8
	over                 bool
	bootFile, bootServer table.Opt[string]
}

// read reads options and returns how many bytes they have, with padding after the end.
func (o *options4) read(b []byte) int {
	for i := 0; i < len(b); {
		code := b[i]
		switch {
		case code == 0:
			i++
			continue
		case code == optEnd:
			if len(bytes.Trim(b[i+1:], "\x00")) > 0 {
				return i + 1
			}
			return len(b)
		case i+2 > len(b) || i+2+int(b[i+1]) > len(b):
			o.odd = fmt.Sprintf("option %d is cut short", code)
			return len(b)
		}
		if len(o.row.Options) < maxOptions {
			o.row.Options = append(o.row.Options, strconv.Itoa(int(code)))
		}
		o.option(code, b[i+2:i+2+int(b[i+1])])
		i += 2 + int(b[i+1])
	}
	return len(b)
}

func (o *options4) option(code uint8, v []byte) {
	row := o.row
	switch code {
	case optMask:
		row.Mask = address(v)
	case optRouters:
		row.Routers = addresses(row.Routers, v, 4)
	case optDNS:
		row.DNS = addresses(row.DNS, v, 4)
	case optHostname:
		row.Hostname = text(v)
	case optDomain:
		row.Domain = text(v)
	case optRequested:
		row.Requested = address(v)
	case optLease:
		if len(v) == 4 {
			row.Lease = table.Some(int64(binary.BigEndian.Uint32(v)))
		}
	case optOverload:
		if len(v) == 1 {
			o.over, o.overload = true, v[0]
		}
	case optType:
		if len(v) == 1 && int(v[0]) < len(types) {
			o.kind = types[v[0]]
		}
	case optServer:
		row.Server = address(v)
	case optParameters:
		for _, n := range v {
			row.Parameters = append(row.Parameters, strconv.Itoa(int(n)))
		}
	case optMessage:
		row.StatusMessage = text(v)
	case optVendor:
		row.Vendor = text(v)
	case optClientID:
		row.ClientID = table.NonEmpty(hex.EncodeToString(v))
	case optBootServer:
		o.bootServer = text(v)
	case optBootFile:
		o.bootFile = text(v)
	case optFQDN: // RFC 4702: flags and two result codes before the name
		if len(v) > 3 && !row.Hostname.OK {
			if v[0]&4 == 0 {
				row.Hostname = text(v[3:])
			} else {
				row.Hostname = name(v[3:])
			}
		}
	}
}

// address is an address that is set.
func address(b []byte) table.Opt[string] {
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.IsUnspecified() {
		return table.Opt[string]{}
	}
	return table.Some(a.String())
}

// addresses appends addresses of size bytes.
func addresses(list []string, b []byte, size int) []string {
	for ; len(b) >= size && len(list) < maxList; b = b[size:] {
		a, _ := netip.AddrFromSlice(b[:size])
		list = append(list, a.String())
	}
	return list
}

func text(b []byte) table.Opt[string] {
	return table.NonEmpty(clip.Line(bytes.Trim(b, "\x00"), maxText))
}

// name reads the first domain name in the form of DNS, without compression (RFC 8415 section 10).
func name(b []byte) table.Opt[string] {
	var labels []string
	for len(b) > 0 && b[0] > 0 && b[0] < 64 && int(b[0]) < len(b) && len(labels) < 128 {
		labels = append(labels, clip.Line(b[1:1+b[0]], maxText))
		b = b[1+b[0]:]
	}
	return table.NonEmpty(clip.Text([]byte(strings.Join(labels, ".")), maxText))
}
