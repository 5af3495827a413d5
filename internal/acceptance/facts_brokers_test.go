package acceptance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// brokerFacts are the facts of message brokers. The peer numbers packets and methods; a row here has
// all of one message.
func brokerFacts() []fact {
	return []fact{
		{name: "mqtt_packets", truth: "mqtt_msgtypes", fold: mqttPacket, sql: "select p, count(*) from (select unnest(mqtt_packets) as p from {calls} where protocol = 'mqtt') group by 1"},
		{name: "mqtt_topics", truth: "mqtt_topics", sql: `select t, count(*) from (select mqtt_topic as t from {calls} where protocol = 'mqtt'
			union all select unnest(mqtt_filters) from {calls} where protocol = 'mqtt') where t is not null group by 1`},
		{name: "amqp_methods", truth: "amqp_methods", fold: amqpMethod, sql: "select m, count(*) from (select unnest(amqp_methods) as m from {calls} where protocol = 'amqp') where m <> 'protocol header' group by 1"},
	}
}

// peerNames are the names of numbers in the data files of protocols: of packets, methods and opcodes, by
// protocol and section.
var peerNames = sync.OnceValue(func() map[string]map[int64]string {
	all := map[string]map[int64]string{}
	for _, protocol := range []string{"mqtt", "amqp", "cassandra", "memcached"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "exporter", "dissect", protocol, "names.txt"))
		if err != nil {
			panic(err)
		}
		section := protocol
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
				section = protocol + " " + strings.Trim(line, "[]")
			}
			number, name, ok := strings.Cut(line, " ")
			if n, err := strconv.ParseInt(number, 0, 64); ok && err == nil {
				if all[section] == nil {
					all[section] = map[int64]string{}
				}
				all[section][n] = name
			}
		}
	}
	return all
})

// peerName converts the peer's decimal number to its name in the first of these sections that has it.
func peerName(v string, sections ...string) string {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		for _, s := range sections {
			if name := peerNames()[s][n]; name != "" {
				return name
			}
		}
	}
	return "unnamed " + v
}

// mqttPacket converts the peer's number of a packet type to its name.
func mqttPacket(v string) string { return peerName(v, "mqtt packet") }

// amqpMethod converts the peer's numbers of a class and a method, as in 60.40, to their name.
func amqpMethod(v string) string {
	class, method, _ := strings.Cut(v, ".")
	c, err := strconv.ParseInt(class, 10, 64)
	m, err2 := strconv.ParseInt(method, 10, 64)
	if err != nil || err2 != nil {
		return "unnamed " + v
	}
	return peerName(strconv.FormatInt(c<<16|m, 10), "amqp client", "amqp server", "amqp both")
}
