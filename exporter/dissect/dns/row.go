package dns

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func setInt[T any](o *table.Opt[T], v T) { *o = table.Some(v) }

// list is space for the strings of a row: one allocation per message.
type list []string

// cut takes n strings from the space.
func (l *list) cut(n int) []string {
	s := (*l)[:n:n]
	*l = (*l)[n:]
	return s
}

func (c *call) fillRequest(m *message) {
	row := c.row
	row.HasRequest = true
	setInt(&row.RequestLength, int64(len(m.data)))
	row.TotalSize = int64(len(m.data))
	c.flags = m.flags
	if m.edns.do {
		c.requested |= requestedDO
	}
	if len(m.questions) > 0 && m.questions[0].unicastWish {
		c.requested |= requestedQU
	}
	text := string(m.text)
	c.text = len(text)
	c.fillQuestions(m, text)
	if len(m.records) > 0 {
		row.RequestRecords = make([]string, 0, len(m.records))
		for i := range m.records {
			row.RequestRecords = append(row.RequestRecords, recordText(&m.records[i], text))
		}
	}
	c.fillEDNS(m, text)
}

// fillQuestions fills the columns that both sides' messages have.
func (c *call) fillQuestions(m *message, text string) {
	row := c.row
	row.Method = table.Some(opcodeName(m.opcode()))
	n := len(m.questions)
	if n == 0 {
		return
	}
	room := make(list, 2*n)
	row.Questions, row.Types = room.cut(n), room.cut(n)
	for i, q := range m.questions {
		row.Questions[i], row.Types[i] = text[q.name.from:q.name.to], typeName(q.typ)
	}
	row.Class = table.Some(className(m.questions[0].class))
	row.Host = table.Some(strings.ToLower(row.Questions[0]))
}

func (c *call) fillEDNS(m *message, text string) {
	if !m.edns.seen {
		return
	}
	row := c.row
	if !row.EDNSSize.OK {
		setInt(&row.EDNSSize, int32(m.edns.size))
		setInt(&row.EDNSVersion, int32(m.edns.version))
	}
	for _, s := range m.edns.options {
		o := text[s.from:s.to]
		if len(row.EDNSOptions) == 0 || !contains(row.EDNSOptions, o) {
			row.EDNSOptions = append(row.EDNSOptions, o)
		}
	}
}

func contains(list []string, s string) bool {
	for _, o := range list {
		if o == s {
			return true
		}
	}
	return false
}

func (c *call) fillResponse(m *message) {
	row := c.row
	row.HasResponse = true
	addTo(&row.ResponseLength, int64(len(m.data)))
	row.TotalSize += int64(len(m.data))
	addTo(&row.ResponseParts, 1)
	addTo(&row.AnswerCount, int32(m.count[1]))
	addTo(&row.AuthorityCount, int32(m.count[2]))
	addTo(&row.AdditionalCount, int32(m.count[3]))
	c.rcode = m.rcode() | int(m.edns.ext)<<4
	setInt(&row.StatusCode, int32(c.rcode))
	row.StatusText = table.Some(rcodeName(c.rcode))
	if c.text > maxTransfer { // the rest of a long transfer is only counted
		c.records += int(m.count[1])
		return
	}
	text := string(m.text)
	c.text += len(text)
	c.fillAnswers(m, text)
	c.fillEDNS(m, text)
}

func addTo[T int32 | int64](o *table.Opt[T], n T) { o.V, o.OK = o.V+n, true }

func (c *call) fillAnswers(m *message, text string) {
	row := c.row
	var n [4]int
	for i := range m.records {
		n[m.records[i].section]++
	}
	if n[1] == 0 && row.Answers == nil {
		row.Answers = []string{}
	}
	var flags [maxFlags]string
	named := flagNames(flags[:], m.flags, m.edns.do, len(m.questions) > 0 && m.questions[0].unicastWish)
	room := make(list, 4*n[1]+n[2]+n[3]+len(named))
	row.Flags = room.cut(len(named))
	copy(row.Flags, named)
	values, types, names, ttls := room.cut(n[1]), room.cut(n[1]), room.cut(n[1]), room.cut(n[1])
	authority, additional := room.cut(n[2]), room.cut(n[3])
	n = [4]int{}
	for i := range m.records {
		r := &m.records[i]
		k := n[r.section]
		n[r.section]++
		switch r.section {
		case 1:
			values[k], types[k], names[k] = text[r.value.from:r.value.to], typeName(r.typ), text[r.name.from:r.name.to]
			ttls[k] = text[r.ttlText.from:r.ttlText.to]
			if !row.MinTTL.OK || int64(r.ttl) < row.MinTTL.V {
				setInt(&row.MinTTL, int64(r.ttl))
			}
		case 2:
			authority[k] = recordText(r, text)
		case 3:
			additional[k] = recordText(r, text)
		}
	}
	if c.records == 0 && len(values) > 0 {
		c.first = values[0]
		if len(row.Questions) > 0 {
			c.first = values[len(values)-1] // the end of a chain of aliases
		}
	}
	c.records += len(values)
	row.Answers, row.AnswerTypes = join(row.Answers, values), join(row.AnswerTypes, types)
	row.AnswerNames, row.TTLs = join(row.AnswerNames, names), join(row.TTLs, ttls)
	row.Authority, row.Additional = join(row.Authority, authority), join(row.Additional, additional)
	if c.rcode == 0 && c.broken == "" {
		c.fillNames(m, names)
	}
}

func join(a, b []string) []string {
	if len(a) == 0 && len(b) > 0 {
		return b
	}
	return append(a, b...)
}

// fillNames records the name of each address: the name in the question, if aliases lead from it
// to the address's owner. An announcement names its owners.
func (c *call) fillNames(m *message, owners []string) {
	row := c.row
	var chain []string
	if len(row.Questions) > 0 {
		chain = row.Questions[:1:1]
	}
	k := -1
	for i := range m.records {
		r := &m.records[i]
		if r.section != 1 {
			continue
		}
		k++
		if r.class != classIN {
			continue
		}
		owner := owners[k]
		known := len(chain) == 0
		for _, name := range chain {
			known = known || len(name) == len(owner) && strings.EqualFold(name, owner)
		}
		switch {
		case !known:
		case r.typ == typeCNAME && len(chain) > 0 && len(chain) < maxChain:
			chain = append(chain, row.Answers[len(row.Answers)-len(owners)+k])
		case r.addr.IsValid():
			name := owner
			if len(chain) > 0 {
				name = chain[0]
			}
			if row.names == nil && len(owners)-k > 1 {
				row.names = make([]dissect.NameAnswer, 0, len(owners)-k)
			} else if row.names == nil {
				row.names = row.oneName[:0]
			}
			row.names = append(row.names, dissect.NameAnswer{Name: name, Addr: r.addr})
		}
	}
}

const maxChain = 16 // aliases followed from a question to its addresses

// recordText is a record in zone file format.
func recordText(r *record, text string) string {
	b := make([]byte, 0, r.name.to-r.name.from+r.value.to-r.value.from+32)
	b = append(b, text[r.name.from:r.name.to]...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(r.ttl), 10)
	b = append(b, ' ')
	if r.class != classIN {
		b = append(append(b, className(r.class)...), ' ')
	}
	b = append(b, typeName(r.typ)...)
	if r.value.to > r.value.from {
		b = append(append(b, ' '), text[r.value.from:r.value.to]...)
	}
	return string(b)
}

var flagBits = [...]struct {
	bit  uint16
	name string
}{{bitAA, "aa"}, {bitTC, "tc"}, {bitRD, "rd"}, {bitRA, "ra"}, {bitZ, "z"}, {bitAD, "ad"}, {bitCD, "cd"}}

const maxFlags = len(flagBits) + 2

// flagNames writes the names of flags into room, which has space for maxFlags.
func flagNames(room []string, flags uint16, do, qu bool) []string {
	list := room[:0]
	for i := range flagBits {
		if flags&flagBits[i].bit != 0 {
			list = append(list, flagBits[i].name)
		}
	}
	if do {
		list = append(list, "do")
	}
	if qu {
		list = append(list, "qu")
	}
	return list[:len(list):len(list)]
}
