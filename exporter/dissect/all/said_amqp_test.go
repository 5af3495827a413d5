package all

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/amqp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// amqpDid is what a row says in the client's terms: its login, its methods with their results, and
// what it published and got.
func amqpDid(row table.CallRow) []string {
	r, ok := row.(*amqp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	action, object, result := r.Method.V, r.Path.V, r.StatusText.V
	if result == "" {
		result = "ok"
	}
	switch action {
	case "protocol header", "connection.start", "connection.tune-ok", "connection.open", "connection.close", "channel.open", "basic.qos", "basic.return":
		return nil
	case "connection.start-ok":
		if object = r.User.V; r.Error.V == "no_response" {
			result = "closed"
		}
	case "channel.close":
		if !r.Failed {
			return nil
		}
	case "basic.publish", "basic.deliver":
		if r.Ack.OK && !r.Returned {
			result = r.Ack.V
		}
	case "basic.get":
		object, result = r.Queue.V, "empty"
		if r.MessageID.OK {
			result = r.MessageID.V
		}
	case "basic.cancel":
		object = ""
	case "queue.delete":
		result = fmt.Sprint(r.Messages.V)
	}
	return []string{action + "\t" + object + "\t" + result}
}
