package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// rabbitProgram runs a program of RabbitMQ on a host, with the files of the node in the lab's folder.
func rabbitProgram(l *lab.Lab, on, ready string, argv ...string) (*lab.Process, error) {
	dir := filepath.Join(l.Tmp, "rabbitmq")
	return l.Start(on, ready, append([]string{"env", "RABBITMQ_NODENAME=rabbit@localhost", "RABBITMQ_MNESIA_BASE=" + dir, "RABBITMQ_LOG_BASE=" + dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_CONFIG_FILE=" + dir + "/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE=" + dir + "/plugins", "ERL_EPMD_ADDRESS=127.0.0.1"}, argv...)...)
}

// startRabbitMQ starts a broker, with a plugin unless it is empty and more lines of configuration. stop
// ends it with the processes that it started.
func startRabbitMQ(l *lab.Lab, on, plugin, more string) (stop func(), err error) {
	dir := filepath.Join(l.Tmp, "rabbitmq")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("listeners.tcp.1 = %s:5672\ndefault_user = shop\ndefault_pass = %s\nloopback_users = none\n", l.Hosts[on].IP, lab.Password) + more
	if err := os.WriteFile(dir+"/rabbitmq.conf", []byte(conf), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(dir+"/plugins", []byte("["+plugin+"]."), 0o644); err != nil {
		return nil, err
	}
	const bin = "/usr/lib/rabbitmq/bin/"
	stop = func() {
		for _, argv := range [][]string{{bin + "rabbitmqctl", "shutdown"}, {"epmd", "-kill"}} {
			if p, err := rabbitProgram(l, on, "", argv...); err == nil {
				<-p.Done
			}
		}
	}
	_, err = rabbitProgram(l, on, "Server startup complete", bin+"rabbitmq-server")
	return stop, err
}

func makeAMQP(ctx context.Context, out string) error {
	l, err := lab.New("amqp", "", lab.At("client", "10.1.12.5"), lab.At("rabbitmq", "10.1.12.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	stop, err := startRabbitMQ(l, "rabbitmq", "", "")
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "amqp.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "amqp-client", "10.1.12.20:5672", filepath.Join(out, "amqp.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

func amqpClient(ctx context.Context, args []string) error {
	var s lab.Said
	c, err := amqpDial(args[0], lab.Password)
	if err != nil {
		return err
	}
	s.Line("connection.start-ok\tshop\tok")
	for _, f := range []func(context.Context, *amqp.Connection, *lab.Said) error{amqpPublish, amqpConsume, amqpErrors} {
		if err := f(ctx, c, &s); err != nil {
			return err
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	if _, err := amqpDial(args[0], "wrong"); err == nil {
		return errors.New("the password counts as right")
	}
	s.Line("connection.start-ok\tshop\tclosed") // the server says nothing
	return s.Write(args[1])
}

func amqpDial(at, password string) (*amqp.Connection, error) {
	p := amqp.Table{"product": "samples", "version": "1.0", "capabilities": amqp.Table{"authentication_failure_close": true, "basic.nack": true, "publisher_confirms": true}}
	return amqp.DialConfig("amqp://"+at+"/", amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "shop", Password: password}}, Properties: p, Heartbeat: time.Minute})
}

// amqpPublish declares a topology, and publishes with and without confirmation, and to no queue.
func amqpPublish(ctx context.Context, c *amqp.Connection, s *lab.Said) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := ch.ExchangeDeclare("orders", "topic", true, false, false, false, nil); err != nil {
		return err
	}
	s.Line("exchange.declare\torders\tok")
	q, err := ch.QueueDeclare("billing", true, false, false, false, amqp.Table{"x-max-length": int32(100)})
	if err != nil {
		return err
	}
	s.Line("queue.declare\t%s\tok", q.Name)
	if err := ch.QueueBind("billing", "orders.*", "orders", false, nil); err != nil {
		return err
	}
	s.Line("queue.bind\tbilling\tok")
	for i := range 3 {
		if err := ch.PublishWithContext(ctx, "orders", "orders.new", false, false, amqpMessage(i)); err != nil {
			return err
		}
		s.Line("basic.publish\torders/orders.new\tok")
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	s.Line("confirm.select\t\tok")
	back := ch.NotifyReturn(make(chan amqp.Return, 1))
	for i, key := range []string{"orders.new", "orders.paid", "nowhere"} {
		d, err := ch.PublishWithDeferredConfirmWithContext(ctx, "orders", key, true, false, amqpMessage(i+3))
		if err != nil {
			return err
		}
		if ok, err := d.WaitContext(ctx); err != nil || !ok {
			return fmt.Errorf("confirmation: %v %w", ok, err)
		}
		result := "ack"
		select {
		case r := <-back:
			result = r.ReplyText
		default:
		}
		s.Line("basic.publish\torders/%s\t%s", key, result)
	}
	return nil
}

func amqpMessage(i int) amqp.Publishing {
	return amqp.Publishing{ContentType: "text/plain", DeliveryMode: amqp.Persistent, CorrelationId: fmt.Sprintf("corr-%d", i), MessageId: fmt.Sprintf("m-%d", i), Type: "order",
		AppId: "shop", Headers: amqp.Table{"traceparent": lab.Trace, "number": int32(i)}, Body: []byte(strings.Repeat(fmt.Sprintf("order-%d ", i), 1+300*i))}
}

// amqpConsume takes messages from the queue, in various ways.
func amqpConsume(_ context.Context, c *amqp.Connection, s *lab.Said) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := ch.Qos(10, 0, false); err != nil {
		return err
	}
	m, ok, err := ch.Get("billing", true)
	if err != nil || !ok {
		return fmt.Errorf("getting a message: %v %w", ok, err)
	}
	s.Line("basic.get\tbilling\t%s", m.MessageId)
	in, err := ch.Consume("billing", "worker", false, false, false, false, nil)
	if err != nil {
		return err
	}
	s.Line("basic.consume\tbilling\tok")
	for _, how := range []string{"wait", "ack", "nack", "reject and requeue", "ack"} {
		m := <-in
		switch how {
		case "ack": // also the one before
			err = m.Ack(true)
		case "nack":
			err = m.Nack(false, false)
		case "reject and requeue":
			err = m.Reject(true)
		}
		if err != nil {
			return err
		}
		if how == "wait" {
			how = "ack"
		}
		s.Line("basic.deliver\torders/%s\t%s", m.RoutingKey, how)
	}
	if err := ch.Cancel("worker", false); err != nil {
		return err
	}
	s.Line("basic.cancel\t\tok")
	if _, ok, err := ch.Get("billing", true); err != nil || ok {
		return fmt.Errorf("getting a message from an empty queue: %v %w", ok, err)
	}
	s.Line("basic.get\tbilling\tempty")
	n, err := ch.QueueDelete("billing", false, false, false)
	if err != nil {
		return err
	}
	s.Line("queue.delete\tbilling\t%d", n)
	return nil
}

// amqpErrors makes errors that close a channel.
func amqpErrors(ctx context.Context, c *amqp.Connection, s *lab.Said) error {
	for _, e := range []struct {
		method, object string
		do             func(*amqp.Channel) error
	}{
		{"queue.declare", "none", func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive("none", false, false, false, false, nil)
			return err
		}},
		{"exchange.declare", "orders", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("orders", "fanout", true, false, false, false, nil)
		}},
		{"channel.close", "", func(ch *amqp.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			if err := ch.PublishWithContext(ctx, "none", "x", false, false, amqp.Publishing{}); err != nil {
				return err
			}
			s.Line("basic.publish\tnone/x\tok")
			return <-closed
		}},
	} {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		var a *amqp.Error
		if err := e.do(ch); !errors.As(err, &a) {
			return fmt.Errorf("%s: %w", e.method, err)
		}
		word, _, _ := strings.Cut(a.Reason, " - ")
		s.Line("%s\t%s\t%s", e.method, e.object, word)
	}
	return nil
}
