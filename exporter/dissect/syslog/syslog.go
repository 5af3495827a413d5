// Package syslog reads Syslog messages (RFC 5424, RFC 3164) in datagrams (RFC 5426) and in TCP
// connections, with their length before them or ended by a newline (RFC 6587).
//
// A row is one message, which has no answer.
package syslog

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one message.
const (
	maxFrame   = 256 << 10 // bytes in a TCP connection
	maxCount   = 7         // digits of a length
	maxMessage = 8 << 10   // bytes shown of the text
	maxData    = 4 << 10   // bytes shown of structured data
	maxName    = 255       // bytes shown of a name
)

// Row is one message.
type Row struct {
	table.Call
	Facility string            `col:"syslog_facility" enc:"dict" doc:"facility by its name, such as kern, auth or local0"`
	Severity string            `col:"syslog_severity" enc:"dict" doc:"severity: emerg, alert, crit, err, warning, notice, info or debug"`
	Format   string            `col:"syslog_format" enc:"dict" doc:"rfc5424, rfc3164, or text if the header is neither"`
	Framing  string            `col:"syslog_framing" enc:"dict" doc:"datagram, octets (length before the message) or newline"`
	Time     table.Opt[string] `col:"syslog_time" doc:"time stamp as the sender wrote it"`
	Hostname table.Opt[string] `col:"syslog_host" enc:"dict" doc:"host that the message names"`
	App      table.Opt[string] `col:"syslog_app" enc:"dict" doc:"application, or tag"`
	Process  table.Opt[string] `col:"syslog_process" doc:"process id"`
	ID       table.Opt[string] `col:"syslog_message_id" enc:"dict" doc:"type of the message (MSGID)"`
	Data     table.Opt[string] `col:"syslog_data" doc:"structured data as sent, at most 4 KiB"`
	Message  table.Opt[string] `col:"syslog_message" doc:"text, at most 8 KiB"`
}

// Protocol is Syslog.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "syslog",
		Doc:          "Syslog messages in datagrams and TCP connections",
		Versions:     "RFC 5424, RFC 3164",
		Depth:        "facility, severity, time, host, program, structured data and text",
		Transports:   []dissect.Transport{dissect.TCP, dissect.UDP},
		Ports:        []uint16{514, 6514, 601},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		Resume:       detectOnPort,
		New:          newConn,
		Row:          &Row{},
	}
}

type conn struct {
	dissect.Stateless
	c *dissect.Conn
}

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c} }

// Gap implements dissect.Dissector: a message with a gap is dropped.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Close implements dissect.Dissector.
func (k *conn) Close(dissect.End) {}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	switch {
	case len(b) == 0:
		return 0, nil
	case in.Datagram:
		return len(b), k.message(in, len(b), b, "datagram")
	case in.Dir == dissect.ToClient:
		return 0, fmt.Errorf("reading a message: the receiver sent %d bytes", len(b))
	case b[0] == '<':
		n := bytes.IndexByte(b, '\n') + 1
		if n == 0 && in.Fin {
			n = len(b)
		}
		if n == 0 && len(b) < maxFrame {
			return 0, nil
		}
		if n == 0 || n > maxFrame {
			return 0, fmt.Errorf("reading a message: more than %d bytes without a newline", maxFrame)
		}
		return n, k.message(in, n, bytes.TrimRight(b[:n], "\r\n\x00"), "newline")
	}
	size, head, ok := count(b)
	switch {
	case !ok || size > maxFrame:
		return 0, fmt.Errorf("reading a message: %.20q is neither a length up to %d nor a priority", b[:min(len(b), 20)], maxFrame)
	case head == 0:
		return 0, nil
	case len(b) < head+size:
		k.c.Need(in.Dir, head+size)
		return 0, nil
	}
	return head + size, k.message(in, head+size, b[head:head+size], "octets")
}

// count reads the length before a message and the space after it, RFC 6587 section 3.4.1. head is 0 if
// they are not complete.
func count(b []byte) (size, head int, ok bool) {
	for i, c := range b {
		switch {
		case c == ' ' && i > 0:
			return size, i + 1, size > 0
		case i == maxCount || c < '0' || c > '9' || i == 0 && c == '0':
			return 0, 0, false
		}
		size = size*10 + int(c-'0')
	}
	return 0, 0, true
}

// message emits one message, b, which in.Data[:n] carries.
func (k *conn) message(in *dissect.Input, n int, b []byte, framing string) error {
	m, ok := parse(b)
	if !ok {
		return fmt.Errorf("reading a message: %.20q is no priority", b[:min(len(b), 20)])
	}
	row := &Row{Facility: facilities[m.priority>>3], Severity: severities[m.priority&7], Format: m.format, Framing: framing,
		Time: text(m.time, maxName), Hostname: text(m.host, maxName), App: text(m.app, maxName), Process: text(m.process, maxName), ID: text(m.id, maxName),
		Data: text(m.data, maxData), Message: text(m.text, maxMessage)}
	row.Method, row.Host, row.Complete = table.Some(row.Facility+"."+row.Severity), row.Hostname, true
	row.Summary = row.Method.V
	if row.App.OK {
		row.Summary += " " + row.App.V
	}
	row.Summary += ": " + clip.Line([]byte(row.Message.V), 200)
	var x dissect.Exchange
	x.Request(in, 0, n)
	x.Reversed = in.Dir == dissect.ToClient
	k.c.Emit(&x, row)
	return nil
}

func text(b []byte, n int) table.Opt[string] { return table.NonEmpty(clip.Text(b, n)) }

// Names of RFC 5424 section 6.2.1, as syslog.h abbreviates them.
var (
	facilities = [...]string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
	severities = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
)

// priority reads <n>, RFC 5424 section 6.2.1.
func priority(b []byte) (n int, rest []byte, ok bool) {
	digits, _, ok := bytes.Cut(b[:min(len(b), 5)], []byte(">"))
	if !ok || len(digits) < 2 || digits[0] != '<' || digits[1] == '0' && len(digits) > 2 || len(bytes.Trim(digits[1:], "0123456789")) > 0 {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(digits[1:]))
	return n, b[len(digits)+1:], err == nil && n < len(facilities)<<3
}
