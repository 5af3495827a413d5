package all

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/amqp"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/kafka"
	"github.com/pcapsule/pcapsule/exporter/dissect/mqtt"
	"github.com/pcapsule/pcapsule/exporter/dissect/nats"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestRowsAreWhatTheClientSaid compares the rows of recordings with what their clients noted while
// they were made: an action, its object and its result.
func TestRowsAreWhatTheClientSaid(t *testing.T) {
	for file, did := range map[string]func(table.CallRow) []string{"kafka": kafkaDid, "nats": natsDid, "mqtt": mqttDid, "amqp": amqpDid} {
		t.Run(file, func(t *testing.T) {
			raw, err := os.ReadFile("../../../samples/" + file + ".said.tsv")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			names := map[[16]byte]string{}
			for _, k := range talks(t, file+".pcapng") {
				r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: k.port, Roles: true, End: dissect.EndFin}, k.chunks...)
				for _, a := range r.Anomalies {
					t.Errorf("%s: anomaly %s: %s", k.name, a.Kind, a.Detail)
				}
				for _, row := range r.Rows() {
					if n, ok := row.(dissect.IDNamer); ok {
						n.NameIDs(names)
					}
					got = append(got, did(row)...)
				}
			}
			said := 0
			for line := range strings.Lines(string(raw)) {
				if line = strings.TrimSpace(line); line[0] == '#' {
					continue
				}
				said++
				i := slices.Index(got, line)
				if i < 0 {
					t.Errorf("the client said %q, and no row does", line)
					continue
				}
				got = slices.Delete(got, i, i+1)
			}
			for _, line := range got {
				t.Errorf("a row says %q, and the client did not", line)
			}
			if said == 0 {
				t.Error("the client said nothing")
			}
		})
	}
}

// kafkaDid is what a row says in the client's terms: each record, and the calls that it noted.
func kafkaDid(row table.CallRow) (list []string) {
	r, ok := row.(*kafka.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := r.StatusText.V
	if result == "" {
		result = "ok"
	}
	object := ""
	switch r.Method.V {
	case "Produce", "Fetch":
		at := 0
		for _, o := range r.Offsets {
			part, offsets, _ := strings.Cut(o, ":")
			first, last := 0, 0
			if n, _ := fmt.Sscanf(offsets, "%d-%d", &first, &last); n == 1 {
				last = first
			}
			for n := first; n <= last && at < len(r.Values); n++ {
				word, _, _ := strings.Cut(r.Values[at], " ")
				list = append(list, fmt.Sprintf("%s\t%s:%d\t%s", r.Method.V, part, n, word))
				at++
			}
		}
		return list
	case "CreateTopics":
		object = strings.Join(r.Topics, ",")
	case "OffsetCommit", "LeaveGroup":
		object = r.Group.V
	case "Metadata":
		if len(r.Topics) != 1 || r.Client.V != "orders-service" {
			return nil
		}
		object = r.Topics[0]
	case "Heartbeat":
		if r.Client.V != "orders-service" {
			return nil
		}
		object = r.Group.V
	case "SaslAuthenticate":
		object = r.User.V
	default:
		return nil
	}
	return []string{r.Method.V + "\t" + object + "\t" + result}
}

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
