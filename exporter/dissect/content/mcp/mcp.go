// Package mcp reads the Model Context Protocol over HTTP: the tools, prompts and resources that an
// assistant used, and whether the calls succeeded. It never shows arguments or results.
package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "mcp",
	Doc:      "Model Context Protocol: what an assistant asked of tools, prompts and resources",
	Versions: "all revisions since 2024-11-05",
	Depth:    "tool, prompt, resource, session, programs of both sides, errors",
	Inside:   []string{"http"},
}

// clientErrors are errors of the request, although JSON-RPC leaves their range to the server: there is no such resource,
// the headers contradict the message, the client lacks a capability or speaks no version of the server's, or the user
// must first visit a page.
var clientErrors = []string{"-32002", "-32020", "-32021", "-32022", "-32042"}

// Use is the used tool, prompt or resource, and the session. Method, id and errors are those of
// jsonrpc.
type Use struct {
	Action   table.Opt[string] `col:"mcp_action" enc:"dict" doc:"method of the message, such as tools/call; listen for the stream of the server's messages, end for the end of a session, response if the client answers the server. Not null in every MCP call"`
	Tool     table.Opt[string] `col:"mcp_tool" enc:"dict" doc:"tool that was called"`
	Prompt   table.Opt[string] `col:"mcp_prompt" enc:"dict" doc:"prompt that the client requested"`
	Resource table.Opt[string] `col:"mcp_resource" doc:"URI of the resource that was read, or subscribed to"`
	Session  table.Opt[string] `col:"mcp_session" enc:"bloom" doc:"reference to the session: the first 16 hexadecimal digits of the SHA-256 of its id, which works like a password and is not kept here"`
	Version  table.Opt[string] `col:"mcp_version" enc:"dict" doc:"version of the protocol: of the header, else of the answer to initialize, else of the request"`
	Client   table.Opt[string] `col:"mcp_client" enc:"dict" doc:"name and version of the client, of initialize; since revision 2026-07-28 of every request"`
	Server   table.Opt[string] `col:"mcp_server" enc:"dict" doc:"name and version of the server, of the answer to initialize; since revision 2026-07-28 of every answer"`
	Failed   table.Opt[bool]   `col:"mcp_tool_failed" doc:"the tool reported a failure: isError of its result"`
}

// Read implements content.Reader. If the exchange is one of JSON-RPC, jsonrpc.Read came first.
func Read(x *content.Exchange, u *Use) bool {
	session, version := x.Header(httpfield.Request, "Mcp-Session-Id"), x.Header(httpfield.Request, "Mcp-Protocol-Version")
	if session == "" {
		session = x.Header(httpfield.Response, "Mcp-Session-Id")
	}
	if asked := content.Asked(x); len(asked) > 0 {
		if session == "" && version == "" && !speaks(&asked[0]) {
			return false
		}
		u.message(x, asked)
		u.end(x, session, version)
		return true
	}
	if old := opened(x); old != "" {
		session = old
	}
	switch {
	case session == "" && version == "":
		return false
	case x.Method.V == "GET" && strings.Contains(x.Header(httpfield.Request, "Accept"), content.EventStream):
		u.Action = table.Some("listen")
	case x.Method.V == "DELETE":
		u.Action = table.Some("end")
	default:
		return false
	}
	x.Name("MCP "+u.Action.V, x.EndpointOf()+" "+u.Action.V)
	u.end(x, session, version)
	return true
}

// opened is the session of a stream of the first version (2024-11-05): its first event names the address for the
// client's messages.
func opened(x *content.Exchange) string {
	if x.Method.V != "GET" || x.Response.Type != content.EventStream {
		return ""
	}
	for e := range content.Events(x.Response.Bytes()) {
		_, query, _ := strings.Cut(string(e.Data[:min(len(e.Data), 1<<10)]), "?")
		if e.Type == "endpoint" {
			return sessionOf(query)
		}
		break
	}
	return ""
}

// sessionOf is the session in the address for messages of the first version.
func sessionOf(query string) string {
	v, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	return v.Get("sessionId") + v.Get("session_id")
}

// speaks reports whether a message without the headers of MCP is one of it, as in its first version:
// its methods are spelled like no other protocol's.
func speaks(m *content.Message) bool {
	switch m.Method {
	case "initialize":
		return content.Member(m.Params, "protocolVersion") != nil && content.Member(m.Params, "clientInfo") != nil
	case "tools/list", "tools/call", "resources/list", "resources/templates/list", "resources/read", "resources/subscribe", "resources/unsubscribe",
		"prompts/list", "prompts/get", "completion/complete", "sampling/createMessage", "elicitation/create", "roots/list", "notifications/initialized",
		"notifications/cancelled", "notifications/progress", "notifications/roots/list_changed":
		return true
	}
	return false
}

// message sets the columns of the first request.
func (u *Use) message(x *content.Exchange, asked []content.Message) {
	m := &asked[0]
	u.Action = content.Some(m.Method)
	if !u.Action.OK {
		u.Action = table.Some("response")
	}
	name := content.Some(content.String(content.Member(m.Params, "name")))
	switch m.Method {
	case "tools/call":
		u.Tool = name
	case "prompts/get":
		u.Prompt = name
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		u.Resource = content.Some(resource(content.String(content.Member(m.Params, "uri"))))
	}
	u.Version = content.Some(content.String(introduction(m, m.Params, "protocolVersion")))
	u.Client = program(introduction(m, m.Params, "clientInfo"))
	for v := range x.Answers() {
		for _, a := range content.Messages(v) {
			if a.Method == "" && a.ID == m.ID {
				u.answer(m, a.Result)
			}
		}
	}
	if x.Outcome == table.ServerError && slices.Contains(clientErrors, x.StatusText.V) {
		x.Outcome = table.ClientError
	}
	object := u.Tool.V + u.Prompt.V + u.Resource.V
	what := strings.TrimSpace("MCP " + u.Action.V + " " + object)
	_, end, _ := strings.Cut(x.Summary, " → ")
	x.Summary = what + " → " + end
	if u.Resource.OK { // it differs between calls
		object = ""
	}
	x.Endpoint = clip.Text(strings.TrimSpace(x.Endpoint+" "+object), content.MaxText)
	if u.Failed.V {
		x.Add(", the tool failed")
		x.Fail(table.ServerError, "tool error")
	}
}

// answer reads the result of a request.
func (u *Use) answer(m *content.Message, result []byte) {
	if result == nil {
		return
	}
	if v := content.Some(content.String(introduction(m, result, "protocolVersion"))); v.OK {
		u.Version = v
	}
	u.Server = program(introduction(m, result, "serverInfo"))
	if m.Method == "tools/call" {
		u.Failed = table.Some(content.Scalar(content.Member(result, "isError")) == "true")
	}
}

// introduction is how one side describes itself in the parameters or the result of a message: those of initialize, or since
// revision 2026-07-28, which has no initialize, the member _meta of every message.
func introduction(m *content.Message, said []byte, name string) []byte {
	if m.Method == "initialize" {
		return content.Member(said, name)
	}
	return content.Member(content.Member(said, "_meta"), "io.modelcontextprotocol/"+name)
}

// end sets what all calls have.
func (u *Use) end(x *content.Exchange, session, version string) {
	if session == "" {
		session = sessionOf(x.Query.V)
	}
	if session != "" {
		sum := sha256.Sum256([]byte(session))
		u.Session = table.Some(hex.EncodeToString(sum[:8]))
	}
	if version != "" {
		u.Version = content.Some(version)
	}
}

// program is name and version of an implementation.
func program(info []byte) table.Opt[string] {
	return content.Some(strings.TrimSpace(content.String(content.Member(info, "name")) + " " + content.String(content.Member(info, "version"))))
}

// resource is a URI without user information and query, which may have credentials.
func resource(uri string) string {
	uri, _, _ = strings.Cut(uri, "?")
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	authority, _, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return scheme + "://" + rest
}
