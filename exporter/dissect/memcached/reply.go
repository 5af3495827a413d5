package memcached

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// results are the words of replies of one line, and those that end or begin a reply of many.
var results = map[string]bool{"STORED": true, "NOT_STORED": true, "EXISTS": true, "NOT_FOUND": true, "DELETED": true, "TOUCHED": true, "OK": true, "VERSION": true, "END": true, "RESET": true,
	"BUSY": true, "BADCLASS": true, "NOSPARE": true, "NOTFULL": true, "UNSAFE": true, "SAME": true, "ERROR": true, "CLIENT_ERROR": true, "SERVER_ERROR": true}

// metaResults are the words of replies to meta commands.
var metaResults = map[string]bool{"HD": true, "VA": true, "EN": true, "NF": true, "NS": true, "EX": true, "MN": true, "ME": true}

// repliesTo are the words of replies to each meta command, and hiddenFrom those that its flag q suppresses:
// memcached's doc/protocol.txt.
var (
	repliesTo  = map[string][]string{"mg": {"VA", "HD", "EN"}, "ms": {"HD", "NS", "EX", "NF"}, "md": {"HD", "NF", "EX"}, "ma": {"VA", "HD", "NF", "NS", "EX"}, "me": {"ME", "EN"}, "mn": {"MN"}}
	hiddenFrom = map[string][]string{"mg": {"EN"}, "ms": {"HD"}, "md": {"HD", "NF"}, "ma": {"HD", "NF"}}
)

// replyLine is a line of a reply.
type replyLine struct {
	word  string
	words [][]byte // after the word
	size  int64    // of the value that follows; -1 if none does
	error bool
}

// parseReply splits a line of a reply. It is an error if no command has such a line.
func parseReply(line []byte) (r replyLine, err error) {
	word, rest, _ := bytes.Cut(line, []byte{' '})
	r = replyLine{word: string(word), size: -1}
	if !lines.Plain(line) {
		return r, fmt.Errorf("reading a reply: a control character in %.40q", line)
	}
	size := []byte(nil)
	switch r.words = bytes.Fields(rest); r.word {
	case "VALUE": // key flags size [cas]
		if len(r.words) < 3 || len(r.words) > 4 {
			return r, fmt.Errorf("reading a reply: VALUE with %d words", len(r.words))
		}
		size = r.words[2]
	case "VA":
		if len(r.words) < 1 {
			return r, fmt.Errorf("reading a reply: VA without a size")
		}
		size, r.words = r.words[0], r.words[1:]
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		r.error = true
	case "STAT", "ITEM":
	default:
		if !results[r.word] && !metaResults[r.word] && !isNumber(word) && !bytes.HasPrefix(line, []byte("key=")) {
			return r, fmt.Errorf("reading a reply: %.40q is not one", line)
		}
	}
	if size != nil {
		if r.size, err = strconv.ParseInt(string(size), 10, 64); err != nil || r.size < 0 || r.size > maxValue {
			return r, fmt.Errorf("reading a reply: a value of %.20s bytes", size)
		}
	}
	return r, nil
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 20
}

// line reads a line of a reply.
func (k *conn) line(in *dissect.Input, at int) (int, error) {
	line, n, err := lineOf(in.Data[at:])
	if n == 0 || err != nil {
		return 0, err
	}
	r, err := parseReply(line)
	if err != nil {
		return 0, err
	}
	c := k.reply
	if c == nil {
		if c = k.target(in, at, &r); c == nil {
			if k.c.Unproved() && k.c.Info.RolesKnown { // else the command may have come before the capture
				return 0, fmt.Errorf("reading a reply: %.40q answers no command", line)
			}
			c = &call{row: &Row{Form: "text"}, replies: repliesOf(&r), datagram: k.datagram.id}
		}
		k.reply = c
	} else if !continues(c, &r) {
		return 0, fmt.Errorf("reading a reply to %s: %.40q is no line of it", c.row.Command.V, line)
	}
	k.cite(c, in, at, at+n)
	k.note(c, &r, in.Dir)
	return n, nil
}

// repliesOf is how a reply looks whose command is not known.
func repliesOf(r *replyLine) replies {
	switch {
	case r.word == "VALUE":
		return repliesValues
	case r.word == "STAT", r.word == "ITEM", len(r.word) > 4 && r.word[:4] == "key=":
		return repliesStats
	case metaResults[r.word]:
		return repliesMeta
	}
	return repliesLine
}

// continues reports whether a line can be one of a call's reply, after others of it.
func continues(c *call, r *replyLine) bool {
	if r.error || r.word == "END" {
		return true
	}
	switch repliesOf(r) {
	case repliesValues:
		return c.replies == repliesValues
	case repliesStats:
		return c.replies == repliesStats
	}
	return false
}

// answers reports whether a line can begin the reply to a command.
func answers(c *call, r *replyLine) bool {
	switch {
	case r.error:
		return true
	case c.binary:
		return false
	case c.replies == repliesMeta:
		command := c.row.Command.V
		return slices.Contains(repliesTo[command], r.word) && !(c.quiet && slices.Contains(hiddenFrom[command], r.word))
	case c.replies == repliesValues:
		return r.word == "VALUE" || r.word == "END"
	case c.replies == repliesStats:
		return repliesOf(r) == repliesStats || r.word == "END" || r.word == "RESET" || r.word == "OK" || r.word == "BUSY"
	case c.row.Command.V == "incr" || c.row.Command.V == "decr":
		return isNumber([]byte(r.word)) || r.word == "NOT_FOUND"
	}
	return repliesOf(r) == repliesLine && r.word != "END" && !isNumber([]byte(r.word))
}

// echoes reports whether a reply can be that to c by its flags, and whether they name c. VA and HD repeat the flags k
// and O, to mg all that ask for something, and no reply has a flag that was not asked for, except W, X and Z. A command
// that is not quiet has its reply by order, so only O matters.
func echoes(c *call, r *replyLine) (fits, names bool) {
	if c.replies != repliesMeta || r.error {
		return true, false
	}
	repeated := "kO"
	if c.row.Command.V == "mg" {
		repeated = "cfhklOst"
	}
	repeats := 0
	for _, f := range c.flags {
		if strings.ContainsRune(repeated, f) {
			repeats++
		}
	}
	for _, f := range r.words {
		switch letter, value := f[0], text(f[1:]); {
		case letter == 'O' && value != c.row.Opaque.V:
			return false, false
		case !c.quiet:
		case letter == 'k' && value != c.row.Keys[0], !strings.Contains(c.flags+"WXZ", string(letter)):
			return false, false
		case strings.Contains(repeated, string(letter)):
			repeats--
			names = names || letter == 'O' || letter == 'k'
		}
	}
	return !c.quiet || repeats == 0 || r.word != "VA" && r.word != "HD", names
}

// target finds the command that a reply answers. Quiet commands before it had nothing to report.
func (k *conn) target(in *dissect.Input, at int, r *replyLine) *call {
	if !in.Datagram {
		if f := k.queue.Answer(in.Seq(at)); f == nil {
			return nil
		}
	}
	var skipped []*call
	var c *call
	var sure, lost bool // the reply can only be that to c; commands among those that it can answer were lost
	other := k.search(func(d *call) (bool, bool) {
		fits, named := echoes(d, r)
		lost = lost || d.last
		switch fits = fits && answers(d, r); {
		case !d.Waits() || in.Datagram && d.datagram != k.datagram.id:
			return false, false
		case !fits && c == nil && d.quiet:
			skipped = append(skipped, d)
			return false, false
		case !fits:
			return false, !d.quiet
		case c == nil:
			c, sure = d, named || !d.quiet
			return false, sure || r.error
		}
		return true, true
	})
	if c != nil && !sure && lost && r.error { // an error fits any of them
		k.silence(skipped)
		k.emit(c, string(dissect.LossGap))
		return nil
	}
	if c != nil && !sure && (other != nil || lost) {
		k.c.Anomaly("pairing_guessed", "a reply without the flags k and O can be that to several quiet commands; it is shown with the first", 0)
	}
	if c != nil {
		k.silence(skipped)
	}
	return c
}

// silence ends quiet commands whose reply would have come by now.
func (k *conn) silence(list []*call) {
	for _, c := range list {
		c.silent = true
		k.emit(c, "")
	}
}

// note adds the fields of a line of a reply.
func (k *conn) note(c *call, r *replyLine, dir dissect.Dir) {
	row := c.row
	if repliesOf(r) == repliesMeta {
		row.Form = "meta"
	}
	if r.word == "VALUE" || r.word == "STAT" || r.word == "ITEM" || r.size < 0 && c.replies == repliesStats && repliesOf(r) == repliesStats {
		row.Items = table.Some(row.Items.V + 1)
	}
	switch {
	case r.word == "VALUE":
		if len(row.Keys) == 0 || !c.x.HasRequest() && len(row.Keys) < maxKeys {
			row.Keys = append(row.Keys, text(r.words[0]))
		}
		if row.Items.V == 1 && !row.Flags.OK {
			row.Flags = number(table.Some(text(r.words[1])))
		}
		if len(r.words) == 4 && !row.CAS.OK {
			row.CAS = table.Some(text(r.words[3]))
		}
		k.expect(dir, c, r.size, 2)
		return
	case repliesOf(r) == repliesStats && r.size < 0 && !r.error:
		return
	case r.word == "VA":
		row.Items, row.Status = table.Some[int64](1), table.Some("VA")
		k.expect(dir, c, r.size, 2)
		return
	case r.word == "EN" || r.word == "END" && c.replies == repliesValues:
		row.Items = table.Some(row.Items.V)
	}
	row.Status = table.Some(r.word)
	if isNumber([]byte(r.word)) {
		row.Status = table.Some("OK")
	}
	if r.error {
		c.failed = true
		row.ErrText = table.NonEmpty(text(bytes.Join(r.words, []byte{' '})))
	}
	k.answered(c)
}
