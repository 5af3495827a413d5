package nfs

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	c.gap = k.parts.Forget(c) || c.gap
	row := c.row
	switch {
	case c.gap && (why == "" || c.done):
		why = string(dissect.LossGap)
	case why == "" && !c.single && !c.x.HasRequest():
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	method := "REPLY"
	if row.Program != "" {
		method = row.Program + " " + row.Procedure.V
	}
	if op := c.verb(); op != "" {
		method = row.Program + " " + op
	}
	row.Method, row.Path = table.Some(strings.ToUpper(method)), row.File
	row.Endpoint = row.Method.V
	row.Summary = c.summary(why)
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}

// verb is the operation of a compound that matters most: not those that only find a file.
func (c *call) verb() (verb string) {
	for _, op := range c.row.Operations {
		switch op {
		case "sequence", "putfh", "putrootfh", "putpubfh", "getfh", "savefh", "restorefh":
		case "getattr", "lookup", "access":
			if verb == "" || verb == "getattr" {
				verb = op
			}
		default:
			return op
		}
	}
	if verb == "" && len(c.row.Operations) > 0 {
		return c.row.Operations[len(c.row.Operations)-1]
	}
	return verb
}

const maxSummary = 120 // bytes of a text in a summary

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	if row.File.OK {
		s += " " + clip.Text(row.File.V, maxSummary)
	}
	if row.NewName.OK {
		s += " to " + clip.Text(row.NewName.V, maxSummary)
	}
	if row.Asked.OK {
		s += " " + row.Asked.V
	}
	if row.Length.OK {
		s += fmt.Sprintf(" %d at %d", row.Length.V, row.Offset.V)
	}
	if row.Handle.OK && (!row.File.OK || c.version == 4 && row.File.V[0] != '/') {
		s += " ?" // the directory was not captured
	}
	switch {
	case row.StatusText.OK:
		return s + " → " + row.StatusText.V
	case why != "":
		return s + " → " + why
	case row.Port.OK:
		return s + fmt.Sprintf(" → port %d", row.Port.V)
	}
	return s + " → ok"
}
