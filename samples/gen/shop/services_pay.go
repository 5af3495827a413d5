package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// token is payment's token for the card gateway.
type token struct {
	value string
	until time.Time
}

// payment charges cards: it needs a token, and a gateway that responds in time.
func (s *shop) payment(p *pod) routes {
	return routes{"POST /v1/payments": func(w http.ResponseWriter, q *query) {
		in := q.json()
		order, user := text(in["order"]), text(in["user"])
		if text(in["currency"]) == s.sc.text("currency") {
			reply(w, http.StatusInternalServerError, object{"error": s.sc.text("error_500"), "currency": in["currency"], "exchange_rate": 0, "order": order})
			return
		}
		tok := p.http(q.ctx, ask{method: "GET", url: s.url("token-service", "/v1/token?for="+s.sc.name("payment-gateway")), kind: "h2c"})
		if tok.err != nil || tok.status != 200 {
			reply(w, http.StatusServiceUnavailable, object{"error": "no_token", "order": order})
			return
		}
		out := p.http(q.ctx, ask{method: "POST", url: "https://" + s.sc.name("payment-gateway") + "/v1/charges", kind: "payment-gateway", timeout: s.sc.ms("slow_gateway"),
			header: []string{"Authorization", "Bearer " + tok.str("token"), "X-Payment-Reference", "pay-" + order},
			body:   object{"card": in["card"], "amount_cents": in["amount_cents"], "currency": in["currency"], "reference": order}})
		switch {
		case out.err != nil && out.entry.Error == "reset":
			w.Header().Set("Retry-After", "1")
			reply(w, http.StatusServiceUnavailable, object{"error": "gateway_reset", "gateway": s.sc.name("payment-gateway"), "order": order})
		case out.err != nil:
			w.Header().Set("Retry-After", "1")
			reply(w, http.StatusServiceUnavailable, object{"error": "gateway_timeout", "gateway": s.sc.name("payment-gateway"), "after_ms": s.sc.ms("slow_gateway").Milliseconds(), "order": order})
		case out.status == http.StatusUnauthorized:
			reply(w, http.StatusBadGateway, object{"error": "gateway_refused", "cause": out.json()["error"], "expired_at": out.json()["expired_at"], "order": order, "user": user})
		case out.status >= 300:
			reply(w, http.StatusPaymentRequired, object{"error": out.json()["error"], "order": order})
		default:
			reply(w, http.StatusCreated, object{"receipt": out.json()["receipt"], "order": order})
		}
	}}
}

// tokens returns the token for the card gateway, even after it has expired.
func (s *shop) tokens(p *pod) routes {
	return routes{
		"GET /v1/token": func(w http.ResponseWriter, q *query) {
			s.story.mu.Lock()
			t := s.gatewayToken
			s.story.mu.Unlock()
			if t.until.Before(s.clock.now()) && !s.story.stale.Load() {
				t = token{s.sc.text("gateway_token") + "-" + s.clock.now().Format("0102150405"), s.clock.now().Add(4 * time.Hour).Truncate(time.Second)}
				s.story.mu.Lock()
				s.gatewayToken = t
				s.story.mu.Unlock()
			}
			reply(w, 200, object{"token": t.value + "." + fmt.Sprint(t.until.Unix()), "expires_at": t.until.Format(time.RFC3339)})
		},
		"GET /v1/debug/config": func(w http.ResponseWriter, q *query) {
			reply(w, 200, object{"region": "eu-1", "access_key_id": s.sc.text("cloud_key"), "log_level": "debug"})
		},
	}
}

// cardGateway is the external gateway: it rejects expired tokens, and it is slow or aborts as the
// scenario requires.
func (s *shop) cardGateway(p *pod) routes {
	return routes{"POST /v1/charges": func(w http.ResponseWriter, q *query) {
		_, end, _ := strings.Cut(strings.TrimPrefix(q.r.Header.Get("Authorization"), "Bearer "), ".")
		var until int64
		fmt.Sscan(end, &until)
		if at := time.Unix(until, 0).UTC(); at.Before(s.clock.now()) {
			reply(w, http.StatusUnauthorized, object{"error": "token_expired", "expired_at": at.Format(time.RFC3339)})
			return
		}
		if s.story.slowGateway.Load() {
			n := s.story.charges.Add(1)
			if int(n) <= s.sc.count("503_resets") {
				time.Sleep(s.sc.ms("reset_after"))
				if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
					reset(c)
				}
				return
			}
			time.Sleep(s.sc.ms("slow_gateway") + 700*time.Millisecond)
			panic(http.ErrAbortHandler) // the client no longer waits
		}
		time.Sleep(s.sc.ms("charge"))
		if strings.HasSuffix(q.str("card"), "0002") {
			reply(w, http.StatusPaymentRequired, object{"error": "card_declined"})
			return
		}
		reply(w, 200, object{"receipt": "rc-" + random(5), "reference": q.str("reference")})
	}}
}

func (s *shop) mail(p *pod) routes {
	return routes{"POST /v3/mail/send": func(w http.ResponseWriter, q *query) {
		time.Sleep(25 * time.Millisecond)
		reply(w, http.StatusAccepted, object{"id": "msg-" + random(6)})
	}}
}

// parcels fails as often as the story requires.
func (s *shop) parcels(p *pod) routes {
	return routes{"POST /v1/labels": func(w http.ResponseWriter, q *query) {
		time.Sleep(15 * time.Millisecond)
		if s.story.parcelFails.Add(-1) >= 0 {
			reply(w, http.StatusServiceUnavailable, object{"error": "label_printer_offline"})
			return
		}
		reply(w, http.StatusCreated, object{"label": "lb-" + random(5), "order": q.str("order")})
	}}
}

// storage stores objects, except while it must fail.
func (s *shop) storage(p *pod) routes {
	return routes{"/": func(w http.ResponseWriter, q *query) {
		time.Sleep(12 * time.Millisecond)
		if s.story.storageFails.Load() {
			reply(w, http.StatusServiceUnavailable, object{"error": "slow_down"})
			return
		}
		reply(w, 200, object{"stored": len(q.body)})
	}}
}

// collector accepts any request.
func (s *shop) collector(p *pod) routes {
	return routes{"/": func(w http.ResponseWriter, q *query) {
		time.Sleep(6 * time.Millisecond)
		reply(w, 200, object{"ok": true})
	}}
}

const (
	audience = "shop-api"
	signWith = "sample-signing-secret"
)

// jwt makes a token of a user.
func jwt(user, aud, secret string, until time.Time) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	head := part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(object{"sub": user, "aud": aud, "exp": until.Unix()})
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(head))
	return head + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// bearer returns a valid token of a user, as a header value.
func (s *shop) bearer(user string) string {
	return "Bearer " + jwt(user, audience, signWith, s.clock.now().Add(8*time.Hour))
}

// checkToken returns the user of a token, or the reason why it is invalid.
func (s *shop) checkToken(header string) (user, problem string) {
	t, ok := strings.CutPrefix(header, "Bearer ")
	if header == "" {
		return "", "token_missing"
	}
	parts := strings.Split(t, ".")
	if !ok || len(parts) != 3 {
		return "", "token_malformed"
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Sub, Aud string
		Exp      int64
	}
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return "", "token_malformed"
	}
	switch until := time.Unix(claims.Exp, 0); {
	case jwt(claims.Sub, claims.Aud, signWith, until) != t:
		return "", "bad_signature"
	case claims.Aud != audience:
		return "", "wrong_audience"
	case until.Before(s.clock.now()):
		return "", "token_expired"
	}
	return claims.Sub, ""
}
