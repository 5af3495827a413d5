package trace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// TestSamplesThroughBrokers compares the links in recordings of real brokers with what their clients
// did: see samples/*.said.tsv.
func TestSamplesThroughBrokers(t *testing.T) {
	for name, want := range map[string][]string{
		"kafka.pcapng": {
			"Produce orders/0, 1 record → orders/0:0 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/1, 1 record → orders/1:0 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/0, 1 record → orders/0:1 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/1, 1 record → orders/1:1 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/0, 1 record → orders/0:2 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/1, 1 record → orders/1:2 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/0, 1 record → orders/0:3 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/1, 1 record → orders/1:3 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/0, 1 record → orders/0:4 => Fetch orders/0@0, orders/1@0 → 10 records",
			"Produce orders/1, 1 record → orders/1:4 => Fetch orders/0@0, orders/1@0 → 10 records",
		},
		"nats.pcapng": {
			"PUB price (5 B) → answer (14 B) => MSG price (5 B) → answer (14 B)",
			"PUB price (5 B) → answer (14 B) => MSG price (5 B) → answer (14 B)",
			"PUB price (5 B) → answer (14 B) => MSG price (5 B) → answer (14 B)",
			"PUB orders.new (7 B) → ORDERS/1 => MSG orders.new (7 B) → ack",
			"PUB orders.new (7 B) → ORDERS/2 => MSG orders.new (7 B) → nak",
			"PUB orders.new (7 B) → ORDERS/2 => MSG orders.new (7 B) → ack",
			"PUB orders.new (7 B) → ORDERS/3 => MSG orders.new (7 B) → term",
			"PUB chat (5 B) → ok => MSG chat (5 B) → delivered (likely)",
		},
		"amqp.pcapng": {
			"basic.publish orders/orders.new (8 B) => basic.get billing → message (8 B)",
			"basic.publish orders/orders.new (2408 B) => basic.deliver orders/orders.new (2408 B) → ack",
			"basic.publish orders/orders.new (4808 B) => basic.deliver orders/orders.new (4808 B) → ack",
			"basic.publish orders/orders.new (7208 B) → ack => basic.deliver orders/orders.new (7208 B) → nack",
			"basic.publish orders/orders.paid (9608 B) → ack => basic.deliver orders/orders.paid (9608 B) → reject and requeue",
			"basic.publish orders/orders.paid (9608 B) → ack => basic.deliver orders/orders.paid (9608 B) → ack",
		},
		"mqtt.pcapng": {
			"PUBLISH sensors/meter-3/0 (1600 B) => PUBLISH sensors/meter-3/0 (1600 B) (likely)",
			"PUBLISH sensors/meter-3/1 (1600 B) → ok => PUBLISH sensors/meter-3/1 (1600 B) → ok (likely)",
			"PUBLISH sensors/meter-3/2 (1600 B) → ok => PUBLISH sensors/meter-3/2 (1600 B) → ok (likely)",
			"PUBLISH sensors/meter-4/0 (1600 B) => PUBLISH sensors/meter-4/0 (1600 B) (likely)",
			"PUBLISH sensors/meter-4/1 (1600 B) → ok => PUBLISH sensors/meter-4/1 (1600 B) → ok (likely)",
			"PUBLISH sensors/meter-4/2 (1600 B) → ok => PUBLISH sensors/meter-4/2 (1600 B) → ok (likely)",
			"PUBLISH sensors/5/door (13 B) → ok => PUBLISH sensors/5/door (13 B) → ok",
			"PUBLISH sensors/5/door (13 B) → ok => PUBLISH sensors/5/door (13 B) → ok",
			"PUBLISH replies/7 (13 B) => PUBLISH replies/7 (13 B)",
		},
		"stomp.pcapng": {
			"SEND /queue/orders (8 B) → ok => MESSAGE /queue/orders (8 B) → ack",
			"SEND /queue/orders (2408 B) → ok => MESSAGE /queue/orders (2408 B) → nack",
			"SEND /queue/orders (2408 B) → ok => MESSAGE /queue/orders (2408 B) → ack",
			"SEND /queue/orders (4808 B) → ok => MESSAGE /queue/orders (4808 B) → ack",
			"SEND /queue/orders (7208 B) → ok => MESSAGE /queue/orders (7208 B) → ack",
			"SEND /queue/orders (9 B) => MESSAGE /queue/orders (9 B) → ack (likely)",
			"SEND /queue/orders (16 B) => MESSAGE /queue/orders (16 B) → ack (likely)",
			"SEND /topic/prices (8 B) => MESSAGE /topic/prices (8 B) (likely)",
			"SEND /queue/bills (6 B) => MESSAGE /queue/bills (6 B) → ack (likely)",
			"SEND /queue/bills (6 B) => MESSAGE /queue/bills (6 B) → ack (likely)",
			"SEND /queue/bills (6 B) => MESSAGE /queue/bills (6 B) → ack (likely)",
			"SEND /queue/old (13 B) → ok => MESSAGE /queue/old (13 B) → ack (likely)",
		},
		"amqp1.pcapng": {
			"transfer /queue/orders (16 B) → accepted => transfer /queue/orders (16 B) → accepted",
			"transfer /queue/orders (10000 B) → accepted => transfer /queue/orders (10000 B) → accepted",
			"transfer /queue/orders (7 B) → accepted => transfer /queue/orders (7 B) → shop:unknown-order",
			"transfer /queue/orders (40 B) → accepted => transfer /queue/orders (40 B) → released",
			"transfer /queue/orders (40 B) → accepted => transfer /queue/orders (40 B) → accepted",
			"transfer /queue/orders (48 B) → accepted => transfer /queue/orders (48 B) → accepted",
			"transfer /queue/orders (56 B) → settled => transfer /queue/orders (56 B) → accepted",
		},
		"redis.pcap": nil, // publishes to itself
	} {
		c := asktest.Open(t, name)
		sql := fmt.Sprintf("WITH %s, x AS (%s)%s SELECT p.summary || ' => ' || g.summary || CASE grade WHEN 0 THEN '' ELSE ' (likely)' END FROM via JOIN calls p ON p.call_no = pk JOIN calls g ON g.call_no = gk ORDER BY pk, gk",
			terms.EndNames(c, "service"), terms.EndsOf(c, "service", "SELECT * FROM calls"), relation.Messages(c))
		r, err := c.Query(ctx, forensics.Query{SQL: sql, Named: true})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range r.Rows {
			got = append(got, fmt.Sprint(row[0]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
