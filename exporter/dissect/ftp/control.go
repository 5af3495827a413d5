package ftp

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/clip"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
	"github.com/pcapsule/pcapsule/exporter/table"
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
	line, n := lines.Next(b)
	if n == 0 {
		if len(b) >= maxLine {
			return 0, fmt.Errorf("reading a command: a line of more than %d bytes", maxLine)
		}
		return 0, nil
	}
	n += len(in.Data) - at - len(b)
	verb, rest := lines.Verb(line)
	if !lines.Plain(line) || n > maxLine || verb == "" && k.Conn.Unproved() {
		return 0, fmt.Errorf("reading a command: %.40q is none", line)
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
	k.prepare(row, string(rest))
	k.Push(c, in.Packet(at).Ack, callCost+2*n)
	return n, nil
}

// transfers are the commands with a data connection.
var transfers = map[string]bool{"RETR": true, "STOR": true, "STOU": true, "APPE": true, "LIST": true, "NLST": true, "MLSD": true}

// prepare notes what a command says about the next data connection, and what earlier ones said.
func (k *conn) prepare(row *Row, argument string) {
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

// reply reads a line of a reply. Between the first and the last line, any text may stand.
func (k *conn) reply(in *dissect.Input, at int) (int, error) {
	line, n := lines.Next(in.Data[at:])
	if n == 0 {
		if len(in.Data)-at >= maxLine {
			return 0, fmt.Errorf("reading a reply: a line of more than %d bytes", maxLine)
		}
		return 0, nil
	}
	code, text, last, ok := lines.Reply(line)
	if c := k.answering; c != nil {
		if last = ok && last && code == k.code; !last {
			text = line
		}
		if !lines.Plain(line) {
			return 0, fmt.Errorf("reading a reply: %.40q is none", line)
		}
	} else {
		if !ok || !lines.Plain(line) {
			return 0, fmt.Errorf("reading a reply: %.40q is none", line)
		}
		k.code, k.text, k.lines = code, k.text[:0], 0
		k.answering = k.find(in, at)
		if k.orphan = k.answering == nil; k.orphan {
			k.answering = &call{row: &Row{User: table.NonEmpty(k.user)}}
		}
	}
	if k.lines++; k.lines <= maxLinesKept && len(k.text) < maxText {
		if k.lines > 1 {
			k.text = append(k.text, '\n')
		}
		k.text = append(k.text, text...)
	}
	c := k.answering
	c.x.Response(in, at, at+n)
	if last {
		k.answered(c)
	}
	return n, nil
}

// find finds the command that a reply answers: none for the greeting.
func (k *conn) find(in *dissect.Input, at int) *call {
	if in.Offset(at) == 0 && (k.code == codeReady || k.code < 200 || len(k.All()) == 0) {
		return nil
	}
	return k.Answer(in.Seq(at))
}

// answered handles the end of a reply. One of 1yz is followed by another, RFC 959 section 4.2.1.
func (k *conn) answered(c *call) {
	row := c.row
	if k.answering = nil; len(row.Codes) < maxCodes {
		row.Codes = append(row.Codes, strconv.Itoa(k.code))
	}
	row.StatusCode = table.Some(int32(k.code))
	row.Reply = table.NonEmpty(strings.TrimSpace(clip.Text(k.text, maxText)))
	if !row.Size.OK {
		row.Size = size(row.Command, k.code, row.Reply.V)
	}
	if k.orphan && row.Command == "" {
		row.Command = "NOTICE"
		if k.code == codeReady || k.code == 120 {
			row.Command, row.User = "GREETING", table.Opt[string]{} // USER may have been read before it
		}
	}
	if k.code < 200 && !k.orphan {
		return
	}
	k.learn(row)
	k.emit(c, "")
}

var inBytes = regexp.MustCompile(`\((\d{1,18}) bytes\)`)

// size is what a reply says about the size of a file.
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

// learn notes what a reply changes for later commands.
func (k *conn) learn(row *Row) {
	done := k.code >= 200 && k.code < 300
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
		}
	case "TYPE":
		if done && row.Argument.V != "" {
			k.kind = strings.ToUpper(row.Argument.V[:1])
		}
	case "REST":
		if n, err := strconv.ParseInt(row.Argument.V, 10, 64); err == nil && n >= 0 && k.code == 350 {
			k.offset = table.Some(n)
		}
	case "AUTH":
		k.starts = k.code == codeAuth
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.Remove(c)
	if k.answering == c {
		k.answering = nil
	}
	row := c.row
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
		if why == "" {
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

// outcome is what a code says about who is to blame, RFC 959 section 4.2.1.
func outcome(code int) string {
	switch {
	case code < 400:
		return ""
	case code < 500:
		return table.ServerError
	}
	return table.ClientError
}
