package smb

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/winerror"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// status records the status of a response.
func (c *call) status(n int64) {
	name, outcome := winerror.Read(winerror.NTStatus, uint32(n))
	c.row.Status, c.row.StatusText, c.row.Outcome = table.Some(n), table.Some(name), outcome
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	c.gap = k.parts.Forget(c) || c.gap
	if k.negotiate == c {
		k.negotiate = nil
	}
	row := c.row
	switch {
	case c.bad:
		why = string(dissect.LossMalformed)
	case c.gap && (why == "" || c.done):
		why = string(dissect.LossGap)
	case why == "" && !c.single && !c.x.HasRequest():
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method, row.Host = table.Some(strings.ToUpper(row.Command)), table.NonEmpty(hostOf(row.Share.V))
	row.Path = row.File
	if !row.File.OK {
		row.Path = row.Share
	}
	row.Endpoint = row.Method.V
	if row.Share.OK {
		row.Endpoint += " " + row.Share.V
	}
	row.Summary = c.summary(why)
	k.Conn.Emit(&c.x, row)
}

// hostOf is the name of the server in the path of a share.
func hostOf(share string) string {
	name, ok := strings.CutPrefix(share, `\\`)
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, `\`)
	return name
}

const maxSummary = 120 // bytes of a text in a summary

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	add := func(prefix, text string) {
		if text != "" {
			s += " " + prefix + clip.Text(text, maxSummary)
		}
	}
	switch row.Command {
	case "session_setup", "session_setup_andx":
		add("", row.Auth.V)
		if row.User.V != "" {
			add("", strings.TrimPrefix(row.Domain.V+`\`+row.User.V, `\`))
		}
	case "negotiate":
		add("", row.Dialect.V)
	case "tree_connect", "tree_connect_andx", "session_request":
		add("", row.Share.V)
	}
	add("", row.File.V)
	add("", row.Disposition.V)
	add("", row.Pattern.V)
	add("to ", row.NewName.V)
	add("", row.Info.V)
	add("", row.Ioctl.V)
	add("", strings.TrimSpace(row.RPC.V+" "+row.Interface.V))
	switch {
	case row.Operation.OK:
		add("", row.Operation.V)
	case row.Opnum.OK:
		s += fmt.Sprintf(" op_%d", row.Opnum.V)
	}
	if row.Length.OK {
		s += fmt.Sprintf(" %d at %d", row.Length.V, row.Offset.V)
	}
	if row.Delete {
		s += " delete"
	}
	if row.FileID.OK && !row.File.OK || row.RPC.V == "request" && !row.Interface.OK {
		s += " ?" // what names it was not captured
	}
	switch {
	case row.Messages.OK:
		return s + " messages that are not read"
	case c.unknown != "":
		return s + " → " + c.unknown
	case row.StatusText.OK:
		return s + " → " + row.StatusText.V
	case why != "":
		return s + " → " + why
	}
	return s
}
