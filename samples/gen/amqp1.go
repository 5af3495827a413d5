package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/Azure/go-amqp"
)

// makeAMQP1 records go-amqp with the AMQP 1.0 plugin of RabbitMQ.
func makeAMQP1(ctx context.Context, out string) error {
	l, err := newLab("amqp1", "", host{"client", "10.1.41.5", ""}, host{"rabbitmq", "10.1.41.20", ""})
	if err != nil {
		return err
	}
	defer l.close()
	stop, err := l.rabbitMQ("rabbitmq", "rabbitmq_amqp1_0", "")
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	return l.recordClient(ctx, out, "amqp1", l.self, "-role", "amqp1-client", "--", "10.1.41.20:5672", filepath.Join(out, "amqp1.said.tsv"))
}

func amqp1Client(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var s said
	c, err := amqp1Dial(ctx, args[0], samplePassword)
	if err != nil {
		return err
	}
	s.line("sasl-init\tshop\tok")
	s.line("open\tsamples\tok")
	for _, f := range []func(context.Context, *amqp.Session, *said) error{amqp1Send, amqp1Receive, amqp1NoSource, amqp1NoTarget} {
		session, err := c.NewSession(ctx, nil)
		if err != nil {
			return err
		}
		s.line("begin\t\tok")
		if err := f(ctx, session, &s); err != nil {
			return fmt.Errorf("after %q: %w", s.lines, err)
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	s.line("close\t\tok")
	if _, err := amqp1Dial(ctx, args[0], "wrong"); err == nil {
		return errors.New("the password counts as right")
	}
	s.line("sasl-init\tshop\tauth")
	return s.write(args[1])
}

func amqp1Dial(ctx context.Context, at, password string) (*amqp.Conn, error) {
	return amqp.Dial(ctx, "amqp://"+at, &amqp.ConnOptions{ContainerID: "samples", SASLType: amqp.SASLTypePlain("shop", password), MaxFrameSize: 4096})
}

// amqp1Send sends messages that the broker settles, one of several frames, one that is settled
// already, and one that no queue gets.
func amqp1Send(ctx context.Context, session *amqp.Session, s *said) error {
	for _, to := range []struct {
		address string
		mode    amqp.SenderSettleMode
		sizes   []int
		link    string
	}{
		{"/queue/orders", amqp.SenderSettleModeUnsettled, []int{20, 10000, 30, 40, 50}, "unsettled"},
		{"/queue/orders", amqp.SenderSettleModeSettled, []int{60}, "settled"},
		{"/exchange/amq.direct/nowhere", amqp.SenderSettleModeUnsettled, []int{70}, "nowhere"},
	} {
		sender, err := session.NewSender(ctx, to.address, &amqp.SenderOptions{SettlementMode: to.mode.Ptr(), Name: to.link})
		if err != nil {
			return err
		}
		s.line("attach\t%s\tok", to.address)
		for i, size := range to.sizes {
			result, err := amqp1Deliver(ctx, sender, to.mode, amqp1Message(i, size))
			if err != nil {
				return fmt.Errorf("sending to %s: %w", to.address, err)
			}
			s.line("transfer\t%s\t%s", to.address, result)
		}
		amqp1Detach(ctx, sender.Close)
	}
	if err := session.Close(ctx); err != nil {
		return err
	}
	s.line("end\t\tok")
	return nil
}

// amqp1Deliver sends a message and returns the state that the broker gave it.
func amqp1Deliver(ctx context.Context, sender *amqp.Sender, mode amqp.SenderSettleMode, m *amqp.Message) (string, error) {
	if mode == amqp.SenderSettleModeSettled {
		return "settled", sender.Send(ctx, m, nil)
	}
	receipt, err := sender.SendWithReceipt(ctx, m, nil)
	if err != nil {
		return "", err
	}
	state, err := receipt.Wait(ctx)
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", state), "*encoding.State")), err
}

// amqp1Detach closes a link. RabbitMQ 3.10 answers without the field closed, for which go-amqp waits.
func amqp1Detach(ctx context.Context, detach func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = detach(ctx)
}

func amqp1Message(i, size int) *amqp.Message {
	m := amqp.NewMessage([]byte(strings.Repeat(fmt.Sprintf("order-%d ", i), size/8)))
	kind, subject, reply := "text/plain", "new", "/queue/bills"
	m.Properties = &amqp.MessageProperties{MessageID: fmt.Sprintf("m-%d", size), CorrelationID: fmt.Sprintf("corr-%d", i), ContentType: &kind, Subject: &subject, ReplyTo: &reply}
	m.ApplicationProperties = map[string]any{"traceparent": sampleTrace}
	m.Header = &amqp.MessageHeader{Durable: true}
	if i == 2 {
		m.Data, m.Value = nil, "a value"
	}
	return m
}

// amqp1Receive receives the messages and settles them in every way.
func amqp1Receive(ctx context.Context, session *amqp.Session, s *said) error {
	const from = "/queue/orders"
	r, err := session.NewReceiver(ctx, from, &amqp.ReceiverOptions{Credit: 2, Name: "worker"})
	if err != nil {
		return err
	}
	s.line("attach\t%s\tok", from)
	for _, how := range []string{"accepted", "accepted", "rejected", "released", "accepted", "accepted", "accepted"} {
		m, err := r.Receive(ctx, nil)
		if err != nil {
			return err
		}
		switch how {
		case "rejected":
			err = r.RejectMessage(ctx, m, &amqp.Error{Condition: "shop:unknown-order", Description: "there is no such order"})
		case "released":
			err = r.ReleaseMessage(ctx, m)
		default:
			err = r.AcceptMessage(ctx, m)
		}
		if err != nil {
			return err
		}
		if how == "rejected" {
			how = "shop:unknown-order"
		}
		s.line("transfer\t%s\t%s", from, how)
		if m.Properties == nil {
			return errors.New("the message has no properties")
		}
	}
	amqp1Detach(ctx, r.Close)
	if err := session.Close(ctx); err != nil {
		return err
	}
	s.line("end\t\tok")
	return nil
}

// amqp1NoSource and amqp1NoTarget ask for what does not exist: RabbitMQ ends the session.
func amqp1NoSource(ctx context.Context, session *amqp.Session, s *said) error {
	_, err := session.NewReceiver(ctx, "/amq/queue/none", nil)
	return s.refused("/amq/queue/none", err)
}

func amqp1NoTarget(ctx context.Context, session *amqp.Session, s *said) error {
	_, err := session.NewSender(ctx, "/exchange/none/x", nil)
	return s.refused("/exchange/none/x", err)
}

func (s *said) refused(address string, err error) error {
	var session *amqp.SessionError
	var link *amqp.LinkError
	var e *amqp.Error
	switch {
	case errors.As(err, &session):
		e = session.RemoteErr
	case errors.As(err, &link):
		e = link.RemoteErr
	}
	if e == nil {
		return fmt.Errorf("attaching to %s: %w", address, err)
	}
	s.line("attach\t%s\t%s", address, e.Condition)
	return nil
}
