package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const kafkaPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>samples</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.0.0</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-server</artifactId><version>4.0.0</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
`

const kafkaProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9199
listeners=PLAINTEXT://%[1]s:9092,SASL_PLAINTEXT://%[1]s:9094,CONTROLLER://127.0.0.1:9199
advertised.listeners=PLAINTEXT://%[1]s:9092,SASL_PLAINTEXT://%[1]s:9094
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_shop="%[2]s";
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.dirs=%[3]s
`

// startKafka starts a broker that is its own controller.
func startKafka(l *lab.Lab, ctx context.Context, on string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "pcapsule-samples", "kafka-4.0.0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if jars, err := filepath.Glob(dir + "/lib/kafka-server-4*.jar"); err == nil && len(jars) == 0 {
		if err := os.WriteFile(dir+"/pom.xml", []byte(kafkaPOM), 0o644); err != nil {
			return err
		}
		mvn := exec.CommandContext(ctx, "mvn", "-q", "dependency:copy-dependencies", "-DoutputDirectory=lib")
		mvn.Dir = dir
		if out, err := mvn.CombinedOutput(); err != nil {
			return fmt.Errorf("fetching Kafka: %w: %s", err, out)
		}
	}
	conf := filepath.Join(l.Tmp, "kafka.properties")
	text := fmt.Sprintf(kafkaProperties, l.Hosts[on].IP, lab.Password, filepath.Join(l.Tmp, "kafka-logs"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	java := []string{"java", "-Xmx512m", "-cp", dir + "/lib/*"}
	format := exec.CommandContext(ctx, java[0], append(java[1:], "kafka.tools.StorageTool", "format", "-t", "c2FtcGxlLXNob3AtMDAwMQ", "-c", conf)...)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("formatting Kafka's storage: %w: %s", err, out)
	}
	_, err = l.Start(on, "Kafka Server started", append(java, "kafka.Kafka", conf)...)
	return err
}

func makeKafka(ctx context.Context, out string) error {
	l, err := lab.New("kafka", "", lab.At("client", "10.1.9.5"), lab.At("kafka", "10.1.9.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := startKafka(l, ctx, "kafka"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "kafka.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "kafka-client", "10.1.9.20", filepath.Join(out, "kafka.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

// kafkaClient creates topics, produces in every compression and without acknowledgement, consumes in a
// group, commits, and makes errors.
func kafkaClient(ctx context.Context, args []string) error {
	var s lab.Said
	at := args[0] + ":9092"
	c, err := kgo.NewClient(kgo.SeedBrokers(at), kgo.ClientID("orders-service"), kgo.SoftwareNameAndVersion("samples", "1.0"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := kafkaTopics(ctx, c, &s); err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	for _, codec := range []struct {
		name string
		is   kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}} {
		if err := kafkaProduce(ctx, at, codec.name, codec.is, &s); err != nil {
			return fmt.Errorf("producing with %s: %w", codec.name, err)
		}
	}
	if err := kafkaGroup(ctx, at, &s); err != nil {
		return fmt.Errorf("consuming: %w", err)
	}
	if err := kafkaErrors(ctx, c, &s); err != nil {
		return fmt.Errorf("making errors: %w", err)
	}
	for _, password := range []string{lab.Password, "wrong"} {
		if err := kafkaLogin(ctx, args[0]+":9094", password, &s); err != nil {
			return fmt.Errorf("logging in: %w", err)
		}
	}
	return s.Write(args[1])
}

func kafkaTopics(ctx context.Context, c *kgo.Client, s *lab.Said) error {
	m := kmsg.NewPtrCreateTopicsRequest()
	m.TimeoutMillis = 10_000
	for _, name := range []string{"orders", "payments"} {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 2, 1
		m.Topics = append(m.Topics, t)
	}
	for _, want := range []error{nil, kerr.TopicAlreadyExists} {
		a, err := m.RequestWith(ctx, c)
		if err != nil {
			return err
		}
		for _, t := range a.Topics {
			if err := kerr.ErrorForCode(t.ErrorCode); !errors.Is(err, want) {
				return fmt.Errorf("topic %s: %w", t.Topic, err)
			}
		}
		s.Line("CreateTopics\torders,payments\t%s", word(want))
	}
	return nil
}

// word is the name of an error, ok for none.
func word(err error) string {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Message
	}
	return "ok"
}

func kafkaProduce(ctx context.Context, at, name string, codec kgo.CompressionCodec, s *lab.Said) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(at), kgo.ClientID("orders-"+name), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	for partition := range int32(2) {
		r := c.ProduceSync(ctx, &kgo.Record{Topic: "orders", Partition: partition, Key: []byte("customer-7"), Value: []byte(strings.Repeat(name+" ", 40)),
			Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}, {Key: "codec", Value: []byte(name)}}})
		if err := r.FirstErr(); err != nil {
			return err
		}
		s.Line("Produce\torders/%d:%d\t%s", partition, r[0].Record.Offset, name)
	}
	return nil
}

func kafkaGroup(ctx context.Context, at string, s *lab.Said) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(at), kgo.ClientID("billing-service"), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.FetchMaxWait(300*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 0; n < 10; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return err
		}
		f.EachRecord(func(r *kgo.Record) {
			s.Line("Fetch\torders/%d:%d\t%s", r.Partition, r.Offset, strings.Fields(string(r.Value))[0])
			n++
		})
	}
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	s.Line("OffsetCommit\tbilling\tok")
	c.LeaveGroup()
	s.Line("LeaveGroup\tbilling\tok")
	return nil
}

// kafkaErrors asks for what is not there.
func kafkaErrors(ctx context.Context, c *kgo.Client, s *lab.Said) error {
	m := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr("no-such-topic")
	m.Topics = append(m.Topics, t)
	a, err := m.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	s.Line("Metadata\tno-such-topic\t%s", word(kerr.ErrorForCode(a.Topics[0].ErrorCode)))
	h := kmsg.NewPtrHeartbeatRequest()
	h.Group, h.MemberID, h.Generation = "billing", "nobody", 1
	b, err := h.RequestWith(ctx, c)
	if err != nil {
		return err
	}
	s.Line("Heartbeat\tbilling\t%s", word(kerr.ErrorForCode(b.ErrorCode)))
	return nil
}

func kafkaLogin(ctx context.Context, at, password string, s *lab.Said) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(at), kgo.ClientID("shop-admin"), kgo.RequestRetries(0), kgo.SASL(plain.Auth{User: "shop", Pass: password}.AsMechanism()))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	_, err = kmsg.NewPtrMetadataRequest().RequestWith(ctx, c)
	if password == lab.Password && err != nil {
		return err
	}
	s.Line("SaslAuthenticate\tshop\t%s", word(err))
	return nil
}
