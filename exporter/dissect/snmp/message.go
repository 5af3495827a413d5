package snmp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a message.
const (
	maxText      = 255
	maxEngine    = 32 // bytes of an engine id, RFC 3411 section 5
	maxVariables = 64 // variables shown
	maxValue     = 256
	maxSummary   = 300
)

// Tags of PDUs.
const (
	tagGet      = 0xa0
	tagNext     = 0xa1
	tagResponse = 0xa2
	tagSet      = 0xa3
	tagTrap     = 0xa4
	tagBulk     = 0xa5
	tagInform   = 0xa6
	tagTrap2    = 0xa7
	tagReport   = 0xa8
)

// Flags of a message of version 3, RFC 3412 section 6.4.
const (
	flagAuth       = 1
	flagPriv       = 2
	flagReportable = 4
)

// versions are the names of version numbers.
var versions = map[int64]string{0: "1", 1: "2c", 3: "3"}

// message is one message.
type message struct {
	tag        byte // 0 if it is encrypted
	id         int64
	reportable bool // of version 3: the sender expects an answer
	size       int
	row        *Row
	odd        string   // what is wrong with it; empty if nothing is
	secrets    [][]byte // its community or the digest that proves a password, and variables that are keys, passwords or communities
}

func (m *message) name() string {
	if m.tag == 0 {
		return "encrypted"
	}
	return tables()["pdu"].Name(int64(m.tag), "pdu_")
}

var errHeader = errors.New("reading a message: expected a version and a community, or the header of version 3")

// parse reads a message.
func parse(b []byte) (m message, err error) {
	r := ber.New(b)
	body := r.Enter(ber.Sequence)
	version := body.Int(ber.Integer)
	name, known := versions[version]
	if body.Bad() || !known {
		return m, errHeader
	}
	m = message{size: r.Used(), row: &Row{Version: name}}
	if version == 3 {
		return m, m.header(&body)
	}
	community := body.Expect(ber.Octets)
	if body.Bad() {
		return m, errHeader
	}
	m.secrets = append(m.secrets, community)
	m.row.Community, m.row.AuthKind = table.Some(shown(community)), table.Some("community")
	m.pdu(&body)
	if m.tag == 0 {
		return m, errors.New("reading a message: no PDU follows the community")
	}
	m.id = m.row.RequestID.V
	return m, nil
}

// shown is a community that is not secret, because it is the default of agents.
func shown(community []byte) string {
	switch s := string(community); s {
	case "public", "private", "":
		return s
	}
	return "***"
}

// header reads a message of version 3, RFC 3412 section 6.
func (m *message) header(r *ber.Reader) error {
	global := r.Enter(ber.Sequence)
	m.id = global.Int(ber.Integer)
	global.Int(ber.Integer) // largest message
	flags := global.Expect(ber.Octets)
	global.Int(ber.Integer) // security model
	if global.Bad() || len(flags) != 1 {
		return errHeader
	}
	row := m.row
	row.MessageID = table.Some(m.id)
	row.Level = table.Some(tables()["level"].Name(int64(flags[0]&(flagAuth|flagPriv)), "level_"))
	row.AuthKind = table.Some("none")
	if flags[0]&flagAuth != 0 {
		row.AuthKind = table.Some("usm")
	}
	m.reportable = flags[0]&flagReportable != 0
	m.security(r.Expect(ber.Octets))
	if r.Peek() == ber.Octets {
		r.Next()
		if r.Bad() {
			return errHeader
		}
		return nil // encrypted
	}
	scoped := r.Enter(ber.Sequence)
	scoped.Expect(ber.Octets) // context engine
	row.Context = table.NonEmpty(clip.Line(scoped.Expect(ber.Octets), maxText))
	if r.Bad() || scoped.Bad() {
		return errHeader
	}
	m.pdu(&scoped)
	if m.tag == 0 {
		return errors.New("reading a message: no PDU follows the context")
	}
	return nil
}

// security reads the parameters of the user-based security model, RFC 3414 section 2.4.
func (m *message) security(b []byte) {
	outer := ber.New(b)
	r := outer.Enter(ber.Sequence)
	engine, boots, time, user := r.Expect(ber.Octets), r.Int(ber.Integer), r.Int(ber.Integer), r.Expect(ber.Octets)
	if r.Bad() {
		return // another model
	}
	m.secrets = append(m.secrets, r.Expect(ber.Octets))
	row := m.row
	row.User = table.NonEmpty(clip.Line(user, maxText))
	if len(engine) > 0 {
		row.Engine = table.Some(hex.EncodeToString(engine[:min(len(engine), maxEngine)]))
		row.Boots, row.Time = table.Some(boots), table.Some(time)
	}
}

// pdu reads a PDU. A field that does not fit is odd, and those before it stay.
func (m *message) pdu(r *ber.Reader) {
	tag := r.Peek()
	if tables()["pdu"][int64(tag)] == "" {
		return
	}
	_, body := r.Next()
	m.tag = tag
	if r.Bad() {
		m.odd = fmt.Sprintf("%s does not fit into its message", m.name())
		return
	}
	row, p := m.row, ber.New(body)
	if m.tag == tagTrap {
		m.trap(&p)
	} else {
		row.RequestID = table.Some(p.Int(ber.Integer))
		first, second := p.Int(ber.Integer), p.Int(ber.Integer)
		switch {
		case p.Bad():
			m.odd = m.name() + " has no request id, error status and error index"
			return
		case m.tag == tagBulk:
			row.NonRepeaters, row.MaxRepetitions = table.Some(first), table.Some(second)
		case m.tag == tagResponse || m.tag == tagReport:
			row.ErrorStatus, row.ErrorIndex = table.Some(int32(min(max(first, -1), 1<<16))), table.Some(second)
		}
	}
	if m.odd == "" {
		m.variables(p.Enter(ber.Sequence))
	}
}

// trap reads a trap of version 1, RFC 1157 section 4.1.6.
func (m *message) trap(p *ber.Reader) {
	row := m.row
	enterprise, _ := ber.AppendOID(nil, p.Expect(ber.OID))
	agent, generic, specific, ticks := p.Expect(tagAddress), p.Int(ber.Integer), p.Int(ber.Integer), unsigned(p.Expect(tagTicks))
	if p.Bad() {
		m.odd = "a trap has no enterprise, agent, numbers and time"
		return
	}
	row.Enterprise = table.NonEmpty(string(enterprise))
	if a, ok := netip.AddrFromSlice(agent); ok {
		row.Agent = table.Some(a.String())
	}
	row.Uptime = table.Some(int64(min(ticks, 1<<40)) * 10)
	if row.Trap = table.NonEmpty(tables()["trap"][generic]); !row.Trap.OK {
		row.Trap = table.Some(fmt.Sprintf("%s.0.%d", enterprise, specific)) // RFC 3584 section 3.1
	}
}

// Variables with a meaning for the message.
const (
	oidUptime  = "1.3.6.1.2.1.1.3.0"
	oidTrap    = "1.3.6.1.6.3.1.1.4.1.0"
	oidGeneric = "1.3.6.1.6.3.1.1.5."
	oidUSM     = "1.3.6.1.6.3.15.1.1."
	oidMPD     = "1.3.6.1.6.3.11.2.1."
)

// variables reads the variables.
func (m *message) variables(list ber.Reader) {
	row, n := m.row, int64(0)
	for list.More() {
		v := list.Enter(ber.Sequence)
		oid := v.Expect(ber.OID)
		tag, value := v.Next()
		if v.Bad() {
			break
		}
		n++
		name, ok := ber.AppendOID(nil, oid)
		secret := isSecret(string(name))
		if secret {
			m.secrets = append(m.secrets, value)
		}
		if n > maxVariables {
			continue
		}
		if !ok && len(oid) > 0 {
			m.odd = fmt.Sprintf("variable %d has no valid OID", n)
			name = append([]byte("?"), clip.Cut(hex.EncodeToString(oid), maxText)...)
		}
		m.variable(string(name), tag, value)
	}
	if list.Bad() {
		m.odd = fmt.Sprintf("the list of variables is damaged after %s", clip.Count(n, "variable", "variables"))
	}
	row.Variables = table.Some(n)
}

func (m *message) variable(name string, tag byte, value []byte) {
	row, text := m.row, "***"
	if !isSecret(name) {
		text = show(tag, value)
	}
	row.OIDs, row.Values = append(row.OIDs, name), append(row.Values, name+" = "+text)
	switch {
	case m.tag == tagReport && strings.HasPrefix(name, oidUSM):
		row.Report = table.NonEmpty(tables()["usm"][last(name[len(oidUSM):])])
	case m.tag == tagReport && strings.HasPrefix(name, oidMPD):
		row.Report = table.NonEmpty(tables()["mpd"][last(name[len(oidMPD):])])
	case m.tag != tagTrap2 && m.tag != tagInform:
	case name == oidUptime && tag == tagTicks:
		row.Uptime = table.Some(int64(min(unsigned(value), 1<<40)) * 10)
	case name == oidTrap:
		row.Trap = table.Some(text)
		if generic, ok := strings.CutPrefix(text, oidGeneric); ok && len(generic) == 1 {
			if s := tables()["trap"][int64(generic[0]-'1')]; s != "" {
				row.Trap = table.Some(s)
			}
		}
	}
}
