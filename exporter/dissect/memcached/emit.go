package memcached

import (
	_ "embed" // for names.txt
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxShown = 3 // keys in a summary

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.queue.Remove(c)
	if k.reply == c {
		k.reply = nil
	}
	for i := range k.sides { // the rest of its value is counted only
		if k.sides[i].call == c {
			k.sides[i].call, k.sides[i].body = nil, nil
		}
	}
	row := c.row
	asked := c.x.HasRequest()
	switch {
	case c.bad:
		why = "malformed"
	case c.gap && (why == "" || asked && c.done):
		why = "gap"
	case !asked:
		why = "no_request"
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && c.whole
	row.Method = row.Command
	if len(row.Keys) > 0 {
		row.Key = table.Some(row.Keys[0])
	}
	if row.Status.OK && row.Status.V != "ok" {
		row.StatusText = row.Status
	}
	if c.failed {
		row.Outcome = c.outcome()
	}
	row.Summary = c.summary(why)
	k.c.Unaffected(&c.x, dissect.ToServer)
	k.c.Emit(&c.x, row)
}

// outcome returns the outcome of an error.
func (c *call) outcome() string {
	if c.row.Status.V == "SERVER_ERROR" || c.binary && tables()["server"][int64(c.row.StatusCode.V)] != "" {
		return table.ServerError
	}
	return table.ClientError
}

func (c *call) summary(why string) string {
	row := c.row
	s := "?"
	if row.Command.OK {
		s = row.Command.V
	}
	keys := row.Keys
	if !c.x.HasRequest() {
		keys = nil
	}
	for _, key := range keys[:min(len(keys), maxShown)] {
		s += " " + key
	}
	if n := len(keys) - maxShown; n > 0 {
		s += " and " + strconv.Itoa(n) + " more"
	}
	if row.Delta.OK && row.Form != "meta" {
		s += " " + row.Delta.V
	}
	if row.Args.OK {
		s += " " + row.Args.V
	}
	if b := c.x.ReqBody; b != nil {
		s += ", " + clip.Count(b.Size(), "byte", "bytes")
	}
	s += " → "
	switch {
	case row.Status.OK:
		s += row.Status.V
		if row.ErrText.OK {
			s += " " + row.ErrText.V
		}
		if row.Items.OK {
			s += ", " + clip.Count(row.Items.V, c.noun(), c.noun()+"s")
		}
		if why == "gap" || why == "malformed" {
			s += ", " + why
		}
	case why != "":
		s += why
	default:
		s += "no reply requested"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (c *call) noun() string {
	if c.replies == repliesStats || c.binary && base(c.opcode) == opStat {
		return "line"
	}
	return "value"
}

var _ dissect.Dissector = (*conn)(nil)
