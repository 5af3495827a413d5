// Package broker records message brokers.
package broker

import "github.com/pcapsule/pcapsule/samples/gen/lab"

// Scenarios are the captures of this package.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{
		{Name: "kafka", Make: makeKafka},
		{Name: "nats", Make: makeNATS},
		{Name: "mqtt", Make: makeMQTT},
		{Name: "mqtt-ws", Make: makeMQTTWeb},
		{Name: "amqp", Make: makeAMQP},
		{Name: "amqp1", Make: makeAMQP1},
		{Name: "stomp", Make: makeSTOMP},
		{Name: "rabbitstream", Make: makeRabbitStream},
		{Name: "pulsar", Make: makePulsar},
	}
}

// Parts are the servers and clients of this package, by the role that a process plays.
func Parts() map[string]lab.Part {
	return map[string]lab.Part{
		"kafka-client":   kafkaClient,
		"mqtt-client":    mqttClient,
		"mqtt-ws-client": mqttWebClient,
		"amqp-client":    amqpClient,
		"amqp1-client":   amqp1Client,
		"nats-server":    natsServer,
		"nats-worker":    natsWorker,
		"nats-client":    natsClient,
	}
}
