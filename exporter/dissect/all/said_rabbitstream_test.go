package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/rabbitstream"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// rabbitStreamDid is a command with its stream, and its result: a count of messages, a credit, an offset or the name of the
// response code.
func rabbitStreamDid(row table.CallRow) []string {
	r, ok := row.(*rabbitstream.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	var result string
	switch method := r.Method.V; method {
	case "PeerProperties", "SaslHandshake", "Tune", "Open", "Heartbeat": // the library sends them by itself
		return nil
	case "Publish", "Deliver", "Credit", "StoreOffset", "QueryOffset", "QueryPublisherSequence":
		number := map[string]int64{"Publish": r.Messages.V, "Deliver": r.Messages.V, "Credit": int64(r.Credit.V), "StoreOffset": r.Offset.V, "QueryOffset": r.Offset.V, "QueryPublisherSequence": r.Publishing.V}
		result = fmt.Sprint(number[method])
	}
	if !strings.Contains("OK", r.ResponseCode.V) || result == "" { // "" too, which nothing answers
		result = map[string]string{"OK": "OK", "Stream does not exist": "StreamDoesNotExist", "Stream already exists": "StreamAlreadyExists", "No offset": "OffsetNotFound",
			"Authentication failure": "AuthenticationFailure", "Publisher does not exist": "PublisherDoesNotExist"}[r.ResponseCode.V]
	}
	return []string{r.Method.V + "\t" + r.Stream.V + "\t" + result}
}
