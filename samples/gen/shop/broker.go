package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// serveBroker starts a NATS server in its pod.
func (s *shop) serveBroker() error {
	p := s.pod("broker")
	srv, err := server.NewServer(&server.Options{ServerName: p.name, Host: p.ip, Port: p.svc.Port, NoLog: true, NoSigs: true, PingInterval: time.Hour, NoSystemAccount: true})
	if err != nil {
		return err
	}
	// Start makes the listening socket before it returns, in the thread inside the pod.
	if err := p.in(func() error { srv.Start(); return nil }); err != nil {
		return err
	}
	if !srv.ReadyForConnections(startWait) {
		return errors.New("the broker does not become ready")
	}
	return nil
}

type natsDialer struct{ p *pod }

func (d natsDialer) Dial(network, addr string) (net.Conn, error) {
	return d.p.dialName(context.Background(), "tcp4", addr)
}

func (natsDialer) SkipTLSHandshake() bool { return false }

// messages connects a pod to the broker.
func (p *pod) messages() (*nats.Conn, error) {
	svc := p.shop.sc.service("broker")
	return nats.Connect(fmt.Sprintf("nats://%s.%s:%d", svc.Name, p.shop.sc.ns(svc.Namespace), svc.Port), nats.SetCustomDialer(natsDialer{p}), nats.Name(p.svc.Name),
		nats.NoReconnect(), nats.PingInterval(time.Hour), nats.DontRandomize())
}

// publish sends one message and waits until the broker has received it.
func (p *pod) publish(c *nats.Conn, subject string, m *nats.Msg) error {
	s := p.shop
	e := s.log.begin(p, "nats")
	m.Subject = subject
	e.Method, e.Path, e.request, e.RequestBytes = "PUB", subject, string(m.Data), len(m.Data)
	e.RequestID = m.Header.Get("X-Request-Id")
	e.ServerAddr = fmt.Sprintf("%s:%d", s.pod("broker").ip, s.pod("broker").svc.Port)
	if err := c.PublishMsg(m); err != nil {
		return err
	}
	if err := c.FlushTimeout(5 * time.Second); err != nil {
		return err
	}
	s.log.end(s, e)
	return nil
}
