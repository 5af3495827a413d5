package all

import (
	"github.com/pcapsule/pcapsule/exporter/dissect/amqp1"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// amqp1Did is a performative with its login, container or address, and its result.
func amqp1Did(row table.CallRow) []string {
	r, ok := row.(*amqp1.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	action, object, result := r.Method.V, r.Path.V, "ok"
	switch action {
	case "sasl-init":
		object = r.User.V
	case "open":
		object = r.Container.V
	case "transfer":
		if result = r.State.V; r.Settled {
			result = "settled"
		}
	case "end":
		if r.Failed || r.Condition.OK {
			return nil // go-amqp answers it by itself
		}
	case "begin", "attach", "close":
	default:
		return nil
	}
	switch {
	case r.StatusText.OK:
		result = r.StatusText.V
	case r.Error.OK:
		result = r.Error.V
	}
	return []string{action + "\t" + object + "\t" + result}
}
