package content

import (
	"bytes"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Message is a message of JSON-RPC.
type Message struct {
	Method, ID   string
	HasID        bool
	Old          bool // of version 1.0, which no member states
	Params       []byte
	Result, Fail []byte // of a response: the value of result or of error
}

// ParseRPC reads a message; ok is false if it is not one of JSON-RPC. One of version 1.0 has exactly the members that its
// specification lists.
func ParseRPC(object []byte) (m Message, ok bool) {
	var version string
	known, others := 0, false
	for name, v := range Members(object) {
		known++
		switch name {
		case "jsonrpc":
			version = String(v)
		case "method":
			m.Method = clip.Text(String(v), MaxText)
		case "id":
			cut := &v[len(v)-1] == &object[len(object)-1] // more of it may follow
			if m.HasID = Kind(v) != 'n' && !cut; m.HasID {
				m.ID = clip.Text(Scalar(v), MaxText)
			}
		case "params":
			m.Params = v
		case "result":
			m.Result = v
		case "error":
			if Kind(v) != 'n' {
				m.Fail = v
			}
		default:
			others = true
		}
	}
	if version == "2.0" {
		if Kind(m.Fail) != '{' {
			m.Fail = nil
		}
		return m, m.Method != "" || m.Result != nil || m.Fail != nil
	}
	m.Old = version == "" && !others && known == 3
	return m, m.Old && (m.Method != "" && Kind(m.Params) == '[' || m.Method == "" && m.Params == nil && m.Result != nil)
}

// Messages reads a JSON-RPC message or a batch. The list is empty if the first message is not
// JSON-RPC 2.0.
func Messages(v []byte) (list []Message) {
	if list = AnyMessages(v); len(list) > 0 && list[0].Old {
		return nil
	}
	return list
}

// AnyMessages is Messages for both versions.
func AnyMessages(v []byte) (list []Message) {
	if Kind(v) != '[' {
		if m, ok := ParseRPC(v); ok {
			list = append(list, m)
		}
		return list
	}
	const most = 1000
	for each := range Elements(v) {
		m, ok := ParseRPC(each)
		if !ok && len(list) == 0 || len(list) == most {
			break
		}
		list = append(list, m)
	}
	return list
}

// MayBeRPC reports whether a text contains the member name that every message of JSON-RPC 2.0 has.
func MayBeRPC(text []byte) bool { return bytes.Contains(text, []byte(`"jsonrpc"`)) }

// Asked are the messages of a request, and none if it is not one of JSON-RPC.
func Asked(x *Exchange) []Message {
	if !x.Socket && (x.Method.V != "POST" || !x.Request.JSON() && x.Request.Type != "application/json-rpc" && x.Request.Type != "text/plain") {
		return nil
	}
	if body := x.Request.Bytes(); MayBeRPC(body) {
		return Messages(body)
	}
	return nil
}
