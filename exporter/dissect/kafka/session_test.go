package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestFetchSessions has requests that name nothing, or only what changed (KIP-227): what they fetch is what the session
// has, and what came.
func TestFetchSessions(t *testing.T) {
	first := func(v int16) *kmsg.FetchRequest {
		m := fetch(v, "orders", 5)
		m.SessionEpoch = 0
		more := fetch(v, "bills", 1).Topics[0]
		more.TopicID = [16]byte{0: 0xcd, 15: 2}
		m.Topics = append(m.Topics, more)
		return m
	}
	next := func(v int16, epoch int32, forget bool) *kmsg.FetchRequest {
		m := kmsg.NewPtrFetchRequest()
		m.Version, m.SessionID, m.SessionEpoch = v, 77, epoch
		if forget {
			f := kmsg.NewFetchRequestForgottenTopic()
			f.Topic, f.TopicID, f.Partitions = "bills", [16]byte{0: 0xcd, 15: 2}, []int32{2}
			m.ForgottenTopics = append(m.ForgottenTopics, f)
		}
		return m
	}
	none := func(v, code int16) *kmsg.FetchResponse {
		m := kmsg.NewPtrFetchResponse()
		m.Version, m.SessionID, m.ErrorCode = v, 77, code
		return m
	}
	came := fetched(11, "orders", records("", 5, record("", "v")))
	came.SessionID = 77
	const o, b = "ab000000-0000-0000-0000-000000000001", "cd000000-0000-0000-0000-000000000002"
	dissecttest.Converse(t, Protocol(), []string{"path", "kafka_topics"}, []dissecttest.Conversation{
		{Name: "names", Chunks: chunks{client(ask(1, first(11))), server(say(1, none(11, 0))), client(ask(2, next(11, 1, false))), server(say(2, none(11, 0))),
			client(ask(3, next(11, 2, false))), server(say(3, came)), client(ask(4, next(11, 3, true))), server(say(4, none(11, 0))),
			client(ask(5, next(11, 4, false))), server(say(5, none(11, 70))), client(ask(6, next(11, 5, false))), server(say(6, none(11, 0)))}, Want: []string{
			"Fetch orders/2@5, bills/2@1 → 0 records kafka_topics=[orders bills]",
			"Fetch orders/2, bills/2 → 0 records kafka_topics=[orders bills]",
			"Fetch orders/2, bills/2 → 1 record path=orders kafka_topics=[orders bills]",
			"Fetch orders/2 → 0 records path=orders kafka_topics=[orders]",
			"Fetch orders/2 → FETCH_SESSION_ID_NOT_FOUND path=orders kafka_topics=[orders]",
			"Fetch → 0 records"}},
		{Name: "ids", Chunks: chunks{client(ask(1, first(13))), server(say(1, none(13, 0))), client(ask(2, next(13, 1, true))), server(say(2, none(13, 0)))}, Want: []string{
			"Fetch " + o + "/2@5, " + b + "/2@1 → 0 records kafka_topics=[" + o + " " + b + "]",
			"Fetch " + o + "/2 → 0 records path=" + o + " kafka_topics=[" + o + "]"}},
		{Name: "the beginning of the session was not captured", Chunks: chunks{client(ask(2, next(11, 1, false))), server(say(2, none(11, 0)))}, Want: []string{"Fetch → 0 records"}},
	}...)
}
