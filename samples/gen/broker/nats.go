package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// natsServer serves until it is stopped. Its users are shop, who may not publish to secret, and the
// owner of an nkey.
func natsServer(ctx context.Context, args []string) error {
	host, port, err := net.SplitHostPort(args[0])
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	deny := &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"secret"}}, Subscribe: &server.SubjectPermission{Deny: []string{"secret.>"}}}
	key, err := natsKey()
	if err != nil {
		return err
	}
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{ServerName: "broker", Host: host, Port: number, JetStream: true, StoreDir: args[1], NoSigs: true,
		Users: []*server.User{{Username: "shop", Password: lab.Password, Permissions: deny}}, Nkeys: []*server.NkeyUser{{Nkey: public}}})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(lab.StartWait) {
		return errors.New("the server is not ready")
	}
	fmt.Println("ready")
	<-ctx.Done()
	s.Shutdown()
	return nil
}

// natsKey is the key of a user, always the same one.
func natsKey() (nkeys.KeyPair, error) {
	return nkeys.FromRawSeed(nkeys.PrefixByteUser, []byte("samples-samples-samples-samples-"))
}

func makeNATS(ctx context.Context, out string) error {
	l, err := lab.New("nats", "", lab.At("client", "10.1.10.5"), lab.At("worker", "10.1.10.6"), lab.At("nats", "10.1.10.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("nats", "nats-server", "10.1.10.20:4222", filepath.Join(l.Tmp, "jetstream")); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "nats.pcapng"))
	if err != nil {
		return err
	}
	worker := filepath.Join(l.Tmp, "worker.tsv")
	w, err := l.Start("worker", "ready", l.Self, "-role", "nats-worker", "--", "10.1.10.20:4222", worker)
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "nats-client", "10.1.10.20:4222", filepath.Join(out, "nats.said.tsv")); err != nil {
		return err
	}
	w.End()
	if err := appendSaid(filepath.Join(out, "nats.said.tsv"), worker); err != nil {
		return err
	}
	return r.Stop()
}

// appendSaid adds what another client did to a file.
func appendSaid(file, more string) error {
	b, err := os.ReadFile(more)
	if err != nil {
		return err
	}
	_, lines, _ := strings.Cut(string(b), "\n")
	all, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(all, lines...), 0o644)
}

func natsDial(at, name string, o ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("nats://"+at, append([]nats.Option{nats.Name(name), nats.UserInfo("shop", lab.Password), nats.NoReconnect(), nats.PingInterval(time.Hour)}, o...)...)
}

// natsWorker answers requests for prices, and takes orders from the stream, until it is stopped. It
// refuses the first delivery of an order, and rejects one order.
func natsWorker(ctx context.Context, args []string) error {
	var s lab.Said
	c, err := natsDial(args[0], "worker")
	if err != nil {
		return err
	}
	defer c.Close()
	s.Line("CONNECT\tworker\tok")
	if _, err := c.QueueSubscribe("price", "workers", func(m *nats.Msg) {
		answer := &nats.Msg{Subject: m.Reply, Data: []byte("price of " + string(m.Data)), Header: nats.Header{"Traceparent": m.Header["Traceparent"]}}
		if err := m.RespondMsg(answer); err == nil {
			s.Line("MSG\tprice\t%s", answer.Data)
		}
	}); err != nil {
		return err
	}
	s.Line("SUB\tprice\tworkers")
	if err := c.Flush(); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return s.Write(args[1])
}

// natsClient publishes, requests, uses a stream with a durable consumer, and makes errors.
func natsClient(ctx context.Context, args []string) error {
	var s lab.Said
	for _, f := range []func(context.Context, string, *lab.Said) error{natsCore, natsStream, natsErrors, natsLogins, natsVerbose} {
		if err := f(ctx, args[0], &s); err != nil {
			return err
		}
	}
	return s.Write(args[1])
}

func natsCore(_ context.Context, at string, s *lab.Said) error {
	c, err := natsDial(at, "shop")
	if err != nil {
		return err
	}
	defer c.Close()
	s.Line("CONNECT\tshop\tok")
	for i := range 3 {
		m := &nats.Msg{Subject: "price", Data: fmt.Appendf(nil, "tea-%d", i), Header: nats.Header{"Traceparent": {lab.Trace}}}
		a, err := c.RequestMsg(m, 5*time.Second)
		if err != nil {
			return err
		}
		s.Line("PUB\tprice\t%s", a.Data)
	}
	if _, err := c.Request("nobody", nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("a request to nobody: %w", err)
	}
	s.Line("PUB\tnobody\t503")
	for range 5 {
		if err := c.Publish("log.line", []byte(strings.Repeat("line ", 300))); err != nil {
			return err
		}
		s.Line("PUB\tlog.line\tok")
	}
	return c.Flush()
}

func natsStream(ctx context.Context, at string, s *lab.Said) error {
	c, err := natsDial(at, "orders")
	if err != nil {
		return err
	}
	defer c.Close()
	s.Line("CONNECT\torders\tok")
	js, err := jetstream.New(c)
	if err != nil {
		return err
	}
	if _, err := js.Stream(ctx, "NONE"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("a stream that does not exist: %w", err)
	}
	s.Line("STREAM.INFO\tNONE\tstream not found")
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Duplicates: time.Minute})
	if err != nil {
		return err
	}
	s.Line("STREAM.CREATE\tORDERS\tok")
	for i := range 4 {
		id := fmt.Sprintf("order-%d", max(i-1, 0)) // the second is sent again
		a, err := js.PublishMsg(ctx, &nats.Msg{Subject: "orders.new", Data: []byte(id), Header: nats.Header{"X-Request-Id": {"req-" + id}}}, jetstream.WithMsgID(id))
		if err != nil {
			return err
		}
		result := fmt.Sprintf("%s/%d", a.Stream, a.Sequence)
		if a.Duplicate {
			result += " again"
		}
		s.Line("PUB\torders.new\t%s", result)
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	s.Line("CONSUMER.CREATE\tORDERS\tok")
	for range 2 { // the first delivery of one order is refused
		batch, err := consumer.Fetch(3, jetstream.FetchMaxWait(700*time.Millisecond))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			if err := natsTake(m, s); err != nil {
				return err
			}
		}
	}
	return c.Flush()
}

// natsTake acknowledges an order, in various ways.
func natsTake(m jetstream.Msg, s *lab.Said) error {
	d, err := m.Metadata()
	if err != nil {
		return err
	}
	word, do := "ack", m.Ack
	switch {
	case d.Sequence.Stream == 2 && d.NumDelivered == 1:
		word, do = "nak", m.Nak
	case d.Sequence.Stream == 3:
		word, do = "term", m.Term
	}
	s.Line("MSG\torders.new\t%s/%d %s", d.Stream, d.Sequence.Stream, word)
	return do()
}

func natsErrors(_ context.Context, at string, s *lab.Said) error {
	failed := make(chan error, 4)
	c, err := natsDial(at, "intruder", nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { failed <- err }))
	if err != nil {
		return err
	}
	defer c.Close()
	s.Line("CONNECT\tintruder\tok")
	if err := c.Publish("secret", []byte("x")); err != nil {
		return err
	}
	if _, err := c.SubscribeSync("secret.plans"); err != nil {
		return err
	}
	for range 2 {
		select {
		case err := <-failed:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				return err
			}
		case <-time.After(5 * time.Second):
			return errors.New("the server reports no error")
		}
	}
	s.Line("PUB\tsecret\tPermissions Violation for Publish to")
	s.Line("SUB\tsecret.plans\tPermissions Violation for Subscription to")
	return nil
}

// natsLogins logs in with an nkey, and with a wrong password.
func natsLogins(_ context.Context, at string, s *lab.Said) error {
	key, err := natsKey()
	if err != nil {
		return err
	}
	public, err := key.PublicKey()
	if err != nil {
		return err
	}
	c, err := nats.Connect("nats://"+at, nats.Name("robot"), nats.Nkey(public, key.Sign), nats.NoReconnect())
	if err != nil {
		return err
	}
	c.Close()
	s.Line("CONNECT\trobot\tok")
	if _, err := natsDial(at, "thief", nats.UserInfo("shop", "wrong")); !errors.Is(err, nats.ErrAuthorization) {
		return fmt.Errorf("a wrong password: %w", err)
	}
	s.Line("CONNECT\tthief\tAuthorization Violation")
	return nil
}

// natsVerbose is a client that asks for +OK to each command.
func natsVerbose(_ context.Context, at string, s *lab.Said) error {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 4096)
	for _, step := range []struct{ send, want, said string }{
		{"", "INFO", ""},
		{fmt.Sprintf("CONNECT {\"verbose\":true,\"pedantic\":false,\"name\":\"telnet\",\"user\":\"shop\",\"pass\":%q}\r\n", lab.Password), "+OK", "CONNECT\ttelnet\tok"},
		{"SUB chat 1\r\n", "+OK", "SUB\tchat\tok"},
		{"PUB chat 5\r\nhello\r\n", "MSG", "PUB\tchat\tok\nMSG\tchat\tok"},
		{"PUB secret 1\r\nx\r\n", "-ERR", "PUB\tsecret\tPermissions Violation for Publish to"},
		{"UNSUB 1\r\nPING\r\n", "PONG", "UNSUB\tchat\tok"},
	} {
		if _, err := c.Write([]byte(step.send)); err != nil {
			return err
		}
		for got := ""; !strings.Contains(got, step.want); {
			n, err := c.Read(b)
			if err != nil {
				return err
			}
			got += string(b[:n])
		}
		if step.said != "" {
			s.Line("%s", step.said)
		}
	}
	return nil
}
