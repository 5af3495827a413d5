package postgresql

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Texts of the plugin test_decoding (PostgreSQL, contrib/test_decoding/test_decoding.c). Other plugins do not begin a
// message so.
var (
	textBegins  = regexp.MustCompile(`^(?:BEGIN(?: (\d+))?|opening a streamed block for transaction(?: TXN (\d+))?)$`)
	textEnds    = regexp.MustCompile(`^(?:COMMIT(?: \d+)?|closing a streamed block for transaction(?: TXN \d+)?|(PREPARE TRANSACTION) ('(?:[^']|'')*')(?:, txid \d+)?)(?: \(at [^)]*\))?$`)
	textAlone   = regexp.MustCompile(`^(?:(COMMIT PREPARED|ROLLBACK PREPARED) ('(?:[^']|'')*')(?:, txid (\d+))?|(committing|aborting|preparing) streamed (?:\(sub\))?transaction(?:(?: TXN| '(?:[^']|'')*', txid) (\d+))?)(?: \(at [^)]*\))?$`)
	textChange  = regexp.MustCompile(`^table ((?:"(?:[^"]|"")*"|[^":])+): (INSERT|UPDATE|DELETE|TRUNCATE):`)
	textTable   = regexp.MustCompile(`(?:"(?:[^"]|"")*"|[^",])+`)
	textName    = regexp.MustCompile(`"(?:[^"]|"")*"`)
	textMessage = regexp.MustCompile(`^message: transactional: [01] prefix: ([^,]*), sz: \d+ content:`)
)

// maxTextLine is how much of a message is examined: names of tables come before the values.
const maxTextLine = 64 * maxIdentifier

// textual reads a message of test_decoding; it reports false if the stream has another format. at is its position in
// the log.
func (k *conn) textual(r *cursor.Cursor, at uint64, in *dissect.Input, from, to int) bool {
	s := k.stream
	body := r.Bytes(r.Left())
	text := sqltext.Text(body[:min(len(body), maxTextLine)])
	if m := textBegins.FindStringSubmatch(text); m != nil {
		s.textual = true
		if from < to {
			d := changes{command: "COMMIT", from: at}
			if strings.HasPrefix(text, "o") {
				d.command = "STREAM"
			}
			k.transaction(d, m[1]+m[2], in)
		}
	} else if m := textAlone.FindStringSubmatch(text); m != nil && from < to {
		s.textual = true
		d := changes{command: m[1], gid: textQuoted(m[2]), from: at, to: at}
		if m[4] != "" {
			d.command = map[string]string{"committing": "STREAM COMMIT", "aborting": "STREAM ABORT", "preparing": "STREAM PREPARE"}[m[4]]
		}
		k.transaction(d, m[3]+m[5], in)
		if s.part != nil {
			k.assign(s.part, in, from, to)
			k.end(in, "")
			return true
		}
	}
	if !s.textual {
		return false
	}
	change := textChange.FindStringSubmatch(text)
	end := textEnds.FindStringSubmatch(text)
	said := textMessage.FindStringSubmatch(text)
	if s.part == nil && (change != nil || end != nil) { // its begin was lost
		if k.transaction(changes{command: "COMMIT"}, "", in); s.part != nil {
			s.part.gap = true
		}
	}
	alone := s.part == nil && said != nil && from < to
	if alone {
		k.transaction(changes{command: "MESSAGE", prefix: clip.Text(said[1], maxIdentifier), from: at, to: at}, "", in)
	}
	c := s.part
	if c == nil {
		k.assign(s.start, in, from, to)
		return true
	}
	k.assign(c, in, from, to)
	shown := len(body)
	switch {
	case change != nil:
		c.changes.described(change[1], change[2])
		shown = len(change[0])
	case said != nil:
		shown = len(said[0])
	case end != nil:
		c.changes.to = at
		if end[1] != "" {
			c.changes.command, c.changes.gid = end[1], textQuoted(end[2])
		}
	}
	if shown < len(body) {
		c.x.HideRest(in, from+headSize+r.Used()-len(body)+shown, to)
	}
	if alone || end != nil {
		k.end(in, "")
	}
	return true
}

// transaction begins the row of a transaction with a number, which may be empty, unless memory runs out. One whose end was
// lost ends.
func (k *conn) transaction(d changes, xid string, in *dissect.Input) {
	if k.stream.part != nil {
		k.stream.part.gap = true
		k.end(in, "")
	}
	n, _ := strconv.ParseUint(xid, 10, 32)
	d.xid = uint32(n)
	k.part(d)
}

// described counts a change of tables, of which only TRUNCATE can name several.
func (d *changes) described(tables, verb string) {
	switch verb {
	case "INSERT":
		d.inserts++
	case "UPDATE":
		d.updates++
	case "DELETE":
		d.deletes++
	default:
		d.cleared++
	}
	for _, name := range textTable.FindAllString(tables, maxTables) {
		name = textName.ReplaceAllStringFunc(strings.TrimSpace(name), unquote)
		if name = clip.Text(name, 2*maxIdentifier); len(d.tables) < maxTables && !slices.Contains(d.tables, name) {
			d.tables = append(d.tables, name)
		}
	}
}

// textQuoted is a literal without its quotes.
func textQuoted(s string) string {
	if len(s) < 2 {
		return ""
	}
	return clip.Text(strings.ReplaceAll(s[1:len(s)-1], "''", "'"), maxIdentifier)
}
