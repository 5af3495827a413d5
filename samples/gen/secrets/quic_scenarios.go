package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// plain makes requests on three streams.
func plain(q quicgo, x *quicLab) error {
	sizes := []int{40, 900, 9000}
	list := map[string][]byte{}
	for i, n := range sizes {
		list[string(request(i))] = answer(i, n)
	}
	if err := x.answers(list); err != nil {
		return err
	}
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	for i, n := range sizes {
		if err := x.ask(c, request(i), answer(i, n)); err != nil {
			return err
		}
		x.note(q, c, 1, int64(4*i), q.features, "-", "bytes", request(i), answer(i, n))
		if q.features == "version_negotiation" {
			x.h.rows[i].inTshark = 2 // the first one has the version that the server rejected
		}
	}
	bye(c)
	return nil
}

// resumedQUIC makes two connections; the second sends its request as 0-RTT data.
func resumedQUIC(q quicgo, x *quicLab) error {
	if err := x.answers(map[string][]byte{string(request(0)): answer(0, 300), string(request(1)): answer(1, 200), string(request(2)): answer(2, 100)}); err != nil {
		return err
	}
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	if err := x.ask(c, request(0), answer(0, 300)); err != nil {
		return err
	}
	bye(c)
	x.note(q, c, 1, 0, "full", "-", "bytes", request(0), answer(0, 300))
	if c, err = x.dial(q, true); err != nil {
		return err
	}
	for i := 1; i < 3; i++ {
		if err := x.ask(c, request(i), answer(i, 300-100*i)); err != nil {
			return err
		}
		x.note(q, c, 2, int64(4*(i-1)), q.features, "-", "bytes", request(i), answer(i, 300-100*i))
	}
	if !c.ConnectionState().Used0RTT {
		return errors.New("no early data was used")
	}
	bye(c)
	return nil
}

// migrating moves the connection to another port of the client.
func migrating(q quicgo, x *quicLab) error {
	if err := x.answers(map[string][]byte{string(request(0)): answer(0, 300), string(request(1)): answer(1, 2000)}); err != nil {
		return err
	}
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	if err := x.ask(c, request(0), answer(0, 300)); err != nil {
		return err
	}
	t, err := x.socket()
	if err != nil {
		return err
	}
	p, err := c.AddPath(t)
	if err != nil {
		return err
	}
	if err := errors.Join(p.Probe(x.ctx), p.Switch()); err != nil {
		return err
	}
	time.Sleep(settle)
	if err := x.ask(c, request(1), answer(1, 2000)); err != nil {
		return err
	}
	bye(c)
	x.note(q, c, 1, 0, q.features, "-", "bytes", request(0), answer(0, 300))
	x.note(q, c, 1, 4, q.features, "-", "bytes", request(1), answer(1, 2000))
	x.h.rows[len(x.h.rows)-1].inTshark = 1
	return nil
}

// listed reports which of many streams have a line in INDEX.tsv: a regular sample.
const listed = 4

// many makes enough requests for a key update of quic-go. With lossy, packets of some requests are
// omitted, including those around the key update.
func many(lossy bool) func(quicgo, *quicLab) error {
	return func(q quicgo, x *quicLab) error {
		const n = 70
		list := map[string][]byte{}
		for i := range n {
			list[string(request(i))] = answer(i, 20)
		}
		if err := x.answers(list); err != nil {
			return err
		}
		c, err := x.dial(q, false)
		if err != nil {
			return err
		}
		var at [n + 1]int64
		for i := range n {
			if lossy {
				time.Sleep(40 * time.Millisecond) // longer than the delay of an acknowledgement
			}
			at[i] = time.Now().UnixNano()
			if err := x.ask(c, request(i), answer(i, 20)); err != nil {
				return err
			}
		}
		time.Sleep(settle)
		at[n] = time.Now().UnixNano()
		bye(c)
		gone := map[int]bool{}
		if lossy {
			for _, i := range []int{5, 6, 20} {
				gone[i] = true
			}
			if err := x.h.edit(func(list []packet) (kept []packet, err error) {
				sent, at100 := 0, int64(0)
				for _, p := range list {
					if p.dst == x.h.port {
						if sent++; sent == 101 {
							at100 = p.ns
						}
					}
				}
				if at100 == 0 {
					return nil, errors.New("fewer than a hundred packets")
				}
				for i := range n {
					if at[i] > at100-500e6 && at[i] < at100+300e6 {
						gone[i] = true
					}
				}
				for _, p := range list {
					i := 0
					for i < n && p.ns > at[i+1] {
						i++
					}
					if i == n || p.ns < at[0] || !gone[i] {
						kept = append(kept, p)
					}
				}
				return kept, nil
			}); err != nil {
				return err
			}
		}
		for i := range n {
			if !gone[i] && i%listed == 0 {
				x.note(q, c, 1, int64(4*i), q.features, "-", "bytes", request(i), answer(i, 20))
			}
		}
		return nil
	}
}

// web3 makes three HTTP/3 requests.
func web3(q quicgo, x *quicLab) error {
	x.ct.NextProtos, x.st = []string{http3.NextProtoH3}, http3.ConfigureTLSConfig(x.st)
	small, large, upload, taken := text(250), text(12_000), text(3000), []byte("taken\n")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) { w.Write(small) })
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) { w.Write(large) })
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(b, upload) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Write(taken)
	})
	ln, err := x.server.ListenEarly(x.st, x.sc)
	if err != nil {
		return err
	}
	server := &http3.Server{Handler: mux}
	go server.ServeListener(ln)
	x.closers = append(x.closers, server.Close, ln.Close)
	c, err := x.dial(q, false)
	if err != nil {
		return err
	}
	t := &http3.Transport{DisableCompression: true}
	cc := t.NewClientConn(c)
	base := "https://" + serverName + ":" + strconv.Itoa(x.h.port)
	for i, r := range []struct {
		method, path string
		body, want   []byte
	}{{"GET", "/small", nil, small}, {"GET", "/large", nil, large}, {"POST", "/echo", upload, taken}} {
		var body io.Reader
		if r.body != nil {
			body = bytes.NewReader(r.body)
		}
		req, err := http.NewRequestWithContext(x.ctx, r.method, base+r.path, body)
		if err != nil {
			return err
		}
		resp, err := cc.RoundTrip(req)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 || !bytes.Equal(got, r.want) {
			return fmt.Errorf("%s: status %d and %d bytes, want %d", r.path, resp.StatusCode, len(got), len(r.want))
		}
		x.note(q, c, 1, int64(4*i), q.features, "http3", "bodies", r.body, r.want)
	}
	bye(c)
	return nil
}

func quicAll() (all []scenario) {
	const aes, aes256, chacha = tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256
	v1, v2 := quic.Version1, quic.Version2
	add := func(f func(quicgo, *quicLab) error, list ...quicgo) {
		for _, q := range list {
			all = append(all, q.scenario(f))
		}
	}
	x := tls.X25519
	add(plain,
		quicgo{version: v1, suite: aes, features: "streams", curve: x},
		quicgo{version: v1, suite: aes256, features: "streams", curve: x},
		quicgo{version: v1, suite: chacha, features: "streams", curve: x},
		quicgo{version: v2, suite: aes, features: "streams", curve: x},
		quicgo{version: v2, suite: chacha, features: "streams", curve: x},
		quicgo{version: v1, suite: aes, features: "mlkem"},
		quicgo{version: v1, suite: aes, features: "empty_id", curve: x, emptyID: true},
		quicgo{version: v1, suite: aes, features: "retry", curve: x, retry: true},
		quicgo{version: v2, suite: aes256, features: "retry", curve: x, retry: true},
		quicgo{version: v1, suite: aes, features: "version_negotiation", curve: x, versions: []quic.Version{v2}})
	add(func(q quicgo, x *quicLab) error {
		if err := plain(q, x); err != nil {
			return err
		}
		return x.h.embed(true)
	}, quicgo{version: v1, suite: aes, features: "keys_after", curve: x})
	add(resumedQUIC,
		quicgo{version: v1, suite: aes, features: "early_data", curve: x},
		quicgo{version: v2, suite: chacha, features: "early_data", curve: x})
	add(migrating,
		quicgo{version: v1, suite: aes, features: "migration", curve: x},
		quicgo{version: v2, suite: aes, features: "migration", curve: x})
	add(many(false),
		quicgo{version: v1, suite: aes, features: "key_update", curve: x},
		quicgo{version: v2, suite: aes256, features: "key_update", curve: x})
	add(many(true), quicgo{version: v1, suite: aes, features: "key_update_lost", curve: x})
	add(web3,
		quicgo{version: v1, suite: aes, features: "http3", curve: x},
		quicgo{version: v1, suite: aes256, features: "http3", curve: x},
		quicgo{version: v1, suite: chacha, features: "http3,retry", curve: x, retry: true},
		quicgo{version: v2, suite: aes, features: "http3", curve: x})
	return all
}
