package thrift

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// begins sets the names of the head of a message.
func (i *Invocation) begins(h head) {
	service, name := split(h.name)
	i.Service, i.Name = service, table.Some(name)
}

// describe sets what else the head of a call states, or that of a reply without one.
func (i *Invocation) describe(h head) {
	i.Type, i.Sequence, i.Encoding = table.Some(typeNames[h.kind]), table.Some(h.sequence), table.Some("binary")
	switch {
	case h.compact:
		i.Encoding = table.Some("compact")
	case h.json:
		i.Encoding = table.Some("json")
	}
}

// split separates the service of a multiplexed call from its method.
func split(name string) (service table.Opt[string], method string) {
	if s, m, ok := strings.Cut(name, ":"); ok {
		return table.Some(s), m
	}
	return table.Opt[string]{}, name
}

// exceptions are the types of TApplicationException.
var exceptions = map[int32]string{0: "UNKNOWN", 1: "UNKNOWN_METHOD", 2: "INVALID_MESSAGE_TYPE", 3: "WRONG_METHOD_NAME", 4: "BAD_SEQUENCE_ID", 5: "MISSING_RESULT",
	6: "INTERNAL_ERROR", 7: "PROTOCOL_ERROR", 8: "INVALID_TRANSFORM", 9: "INVALID_PROTOCOL", 10: "UNSUPPORTED_CLIENT_TYPE"}

// fail sets the exception of a message, declared or of the library. It returns its words and whom it blames.
func (i *Invocation) fail(kind byte, v *values) (text, outcome string) {
	i.Message = table.NonEmpty(v.message)
	if kind != kindException {
		i.Exception = table.Some(int32(v.first))
		return "declared exception " + strconv.Itoa(int(v.first)), table.ClientError
	}
	text = cmp.Or(exceptions[v.code], "exception "+strconv.Itoa(int(v.code)))
	if v.code == 0 || v.code == 5 || v.code == 6 {
		return text, table.ServerError
	}
	return text, table.ClientError
}

// method is the name of the method, with the service of a multiplexed call.
func (i *Invocation) method() string {
	if i.Service.OK {
		return i.Service.V + ":" + i.Name.V
	}
	return i.Name.V
}

const shown = 80 // bytes of arguments, and of a result, in the summary

// asked is the call in a summary.
func (i *Invocation) asked() string {
	return cmp.Or(i.method(), "?") + "(" + clip.Text(i.Arguments.V, shown) + ")"
}

// ends is the result in a summary. status is the text of an exception, if there is one.
func (i *Invocation) ends(status string) string {
	switch {
	case i.Message.OK:
		return status + ": " + clip.Text(i.Message.V, shown)
	case status != "":
		return status
	}
	return clip.Text(i.Result.V, shown)
}
