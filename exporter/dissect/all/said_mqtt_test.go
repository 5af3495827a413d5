package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/mqtt"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// mqttDid is what a row says in the client's terms: its login, what it published and got, and its
// subscriptions.
func mqttDid(row table.CallRow) []string {
	r, ok := row.(*mqtt.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	object, result := r.Topic.V, r.StatusText.V
	if result == "" {
		result = "ok"
	}
	switch r.Method.V {
	case "CONNECT", "DISCONNECT":
		object = r.Client.V
		if r.ReasonText.OK {
			result = r.ReasonText.V
		}
	case "PUBLISH":
		if !r.Failed {
			result = fmt.Sprintf("QoS %d", r.QoS.V)
		}
	case "SUBSCRIBE":
		object, result = strings.Join(r.Filters, ","), r.Granted[0]
	case "UNSUBSCRIBE":
		object = strings.Join(r.Filters, ",")
	default:
		return nil
	}
	return []string{r.Method.V + "\t" + object + "\t" + result}
}

// mqttWebDid is mqttDid for MQTT inside WebSocket, whose handshake and CLOSE the client does not note.
func mqttWebDid(row table.CallRow) []string {
	if p := row.Base().Protocol; p == "http1" && row.Base().Path.V == "/mqtt" || p == "ws" && row.Base().Method.V == "CLOSE" {
		return nil
	}
	return mqttDid(row)
}
