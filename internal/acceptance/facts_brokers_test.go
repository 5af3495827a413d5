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

// brokerNames are the names of packets and methods by their numbers.
var brokerNames = sync.OnceValue(func() map[string]map[int64]string {
	all := map[string]map[int64]string{}
	for _, protocol := range []string{"mqtt", "amqp"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "exporter", "dissect", protocol, "names.txt"))
		if err != nil {
			panic(err)
		}
		section, names := "", map[int64]string{}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
				section = line
			}
			number, name, ok := strings.Cut(line, " ")
			if n, err := strconv.ParseInt(number, 0, 64); ok && err == nil && (protocol == "amqp" || section == "[packet]") {
				names[n] = name
			}
		}
		all[protocol] = names
	}
	return all
})

// mqttPacket converts the peer's number of a packet type to its name.
func mqttPacket(v string) string {
	n, err := strconv.ParseInt(v, 10, 64)
	if name := brokerNames()["mqtt"][n]; err == nil && name != "" {
		return name
	}
	return "packet " + v
}

// amqpMethod converts the peer's numbers of a class and a method, as in 60.40, to their name.
func amqpMethod(v string) string {
	class, method, _ := strings.Cut(v, ".")
	c, err := strconv.ParseInt(class, 10, 64)
	m, err2 := strconv.ParseInt(method, 10, 64)
	if name := brokerNames()["amqp"][c<<16|m]; err == nil && err2 == nil && name != "" {
		return name
	}
	return "method " + v
}
