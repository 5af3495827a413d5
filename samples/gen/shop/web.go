package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// correlation is passed from call to call in a request's context.
type correlation struct {
	requestID, traceID string
	lost               bool // a service did not forward them
}

type correlationKey struct{}

func withCorrelation(ctx context.Context, c correlation) context.Context {
	return context.WithValue(ctx, correlationKey{}, c)
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func newCorrelation() correlation {
	return correlation{requestID: "req-" + random(4), traceID: random(16)}
}

// webClient makes a workload's HTTP requests.
type webClient struct {
	p      *pod
	mu     sync.Mutex
	kinds  map[string]*http.Transport
	agent  string
	single bool // a new connection for every request
}

func newWebClient(p *pod) *webClient {
	agent := "Mozilla/5.0 (X11; Linux x86_64) sample"
	if p.svc != nil {
		_, image, _ := strings.Cut(p.svc.Image, "/")
		agent = strings.Replace(image, ":", "/", 1)
	}
	if p.role == kubeletRole {
		agent = "kube-probe/1.33"
	}
	return &webClient{p: p, kinds: map[string]*http.Transport{}, agent: agent, single: p.role == kubeletRole}
}

// transport returns the transport for a kind of server: plain, h2c, or a TLS configuration.
func (c *webClient) transport(kind string) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.kinds[kind]; t != nil {
		return t
	}
	t := &http.Transport{DialContext: c.p.dialName, MaxIdleConnsPerHost: 24, DisableKeepAlives: c.single, DisableCompression: true}
	switch kind {
	case "plain":
	case "h2c":
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.TLSClientConfig = c.p.tlsClient(kind)
		t.DialTLSContext = c.p.dialTLS(t.TLSClientConfig, kind)
		t.ForceAttemptHTTP2 = slices.Contains(t.TLSClientConfig.NextProtos, "h2")
	}
	c.kinds[kind] = t
	return t
}

func (c *webClient) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.kinds {
		t.CloseIdleConnections()
	}
}

// ask is a request to make.
type ask struct {
	method, url string
	kind        string // plain, h2c, or the role of a TLS server
	body        any    // string, []byte, or a value for JSON
	header      []string
	raw         map[string]string // headers with exact spelling
	timeout     time.Duration
	to          string // address to dial instead of the host's
}

// answer is a response.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
	entry  *Entry
}

func (a answer) json() map[string]any {
	m := map[string]any{}
	json.Unmarshal(a.body, &m)
	return m
}

func (a answer) str(key string) string {
	s, _ := a.json()[key].(string)
	return s
}

type dialTo struct{}

// http makes one exchange and logs it in the journal.
func (p *pod) http(ctx context.Context, q ask) answer {
	if q.timeout == 0 {
		q.timeout = 20 * time.Second
	}
	if q.kind == "" {
		q.kind = "plain"
	}
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	if q.to != "" {
		ctx = context.WithValue(ctx, dialTo{}, q.to)
	}
	body, content := encode(q.body)
	e := p.shop.log.begin(p, "http1")
	e.Method, e.request, e.RequestBytes = q.method, string(body), len(body)
	u, err := url.Parse(q.url)
	if err != nil {
		return answer{err: err}
	}
	e.Host, e.Path, e.Endpoint = u.Hostname(), u.RequestURI(), endpointOf(u.Path)
	reached := false
	var wrote atomic.Int64 // set by the goroutine of the connection
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		e.ClientAddr, e.ServerAddr = i.Conn.LocalAddr().String(), i.Conn.RemoteAddr().String()
		e.realAt, reached = time.Now(), true
		if s, ok := i.Conn.(interface{ sealed() bool }); ok {
			e.Sealed = s.sealed()
		}
	}, WroteHeaders: func() { wrote.Store(time.Now().UnixNano()) }})
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if len(body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	p.addHeaders(req, q, content, e)
	res, err := p.web.transport(q.kind).RoundTrip(req)
	out := answer{entry: e}
	if err == nil {
		out.status, out.header = res.StatusCode, res.Header
		out.body, err = io.ReadAll(res.Body)
		res.Body.Close()
		if res.ProtoMajor == 2 {
			e.Protocol = "http2"
		}
		e.Status, e.answered, e.reply, e.ResponseBytes = res.StatusCode, res.Header, string(out.body), len(out.body)
	}
	if err != nil {
		e.Error, out.err = fault(err), err
		if ctx.Err() != nil {
			e.Error = "timeout"
		}
	}
	if n := wrote.Load(); n != 0 {
		e.realAt = time.Unix(0, n)
	}
	if reached {
		p.shop.log.end(p.shop, e)
	} else {
		log.Printf("%s: %s %s: %v", p.name, q.method, q.url, out.err)
	}
	return out
}

func encode(body any) (b []byte, content string) {
	switch v := body.(type) {
	case nil:
		return nil, ""
	case string:
		return []byte(v), "text/plain; charset=utf-8"
	case []byte:
		return v, "application/octet-stream"
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return b, "application/json"
}

func (p *pod) addHeaders(req *http.Request, q ask, content string, e *Entry) {
	req.Header.Set("User-Agent", p.web.agent)
	if content != "" {
		req.Header.Set("Content-Type", content)
	}
	if c, ok := req.Context().Value(correlationKey{}).(correlation); ok && !c.lost {
		req.Header.Set("X-Request-Id", c.requestID)
		req.Header.Set("Traceparent", "00-"+c.traceID+"-"+random(8)+"-01")
	}
	for i := 0; i+1 < len(q.header); i += 2 {
		req.Header.Set(q.header[i], q.header[i+1])
	}
	for name, value := range q.raw {
		req.Header[name] = []string{value}
	}
	if id := req.Header.Get("X-Request-Id"); id != "" {
		e.RequestID = id
	}
	if parts := strings.Split(req.Header.Get("Traceparent"), "-"); len(parts) == 4 {
		e.TraceID = parts[1]
	}
	e.asked = req.Header.Clone()
}

// dialName resolves a name with the cluster's DNS and connects to a port.
func (p *pod) dialName(ctx context.Context, network, addr string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ips := []string{name}
	if to, ok := ctx.Value(dialTo{}).(string); ok {
		ips = []string{to}
	} else if net.ParseIP(name) == nil {
		if ips, err = p.names.lookup(ctx, name); err != nil {
			return nil, err
		}
	}
	from := ""
	if !p.inside() {
		from = p.ip
	}
	return p.dial(ctx, network, from, net.JoinHostPort(ips[0], port))
}

// sealedConn is a TLS connection whose keys are not logged.
type sealedConn struct{ *tls.Conn }

func (sealedConn) sealed() bool { return true }

// query is a request as received by a service.
type query struct {
	ctx  context.Context
	p    *pod
	r    *http.Request
	body []byte
}

func (q *query) json() map[string]any {
	m := map[string]any{}
	json.Unmarshal(q.body, &m)
	return m
}

func (q *query) str(key string) string {
	if s, ok := q.json()[key].(string); ok {
		return s
	}
	return ""
}
