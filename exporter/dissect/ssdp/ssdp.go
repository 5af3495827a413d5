// Package ssdp reads the Simple Service Discovery Protocol of UPnP (UPnP Device Architecture 2.0,
// section 1): devices announce themselves to a group, and clients search for them.
//
// A row is one announcement, one search to a group, one response to it, or a search to one device
// with its first response. Each device responds to a search of a group from its own address, so
// each response is a separate row.
package ssdp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a message.
const (
	maxHeaders = 64   // columns keep the first
	maxValue   = 1024 // bytes of a name or a value
	maxSummary = 300
)

// wait is how long, in ns, a search may be answered: MX is at most 5 s, section 1.3.2.
const wait = int64(30e9)

// Row is a message, or a search with its response.
type Row struct {
	table.Call
	Kind         table.Opt[string] `col:"ssdp_nts" enc:"dict" doc:"NTS of an announcement: ssdp:alive, ssdp:update or ssdp:byebye, or upnp:propchange of an event"`
	Target       table.Opt[string] `col:"ssdp_target" enc:"dict" doc:"what is announced (NT), searched or found (ST), such as upnp:rootdevice or urn:schemas-upnp-org:device:MediaServer:1"`
	USN          table.Opt[string] `col:"ssdp_usn" enc:"bloom" doc:"unique name of the device or service that announces itself or answers"`
	Location     table.Opt[string] `col:"ssdp_location" doc:"URL of the description of the device or service"`
	Server       table.Opt[string] `col:"ssdp_server" enc:"dict" doc:"SERVER: system, version of UPnP and product of the device"`
	MaxAge       table.Opt[int64]  `col:"ssdp_max_age_s" unit:"s" doc:"CACHE-CONTROL: how long the announcement is valid"`
	MaxWait      table.Opt[int64]  `col:"ssdp_mx_s" unit:"s" doc:"MX of a search: how long a device may wait before it answers"`
	Boot         table.Opt[int64]  `col:"ssdp_boot_id" doc:"BOOTID.UPNP.ORG: increases with each start of the device"`
	NextBoot     table.Opt[int64]  `col:"ssdp_next_boot_id" doc:"NEXTBOOTID.UPNP.ORG of ssdp:update"`
	Config       table.Opt[int64]  `col:"ssdp_config_id" doc:"CONFIGID.UPNP.ORG: number of the device's configuration"`
	SearchPort   table.Opt[int32]  `col:"ssdp_search_port" doc:"SEARCHPORT.UPNP.ORG: port of the device for searches, if it is not 1900"`
	FriendlyName table.Opt[string] `col:"ssdp_friendly_name" doc:"CPFN.UPNP.ORG: name of the control point that searches"`
}

// Protocol is SSDP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ssdp",
		Doc:        "Simple Service Discovery Protocol of UPnP: announcements, searches and responses",
		Versions:   "UPnP Device Architecture 1.0, 1.1 and 2.0",
		Depth:      "all header fields",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{1900},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

// message is a parsed message.
type message struct {
	method  string // M-SEARCH or NOTIFY; empty for a response
	status  int32
	reason  string
	headers []table.Header
	dropped int    // header fields beyond the limit
	odd     string // what is wrong with it; empty if nothing is
}

// start reads the first line.
func (m *message) start(line []byte) bool {
	switch s := string(bytes.TrimRight(line, " ")); s {
	case "M-SEARCH * HTTP/1.1", "M-SEARCH * HTTP/1.0", "NOTIFY * HTTP/1.1", "NOTIFY * HTTP/1.0":
		m.method, _, _ = strings.Cut(s, " ")
		return true
	}
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok {
		rest, ok = bytes.CutPrefix(line, []byte("HTTP/1.0 "))
	}
	code, reason, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(code[:min(len(code), 4)]))
	if !ok || err != nil || n < 200 || n > 599 {
		return false
	}
	m.status, m.reason = int32(n), clip.Line(reason, maxValue)
	return true
}

// parse reads a message. ok is false if its first line is not of SSDP.
func parse(b []byte) (m message, ok bool) {
	kind := httpfield.Request
	for first := true; len(b) > 0; first = false {
		line, n := lines.Next(b)
		if n == 0 {
			line, n = b, len(b) // some senders leave the end out
		}
		b = b[n:]
		if first {
			if !m.start(line) {
				return m, false
			}
			if ok = true; m.method == "" {
				kind = httpfield.Response
			}
			continue
		}
		if len(line) == 0 {
			break // a body, of an event
		}
		name, value, colon := bytes.Cut(line, []byte(":"))
		switch {
		case !colon:
			m.odd = "a line of the head is no header field"
		case len(m.headers) == maxHeaders:
			m.dropped++
		default:
			m.headers = append(m.headers, table.Header{Kind: kind, Name: clip.Line(name, maxValue), Value: clip.Line([]byte(httpfield.Text(value)), maxValue)})
		}
	}
	return m, ok
}

// value is the first header field with a name in lower case.
func (m *message) value(name string) table.Opt[string] {
	for i := range m.headers {
		if httpfield.Is(m.headers[i].Name, name) {
			return table.NonEmpty(m.headers[i].Value)
		}
	}
	return table.Opt[string]{}
}

func (m *message) number(name string) (n table.Opt[int64]) {
	if v, err := strconv.ParseUint(m.value(name).V, 10, 31); err == nil {
		n = table.Some(int64(v))
	}
	return n
}

// found reports whether a response has what distinguishes it from any other of HTTP: the target of the
// search and the unique name, section 1.3.3.
func (m *message) found() bool { return m.value("st").OK && m.value("usn").OK }

// detect accepts whole messages. Either side may send each.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	m, ok := parse(head)
	switch {
	case !ok, m.method == "" && !m.found():
		return dissect.No
	case (m.method == "") == (dir == dissect.ToClient):
		return dissect.Yes
	case m.method != "":
		return dissect.Likely
	}
	return dissect.No
}

// key identifies a search.
type key struct {
	dir    dissect.Dir
	target string
}

type call = byid.Call[*Row, struct{}]

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	k.Alone = true
	return k
}

// everything is the target of a search for all devices and services.
const everything = "ssdp:all"

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	m, ok := parse(b)
	if !ok {
		line, _, _ := bytes.Cut(b, []byte("\n"))
		return 0, fmt.Errorf("reading a message: expected NOTIFY, M-SEARCH or a response of HTTP, got %.40q", line)
	}
	if m.dropped > 0 {
		k.Conn.Anomaly("headers_dropped", clip.Count(int64(m.dropped), "header field", "header fields")+" beyond the limit", 0)
	}
	if m.odd != "" {
		k.Conn.Anomaly("malformed", m.odd, 0)
	}
	row := &Row{}
	if m.method != "" {
		row.read(&m, m.method)
		c := k.Request(in, len(b), row)
		if m.method == "M-SEARCH" && !k.Conn.Info.Multicast {
			k.Await(key{in.Dir, row.Target.V}, c, len(b))
		} else {
			k.End(c, "")
		}
		return len(b), nil
	}
	dir := in.Dir.Other()
	c, found := k.Take(key{dir, m.value("st").V})
	if !found {
		c, found = k.Take(key{dir, everything})
	}
	if found {
		row = c.Row
	}
	c = k.Response(in, len(b), c, row)
	row.read(&m, "M-SEARCH")
	row.StatusCode, row.StatusText = table.Some(m.status), table.NonEmpty(m.reason)
	if m.status >= 400 {
		row.Outcome = table.HTTPOutcome(m.status)
	}
	k.End(c, "")
	return len(b), nil
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// read sets the columns that the message states.
func (row *Row) read(m *message, method string) {
	row.Method = table.Some(method)
	row.Headers = append(row.Headers, m.headers...)
	httpfield.Fill(&row.Call, m.headers)
	for _, c := range [...]struct {
		to   *table.Opt[string]
		name string
	}{{&row.Kind, "nts"}, {&row.Target, "nt"}, {&row.Target, "st"}, {&row.USN, "usn"}, {&row.Location, "location"}, {&row.Server, "server"}, {&row.FriendlyName, "cpfn.upnp.org"}} {
		if v := m.value(c.name); v.OK {
			*c.to = v
		}
	}
	for _, c := range [...]struct {
		to   *table.Opt[int64]
		name string
	}{{&row.MaxWait, "mx"}, {&row.Boot, "bootid.upnp.org"}, {&row.NextBoot, "nextbootid.upnp.org"}, {&row.Config, "configid.upnp.org"}} {
		if n := m.number(c.name); n.OK {
			*c.to = n
		}
	}
	if n := m.number("searchport.upnp.org"); n.OK && n.V < 1<<16 {
		row.SearchPort = table.Some(int32(n.V))
	}
	if n := maxAge(m.value("cache-control").V); n.OK {
		row.MaxAge = n
	}
}

// maxAge is the value of the directive max-age, around which devices put spaces.
func maxAge(control string) (n table.Opt[int64]) {
	for directive := range strings.SplitSeq(control, ",") {
		name, value, _ := strings.Cut(directive, "=")
		if !strings.EqualFold(httpfield.Trim(name), "max-age") {
			continue
		}
		if v, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 31); err == nil {
			return table.Some(int64(v))
		}
	}
	return n
}

// fill implements byid.Pairs.
func fill(c *call, why string) {
	row := c.Row
	s := row.Method.V
	for _, v := range [...]table.Opt[string]{row.Kind, row.Target} {
		if v.OK {
			s += " " + v.V
		}
	}
	switch {
	case row.StatusCode.OK && row.StatusCode.V != 200:
		s += fmt.Sprintf(" → %d %s", row.StatusCode.V, row.StatusText.V)
	case row.StatusCode.OK && row.Location.OK:
		s += " → " + row.Location.V
	case row.StatusCode.OK:
		s += " → " + row.USN.V
	case why != "":
		s += " → " + why
	case row.Location.OK:
		s += " " + row.Location.V
	}
	row.Summary = clip.Line([]byte(s), maxSummary)
}
