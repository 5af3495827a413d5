package ftp

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Codes with a meaning of their own.
const (
	codeReady    = 220
	codePassive  = 227
	codeExtended = 229
	codeLoggedIn = 230
	codeAuth     = 234
)

// command reads a line of the client.
func (k *conn) command(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	for len(b) > 0 && b[0] >= 0xf0 { // the Telnet signals before ABOR, RFC 959 section 4.1.3
		b = b[1:]
	}
	line, n, err := lines.Bounded(b, maxLine, "command")
	if n == 0 {
		return 0, err
	}
	n += len(in.Data) - at - len(b)
	verb, rest := lines.Verb(line)
	if !lines.Plain(line) || verb == "" && k.Conn.Unproved() {
		return 0, lines.NotOne("command", line)
	}
	c := &call{row: &Row{Command: verb}}
	row := c.row
	c.x.Request(in, at, at+n)
	switch verb {
	case "PASS", "ACCT", "ADAT":
		if len(rest) > 0 {
			from := at + bytes.LastIndex(in.Data[at:at+n], rest) // at the end of the line
			c.x.Hide(in, from, from+len(rest))
		}
		if verb == "PASS" {
			row.AuthKind = table.Some("password")
			k.Conn.Password(k.user, string(rest))
		}
	case "": // not a word of 1 to 16 letters
		row.Argument = table.NonEmpty(clip.Line(line, maxText))
	default:
		row.Argument = table.NonEmpty(clip.Line(rest, maxText))
	}
	if verb == "USER" {
		k.user = row.Argument.V
	}
	row.User = table.NonEmpty(k.user)
	k.prepare(c, string(rest))
	k.Push(c, in.Packet(at).Ack, callCost+2*n)
	return n, nil
}

// transfers are the commands with a data connection.
var transfers = map[string]bool{"RETR": true, "STOR": true, "STOU": true, "APPE": true, "LIST": true, "NLST": true, "MLSD": true}

// prepare records the parameters of the next data connection, from a command and earlier ones.
func (k *conn) prepare(c *call, argument string) {
	row := c.row
	switch row.Command {
	case "PORT":
		if ip, port, ok := six(argument); ok {
			k.data = data{"active", ip, table.Some(port)}
		}
	case "EPRT":
		if ip, port, ok := extended(argument); ok {
			k.data = data{"active", ip, table.Some(port)}
		}
	case "PASV", "EPSV":
		k.data = data{}
		return
	default:
		if !transfers[row.Command] {
			return
		}
		k.release()
		k.bind(c)
		row.Type, row.Offset = table.NonEmpty(k.kind), k.offset
		k.offset = table.Opt[int64]{}
	}
	row.Mode, row.DataIP, row.DataPort = table.NonEmpty(k.data.mode), table.NonEmpty(k.data.ip), k.data.port
}

var numbers = regexp.MustCompile(`(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})`)

// six reads an address and a port as six numbers, RFC 959 section 4.1.2.
func six(s string) (ip string, port int32, ok bool) {
	m := numbers.FindStringSubmatch(s[:min(len(s), maxText)])
	if m == nil {
		return "", 0, false
	}
	addr, err := netip.ParseAddr(strings.Join(m[1:5], "."))
	high, _ := strconv.Atoi(m[5])
	low, _ := strconv.Atoi(m[6])
	return addr.String(), int32(high<<8 | low), err == nil && high < 256 && low < 256
}

// extended reads |1|132.235.1.2|6275|, RFC 2428 section 2, and |||6446|, section 3.
func extended(s string) (ip string, port int32, ok bool) {
	i := strings.IndexByte(s, '(') + 1
	if s = strings.TrimSpace(s[i:]); len(s) < 4 {
		return "", 0, false
	}
	parts := strings.Split(s[1:min(len(s), 80)], s[:1])
	if len(parts) < 3 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(parts[2], 10, 16)
	if addr, err := netip.ParseAddr(parts[1]); err == nil {
		ip = addr.WithZone("").String()
	}
	return ip, int32(n), err == nil && n > 0
}

// reply reads a line of a reply.
func (k *conn) reply(in *dissect.Input, at int) (int, error) {
	if k.answering == nil && !in.First(at) && len(k.All()) == 0 && k.Conn.Unread(dissect.ToServer) > 0 {
		return 0, nil // detection kept both sides: the command comes first
	}
	line, err := k.replies.Read(in.Data[at:])
	if line.N == 0 {
		return 0, err
	}
	if line.First {
		k.answering = k.find(in, at)
		if k.orphan = k.answering == nil; k.orphan {
			k.answering = &call{row: &Row{User: table.NonEmpty(k.user)}, first: in.First(at)}
		} else {
			k.missed = false
		}
	}
	c := k.answering
	c.x.Response(in, at, at+line.N)
	if line.Last {
		k.answered(c)
	}
	return line.N, nil
}

// find finds the command that a reply answers: none for the greeting.
func (k *conn) find(in *dissect.Input, at int) *call {
	if in.First(at) && (k.replies.Code == codeReady || k.replies.Code < 200 || len(k.All()) == 0) {
		return nil
	}
	return k.Answer(in.Seq(at))
}

// answered handles the end of a reply. One of 1yz is followed by another, RFC 959 section 4.2.1.
func (k *conn) answered(c *call) {
	row := c.row
	if k.answering = nil; len(row.Codes) < maxCodes {
		row.Codes = append(row.Codes, strconv.Itoa(k.replies.Code))
	}
	row.StatusCode = table.Some(int32(k.replies.Code))
	row.Reply = table.NonEmpty(strings.TrimSpace(clip.Text(k.replies.Text, maxText)))
	if !row.Size.OK {
		row.Size = size(row.Command, k.replies.Code, row.Reply.V)
	}
	if k.orphan && row.Command == "" {
		row.Command = "NOTICE"
		if c.first && (k.replies.Code == codeReady || k.replies.Code == 120) {
			row.Command, row.User = "GREETING", table.Opt[string]{} // USER may have been read before it
		}
	}
	if k.replies.Code < 200 {
		if !k.orphan {
			return
		}
		k.Another()
	}
	k.learn(row)
	if t := c.data; t != nil && t.conn != nil && !t.ended { // the last bytes may come after the reply
		k.Remove(c)
		k.held = c
		return
	}
	k.emit(c, "")
}

var inBytes = regexp.MustCompile(`\((\d{1,18}) bytes\)`)

// size is the size of a file in a reply.
func size(command string, code int, text string) table.Opt[int64] {
	word := ""
	switch {
	case command == "SIZE" && code == 213:
		word = strings.TrimSpace(text)
	case transfers[command] && code < 300:
		if m := inBytes.FindStringSubmatch(text); m != nil {
			word = m[1]
		}
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 0 {
		return table.Opt[int64]{}
	}
	return table.Some(n)
}

// learn records the effects of a reply on later commands.
func (k *conn) learn(row *Row) {
	done := k.replies.Code >= 200 && k.replies.Code < 300
	switch row.Command {
	case "PASV", "EPSV":
		var d data
		var ok bool
		if d.mode = "passive"; row.Command == "PASV" {
			d.ip, d.port.V, ok = six(row.Reply.V)
		} else {
			d.ip, d.port.V, ok = extended(row.Reply.V)
		}
		if d.port.OK = ok; done && ok {
			k.data = d
			row.Mode, row.DataIP, row.DataPort = table.NonEmpty(d.mode), table.NonEmpty(d.ip), d.port
			k.announce(d)
		}
	case "PORT", "EPRT":
		if done && k.data.mode == "active" {
			k.announce(k.data)
		}
	case "TYPE":
		if done && row.Argument.V != "" {
			k.kind = strings.ToUpper(row.Argument.V[:1])
		}
	case "REST":
		if n, err := strconv.ParseInt(row.Argument.V, 10, 64); err == nil && n >= 0 && k.replies.Code == 350 {
			k.offset = table.Some(n)
		}
	case "AUTH":
		if k.replies.Code == codeAuth {
			k.StartTLS()
		}
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.Remove(c)
	if k.held == c {
		k.held = nil
	}
	k.carried(c)
	if k.answering == c {
		k.answering = nil
		k.replies.Lose()
	}
	row, known := c.row, why == ""
	if b := cmp.Or(c.x.ReqBody, c.x.RespBody); known && b != nil && b.Lost() > 0 {
		why = "gap"
	}
	if why == "" && c.untold() {
		why = "gap"
	}
	if why == "" && k.missed && !c.x.HasRequest() {
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	switch {
	case row.Command == "" && c.x.HasRequest():
		row.Command = "UNKNOWN"
	case row.Command == "":
		row.Command = "NOTICE"
	}
	row.Method = table.Some(row.Command)
	if transfers[row.Command] || row.Command == "DELE" || row.Command == "CWD" || row.Command == "SIZE" || row.Command == "MKD" || row.Command == "RMD" {
		row.Path = row.Argument
	}
	if code := row.StatusCode; code.OK {
		first, _, _ := strings.Cut(row.Reply.V, "\n")
		row.StatusText = table.NonEmpty(first)
		if known {
			row.Outcome = outcome(int(code.V))
		}
	}
	s := strings.TrimSpace(row.Command+" "+clip.Text([]byte(row.Argument.V), 200)) + " → "
	if row.StatusCode.OK {
		s += clip.Text([]byte(fmt.Sprintf("%d %s", row.StatusCode.V, row.StatusText.V)), 200)
		if why != "" {
			s += ", "
		}
	}
	row.Summary = s + why
	k.Conn.Emit(&c.x, row)
}

// untold reports whether a transfer used a data connection whose announcement was not captured.
func (c *call) untold() bool {
	row := c.row
	if !transfers[row.Command] || !row.StatusCode.OK || row.StatusCode.V/100 != 2 || row.Data.OK {
		return false
	}
	return !row.Mode.OK
}

// outcome returns the outcome of a code, RFC 959 section 4.2.1.
func outcome(code int) string {
	switch {
	case code < 400:
		return ""
	case code < 500:
		return table.ServerError
	}
	return table.ClientError
}
