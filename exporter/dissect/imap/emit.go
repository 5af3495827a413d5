package imap

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/mailhead"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	for _, p := range [...]**call{&k.cmd, &k.auth, &k.idle, &k.reply.call, &k.orphan} {
		if *p == c {
			*p = nil
		}
	}
	c.head.End()
	row := c.row
	row.MessageID, row.Subject, row.From = c.head.MessageID, c.head.Subject, c.head.From
	switch {
	case c.gap && why == "":
		why = string(dissect.LossGap)
	case why == "" && !c.x.HasRequest() && (row.Command == "UNKNOWN" || row.Command == "NOTICE" && k.missed):
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method, row.Path = table.Some(row.Command), row.Mailbox
	if row.Status.OK {
		row.StatusText = row.Status
		if row.Status.V != "OK" && row.Code.OK {
			row.StatusText.V += " " + row.Code.V
		}
		row.Outcome = outcome(row)
	}
	row.Summary = summary(row, why)
	mailhead.Files(&c.x, row.Subject, false)
	k.Conn.Emit(&c.x, row)
}

// outcome returns the outcome of a status (RFC 9051 section 7.1, RFC 5530).
func outcome(row *Row) string {
	switch row.Status.V {
	case "NO", "BAD":
		switch row.Code.V {
		case "UNAVAILABLE", "SERVERBUG", "CORRUPTION", "INUSE", "CONTACTADMIN":
			return table.ServerError
		}
		return table.ClientError
	case "BYE":
		if row.Command == "GREETING" {
			return table.Refused
		}
		return table.ServerError
	}
	return ""
}

func summary(row *Row, why string) string {
	s := row.Command
	switch row.Command {
	case "LOGIN":
		s += " " + row.User.V
	case "AUTHENTICATE":
		s += " " + row.Auth.V + " " + row.User.V
	default:
		s += " " + clip.Text([]byte(row.Argument.V), 200)
	}
	s = strings.Join(strings.Fields(s), " ") + " → "
	if row.Messages.OK {
		s += clip.Count(int64(row.Messages.V), "message", "messages")
		if row.Size.OK {
			s += " (" + clip.Count(row.Size.V, "byte", "bytes") + ")"
		}
		s += ", "
	}
	switch {
	case row.Status.OK && row.Status.V == "OK" && row.Command != "GREETING":
		s += "OK"
	case row.Status.OK:
		s += strings.TrimSpace(row.StatusText.V + " " + clip.Text([]byte(row.Reply.V), 200))
	case why == "":
		s += clip.Count(int64(row.Untagged), "response", "responses")
	}
	if why != "" && row.Status.OK {
		s += ", "
	}
	return s + why
}

// inNames is the base64 of mailbox names.
var inNames = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// mailbox decodes the modified UTF-7 of a mailbox's name (RFC 3501 section 5.1.3). Other text is
// unchanged.
func mailbox(name []byte) []byte {
	if string(name) == "INBOX" || strings.EqualFold(string(name), "INBOX") {
		return []byte("INBOX")
	}
	var out []byte
	for rest := string(name); rest != ""; {
		before, after, ok := strings.Cut(rest, "&")
		out = append(out, before...)
		if !ok {
			break
		}
		coded, next, closed := strings.Cut(after, "-")
		b, err := inNames.DecodeString(coded)
		switch {
		case !closed || err != nil || len(b)%2 != 0:
			return name
		case len(b) == 0:
			out = append(out, '&')
		}
		var words []uint16
		for i := 0; i < len(b); i += 2 {
			words = append(words, binary.BigEndian.Uint16(b[i:]))
		}
		out = fmt.Append(out, string(utf16.Decode(words)))
		rest = next
	}
	return out
}
