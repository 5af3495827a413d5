package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/internal/clip"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// ask is a request with its head.
func ask(id int32, m kmsg.Request) string {
	return string(kmsg.NewRequestFormatter(kmsg.FormatterClientID("shop")).AppendRequest(nil, m, id))
}

// say is a response with its head.
func say(id int32, m kmsg.Response) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(id))
	if m.IsFlexible() && m.Key() != apiVersions {
		b = append(b, 0)
	}
	b = m.AppendTo(b)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + string(b)
}

func at[M interface{ SetVersion(int16) }](m M, v int16) M {
	m.SetVersion(v)
	return m
}

// records makes a batch of format 2.
func records(coding string, base int64, list ...kmsg.Record) []byte {
	var raw []byte
	for i, r := range list {
		r.OffsetDelta = int32(i)
		r.Length = 0
		one := r.AppendTo(nil)[1:] // without the length, which is 0
		raw = binary.AppendVarint(raw, int64(len(one)))
		raw = append(raw, one...)
	}
	b := kmsg.RecordBatch{FirstOffset: base, Magic: 2, LastOffsetDelta: int32(len(list) - 1), NumRecords: int32(len(list)), ProducerID: -1}
	var buf bytes.Buffer
	switch coding {
	case "gzip":
		w := gzip.NewWriter(&buf)
		w.Write(raw)
		w.Close()
		b.Attributes, raw = 1, buf.Bytes()
	case "snappy":
		b.Attributes, raw = 2, snappy.Encode(nil, raw)
	case "lz4":
		w := lz4.NewWriter(&buf)
		w.Write(raw)
		w.Close()
		b.Attributes, raw = 3, buf.Bytes()
	case "zstd":
		w, _ := zstd.NewWriter(nil)
		b.Attributes, raw = 4, w.EncodeAll(raw, nil)
	}
	b.Records = raw
	b.Length = int32(len(b.AppendTo(nil)) - batchPrefix)
	return b.AppendTo(nil)
}

func record(key, value string, headers ...string) kmsg.Record {
	r := kmsg.Record{Key: []byte(key), Value: []byte(value)}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Headers = append(r.Headers, kmsg.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func produce(v int16, acks int16, topic string, batches []byte) *kmsg.ProduceRequest {
	m := kmsg.NewPtrProduceRequest()
	m.Version, m.Acks, m.TimeoutMillis = v, acks, 1000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, orders
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = 2, batches
	t.Partitions = append(t.Partitions, p)
	m.Topics = append(m.Topics, t)
	return m
}

func produced(v int16, topic string, offset int64, code int16) *kmsg.ProduceResponse {
	m := kmsg.NewPtrProduceResponse()
	m.Version = v
	t := kmsg.NewProduceResponseTopic()
	t.Topic, t.TopicID = topic, orders
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.BaseOffset, p.ErrorCode = 2, offset, code
	t.Partitions = append(t.Partitions, p)
	m.Topics = append(m.Topics, t)
	return m
}

func fetch(v int16, topic string, offset int64) *kmsg.FetchRequest {
	m := kmsg.NewPtrFetchRequest()
	m.Version = v
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, orders
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset = 2, offset
	t.Partitions = append(t.Partitions, p)
	m.Topics = append(m.Topics, t)
	return m
}

func fetched(v int16, topic string, batches []byte) *kmsg.FetchResponse {
	m := kmsg.NewPtrFetchResponse()
	m.Version = v
	t := kmsg.NewFetchResponseTopic()
	t.Topic, t.TopicID = topic, orders
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.RecordBatches = 2, batches
	t.Partitions = append(t.Partitions, p)
	m.Topics = append(m.Topics, t)
	return m
}

var orders = [16]byte{0: 0xab, 15: 1}

// metadata asks for a topic and gets its id.
func metadata(id int32) chunks {
	m := at(kmsg.NewPtrMetadataRequest(), 12)
	t, name := kmsg.NewMetadataRequestTopic(), "orders"
	t.Topic = &name
	m.Topics = append(m.Topics, t)
	a := at(kmsg.NewPtrMetadataResponse(), 12)
	u := kmsg.NewMetadataResponseTopic()
	u.Topic, u.TopicID = &name, orders
	a.Topics = append(a.Topics, u)
	return chunks{client(ask(id, m)), server(say(id, a))}
}

func samples() []dissecttest.Sample {
	versions := at(kmsg.NewPtrApiVersionsRequest(), 3)
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "shop-client", "1.2"
	heartbeat := at(kmsg.NewPtrHeartbeatRequest(), 4)
	heartbeat.Group, heartbeat.MemberID, heartbeat.Generation = "billing", "member-1", 7
	failed := at(kmsg.NewPtrHeartbeatResponse(), 4)
	failed.ErrorCode = 25
	batch := records("", 0, record("k1", "v1"), record("", "v2"))
	return []dissecttest.Sample{
		{Name: "produce and fetch", Rows: 4, Chunks: append(metadata(1),
			client(ask(2, versions)), server(say(2, at(kmsg.NewPtrApiVersionsResponse(), 3))),
			client(ask(3, produce(13, -1, "", batch))), server(say(3, produced(13, "", 40, 0))),
			client(ask(4, fetch(16, "", 40))), server(say(4, fetched(16, "", records("lz4", 40, record("k1", "v1"))))))},
		{Name: "responses of pipelined requests", Rows: 3, Chunks: chunks{
			client(ask(7, heartbeat) + ask(8, produce(9, 1, "orders", batch)) + ask(9, fetch(12, "orders", 5))),
			server(say(7, failed) + say(8, produced(9, "orders", 1, 0)) + say(9, fetched(12, "orders", nil)))}},
		{Name: "no acknowledgement", Rows: 2, Chunks: chunks{
			client(ask(1, produce(3, 0, "logs", batch)) + ask(2, heartbeat)), server(say(2, at(kmsg.NewPtrHeartbeatResponse(), 4)))}},
		{Name: "a long batch", Rows: 2, Chunks: chunks{
			client(ask(1, produce(9, 1, "orders", records("", 0, record("k", strings.Repeat("v", 300_000)))))), server(say(1, produced(9, "orders", 1, 0))),
			client(ask(2, heartbeat)), server(say(2, at(kmsg.NewPtrHeartbeatResponse(), 4)))}},
	}
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples()[:3]...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

func TestRows(t *testing.T) {
	s := samples()
	columns := []string{"kafka_topics", "kafka_topic_ids", "kafka_offsets", "kafka_group", "kafka_member", "kafka_records", "kafka_keys", "kafka_values",
		"kafka_compression", "kafka_error_code", "status_text", "kafka_client_software", "kafka_user", "auth_kind", "trace_id", "headers",
		"kafka_acks", "kafka_ahead", "kafka_partial", "path", "kafka_sasl_mechanism"}
	handshake := at(kmsg.NewPtrSASLHandshakeRequest(), 1)
	handshake.Mechanism = "PLAIN"
	token := at(kmsg.NewPtrSASLAuthenticateRequest(), 2)
	token.SASLAuthBytes = []byte("\x00ann\x00hunter2")
	wrong := at(kmsg.NewPtrSASLAuthenticateResponse(), 2)
	wrong.ErrorCode = 58
	raw := at(kmsg.NewPtrSASLHandshakeRequest(), 0)
	raw.Mechanism = "SCRAM-SHA-256"
	join := at(kmsg.NewPtrJoinGroupRequest(), 9)
	join.Group = "billing"
	joined := at(kmsg.NewPtrJoinGroupResponse(), 9)
	joined.ErrorCode, joined.MemberID = 79, "m-1"
	commit := at(kmsg.NewPtrEndTxnRequest(), 3)
	commit.TransactionalID, commit.Commit = "tx1", true
	abort := *commit
	abort.Commit = false
	id := clip.UUID(orders[:])
	list := []dissecttest.Conversation{
		{Name: "topics by id", Chunks: s[0].Chunks, Want: []string{
			"Metadata orders → ok path=orders kafka_topics=[orders] kafka_error_code=0",
			"ApiVersions shop-client 1.2 → ok kafka_error_code=0 kafka_client_software=shop-client 1.2",
			"Produce " + id + "/2, 2 records → " + id + "/2:40-41 path=" + id + " kafka_topics=[" + id + "] kafka_topic_ids=[" + id + "]" +
				" kafka_offsets=[" + id + "/2:40-41] kafka_acks=-1 kafka_records=2 kafka_compression=none kafka_keys=[k1] kafka_values=[v1 v2] kafka_error_code=0 kafka_client_software=shop-client 1.2",
			"Fetch " + id + "/2@40 → 1 record path=" + id + " kafka_topics=[" + id + "] kafka_topic_ids=[" + id + "]" +
				" kafka_offsets=[" + id + "/2:40] kafka_records=1 kafka_compression=lz4 kafka_keys=[k1] kafka_values=[v1] kafka_error_code=0 kafka_client_software=shop-client 1.2"}},
		{Name: "an error is an error, and pipelining is counted", Chunks: s[1].Chunks, Want: []string{
			"Heartbeat group billing → UNKNOWN_MEMBER_ID outcome=client_error path=billing status_text=UNKNOWN_MEMBER_ID kafka_group=billing kafka_member=member-1 kafka_error_code=25",
			"Produce orders/2, 2 records → orders/2:1-2 path=orders kafka_topics=[orders] kafka_offsets=[orders/2:1-2] kafka_acks=1 kafka_records=2 kafka_compression=none kafka_keys=[k1] kafka_values=[v1 v2] kafka_error_code=0 kafka_ahead=1",
			"Fetch orders/2@5 → 0 records path=orders kafka_topics=[orders] kafka_error_code=0 kafka_ahead=2"}},
		{Name: "a request that asks for no response is complete", Chunks: s[2].Chunks[:1], Want: []string{
			"Produce logs/2, 2 records → no response requested path=logs kafka_topics=[logs] kafka_acks=0 kafka_records=2 kafka_compression=none kafka_keys=[k1] kafka_values=[v1 v2]",
			"Heartbeat group billing → no_response error=no_response outcome=no_answer path=billing kafka_group=billing kafka_member=member-1"}},
		{Name: "of a long message the beginning is read", Chunks: s[3].Chunks[:2], Want: []string{
			"Produce orders/2, 1 record → orders/2:1 path=orders kafka_topics=[orders] kafka_offsets=[orders/2:1] kafka_acks=1 kafka_records=1 kafka_compression=none kafka_error_code=0 kafka_partial=true"}},
		{Name: "ends of transactions", Chunks: chunks{client(ask(1, commit) + ask(2, &abort)), server(say(1, at(kmsg.NewPtrEndTxnResponse(), 3)) + say(2, at(kmsg.NewPtrEndTxnResponse(), 3)))}, Want: []string{
			"EndTxn commit, transaction tx1 → ok kafka_error_code=0", "EndTxn abort, transaction tx1 → ok kafka_error_code=0 kafka_ahead=1"}},
		{Name: "an API that is not known has a row", Chunks: chunks{client(ask(1, handshake)), server(say(1, at(kmsg.NewPtrSASLHandshakeResponse(), 1))),
			client("\x00\x00\x00\x11\x27\x10\x00\x07\x00\x00\x00\x02\x00\x04shop\x00ab"), server("\x00\x00\x00\x07\x00\x00\x00\x02\x00ab")}, Want: []string{
			"SaslHandshake PLAIN → ok kafka_error_code=0 kafka_sasl_mechanism=PLAIN", "api_10000 → ok kafka_sasl_mechanism=PLAIN kafka_partial=true"}},
		{Name: "passwords are not shown", Chunks: chunks{client(ask(1, handshake)), server(say(1, at(kmsg.NewPtrSASLHandshakeResponse(), 1))),
			client(ask(2, token)), server(say(2, wrong))}, Want: []string{
			"SaslHandshake PLAIN → ok kafka_error_code=0 kafka_sasl_mechanism=PLAIN",
			"SaslAuthenticate PLAIN ann → SASL_AUTHENTICATION_FAILED outcome=client_error status_text=SASL_AUTHENTICATION_FAILED auth_kind=password kafka_error_code=58 kafka_sasl_mechanism=PLAIN kafka_user=ann"}},
		{Name: "tokens without a header follow the old handshake", Chunks: chunks{client(ask(1, raw)), server(say(1, at(kmsg.NewPtrSASLHandshakeResponse(), 0))),
			client("\x00\x00\x00\x10n,,n=bob,r=nonce"), server("\x00\x00\x00\x0ar=nonce,s="), client(ask(2, at(kmsg.NewPtrMetadataRequest(), 1))), server(say(2, at(kmsg.NewPtrMetadataResponse(), 1)))}, Want: []string{
			"SaslHandshake SCRAM-SHA-256 → ok kafka_error_code=0 kafka_sasl_mechanism=SCRAM-SHA-256",
			"SaslAuthenticate token without a header → ok auth_kind=scram-sha-256 kafka_error_code=0 kafka_sasl_mechanism=SCRAM-SHA-256 kafka_user=bob",
			"Metadata → ok kafka_error_code=0 kafka_sasl_mechanism=SCRAM-SHA-256 kafka_user=bob"}},
		{Name: "a step of a group's protocol is not a failure", Chunks: chunks{client(ask(1, join)), server(say(1, joined))}, Want: []string{
			"JoinGroup group billing → MEMBER_ID_REQUIRED path=billing status_text=MEMBER_ID_REQUIRED kafka_group=billing kafka_member=m-1 kafka_error_code=79"}},
		{Name: "a newer version than the server knows is not a failure", Chunks: chunks{client(ask(1, at(kmsg.NewPtrApiVersionsRequest(), 4))),
			server("\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x23\x00\x00\x00\x00")}, Want: []string{
			"ApiVersions → UNSUPPORTED_VERSION status_text=UNSUPPORTED_VERSION kafka_error_code=35"}},
		{Name: "headers of records", Chunks: chunks{client(ask(1, fetch(12, "orders", 5))), server(say(1, fetched(12, "orders", records("", 5, record("", "v", "a", "b", "c", "\x00")))))}, Want: []string{
			"Fetch orders/2@5 → 1 record path=orders headers=[{a b response} {c 0x00 response}] kafka_topics=[orders] kafka_offsets=[orders/2:5] kafka_records=1 kafka_compression=none kafka_values=[v] kafka_error_code=0"}},
		{Name: "a trace in a record's headers", Chunks: chunks{client(ask(1, produce(9, 1, "orders", records("zstd", 0, record("", "v",
			"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))))), server(say(1, produced(9, "orders", 3, 5)))}, Want: []string{
			"Produce orders/2, 1 record → LEADER_NOT_AVAILABLE outcome=server_error path=orders status_text=LEADER_NOT_AVAILABLE headers=[{traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 request}] trace_id=4bf92f3577b34da6a3ce929d0e0e4736 kafka_topics=[orders]" +
				" kafka_acks=1 kafka_records=1 kafka_compression=zstd kafka_values=[v] kafka_error_code=5"}},
		{Name: "a response in which bytes are missing", Chunks: chunks{client(ask(1, fetch(12, "orders", 5))),
			{Dir: dissect.ToClient, Data: []byte(say(1, fetched(12, "orders", records("", 5, record("k", strings.Repeat("v", 5000))))))[:60]},
			{Dir: dissect.ToClient, Gap: 5000, Data: []byte(say(1, fetched(12, "orders", records("", 5, record("k", strings.Repeat("v", 5000))))))[5060:]}}, Want: []string{
			"Fetch orders/2@5 → gap error=gap path=orders kafka_topics=[orders] kafka_error_code=0 kafka_partial=true"}},
	}
	for _, coding := range []string{"gzip", "snappy", "lz4", "zstd"} {
		list = append(list, dissecttest.Conversation{Name: "records in " + coding, Chunks: chunks{
			client(ask(1, produce(9, 1, "a", records(coding, 0, record("k", "v"))))), server(say(1, produced(9, "a", 1, 0)))}, Want: []string{
			"Produce a/2, 1 record → a/2:1 path=a kafka_topics=[a] kafka_offsets=[a/2:1] kafka_acks=1 kafka_records=1 kafka_compression=" + coding + " kafka_keys=[k] kafka_values=[v] kafka_error_code=0"}})
	}
	dissecttest.Converse(t, Protocol(), columns, list...)
}

// TestNameIDs gives rows the names that rows of other connections have.
func TestNameIDs(t *testing.T) {
	o := dissecttest.OptionsOf(Protocol())
	names := dissect.NewIDNames(10)
	rows := append(dissecttest.Play(t, o, metadata(1)...).Rows(), dissecttest.Play(t, o, samples()[0].Chunks[2:]...).Rows()...)
	var got []string
	for _, r := range rows {
		r.(*Row).NameIDs(names)
		got = append(got, fmt.Sprint(r.Base().Summary, r.Base().Endpoint, r.(*Row).Topics, r.(*Row).Offsets))
	}
	want := []string{"Metadata orders → okMetadata orders[orders] []", "ApiVersions shop-client 1.2 → okApiVersions[] []",
		"Produce orders/2, 2 records → orders/2:40-41Produce orders[orders] [orders/2:40-41]", "Fetch orders/2@40 → 1 recordFetch orders[orders] [orders/2:40]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestEveryVersion compares what is read here of Produce and Fetch with what kmsg wrote.
func TestEveryVersion(t *testing.T) {
	batch := records("", 7, record("k", "v"), record("k", "w"))
	for v := range kmsg.NewPtrProduceRequest().MaxVersion() + 1 {
		if v < 3 {
			continue // of formats 0 and 1, see TestOldMessages
		}
		want := "Produce orders/2, 2 records → orders/2:7-8"
		if v >= produceIDs {
			want = strings.ReplaceAll(want, "orders/", clip.UUID(orders[:])+"/")
		}
		one(t, fmt.Sprintf("Produce %d", v), want, client(ask(1, produce(v, 1, "orders", batch))), server(say(1, produced(v, "orders", 7, 0))))
	}
	for v := range kmsg.NewPtrFetchRequest().MaxVersion() + 1 {
		want := "Fetch orders/2@7 → 2 records"
		if v >= fetchIDs {
			want = strings.ReplaceAll(want, "orders/", clip.UUID(orders[:])+"/")
		}
		one(t, fmt.Sprintf("Fetch %d", v), want, client(ask(1, fetch(v, "orders", 7))), server(say(1, fetched(v, "orders", batch))))
	}
}

func one(t *testing.T, name, want string, c ...dissecttest.Chunk) {
	t.Helper()
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), c...)
	if len(r.Emissions) != 1 || r.Rows()[0].Base().Summary != want || len(r.Anomalies) > 0 {
		t.Errorf("%s: want %s, anomalies %v", name, want, r.Anomalies)
		for _, row := range r.Rows() {
			t.Error(row.Base().Summary)
		}
		return
	}
	if row := r.Rows()[0].(*Row); row.Partial || strings.Join(row.Offsets, " ") == "" || strings.Join(row.Values, " ") != "v w" {
		t.Errorf("%s: partial %v, offsets %v, values %v", name, row.Partial, row.Offsets, row.Values)
	}
}

// TestOldMessages reads messages of format 1, in a compressed one.
func TestOldMessages(t *testing.T) {
	message := func(offset int64, attributes byte, key, value string) []byte {
		b := append(make([]byte, 4), 1, attributes) // checksum, format
		b = binary.BigEndian.AppendUint64(b, 1700000000000)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(key))), key...)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(value))), value...)
		out := binary.BigEndian.AppendUint64(nil, uint64(offset))
		return append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
	}
	plain := append(message(7, 0, "k", "v"), message(8, 0, "k", "w")...)
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(plain)
	w.Close()
	for _, set := range [][]byte{plain, message(8, 1, "", buf.String())} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(1, fetch(3, "orders", 7))), server(say(1, fetched(3, "orders", set))))
		if row := r.Rows()[0].(*Row); row.Records.V != 2 || strings.Join(row.Values, " ") != "v w" || strings.Join(row.Keys, " ") != "k k" {
			t.Errorf("%s, values %v, keys %v", row.Summary, row.Values, row.Keys)
		}
	}
}

// TestValuesAreTheBody reads all values of a message, which a row shows only some of.
func TestValuesAreTheBody(t *testing.T) {
	var list []kmsg.Record
	want := ""
	for i := range 40 {
		v := fmt.Sprintf(`{"order":%d}`, i)
		list, want = append(list, record("", v)), want+"\n"+v
	}
	for _, coding := range []string{"", "zstd"} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(1, produce(9, 1, "orders", records(coding, 0, list...)))), server(say(1, produced(9, "orders", 7, 0))))
		e := r.Emissions[0]
		if row := e.Row.(*Row); string(e.ReqBody.Bytes()) != want[1:] || len(row.Values) != maxRecords || !e.ReqBody.Complete {
			t.Errorf("%q: body %.60q, %d values", coding, e.ReqBody.Bytes(), len(row.Values))
		}
	}
}

// TestDecompressionLimit reads batches that decompress to more than a message may: that is no damage.
func TestDecompressionLimit(t *testing.T) {
	for _, coding := range []string{"snappy", "zstd"} {
		batch := string(records(coding, 0, record("k", strings.Repeat("v", maxInflate-500))))
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(1, produce(9, 1, "orders", []byte(batch+batch+batch)))), server(say(1, produced(9, "orders", 7, 0))))
		e := r.Emissions[0]
		if row := e.Row.(*Row); len(r.Anomalies) > 0 || !row.Partial || row.Records.V != 3 || e.ReqBody.Complete || row.Summary != "Produce orders/2, 3 records → orders/2:7-9" {
			t.Errorf("%s: %s, partial %v, %d records, complete %v, anomalies %v", coding, row.Summary, row.Partial, row.Records.V, e.ReqBody.Complete, r.Anomalies)
		}
		// One batch over the limit shows its first records.
		long := string(records(coding, 0, record("k", "v"), record("k", strings.Repeat("v", maxInflate))))
		r = dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(1, produce(9, 1, "orders", []byte(long)))), server(say(1, produced(9, "orders", 7, 0))))
		if row := r.Emissions[0].Row.(*Row); len(r.Anomalies) > 0 || !row.Partial || row.Records.V != 2 || len(row.Keys) == 0 || row.Keys[0] != "k" {
			t.Errorf("%s: %s, keys %v, anomalies %v", coding, row.Summary, row.Keys, r.Anomalies)
		}
	}
}

func TestDetect(t *testing.T) {
	heartbeat := at(kmsg.NewPtrHeartbeatRequest(), 4)
	heartbeat.Group = "billing"
	whole := ask(1, heartbeat)
	hello := at(kmsg.NewPtrApiVersionsRequest(), 4)
	hello.ClientSoftwareName, hello.ClientSoftwareVersion = "apache-kafka-java", "4.0.0"
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a command of RabbitMQ's streams, which looks like LeaveGroup", dissect.ToServer, "\x00\x00\x00\x11\x00\x0d\x00\x01\x00\x00\x00\x05\x00\x03st1\x00\x00\x00\x00", dissect.No},
		{"a request", dissect.ToServer, whole, dissect.Yes},
		{"the beginning of a request", dissect.ToServer, whole[:9], dissect.More},
		{"a request with a byte too many", dissect.ToServer, "\x00\x00\x00" + string([]byte{whole[3] + 1}) + whole[4:] + "x", dissect.No},
		{"an API that does not exist", dissect.ToServer, whole[:4] + "\x01" + whole[5:], dissect.No},
		{"a response", dissect.ToClient, say(1, at(kmsg.NewPtrHeartbeatResponse(), 4)), dissect.No},
		{"an id without a letter or a digit", dissect.ToServer, strings.Replace(whole, "shop", "2-45", 1), dissect.No},
		{"the id of a broker", dissect.ToServer, strings.Replace(whole, "shop", "2345", 1), dissect.Likely},
		{"a request of a broker that is alive", dissect.ToServer, "\x00\x00\x00\x23\x00\x3f\x00\x01\x00\x00\x02\x4f\x00\x011\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x01\x37\x00\x00\x00", dissect.Likely},
		{"the id of a broker with a byte too many", dissect.ToServer, "\x00\x00\x00" + string([]byte{whole[3] + 1}) + strings.Replace(whole[4:], "shop", "2345", 1) + "x", dissect.No},
		{"an id without a letter, as a broker has, with the name of its software", dissect.ToServer, strings.Replace(ask(1, hello), "shop", "\x01234"[1:]+"5", 1), dissect.Yes},
		{"the first request of librdkafka", dissect.ToServer, "\x00\x00\x00\x15\x00\x12\x00\x00\x00\x00\x00\x01\x00\x07rdkafka\x00\x00\x00\x00", dissect.Yes},
		{"4 billion tags, which take minutes to count", dissect.ToServer, "\x00\x00\x00" + string([]byte{whole[3] + 4}) + whole[4:len(whole)-1] + "\xff\xff\xff\xff\x0f", dissect.No},
		{"a response to AddPartitionsToTxn, which looks like Produce of no topic", dissect.ToServer, "\x00\x00\x00\x16\x00\x00\x00\x0b\x00\x00\x00\x01\x00\x02kg\x00\x00\x00\x01" + strings.Repeat("\x00", 6), dissect.No},
		{"zeros", dissect.ToServer, "\x00\x00\x00\x14" + strings.Repeat("\x00", 20), dissect.No},
		{"a session of ZooKeeper", dissect.ToServer, "\x00\x00\x00\x2c" + strings.Repeat("\x00", 18) + "\x75\x30" + strings.Repeat("\x00", 8) + "\x00\x00\x00\x10" + strings.Repeat("\x00", 12), dissect.No},
		{"a call of Thrift", dissect.ToServer, "\x00\x00\x00\x11\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00\x00", dissect.No},
	})
}

// TestRecordsAreCountedByBatchHeads: the head of a batch has the number of its records, so a count is exact unless the
// head of another batch was not read.
func TestRecordsAreCountedByBatchHeads(t *testing.T) {
	var many []kmsg.Record
	for range 50 {
		many = append(many, record("k", strings.Repeat("v", 6000)))
	}
	for _, c := range []struct {
		batches [][]byte
		want    string
	}{
		{[][]byte{records("", 0, many...)}, "Produce orders/2, 50 records → orders/2:7-56"},
		{[][]byte{records("zstd", 0, many...)}, "Produce orders/2, 50 records → orders/2:7-56"},
		{[][]byte{records("", 0, many...), records("", 50, many[0])}, "Produce orders/2, at least 50 records → orders/2:7-56"},
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(1, produce(9, 1, "orders", bytes.Join(c.batches, nil)))), server(say(1, produced(9, "orders", 7, 0))))
		if got := r.Emissions[0].Row.Base().Summary; got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
