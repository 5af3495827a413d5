package main

import (
	"net/http"
	"strings"
	"time"
)

func (s *shop) users(p *pod) routes {
	db := func() *database { return p.db("user-database") }
	get := func(columns string) func(http.ResponseWriter, *query) {
		return func(w http.ResponseWriter, q *query) {
			rows, err := db().rows(q.ctx, "select "+columns+" from users where id = $1", q.r.PathValue("id"))
			if err != nil || len(rows) == 0 {
				reply(w, http.StatusNotFound, object{"error": "no_such_user"})
				return
			}
			reply(w, 200, rows[0])
		}
	}
	return routes{
		"GET /v1/users/{id}":             get("id, name, email"), // it never checks credentials
		"GET /v1/users/{id}/profile":     get("id, name, email, phone"),
		"GET /v1/users/{id}/preferences": get("id, preferences"),
		"GET /v1/users/{id}/badges":      s.slow("badges"),
		"PUT /v1/users/{id}": func(w http.ResponseWriter, q *query) {
			in := q.json()
			err := db().exec(q.ctx, "update users set ssn = $2, iban = $3, phone = $4 where id = $1", q.r.PathValue("id"), text(in["ssn"]), text(in["iban"]), text(in["phone"]))
			if err != nil {
				reply(w, 500, object{"error": "not_kept"})
				return
			}
			p.http(q.ctx, ask{method: "POST", url: "https://" + s.sc.name("crm") + "/v2/contacts", kind: "crm", body: object{"id": q.r.PathValue("id"), "email": s.emailOf(q.r.PathValue("id"))}})
			reply(w, 200, object{"updated": 1})
		},
	}
}

func (s *shop) notification(p *pod) routes {
	return routes{"POST /v1/send": func(w http.ResponseWriter, q *query) {
		out := p.http(q.ctx, ask{method: "POST", url: "https://" + s.sc.name("email-provider") + "/v3/mail/send", kind: "email-provider", header: []string{"Authorization", "Bearer mail-" + s.sc.text("gateway_token")},
			body: object{"from": "orders@shop.example", "to": q.str("to"), "subject": "Your order " + q.str("order"), "template": q.str("template"), "text": "Thank you for your order " + q.str("order") + "."}})
		if out.err != nil || out.status != http.StatusAccepted {
			reply(w, http.StatusBadGateway, object{"error": "mail_not_taken"})
			return
		}
		reply(w, http.StatusAccepted, object{"message_id": out.json()["id"]})
	}}
}

// media takes time proportional to the size of a file.
func (s *shop) media(p *pod) routes {
	return routes{
		"POST /upload": func(w http.ResponseWriter, q *query) {
			time.Sleep(5*time.Millisecond + s.sc.ms("upload_per_100k")*time.Duration(len(q.body))/100_000)
			reply(w, http.StatusCreated, object{"bytes": len(q.body)})
		},
		"GET /thumbnail/{id}": func(w http.ResponseWriter, q *query) {
			time.Sleep(8 * time.Millisecond)
			reply(w, 200, strings.Repeat("thumbnail ", 200))
		},
	}
}

// worker has an endpoint only for the kubelet; other code starts its work.
func (s *shop) worker(p *pod) routes {
	return routes{"GET /readyz": func(w http.ResponseWriter, _ *query) {
		if s.story.ailing.Load() {
			reply(w, http.StatusServiceUnavailable, object{"error": "memory_pressure"})
			return
		}
		reply(w, 200, object{"status": "ready"})
	}}
}

// legacy accepts a name and a password in plain text.
func (s *shop) legacy(p *pod) routes {
	return routes{"POST /sync": func(w http.ResponseWriter, q *query) {
		if _, _, ok := q.r.BasicAuth(); !ok {
			reply(w, http.StatusUnauthorized, object{"error": "who_are_you"})
			return
		}
		p.http(q.ctx, ask{method: "POST", url: "https://" + s.sc.name("bank") + "/statements", kind: "bank", body: object{"account": s.sc.text("iban")}})
		reply(w, 200, object{"synced": true})
	}}
}
