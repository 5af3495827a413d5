// Package rpc checks the JSON-RPC messages of MCP before the SDK does, so that an invalid one gets
// the error code of the specifications. It answers no message itself.
package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Newest is the first revision of the protocol without sessions.
const Newest = "2026-07-28"

// metaVersion is the member of _meta in which a request of that revision names it.
const metaVersion = "io.modelcontextprotocol/protocolVersion"

// known reports whether the server answers a method, and whether the method needs params.
func known(method string) (there, params bool) {
	switch method {
	case "initialize", "tools/call", "resources/read", "resources/subscribe", "resources/unsubscribe", "prompts/get", "completion/complete", "logging/setLevel", "subscriptions/listen":
		return true, true
	case "ping", "server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list":
		return true, false
	}
	return false, false
}

// Message is the part that all messages have.
type Message struct {
	Version json.RawMessage `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  json.RawMessage `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`
}

// Call reports whether a message is a request that needs an answer.
func (m *Message) Call() bool { return m.Method != nil && m.ID != nil }

// Name returns the method, or "".
func (m *Message) Name() string {
	var s string
	if json.Unmarshal(m.Method, &s) != nil {
		return ""
	}
	return s
}

// Revision returns the revision that a request names in _meta, "" for the earlier revisions.
func (m *Message) Revision() string {
	var p struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	var v string
	if json.Unmarshal(m.Params, &p) != nil || json.Unmarshal(p.Meta[metaVersion], &v) != nil {
		return ""
	}
	return v
}

// Early returns the error for a request that needs a session, if it is sent before initialize. A request that
// names its revision needs none.
func (m *Message) Early() *Error {
	switch name := m.Name(); {
	case !m.Call(), m.Revision() != "", name == "initialize", name == "ping", name == "server/discover":
		return nil
	default:
		return &Error{ID: m.ID, Code: jsonrpc.CodeInvalidRequest, Text: fmt.Sprintf("%s before initialize: begin with initialize, or name revision %s in _meta", name, Newest)}
	}
}

// Error is an error response.
type Error struct {
	ID   json.RawMessage // null if the message has no readable id
	Code int
	Text string
}

func (e *Error) Error() string { return e.Text }

// Wire returns the error as a message.
func (e *Error) Wire() []byte {
	id := e.ID
	if id == nil {
		id = json.RawMessage("null")
	}
	text, _ := json.Marshal(e.Text) // a string always marshals
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s}}`, id, e.Code, text)
}

// maxBatch is the number of messages in a batch, for the revisions with batches.
const maxBatch = 50

// Read splits input into messages and rejects malformed JSON, invalid messages and unknown
// methods. batch reports whether the input is a list.
func Read(data []byte) (messages []Message, batch bool, err *Error) {
	data = bytes.TrimSpace(data)
	var syntax any
	if e := json.Unmarshal(data, &syntax); e != nil {
		return nil, false, &Error{Code: jsonrpc.CodeParseError, Text: fmt.Sprintf("malformed JSON: %.200s", e)}
	}
	list := []json.RawMessage{data}
	if data[0] == '[' {
		list = nil // decoding into it would overwrite data
		if e := json.Unmarshal(data, &list); e != nil || len(list) == 0 || len(list) > maxBatch {
			return nil, true, &Error{Code: jsonrpc.CodeInvalidRequest, Text: fmt.Sprintf("a batch of %d messages, must be 1 to %d", len(list), maxBatch)}
		}
		batch = true
	}
	for _, raw := range list {
		m, err := readOne(raw)
		if err != nil {
			return nil, batch, err
		}
		messages = append(messages, m)
	}
	return messages, batch, nil
}

// twice returns the name of a member that an object has twice, in lower case because some readers ignore case, or "". Of two
// members with one name readers keep different ones (RFC 8259 section 4).
func twice(raw json.RawMessage) string {
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	for d.More() {
		t, _ := d.Token() // the whole message was read already
		name, _ := t.(string)
		var value json.RawMessage
		if name = strings.ToLower(name); seen[name] || d.Decode(&value) != nil {
			return name
		}
		seen[name] = true
	}
	return ""
}

func readOne(raw json.RawMessage) (Message, *Error) {
	var m Message
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &m) != nil {
		return m, &Error{Code: jsonrpc.CodeInvalidRequest, Text: "not a JSON-RPC message: must be an object"}
	}
	bad := func(code int, format string, args ...any) (Message, *Error) {
		e := &Error{Code: code, Text: fmt.Sprintf(format, args...)}
		if validID(m.ID) {
			e.ID = m.ID
		}
		return m, e
	}
	if name := twice(raw); name != "" {
		if name == "id" {
			m.ID = nil // readers keep different ones
		}
		return bad(jsonrpc.CodeInvalidRequest, "not a JSON-RPC message: member %.50q is given twice", name)
	}
	if name := twice(m.Params); name != "" {
		return bad(jsonrpc.CodeInvalidParams, "params: member %.50q is given twice", name)
	}
	if string(m.Version) != `"2.0"` {
		return bad(jsonrpc.CodeInvalidRequest, `not a JSON-RPC message: must be "jsonrpc": "2.0"`)
	}
	if m.ID != nil && !validID(m.ID) {
		return bad(jsonrpc.CodeInvalidRequest, "id: must be a string or a whole number")
	}
	msg, err := jsonrpc.DecodeMessage(raw)
	if err != nil {
		return bad(jsonrpc.CodeInvalidRequest, "not a JSON-RPC message: %.200s", err)
	}
	if r, ok := msg.(*jsonrpc.Request); ok && r.IsCall() != (m.ID != nil) {
		return bad(jsonrpc.CodeInvalidRequest, "not a JSON-RPC message: member names must be in lower case")
	}
	if m.Method == nil {
		if m.ID == nil || m.Result == nil && m.Error == nil {
			return bad(jsonrpc.CodeInvalidRequest, "not a JSON-RPC message: must have a method, or an id with a result or an error")
		}
		return m, nil
	}
	method := m.Name()
	if method == "" {
		return bad(jsonrpc.CodeInvalidRequest, "method: must be a name")
	}
	if m.ID == nil {
		return m, nil // unknown notifications are ignored
	}
	there, params := known(method)
	switch {
	case !there:
		return bad(jsonrpc.CodeMethodNotFound, "unknown method %.100q", method)
	case m.Params == nil && params:
		return bad(jsonrpc.CodeInvalidParams, "%s: missing params", method)
	case m.Params != nil && m.Params[0] != '{':
		return bad(jsonrpc.CodeInvalidParams, "%s: params: must be an object", method)
	case method == "logging/setLevel" && m.Revision() == "" && !slices.Contains(levels, m.level()):
		return bad(jsonrpc.CodeInvalidParams, "%s: level: must be %s", method, strings.Join(levels, ", "))
	}
	return m, nil
}

// levels are those of log messages (RFC 5424 section 6.2.1), as MCP spells them.
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// level returns the argument of logging/setLevel, "" if there is none.
func (m *Message) level() string {
	var p struct {
		Level string `json:"level"`
	}
	if json.Unmarshal(m.Params, &p) != nil {
		return ""
	}
	return p.Level
}

// validID reports whether an id is valid in MCP.
func validID(id json.RawMessage) bool {
	if len(id) == 0 || len(id) > 256 {
		return false
	}
	if id[0] == '"' {
		return true
	}
	return strings.Trim(string(id), "-0123456789") == "" && len(id) <= 16
}

// KnownNotification reports whether the server handles a notification.
func KnownNotification(method string) bool {
	switch method {
	case "notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/roots/list_changed":
		return true
	}
	return false
}

// idKey returns a map key for an id that does not depend on escaping.
func idKey(id json.RawMessage) string {
	var s string
	if json.Unmarshal(id, &s) == nil {
		return `"` + s
	}
	return string(id)
}
