package redis

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a summary.
const (
	maxSummaryCommand = 120
	maxSummaryReply   = 80
)

// moved is the push with which a server of a cluster ends a subscription whose slot moves to another one.
const moved = "sunsubscribe"

const arrow = " → "

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.queue.Remove(c)
	if k.resp == c {
		k.resp, k.w = nil, walker{}
	}
	row := &Row{Inline: c.inline, Ahead: c.ahead, Errors: c.errors, DB: c.db, Keys: c.keys}
	asked := c.x.HasRequest()
	switch {
	case c.gap && why == "":
		why = "gap"
	case c.bad:
		why = "malformed"
	case !asked && (c.push == "" || confirms([]byte(c.push)) && c.push != moved): // a confirmation answers a command
		why = "no_request"
	}
	if why != "" {
		row.Error = table.Some(why)
	}
	row.Complete = why == "" && c.answered && (c.whole || c.push != "")
	if c.isError() {
		word, _, _ := bytes.Cut([]byte(c.errText), []byte{' '})
		row.StatusText = table.Some(string(word))
		row.Outcome = outcome(row.StatusText.V, c.errText)
		row.redirect(c.errText)
	}
	if c.errors > 0 {
		row.ErrText = table.Some(c.errText)
	}
	if name := typeName(c.kind, c.null); name != "" {
		row.Type = table.Some(name)
	}
	if !c.null && (c.kind == '*' || c.kind == '%' || c.kind == '~' || c.kind == '>') {
		row.Elements = table.Some(c.elements)
	}
	k.name(c, row)
	k.show(c, row, why)
	k.c.Unaffected(&c.x, dissect.ToServer)
	k.c.Emit(&c.x, row)
	k.free(c)
}

// name fills the columns for the command, its keys and its user.
func (k *conn) name(c *call, row *Row) {
	if c.verb != "" {
		row.Method = table.Some(c.verb)
	}
	if c.user != "" {
		row.User = table.Some(c.user)
	}
	row.Queued = c.queued
	if !c.gap {
		row.Script = table.NonEmpty(c.script)
	}
	if c.secrets {
		row.AuthKind = table.Some("password")
	}
	if s := c.spec; s != nil {
		switch s.act {
		case actSubscribe, actUnsubscribe, actPublish:
			if c.argc > 1 && c.words[1].to > 0 {
				row.Channel = table.Some(string(c.word(1)))
			}
		}
	}
	if c.push == "" {
		return
	}
	row.Push = table.Some(c.push)
	switch c.push {
	case "replication":
	case "pmessage":
		row.Channel = some(c.element(2))
	case "message", "smessage", "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		row.Channel = some(c.element(1))
	}
}

// redirect fills the columns for an error MOVED SLOT NODE or ASK SLOT NODE.
func (row *Row) redirect(line string) {
	word, rest, _ := strings.Cut(line, " ")
	if word != "MOVED" && word != "ASK" {
		return
	}
	slot, node, _ := strings.Cut(rest, " ")
	if n, err := strconv.ParseInt(slot, 10, 32); err == nil && n >= 0 && n < slots {
		row.Slot, row.Target = table.Some(int32(n)), table.NonEmpty(node)
	}
}

const slots = 16384 // hash slots of a cluster

func some(b []byte) table.Opt[string] {
	return table.Opt[string]{V: string(b), OK: len(b) > 0}
}

// show fills the text columns. Command, reply and summary share one string if they are short.
func (k *conn) show(c *call, row *Row, why string) {
	b := k.scratch[:0]
	switch {
	case c.push != "":
		b = append(b, "push"...)
	case c.argc == 0:
		b = append(b, '?')
	default:
		b = append(b, clip.Cut(c.line, maxText)...)
		if c.cut || len(c.line) > maxText {
			b = append(b, "…"...)
		}
	}
	command := len(b)
	if c.push != "" {
		b = append(b, ' ')
	} else {
		b = append(b, arrow...)
	}
	reply := len(b)
	if c.confirms > 0 { // it waited for another confirmation
		c.reply = bytes.TrimSuffix(c.reply, []byte(" "))
	}
	b = append(b, clip.Cut(c.reply, maxText)...)
	if c.full {
		b = append(b, "…"...)
	}
	if c.kind == 0 {
		b = append(b, orWord(why)...)
	}
	k.scratch = b
	s := string(b)
	if c.argc > 0 {
		row.Command = table.Some(s[:command])
	}
	if c.kind != 0 {
		row.Reply = table.Some(s[reply:])
	}
	switch {
	case c.keySpan.to > 0:
		row.Key = table.Some(s[c.keySpan.from:c.keySpan.to])
	case c.key != "":
		row.Key = table.Some(c.key)
	}
	row.Summary = s
	if command <= maxSummaryCommand && len(s)-reply <= maxSummaryReply {
		return
	}
	b = append(b[:0], clip.Text(s[:command], maxSummaryCommand)...)
	b = append(b, s[command:reply]...)
	b = append(b, clip.Text(s[reply:], maxSummaryReply)...)
	row.Summary = string(b)
	k.scratch = b
}

// orWord is the word of a summary for why there is no reply.
func orWord(why string) string {
	switch why {
	case "":
		return "no reply requested"
	case "no_response":
		return "no response"
	}
	return why
}

func typeName(kind byte, null bool) string {
	if null {
		return "null"
	}
	switch kind {
	case '+':
		return "simple_string"
	case '-':
		return "error"
	case ':':
		return "integer"
	case '$':
		return "bulk_string"
	case '*':
		return "array"
	case '%':
		return "map"
	case '~':
		return "set"
	case '#':
		return "boolean"
	case ',':
		return "double"
	case '(':
		return "big_number"
	case '!':
		return "bulk_error"
	case '=':
		return "verbatim_string"
	case '>':
		return "push"
	case 'r':
		return "rdb"
	}
	return ""
}

// outcome maps an error and its first word to an outcome by the rule of data stores in docs/format/calls.md. A redirect is
// a step of a cluster's client, not an error.
func outcome(word, text string) string {
	switch word {
	case "MOVED", "ASK":
		return table.OK
	case "BUSY", "CLUSTERDOWN", "IOERR", "LOADING", "MASTERDOWN", "MISCONF", "NOMASTERLINK", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN", "UNKILLABLE":
		return table.ServerError
	case "ERR":
		if strings.HasPrefix(text, "ERR max number of clients ") {
			return table.ServerError
		}
	}
	return table.ClientError
}
