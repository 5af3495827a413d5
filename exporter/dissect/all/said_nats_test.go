package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/nats"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// natsDid is what a row says in the client's terms: what it published, took and subscribed, and its
// login.
func natsDid(row table.CallRow) []string {
	r, ok := row.(*nats.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := r.StatusText.V
	if result == "" {
		result = "ok"
	}
	action, object := r.Method.V, r.Subject.V
	switch {
	case action == "CONNECT":
		object = r.Client.V
	case action == "INFO", action == "PING", strings.HasPrefix(object, "_INBOX."), r.Status.OK && action == "MSG", action == "UNSUB" && object == "",
		r.API.V == "INFO", r.API.V == "CONSUMER.MSG.NEXT":
		return nil
	case r.API.OK:
		action, object = r.API.V, r.Stream.V
	case r.Status.OK:
		result = fmt.Sprint(r.Status.V)
	case r.Sequence.OK:
		result = fmt.Sprintf("%s/%d", r.Stream.V, r.Sequence.V)
		if r.Duplicate {
			result += " again"
		}
		if r.Ack.OK {
			result += " " + r.Ack.V
		}
	case r.Answer.OK:
		result = r.Answer.V
	case r.Queue.OK:
		result = r.Queue.V
	}
	return []string{action + "\t" + object + "\t" + result}
}
