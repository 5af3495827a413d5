// Package dhcp reads DHCP for IPv4 (RFC 2131, 2132) and IPv6 (RFC 8415), and BOOTP with options.
//
// A row is a request with its response if both are in one conversation, such as that of a relay or
// of a client that renews its lease. A broadcast message, or a response to one, is a separate row;
// its transaction id connects it with the others.
package dhcp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one row.
const (
	maxText = 255 // bytes shown of a name or a text
	maxList = 64  // entries of a list
)

// Row is a request, a response or both. A response's values replace the request's.
type Row struct {
	table.Call
	Version       int32             `col:"dhcp_version" doc:"4 or 6, for IPv4 or IPv6"`
	Type          string            `col:"dhcp_type" enc:"dict" doc:"type of the request, or of the only message: DISCOVER, REQUEST, …; of IPv6 SOLICIT, RENEW, …; BOOTREQUEST and BOOTREPLY without a type"`
	ResponseType  table.Opt[string] `col:"dhcp_response_type" enc:"dict" doc:"type of the response: OFFER, ACK, NAK; of IPv6 ADVERTISE, REPLY"`
	Transaction   int64             `col:"dhcp_transaction" doc:"transaction id, which connects the messages of a client and a server"`
	Client        table.Opt[string] `col:"dhcp_client" enc:"bloom" doc:"hardware address of the client; of IPv6, its DUID in hexadecimal"`
	ClientID      table.Opt[string] `col:"dhcp_client_id" doc:"client identifier of IPv4 in hexadecimal, if the client sent one"`
	Hostname      table.Opt[string] `col:"dhcp_hostname" enc:"bloom" doc:"name of the client, as it or the server states it"`
	Vendor        table.Opt[string] `col:"dhcp_vendor" enc:"dict" doc:"vendor class of the client, such as MSFT 5.0"`
	Requested     table.Opt[string] `col:"dhcp_requested" doc:"address that the client requests or has"`
	Addresses     []string          `col:"dhcp_addresses" doc:"addresses, or prefixes, that the server offers or assigns; at most 64"`
	Lease         table.Opt[int64]  `col:"dhcp_lease_s" unit:"s" doc:"lease time that the server states, else that the client requests; of IPv6, the shortest valid lifetime; 4294967295 means unlimited"`
	Server        table.Opt[string] `col:"dhcp_server" enc:"dict" doc:"server identifier: an address; of IPv6, a DUID in hexadecimal"`
	Relay         table.Opt[string] `col:"dhcp_relay" enc:"dict" doc:"address of the relay that is nearest to the client"`
	Mask          table.Opt[string] `col:"dhcp_mask" enc:"dict" doc:"subnet mask"`
	Routers       []string          `col:"dhcp_routers" doc:"routers; at most 64"`
	DNS           []string          `col:"dhcp_dns" doc:"DNS servers; at most 64"`
	Domain        table.Opt[string] `col:"dhcp_domain" enc:"dict" doc:"domain, or of IPv6 the first of the search list"`
	BootServer    table.Opt[string] `col:"dhcp_boot_server" doc:"server for booting, by name or address"`
	BootFile      table.Opt[string] `col:"dhcp_boot_file" doc:"file, or URL, for booting"`
	Parameters    []string          `col:"dhcp_parameters" doc:"numbers of the options that the client requests, in its order, which is typical of each kind of client"`
	Options       []string          `col:"dhcp_options" doc:"numbers of the options of the request, else of the response, in order"`
	Status        table.Opt[int32]  `col:"dhcp_status" doc:"status code of IPv6, the first that is not 0"`
	StatusMessage table.Opt[string] `col:"dhcp_message" doc:"text about the status or the refusal"`
}

// Protocol is DHCP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "dhcp",
		Doc:        "DHCP for IPv4 and IPv6, with leases, names and options",
		Versions:   "DHCPv4, BOOTP, DHCPv6",
		Depth:      "messages with their options: names, leases, servers, what the client asks for",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{67, 68, 547, 546},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Elsewhere: true},
	}
}

// wait is how long, in ns, a request may be answered.
const wait = int64(60e9)

type call = byid.Call[*Row, struct{}]

// key identifies a request.
type key struct {
	dir     dissect.Dir
	version int32
	begins  bool // DISCOVER or SOLICIT, whose id the next request may have too
	id      int64
}

// begins reports whether a message is, or answers, the first request of a client. An ACK or REPLY answers it with option
// Rapid Commit only: RFC 4039 section 4, RFC 8415 section 21.14.
func (m *message) begins() bool {
	switch m.kind {
	case "DISCOVER", "SOLICIT", "OFFER", "ADVERTISE":
		return true
	case "ACK":
		return slices.Contains(m.row.Options, rapid4)
	case "REPLY":
		return slices.Contains(m.row.Options, rapid6)
	}
	return false
}

// Option Rapid Commit, as in Row.Options.
const (
	rapid4 = "80"
	rapid6 = "14"
)

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	k.Alone = true // its request went to all
	return k
}

// message has the fields of both versions.
type message struct {
	version int32
	kind    string
	request bool
	expects bool // a response to it is expected
	id      int64
	row     *Row
	end     int
	odd     string // what is wrong with the options; empty if nothing is
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 { // the end
		return 0, nil
	}
	m, ok := parse(in.Data)
	if !ok {
		return 0, fmt.Errorf("reading a message: %d bytes are no message of DHCP", len(in.Data))
	}
	if m.odd != "" {
		k.Conn.Anomaly("malformed", m.odd, 0)
	}
	m.row.Version, m.row.Transaction = m.version, m.id
	if m.request {
		m.row.Type = m.kind
		c := k.Request(in, m.end, m.row)
		if !m.expects || k.Conn.Info.Multicast {
			k.End(c, "")
			return m.end, nil
		}
		k.Await(key{in.Dir, m.version, m.begins(), m.id}, c, 4*maxText)
		return m.end, nil
	}
	asked := key{in.Dir.Other(), m.version, m.begins(), m.id}
	c, paired := k.Take(asked)
	if !paired && m.kind == "BOOTREPLY" { // a server of BOOTP may answer DISCOVER: RFC 1534 section 2
		asked.begins = true
		c, paired = k.Take(asked)
	}
	if paired {
		c.Row.merge(m.row)
	} else {
		m.row.Type = m.kind
	}
	c = k.Response(in, m.end, c, m.row)
	c.Row.ResponseType = table.Some(m.kind)
	if !paired && m.row.Relay.OK { // unlike a client, a relay asks from the address that is answered
		k.End(c, "no_request")
		return m.end, nil
	}
	k.End(c, "")
	return m.end, nil
}

func parse(b []byte) (message, bool) {
	if m, ok := parse4(b); ok {
		return m, true
	}
	return parse6(b)
}

// merge sets the fields of the response.
func (r *Row) merge(s *Row) {
	for _, p := range [...]struct{ to, from *table.Opt[string] }{{&r.Client, &s.Client}, {&r.Hostname, &s.Hostname}, {&r.Server, &s.Server}, {&r.Relay, &s.Relay}, {&r.Mask, &s.Mask},
		{&r.Domain, &s.Domain}, {&r.BootServer, &s.BootServer}, {&r.BootFile, &s.BootFile}, {&r.StatusMessage, &s.StatusMessage}} {
		if p.from.OK {
			*p.to = *p.from
		}
	}
	r.Addresses, r.Routers, r.DNS, r.Status = s.Addresses, s.Routers, s.DNS, s.Status
	if s.Lease.OK {
		r.Lease = s.Lease
	}
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.Some(row.Type)
	if c.X.HasResponse() {
		row.StatusText = row.ResponseType
		switch {
		case row.ResponseType.V == "NAK" || row.ResponseType.V == "LEASEUNKNOWN":
			row.Outcome = table.Refused
		case row.Status.OK && row.Status.V != 0:
			row.StatusText, row.Outcome = table.Some(statusName(row.Status.V)), table.Refused
			if row.Status.V == 1 {
				row.Outcome = table.ServerError
			}
		}
	}
	if row.Hostname.OK {
		row.Host = row.Hostname
	}
	row.Summary = summary(row, c.X.HasRequest(), why)
}

func summary(row *Row, asked bool, why string) string {
	s := fmt.Sprintf("DHCPv%d", row.Version)
	if asked {
		parts := []string{s, row.Type, row.Client.V}
		if row.Hostname.OK {
			parts = append(parts, "("+row.Hostname.V+")")
		}
		s = strings.Join(strings.Fields(strings.Join(append(parts, row.Requested.V), " ")), " ")
	}
	if row.ResponseType.OK {
		if s += " → "; !asked {
			s = fmt.Sprintf("DHCPv%d ", row.Version)
		}
		if s += row.ResponseType.V; !asked {
			s += " " + row.Client.V
		}
		if len(row.Addresses) > 0 {
			s += " " + row.Addresses[0]
		}
		if row.StatusText.OK && row.StatusText != row.ResponseType {
			s += " " + row.StatusText.V
		}
		if row.StatusMessage.OK {
			s += ": " + row.StatusMessage.V
		}
	} else if why != "" {
		s += " → " + why
	}
	return clip.Text([]byte(s), 400)
}
