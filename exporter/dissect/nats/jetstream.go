package nats

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// apiNext is the operation that requests messages.
const apiNext = "CONSUMER.MSG.NEXT"

// operationsOfAPI are the operations of JetStream whose subject names a stream, and a consumer, after
// them. Longer ones come first.
var operationsOfAPI = []struct {
	name             string
	stream, consumer bool
}{
	{"CONSUMER.MSG.NEXT", true, true}, {"CONSUMER.DURABLE.CREATE", true, true}, {"CONSUMER.LEADER.STEPDOWN", true, true},
	{"CONSUMER.CREATE", true, true}, {"CONSUMER.INFO", true, true}, {"CONSUMER.DELETE", true, true}, {"CONSUMER.NAMES", true, false},
	{"CONSUMER.LIST", true, false}, {"CONSUMER.PAUSE", true, true}, {"CONSUMER.UNPIN", true, true}, {"CONSUMER.RESET", true, true},
	{"STREAM.MSG.GET", true, false}, {"STREAM.MSG.DELETE", true, false}, {"STREAM.LEADER.STEPDOWN", true, false}, {"STREAM.PEER.REMOVE", true, false},
	{"STREAM.CREATE", true, false}, {"STREAM.UPDATE", true, false}, {"STREAM.INFO", true, false}, {"STREAM.DELETE", true, false},
	{"STREAM.PURGE", true, false}, {"STREAM.SNAPSHOT", true, false}, {"STREAM.RESTORE", true, false}, {"STREAM.NAMES", false, false},
	{"STREAM.LIST", false, false}, {"DIRECT.GET", true, false}, {"INFO", false, false},
}

// jetStream reads what a subject of JetStream's API names: $JS.API.… or $JS.domain.API.….
func (row *Row) jetStream(subject string) {
	rest, ok := strings.CutPrefix(subject, "$JS.")
	if !ok {
		return
	}
	if _, after, ok := strings.Cut(rest, "API."); ok && (strings.HasPrefix(rest, "API.") || strings.Count(rest[:len(rest)-len(after)], ".") == 2) {
		rest = after
	} else {
		return
	}
	for _, o := range operationsOfAPI {
		after, ok := strings.CutPrefix(rest, o.name)
		if !ok || after != "" && after[0] != '.' {
			continue
		}
		row.API = table.Some(o.name)
		names := strings.Split(strings.TrimPrefix(after, "."), ".")
		if o.stream && names[0] != "" {
			row.Stream = table.Some(message.Text([]byte(names[0])))
		}
		if o.consumer && len(names) > 1 {
			row.Consumer = table.Some(message.Text([]byte(names[1])))
		}
		return
	}
	row.API = table.Some(message.Text([]byte(rest)))
}

// delivery reads the reply subject of a delivered message, ADR-15 of NATS:
// $JS.ACK.[domain.account.]stream.consumer.delivery.sequence.consumer sequence.time.pending[.random].
func (row *Row) delivery(reply string) {
	w := strings.Split(reply, ".")[2:]
	if len(w) >= 9 {
		w = w[2:]
	}
	if len(w) < 7 {
		return
	}
	row.Stream, row.Consumer = table.Some(message.Text([]byte(w[0]))), table.Some(message.Text([]byte(w[1])))
	for i, to := range map[int]*table.Opt[int64]{2: &row.Delivered, 3: &row.Sequence, 4: &row.ConsumerSeq, 6: &row.Pending} {
		if n, err := strconv.ParseInt(w[i], 10, 64); err == nil {
			*to = table.Some(n)
		}
	}
}

// acknowledge reads the acknowledgement of a delivery. It reports whether another one follows.
func (row *Row) acknowledge(b []byte) (more bool) {
	word, _, _ := bytes.Cut(b, []byte(" "))
	switch string(word) {
	case "", "+ACK":
		row.Ack = table.Some("ack")
	case "-NAK":
		row.Ack, row.Outcome = table.Some("nak"), table.ServerError
	case "+TERM":
		row.Ack, row.Outcome = table.Some("term"), table.ClientError
	case "+NXT":
		row.Ack = table.Some("next")
	case "+WPI":
		row.Ack = table.Some("progress")
		return true
	}
	if row.Outcome != "" {
		row.StatusText = table.Some(strings.ToUpper(row.Ack.V))
	}
	return false
}

// refused reads the error of a service, ADR-32 of NATS, from the headers of its answer.
func (row *Row) refused() {
	for _, h := range row.Headers {
		if h.Kind != "response" {
			continue
		}
		switch strings.ToLower(h.Name) {
		case "nats-service-error":
			row.ErrorText, row.StatusText, row.Outcome = table.Some(h.Value), table.Some(h.Value), table.ServerError
		case "nats-service-error-code":
			if n, err := strconv.ParseInt(h.Value, 10, 32); err == nil {
				row.StatusCode = table.Some(int32(n))
			}
		}
	}
}

// stored reads the answer of JetStream to a published message or to a request of its API.
func (row *Row) stored(b []byte) {
	if row.Status.OK {
		row.StatusCode = table.Some(row.Status.V)
		if row.Status.V == noResponders && !row.StatusText.OK { // the server sends no text with it
			row.StatusText = table.Some("no responders")
		}
		row.Outcome = blameStatus(row.Status.V, row.StatusText.V)
	}
	if len(b) < 2 || len(b) > maxJSON || b[0] != '{' || !row.API.OK && !bytes.HasPrefix(b, []byte(`{"stream":`)) && !bytes.HasPrefix(b, []byte(`{"error":`)) {
		return
	}
	var o struct {
		Stream    string `json:"stream"`
		Seq       int64  `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int32  `json:"code"`
			ErrCode     int32  `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if json.Unmarshal(b, &o) != nil {
		return
	}
	if e := o.Error; e != nil {
		row.StatusCode, row.ErrorCode = table.Some(e.Code), table.Some(e.ErrCode)
		row.ErrorText = table.NonEmpty(message.Text([]byte(e.Description)))
		row.StatusText, row.Outcome = row.ErrorText, table.ClientError
		if e.Code >= 500 {
			row.Outcome = table.ServerError
		}
		return
	}
	if o.Stream != "" && o.Seq > 0 && !row.API.OK {
		row.Stream, row.Sequence, row.Duplicate = table.Some(message.Text([]byte(o.Stream))), table.Some(o.Seq), o.Duplicate
	}
}

// notFound is the text of the status 404 for a message that a client asked for by its number or subject
// (server/stream.go of nats-server). Without direct access, the API returns an error for it. Other texts of 404 mean that no
// message came.
const notFound = "Message Not Found"

const noResponders = 503 // status of the answer to a message that nobody subscribes to

// blameStatus is the outcome of an answer that is only a status.
func blameStatus(status int32, text string) string {
	switch {
	case status == noResponders || strings.Contains(text, "Leadership") || strings.Contains(text, "Shutdown"):
		return table.ServerError
	case text == notFound:
		return table.ClientError
	case status == 404 || status == 408 || status < 400 || strings.Contains(text, "Completed"):
		return table.OK // no message came in time, or all that were asked for
	}
	return table.ClientError
}
