package postgresql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of replication.
const (
	maxRelations    = 4096 // tables remembered by their number
	maxTables       = 64   // tables shown of a transaction
	maxPublications = 64   // publications shown
	maxIdentifier   = 256  // bytes of a name: 63 of the server's encoding, with quotes
)

// stream is the stream after START_REPLICATION: changes of the server, and positions that the
// client confirms.
type stream struct {
	start        *call // the command; the reply to a command that was not captured
	slot         string
	publications []string
	pgoutput     bool              // the changes have pgoutput's format
	textual      bool              // the changes have test_decoding's format
	from         uint64            // position where the client asked to begin
	to, flushed  uint64            // the server's end; what the client confirmed as durable
	relations    map[uint32]string // names of tables
	part         *call             // the transaction, or part of one, that is being sent
	block        bool              // it is a part of an unfinished one: each change has its transaction
}

var (
	startCommand = regexp.MustCompile(`(?is)^\s*START_REPLICATION\s+(?:SLOT\s+("(?:[^"]|"")*"|[^\s"]+)\s+)?(?:(?:LOGICAL|PHYSICAL)\s+)?([0-9A-F]{1,8}/[0-9A-F]{1,8})`)
	publications = regexp.MustCompile(`(?is)[("\s,]publication_names"?\s+'((?:[^']|'')*)'`)
)

// begin reads CopyBothResponse: replication begins.
func (k *conn) begin(c *call) {
	s := &stream{start: c}
	c.copied, c.stream, k.stream = true, s, s
	c.answered = c.kind != kindReply
	m := startCommand.FindStringSubmatch(c.query)
	if m == nil {
		return
	}
	s.slot = clip.Text(unquote(m[1]), maxIdentifier)
	s.from, _ = position(m[2])
	if p := publications.FindStringSubmatch(c.query); p != nil {
		s.pgoutput = true
		s.publications = identifiers(strings.ReplaceAll(p[1], "''", "'"))
	}
}

// identifiers are the names of a list, as the server splits it.
func identifiers(list string) (names []string) {
	for list = strings.TrimSpace(list); list != "" && len(names) < maxPublications; list = strings.TrimLeft(list, ", ") {
		end := strings.IndexByte(list, ',')
		if list[0] == '"' {
			for end = 1; end < len(list) && (list[end] != '"' || strings.HasPrefix(list[end:], `""`)); end++ {
				if list[end] == '"' {
					end++
				}
			}
			end++
		}
		if end < 0 || end > len(list) {
			end = len(list)
		}
		names = append(names, clip.Text(unquote(strings.TrimSpace(list[:end])), maxIdentifier))
		list = list[end:]
	}
	return names
}

func unquote(name string) string {
	if inner, quoted := strings.CutPrefix(name, `"`); quoted {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return name
}

// position reads a position in the log, such as 0/1949670.
func position(s string) (uint64, bool) {
	high, low, _ := strings.Cut(s, "/")
	h, err := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	return h<<32 | l, err == nil && err2 == nil
}

func lsn(p uint64) table.Opt[string] {
	if p == 0 {
		return table.Opt[string]{}
	}
	return table.Some(fmt.Sprintf("%X/%X", p>>32, uint32(p)))
}

// Times in messages, microseconds since 2000.
const (
	minTime = 8 * 365 * 86400_000_000
	maxTime = 100 * 365 * 86400_000_000
)

// replicates reports whether data of a COPY can only be that of replication, and whether a
// transaction of pgoutput, or a part of one, begins.
func replicates(body []byte) (is, pgoutput bool) {
	r := cursor.New(body)
	kind := r.Uint8()
	flag := byte(0)
	switch n := len(body); {
	case kind == 'k' && n == 18:
		r.Skip(8)
		flag = body[n-1]
	case kind == 'r' && n == 34:
		r.Skip(24)
		flag = body[n-1]
	case kind == 'w' && n > 25:
		if at, end := r.Uint64(), r.Uint64(); at != 0 && at>>40 != end>>40 {
			return false, false
		}
		pgoutput = n == 46 && body[25] == 'B' || n == 31 && body[25] == 'S' && body[30] <= 1
	default:
		return false, false
	}
	t := r.Uint64()
	is = t > minTime && t < maxTime && flag <= 1
	return is, is && pgoutput
}

// adopt recognizes replication whose beginning was not captured.
func (k *conn) adopt(body []byte, in *dissect.Input) bool {
	is, pgoutput := replicates(body)
	switch s := k.stream; {
	case s == nil && is:
		c := k.reply(in)
		k.begin(c)
		k.stream.pgoutput = pgoutput
	case s == nil || s.start != k.orphan:
		return false
	case pgoutput:
		s.pgoutput = true
	}
	return true
}

// confirmed reads a message of the client: the positions that it has received and stored.
func (s *stream) confirmed(body []byte) {
	r := cursor.New(body)
	kind := r.Uint8()
	r.Skip(8)
	if flushed := r.Uint64(); kind == 'r' && !r.Short() {
		s.flushed = max(s.flushed, flushed)
	}
}

// streamed reads a message of the server during replication; in.Data[from:to] carries it.
func (k *conn) streamed(body []byte, in *dissect.Input, from, to int, cut bool) error {
	s := k.stream
	s.start.copyBytes += int64(max(len(body), to-from-headSize))
	r := cursor.New(body)
	kind := r.Uint8()
	first, last := r.Uint64(), uint64(0)
	switch kind {
	case 'k':
		last = first
	case 'w':
		last = r.Uint64()
		r.Skip(8)
	}
	if s.to = max(s.to, last); kind == 'w' && s.pgoutput && !r.Short() {
		return k.change(&r, first, in, from, to, cut)
	}
	if kind == 'w' && !r.Short() && k.textual(&r, first, in, from, to) {
		return nil
	}
	k.assign(s.start, in, from, to)
	return nil
}

// interrupt ends the row of a transaction with lost messages.
func (k *conn) interrupt(why dissect.Loss) {
	if s := k.stream; s != nil && s.part != nil {
		s.part.gap, s.part.bad = why == dissect.LossGap, why != dissect.LossGap
		k.end(nil, "")
	}
}
