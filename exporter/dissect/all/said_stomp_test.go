package all

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/stomp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// stompDid is a frame with its destination, transaction or login, and its result.
func stompDid(row table.CallRow) []string {
	r, ok := row.(*stomp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	method, object := r.Method.V, r.Destination.V
	switch method {
	case "CONNECT", "STOMP":
		method, object = "CONNECT", r.User.V
	case "BEGIN", "COMMIT", "ABORT":
		object = r.Transaction.V
	}
	result := ""
	switch {
	case r.ErrorText.OK:
		result = r.ErrorText.V
	case r.Ack.OK && method == "MESSAGE":
		result = r.Ack.V
	case r.Error.OK:
		result = "none"
	case strings.HasSuffix(r.Summary, " → ok") || method == "CONNECT":
		result = "ok"
	}
	return []string{method + "\t" + object + "\t" + result}
}
