package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/dissect/ws"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// contentOf are the columns of what a call contains; none if it says nothing.
func contentOf(row table.CallRow) *all.Columns {
	var c *all.Columns
	switch r := row.(type) {
	case *http1.Row:
		c = r.Columns
	case *ws.Row:
		c = r.Columns
	}
	if c == nil {
		c = &all.Columns{}
	}
	return c
}

// cells are a line of a *.said.tsv.
func cells(list ...any) string {
	var texts []string
	for _, c := range list {
		texts = append(texts, fmt.Sprint(c))
	}
	return strings.Join(texts, "\t")
}

// webDid is what a row of web.pcapng says in the client's terms.
func webDid(row table.CallRow) (list []string) {
	b, c := row.Base(), contentOf(row)
	call, _, _ := strings.Cut(b.Summary, " → ")
	w, socket := row.(*ws.Row)
	switch {
	case c.Operation.Type.OK:
		list = append(list, graphqlDid(c, call, socket)...)
	case c.Exchange.Method.OK:
		result := any("ok")
		if c.Exchange.Code.OK {
			result = c.Exchange.Code.V
		}
		list = append(list, cells("jsonrpc", c.Exchange.Method.V, result))
	case socket && (w.Opcode.V != "close" || b.Path.V != "/graphql" && b.Path.V != "/legacy"): // those are the libraries' own
		list = append(list, socketDid(w))
	case !socket && b.StatusCode.V != 101 && !c.Stream.Events.OK:
		list = append(list, "another call: "+b.Summary)
	}
	if c.Stream.Events.OK {
		list = append(list, cells("events", b.Path.V, c.Stream.Events.V))
	}
	return list
}

func graphqlDid(c *all.Columns, call string, socket bool) []string {
	o := &c.Operation
	code := o.ErrorCode.V
	if code == "" {
		code = "-"
	}
	switch failed := o.Errors.V > 0; {
	case socket && o.Type.V == "connection":
		return nil
	case socket && failed:
		return []string{cells("subscription", call, "error")}
	case socket:
		return []string{cells("subscription", call, o.Events.V)}
	case failed:
		return []string{cells("graphql", call, fmt.Sprintf("%d %s", o.Errors.V, code))}
	}
	return []string{cells("graphql", call, "ok")}
}

func socketDid(w *ws.Row) string {
	switch w.Opcode.V {
	case "ping":
		_, result, _ := strings.Cut(w.Summary, " → ")
		return cells("ping", w.Path.V, result)
	case "close":
		return cells("close", w.Path.V, w.CloseCode.V)
	}
	return cells(w.Opcode.V, w.Path.V, fmt.Sprintf("%s %d", w.From.V, w.RequestBodySize.V))
}

// socketioDid is what a row of socketio.pcapng says in the client's terms. In long polling an event and its
// acknowledgement are separate calls.
func socketioDid(row table.CallRow) (list []string) {
	b, p := row.Base(), &contentOf(row).Packet
	w, socket := row.(*ws.Row)
	transport, result := "polling", "received"
	switch {
	case socket:
		transport = "websocket"
		switch {
		case w.Answers.OK:
			result = "acknowledged"
		case p.Ack.OK:
			result = strings.ReplaceAll(b.Error.V, "_", " ")
		case w.From.V == "client":
			result = "sent"
		}
	case b.Method.V == "POST":
		result = "sent"
	}
	events := p.Events
	if socket && p.Event.OK {
		events = []string{p.Event.V}
	}
	for _, e := range events {
		list = append(list, cells(transport, "event "+e, result))
	}
	switch kind, _ := strings.CutSuffix(p.Kind.V, "_error"); {
	case kind == "connect" && result != "sent":
		result = "ok"
		if p.Error.OK {
			result = p.Error.V
		}
		list = append(list, cells(transport, "connect "+p.Namespace.V, result))
	case kind == "disconnect":
		list = append(list, cells(transport, "disconnect "+p.Namespace.V, "ok"))
	case b.Failed && kind != "event":
		list = append(list, "a call that failed: "+b.Summary)
	}
	return list
}

// mcpDid is what a row of mcp.pcapng says in the client's terms.
func mcpDid(row table.CallRow) []string {
	c := contentOf(row)
	u := &c.Use
	object, result := u.Tool.V+u.Prompt.V+u.Resource.V, any("ok")
	switch {
	case u.Action.V == "server/discover": // of a version that has no sessions; the library asks by itself
		return nil
	case !u.Action.OK:
		return []string{"another call: " + row.Base().Summary}
	case u.Action.V == "initialize":
		object = u.Client.V + " " + u.Server.V
	}
	switch {
	case c.Exchange.Code.OK:
		result = c.Exchange.Code.V
	case u.Failed.V:
		result = "tool failed"
	}
	if !u.Session.OK || row.Base().Failed != (result != "ok") {
		result = fmt.Sprintf("%v, session %q, outcome %s", result, u.Session.V, row.Base().Outcome)
	}
	return []string{cells(u.Action.V, object, result)}
}

// apisDid is what a row of apis.pcapng says in the client's terms.
func apisDid(row table.CallRow) []string {
	b, c := row.Base(), contentOf(row)
	call, _, _ := strings.Cut(b.Summary, " → ")
	or := func(code string) string {
		switch {
		case b.Failed != (code != ""):
			return b.Outcome
		case code == "":
			return "ok"
		}
		return code
	}
	if g, ok := row.(*grpc.Row); ok {
		return []string{cells("grpc-web", g.RPC.V, strings.ToLower(g.StatusName.V))}
	}
	switch p, k := &c.Procedure, &c.Request; {
	case p.Service.OK && p.Stream.V:
		return []string{cells("connect", p.RPC.V, fmt.Sprintf("%d %s", p.Responses.V, or(p.Code.V)))}
	case p.Service.OK:
		return []string{cells("connect", p.RPC.V, or(p.Code.V))}
	case k.Verb.OK:
		return []string{cells("k8s", strings.TrimPrefix(call, "k8s "), or(k.Reason.V))}
	}
	return []string{"another call: " + b.Summary}
}
