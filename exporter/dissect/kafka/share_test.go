package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestShareGroup plays a member of a share group that gets records.
func TestShareGroup(t *testing.T) {
	group, member := "billing", "m1"
	for v := int16(1); v <= kmsg.NewPtrShareFetchRequest().MaxVersion(); v++ {
		q := at(kmsg.NewPtrShareFetchRequest(), v)
		q.GroupID, q.MemberID = &group, &member
		t1 := kmsg.NewShareFetchRequestTopic()
		t1.TopicID, t1.Partitions = orders, append(t1.Partitions, kmsg.ShareFetchRequestTopicPartition{Partition: 2})
		q.Topics = append(q.Topics, t1)
		a := at(kmsg.NewPtrShareFetchResponse(), v)
		p := kmsg.NewShareFetchResponseTopicPartition()
		p.Partition, p.AcknowledgeErrorCode, p.Records = 2, 121, records("zstd", 40, record("k1", "v1"), record("", "v2", "h", "x"), record("", "v3"))
		for _, o := range [...][2]int64{{40, 40}, {42, 42}} {
			p.AcquiredRecords = append(p.AcquiredRecords, kmsg.ShareFetchResponseTopicPartitionAcquiredRecord{FirstOffset: o[0], LastOffset: o[1], DeliveryCount: 1})
		}
		u := kmsg.NewShareFetchResponseTopic()
		u.TopicID, u.Partitions = orders, append(u.Partitions, p)
		a.Topics = append(a.Topics, u)
		dissecttest.Converse(t, Protocol(), []string{"kafka_group", "kafka_member", "kafka_topics", "kafka_offsets", "kafka_records", "kafka_keys", "kafka_error_code"}, dissecttest.Conversation{
			Name: fmt.Sprintf("version %d", v), Chunks: append(metadata(1), client(ask(2, q)), server(say(2, a))), Want: []string{
				"Metadata orders → ok kafka_topics=[orders] kafka_error_code=0",
				"ShareFetch ab000000-0000-0000-0000-000000000001/2, group billing → INVALID_RECORD_STATE outcome=client_error kafka_topics=[ab000000-0000-0000-0000-000000000001] " +
					"kafka_offsets=[ab000000-0000-0000-0000-000000000001/2:40 ab000000-0000-0000-0000-000000000001/2:42] kafka_group=billing kafka_member=m1 kafka_records=3 kafka_keys=[k1] kafka_error_code=121"}})
	}
}
