package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/Azure/go-amqp"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeAMQP1 records go-amqp with the AMQP 1.0 plugin of RabbitMQ.
func makeAMQP1(ctx context.Context, out string) error {
	l, err := lab.New("amqp1", "", lab.At("client", "10.1.41.5"), lab.At("rabbitmq", "10.1.41.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	stop, err := startRabbitMQ(l, "rabbitmq", "rabbitmq_amqp1_0", "")
	if stop != nil {
		defer stop()
	}
	if err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "amqp1", l.Self, "-role", "amqp1-client", "--", "10.1.41.20:5672", filepath.Join(out, "amqp1.said.tsv"))
}

func amqp1Client(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var s lab.Said
	c, err := amqp1Dial(ctx, args[0], lab.Password)
	if err != nil {
		return err
	}
	s.Line("sasl-init\tshop\tok")
	s.Line("open\tsamples\tok")
	for _, f := range []func(context.Context, *amqp.Session, *lab.Said) error{amqp1Send, amqp1Receive, amqp1NoSource, amqp1NoTarget} {
		session, err := c.NewSession(ctx, nil)
		if err != nil {
			return err
		}
		s.Line("begin\t\tok")
		if err := f(ctx, session, &s); err != nil {
			return fmt.Errorf("after %q: %w", s.Lines, err)
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	s.Line("close\t\tok")
	if _, err := amqp1Dial(ctx, args[0], "wrong"); err == nil {
		return errors.New("the password counts as right")
	}
	s.Line("sasl-init\tshop\tauth")
	return s.Write(args[1])
}

func amqp1Dial(ctx context.Context, at, password string) (*amqp.Conn, error) {
	return amqp.Dial(ctx, "amqp://"+at, &amqp.ConnOptions{ContainerID: "samples", SASLType: amqp.SASLTypePlain("shop", password), MaxFrameSize: 4096})
}

// amqp1Send sends messages that the broker settles, one of several frames, one that is settled
// already, and one that no queue gets.
func amqp1Send(ctx context.Context, session *amqp.Session, s *lab.Said) error {
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
		s.Line("attach\t%s\tok", to.address)
		for i, size := range to.sizes {
			result, err := amqp1Deliver(ctx, sender, to.mode, amqp1Message(i, size))
			if err != nil {
				return fmt.Errorf("sending to %s: %w", to.address, err)
			}
			s.Line("transfer\t%s\t%s", to.address, result)
		}
		amqp1Detach(ctx, sender.Close)
	}
	if err := session.Close(ctx); err != nil {
		return err
	}
	s.Line("end\t\tok")
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
	m.ApplicationProperties = map[string]any{"traceparent": lab.Trace}
	m.Header = &amqp.MessageHeader{Durable: true}
	if i == 2 {
		m.Data, m.Value = nil, "a value"
	}
	return m
}

// amqp1Receive receives the messages and settles them in every way.
func amqp1Receive(ctx context.Context, session *amqp.Session, s *lab.Said) error {
	const from = "/queue/orders"
	r, err := session.NewReceiver(ctx, from, &amqp.ReceiverOptions{Credit: 2, Name: "worker"})
	if err != nil {
		return err
	}
	s.Line("attach\t%s\tok", from)
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
		s.Line("transfer\t%s\t%s", from, how)
		if m.Properties == nil {
			return errors.New("the message has no properties")
		}
	}
	amqp1Detach(ctx, r.Close)
	if err := session.Close(ctx); err != nil {
		return err
	}
	s.Line("end\t\tok")
	return nil
}

// amqp1NoSource and amqp1NoTarget ask for what does not exist: RabbitMQ ends the session.
func amqp1NoSource(ctx context.Context, session *amqp.Session, s *lab.Said) error {
	_, err := session.NewReceiver(ctx, "/amq/queue/none", nil)
	return amqp1Refused(s, "/amq/queue/none", err)
}

func amqp1NoTarget(ctx context.Context, session *amqp.Session, s *lab.Said) error {
	_, err := session.NewSender(ctx, "/exchange/none/x", nil)
	return amqp1Refused(s, "/exchange/none/x", err)
}

func amqp1Refused(s *lab.Said, address string, err error) error {
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
	s.Line("attach\t%s\t%s", address, e.Condition)
	return nil
}
