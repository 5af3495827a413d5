package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/net/quic"
)

// netquic configures a client and a server of golang.org/x/net/quic.
type netquic struct {
	suite    uint16
	features string
	retry    bool
	requests int // one per stream
	answer   int // bytes of each answer, without its first line
	oneWay   bool
}

func (q netquic) scenario() scenario {
	return scenario{name("netquic", "v1", suiteShort(tls.CipherSuiteName(q.suite)), q.features), func(l *lab, h *shot) error {
		defer onlySuite(q.suite)()
		ctx, cancel := context.WithTimeout(l.ctx, 3*patient)
		defer cancel()
		return q.make(ctx, l, h)
	}}
}

func (q netquic) make(ctx context.Context, l *lab, h *shot) error {
	ct, st, keys, err := l.configs(h)
	if err != nil {
		return err
	}
	defer keys.Close()
	ct.NextProtos, st.NextProtos = []string{"example"}, []string{"example"}
	ct.MinVersion, st.MinVersion = tls.VersionTLS13, tls.VersionTLS13
	ct.CurvePreferences = []tls.CurveID{tls.X25519}
	addr := "127.0.0.1:" + strconv.Itoa(h.port)
	se, err := quic.Listen("udp4", addr, &quic.Config{TLSConfig: st, RequireAddressValidation: q.retry, MaxBidiRemoteStreams: 200})
	if err != nil {
		return err
	}
	defer se.Close(ctx)
	ce, err := quic.Listen("udp4", "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	defer ce.Close(ctx)
	got := make(chan []byte, 1)
	go q.serve(ctx, se, got)
	c, err := ce.Dial(ctx, "udp4", addr, &quic.Config{TLSConfig: ct})
	if err != nil {
		return err
	}
	state := c.ConnectionState()
	note := func(stream int64, request, answer []byte) {
		h.note(row{stream: strconv.FormatInt(stream, 10), layer: "quic", version: "QUIC v1", suite: tls.CipherSuiteName(state.CipherSuite), features: q.features, protocol: "-"}, request, answer)
	}
	for i := range q.requests {
		id, b, err := q.ask(ctx, c, i)
		if err != nil {
			return err
		}
		if q.requests < 10 || i%listed == 0 {
			note(id, request(i), b)
		}
	}
	if q.oneWay {
		if err := tellOneWay(ctx, c, got, note); err != nil {
			return err
		}
	}
	time.Sleep(settle)
	c.Abort(nil)
	time.Sleep(settle)
	return nil
}

// notice is what the server sends on a unidirectional stream.
const notice = "notice: the limit is 21.5 degrees\n"

// serve answers one connection; got receives the data of its unidirectional streams.
func (q netquic) serve(ctx context.Context, e *quic.Endpoint, got chan<- []byte) {
	c, err := e.Accept(ctx)
	if err != nil {
		return
	}
	if q.oneWay {
		if s, err := c.NewSendOnlyStream(ctx); err == nil {
			io.WriteString(s, notice)
			s.Close()
		}
	}
	for {
		s, err := c.AcceptStream(ctx)
		if err != nil {
			return
		}
		go func() {
			request, err := io.ReadAll(s)
			if s.IsReadOnly() {
				got <- request
				return
			}
			var i int
			if _, e := fmt.Sscanf(string(request), "question %d", &i); err == nil && e == nil {
				s.Write(answer(i, q.answer))
			}
			s.CloseWrite()
		}()
	}
}

// ask makes a request on a new stream and returns the response.
func (q netquic) ask(ctx context.Context, c *quic.Conn, i int) (stream int64, b []byte, err error) {
	s, err := c.NewStream(ctx)
	if err != nil {
		return 0, nil, err
	}
	if _, err := s.Write(request(i)); err != nil {
		return 0, nil, err
	}
	s.CloseWrite()
	if b, err = io.ReadAll(s); err != nil {
		return 0, nil, err
	}
	if want := answer(i, q.answer); !bytes.Equal(b, want) {
		return 0, nil, fmt.Errorf("the answer has %d bytes, want %d", len(b), len(want))
	}
	return s.ID(), b, nil
}

// tellOneWay sends on a unidirectional stream, and reads the server's.
func tellOneWay(ctx context.Context, c *quic.Conn, got <-chan []byte, note func(stream int64, request, answer []byte)) error {
	s, err := c.NewSendOnlyStream(ctx)
	if err != nil {
		return err
	}
	report := []byte("report: 22.0 degrees\n")
	if _, err := s.Write(report); err != nil {
		return err
	}
	s.CloseWrite()
	if b := <-got; !bytes.Equal(b, report) {
		return fmt.Errorf("the server got %q of %q", b, report)
	}
	note(s.ID(), report, nil)
	in, err := c.AcceptStream(ctx)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(in)
	if err != nil || string(b) != notice {
		return fmt.Errorf("the client got %q of %q: %v", b, notice, err)
	}
	note(in.ID(), nil, []byte(notice))
	return nil
}

func netquicAll() (all []scenario) {
	for _, q := range []netquic{
		{suite: tls.TLS_AES_128_GCM_SHA256, features: "streams", requests: 3, answer: 5000, oneWay: true},
		{suite: tls.TLS_AES_256_GCM_SHA384, features: "streams", requests: 3, answer: 500},
		{suite: tls.TLS_CHACHA20_POLY1305_SHA256, features: "retry", retry: true, requests: 2, answer: 500},
		{suite: tls.TLS_AES_128_GCM_SHA256, features: "key_update", requests: 110, answer: 20},
	} {
		all = append(all, q.scenario())
	}
	return all
}
