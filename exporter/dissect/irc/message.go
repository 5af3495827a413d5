package irc

import (
	"bytes"
	"cmp"
	_ "embed" // for replies.txt
	"strconv"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

//go:embed replies.txt
var repliesText string

// replies are what replies.txt says.
var replies = sync.OnceValue(readReplies)

// replyTable is about the numbers and words of the server.
type replyTable struct {
	about map[string][]string // the commands that they answer
	name  map[string]string
	last  map[string]bool // no other reply follows
}

func readReplies() (t replyTable) {
	t = replyTable{map[string][]string{}, map[string]string{}, map[string]bool{}}
	for line := range strings.Lines(repliesText) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		t.name[f[0]], t.last[f[0]] = f[1], f[2] == "."
		t.about[f[0]] = f[3:]
	}
	return t
}

// line is a message, RFC 2812 section 2.3.1.
type line struct {
	source  string
	command string
	params  []string
	rest    [2]int // place of all parameters but the first in the line
}

// parse reads a line. It is no message if ok is false.
func parse(b []byte) (m line, ok bool) {
	at := 0
	word := func() string {
		for at < len(b) && b[at] == ' ' {
			at++
		}
		from := at
		for at < len(b) && b[at] != ' ' {
			at++
		}
		return string(b[from:at])
	}
	if len(b) > 0 && b[0] == '@' { // tags of IRCv3
		word()
	}
	for at < len(b) && b[at] == ' ' {
		at++
	}
	if at < len(b) && b[at] == ':' {
		m.source = word()[1:]
	}
	m.command = strings.ToUpper(word())
	m.rest = [2]int{len(b), len(b)}
	for at < len(b) && len(m.params) < 16 {
		for at < len(b) && b[at] == ' ' {
			at++
		}
		if len(m.params) == 1 {
			m.rest[0] = at
		}
		if at < len(b) && (b[at] == ':' || len(m.params) == 15) {
			m.params = append(m.params, string(bytes.TrimPrefix(b[at:], []byte(":"))))
			break
		}
		if at < len(b) {
			m.params = append(m.params, word())
		}
	}
	letters := strings.Trim(m.command, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	digits := len(m.command) == 3 && strings.Trim(m.command, "0123456789") == ""
	return m, m.command != "" && len(m.command) <= 16 && (letters || digits && m.source != "")
}

func (m *line) param(i int) string {
	if i < len(m.params) {
		return m.params[i]
	}
	return ""
}

func lower(s string) string { return strings.ToLower(s) }

// isTarget reports whether a parameter is a channel.
func isTarget(s string) bool { return s != "" && strings.ContainsRune("#&!+", rune(s[0])) }

// text is a text on one line without control characters, such as those of colors.
func text(s string) table.Opt[string] { return table.NonEmpty(clip.Line([]byte(s), maxText)) }

// quiet are the commands that nothing answers if they succeed.
var quiet = map[string]bool{"PRIVMSG": true, "NOTICE": true, "TAGMSG": true, "PONG": true, "PASS": true, "NICK": true, "DCC SEND": true, "USERIP": true, "SQUERY": true}

// answered are the commands that replies.txt names.
func answered(command string) bool {
	for _, list := range replies().about {
		for _, c := range list {
			if c == command {
				return true
			}
		}
	}
	return false
}

// command reads a line of the client.
func (k *conn) command(in *dissect.Input, at int) (int, error) {
	b, n, err := lines.Bounded(in.Data[at:], maxLine, "command")
	if n == 0 || err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return n, nil
	}
	m, ok := parse(b)
	if !ok || k.c.Unproved() && !isCommand(b) {
		return 0, lines.NotOne("command", b)
	}
	c := &call{row: &Row{Command: m.command}}
	c.x.Request(in, at, at+n)
	k.request(in, at, c, &m)
	c.quiet = c.quiet || quiet[c.row.Command] || !answered(c.row.Command)
	k.wait(c)
	return n, nil
}

// isMechanism reports whether a text may name a mechanism of SASL, RFC 4422 section 3.1. Anything else is an answer of
// which the beginning was not captured.
func isMechanism(s string) bool {
	const most = 20
	return len(s) <= most && strings.Trim(strings.ToUpper(s), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "" && s != ""
}

// services are those to which people send passwords.
var services = map[string]bool{"nickserv": true, "ns": true, "chanserv": true, "cs": true, "authserv": true, "userserv": true, "q": true, "x": true}

// request reads the parameters of a command of the client.
func (k *conn) request(in *dissect.Input, at int, c *call, m *line) {
	row := c.row
	rest := strings.Join(m.params[min(1, len(m.params)):], " ")
	hide := func() {
		c.x.Hide(in, at+m.rest[0], at+m.rest[1])
		rest = ""
	}
	first := m.param(0)
	switch m.command {
	case "PASS":
		row.AuthKind = table.Some("password")
		k.c.Password(cmp.Or(k.user, k.nick), first)
		c.x.Hide(in, at+bytes.IndexByte(in.Data[at:], ' ')+1, at+m.rest[1])
		return
	case "OPER":
		row.User, row.AuthKind = text(first), table.Some("password")
		k.c.Password(first, m.param(1))
		hide()
		return
	case "AUTHENTICATE":
		if k.how == "" && isMechanism(first) {
			k.how = clip.Line([]byte(strings.ToUpper(first)), 32)
			k.answers.Begin()
			row.Text = table.NonEmpty(k.how)
			return
		}
		c.x.Hide(in, at+len("AUTHENTICATE "), at+m.rest[1])
		row.AuthKind = table.Some(cmp.Or(sasl.Kind(k.how), "sasl"))
		if u := k.answers.User(k.c, k.how, []byte(first)); len(u) > 0 {
			k.user = clip.Line(u, maxText)
		}
		row.User = table.NonEmpty(k.user)
		return
	case "CAP":
		c.quiet = lower(first) == "end"
	case "NICK":
		if k.nick == "" && !k.missed { // else the server's answer decides
			k.nick = clip.Line([]byte(first), 64)
		}
	case "USER":
		k.user = clip.Line([]byte(first), 64)
		row.User = table.NonEmpty(k.user)
		row.Text = text(m.param(3))
		return
	case "JOIN", "MODE": // keys of channels
		if m.command == "JOIN" && len(m.params) > 1 || strings.Contains(m.param(1), "k") && len(m.params) > 2 {
			hide()
		}
	case "NS", "NICKSERV", "CS", "CHANSERV", "IDENTIFY", "WEBIRC", "REGISTER":
		row.AuthKind = table.Some("password")
		c.x.Hide(in, at+len(m.command)+1, at+m.rest[1])
		return
	case "PRIVMSG", "SQUERY":
		name, _, _ := strings.Cut(lower(first), "@")
		if services[name] && len(m.params) > 1 && m.param(1)[:min(1, len(m.param(1)))] != "\x01" {
			word, _, more := strings.Cut(m.param(1), " ")
			if word = strings.ToUpper(word); more && word != "HELP" && word != "INFO" {
				hide()
				rest = word
				if word == "IDENTIFY" || word == "LOGIN" || word == "AUTH" {
					row.AuthKind = table.Some("password")
				}
			}
		}
	}
	row.Target, row.Text = text(first), text(rest)
	c.subject = lower(first)
	if m.command == "PRIVMSG" {
		k.offered(c, m.param(1), dissect.ToServer)
	}
}

// message reads a line of the server.
func (k *conn) message(in *dissect.Input, at int) (int, error) {
	b, n, err := lines.Bounded(in.Data[at:], maxLine, "message")
	if n == 0 || err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return n, nil
	}
	m, ok := parse(b)
	if !ok || k.c.Unproved() && !isReply(b) {
		return 0, lines.NotOne("message", b)
	}
	who, _, _ := strings.Cut(m.source, "!")
	own := k.nick != "" && strings.EqualFold(who, k.nick)
	var subjects []string
	for _, p := range m.params[:max(len(m.params)-1, min(1, len(m.params)))] {
		subjects = append(subjects, lower(p))
	}
	if own && len(m.params) == 1 {
		subjects = append(subjects, lower(m.params[0]))
	}
	number, _ := strconv.Atoi(m.command)
	var c *call
	if number > 0 || own || m.command == "PONG" || m.command == "CAP" || m.command == "AUTHENTICATE" || m.command == "ERROR" {
		c = k.find(m.command, subjects)
	}
	if c == nil {
		k.alone(in, at, n, &m, number)
		return n, nil
	}
	k.settle(c)
	c.x.Response(in, at, at+n)
	c.row.Replies++
	k.reply(c, &m, number)
	if number >= 400 && number < 600 || replies().last[m.command] {
		k.emit(c, "")
	}
	if number == 670 { // RPL_STARTTLS
		k.StartTLS()
	}
	return n, nil
}

// reply records a reply.
func (k *conn) reply(c *call, m *line, number int) {
	row := c.row
	if number == 1 {
		k.nick = clip.Line([]byte(m.param(0)), 64)
	}
	if m.command == "NICK" && len(m.params) > 0 {
		k.nick = clip.Line([]byte(m.params[0]), 64)
	}
	if len(m.params) > 0 {
		row.Reply = text(m.params[len(m.params)-1])
	}
	if m.command == "AUTHENTICATE" {
		return
	}
	if row.Command == "AUTHENTICATE" {
		k.how = ""
	}
	if m.command == "CAP" && lower(m.param(1)) == "nak" {
		row.StatusText, row.Outcome = table.Some("NAK"), table.Refused
	}
	row.judge(m.command, number)
}

// judge sets the outcome that a number states.
func (row *Row) judge(command string, number int) {
	if number == 0 {
		return
	}
	row.StatusCode = table.Some(int32(number))
	row.StatusText = table.NonEmpty(replies().name[command])
	switch {
	case number == 422 || number < 400 || number >= 600 && number < 900 || number >= 900 && number < 904 || number == 907 || number == 908:
	case number == 437 || number == 402 && row.Command == "CONNECT":
		row.Outcome = table.ServerError
	case number >= 463 && number != 464 && number != 467 && number != 472 && number < 500:
		row.Outcome = table.Refused
	default:
		row.Outcome = table.ClientError
	}
}

// alone emits a message of the server that answers nothing.
func (k *conn) alone(in *dissect.Input, at, n int, m *line, number int) {
	c := &call{row: &Row{Command: m.command}}
	why := ""
	if _, answers := replies().about[m.command]; number > 0 || answers && k.missed { // its command was not captured
		c.x.Response(in, at, at+n)
		why = "no_request"
	} else {
		c.x.Request(in, at, at+n)
		c.x.Reversed = true
	}
	row := c.row
	row.Source = text(m.source)
	row.Target = text(m.param(0))
	row.Text = text(strings.Join(m.params[min(1, len(m.params)):], " "))
	row.judge(m.command, number)
	row.Outcome = "" // of a command that is not known
	if m.command == "PRIVMSG" {
		k.offered(c, m.param(1), dissect.ToClient)
	}
	if number == 1 {
		k.nick = clip.Line([]byte(m.param(0)), 64)
	}
	if c.data != nil {
		if len(k.held) == maxHeld {
			k.emit(k.held[0], "")
		}
		c.cost = k.c.Keep(callCost)
		k.held = append(k.held, c)
		return
	}
	k.emit(c, why)
}

// summarize writes the row in one line.
func (row *Row) summarize(why string) {
	s := row.Command
	for _, t := range []table.Opt[string]{row.Target, row.User, row.File, row.Text} {
		if t.OK && !(row.File.OK && t == row.Text) {
			s += " " + clip.Text(t.V, 200)
		}
	}
	if row.Source.OK {
		s = row.Source.V + ": " + s
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case why != "":
		s += " → " + why
	case row.Reply.OK:
		s += " → " + clip.Text(row.Reply.V, 200)
	}
	row.Summary = s
}
