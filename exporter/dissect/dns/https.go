package dns

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// mediaType is the type of a DNS message in HTTP, RFC 8484 section 6.
const mediaType = "application/dns-message"

// OverHTTPS checks whether an HTTP call carries DNS (RFC 8484), in its bodies or in parameter
// dns of a GET. It returns nil if not, else a function that emits the row of the question and
// its answer. Call that function after the HTTP call was emitted.
func OverHTTPS(c *dissect.Conn, x *dissect.Exchange, h *table.Call) func() {
	req, resp := bodyMessage(x.ReqBody), bodyMessage(x.RespBody)
	if req == nil {
		req = queryMessage(h.Query.V)
	}
	if req == nil && resp == nil || !c.Registered(&Row{}) || c.Excludes("dns") {
		return nil
	}
	return func() {
		k := &conn{c: c, variant: "dns", carrier: "doh"}
		k.exchange(x.Part(req != nil, resp != nil), req, resp, h.Error.V)
	}
}

func bodyMessage(b *dissect.Body) []byte {
	if b == nil {
		return nil
	}
	if kind, _, _ := strings.Cut(b.ContentType, ";"); !strings.EqualFold(strings.TrimSpace(kind), mediaType) {
		return nil
	}
	b.Finish()
	if msg := b.Bytes(); len(msg) >= headerSize {
		return msg
	}
	return nil
}

// queryMessage reads parameter dns, which is base64url without padding. Any server may use a
// parameter of that name, so the message must be complete.
func queryMessage(query string) []byte {
	if !strings.Contains(query, "dns=") {
		return nil
	}
	values, _ := url.ParseQuery(query)
	msg, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(values.Get("dns"), "="))
	if err != nil || len(msg) < headerSize || !plausible(dissect.ToServer, msg, true) {
		return nil
	}
	return msg
}

// exchange emits one question with its answer; one of them may be nil.
func (k *conn) exchange(x dissect.Exchange, req, resp []byte, why string) {
	c := &call{x: x, row: &Row{}, dir: dissect.ToServer}
	if req != nil {
		k.readInto(c, req)
		c.describe(&k.m, k)
		c.fillRequest(&k.m)
	}
	if resp != nil {
		k.readInto(c, resp)
		if req == nil {
			c.describe(&k.m, k)
			c.fillQuestions(&k.m, string(k.m.text))
		}
		c.fillResponse(&k.m)
		why = ""
	} else if why == "" {
		why = "no_response" // HTTP answered with something else
	}
	k.emit(c, why)
}

func (k *conn) readInto(c *call, msg []byte) {
	k.m.read(msg, false)
	if k.m.problem != "" {
		c.broken = "malformed"
		k.c.Anomaly("malformed", k.m.problem, 0)
	}
}
