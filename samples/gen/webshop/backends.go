package webshop

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
	"github.com/pcapsule/pcapsule/samples/gen/store"
	"github.com/pcapsule/pcapsule/samples/gen/web"
)

func shopPayment(ctx context.Context, _ []string) error {
	db, err := pgx.Connect(ctx, store.PgURL("postgres"))
	if err != nil {
		return err
	}
	p := &payment{caller: newCaller("payment/4.1.0"), db: make(chan *pgx.Conn, 1)}
	p.db <- db
	mux := http.NewServeMux()
	probes(mux, func() bool { return time.Since(time.Unix(0, p.lastTimeout.Load())) > time.Second })
	mux.HandleFunc("POST /v1/payments", p.pay)
	return lab.Listen(ctx, ":8080", mux)
}

type payment struct {
	*caller
	db          chan *pgx.Conn
	lastTimeout atomic.Int64
}

func (p *payment) pay(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		lab.WriteJSON(w, http.StatusBadRequest, map[string]string{"error": "not an order"})
		return
	}
	id, ctx := r.Header.Get(correlation), r.Context()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	status, said, err := p.json(ctx, "POST", "http://auth:8080/introspect", id, map[string]string{"token": token})
	if err != nil || status != http.StatusOK {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]any{"error": "authorization failed", "cause": said["error"], "user": o.User})
		return
	}
	charge, cancel := context.WithTimeout(ctx, cardTimeout)
	defer cancel()
	status, said, err = p.json(charge, "POST", "http://api.cards.example.net/v1/charge", id, map[string]any{"card": o.Card, "amount_cents": o.AmountCents}, "X-Api-Key", "sk_sample_51H8")
	if err != nil {
		p.lastTimeout.Store(time.Now().UnixNano())
		w.Header().Set("Retry-After", "1")
		lab.WriteJSON(w, http.StatusServiceUnavailable, map[string]any{"error": "card gateway timeout", "after_ms": cardTimeout.Milliseconds(), "order": o.Order})
		return
	}
	if status != http.StatusOK {
		lab.WriteJSON(w, http.StatusPaymentRequired, map[string]any{"error": said["error"], "order": o.Order})
		return
	}
	db := <-p.db
	_, err = db.Exec(ctx, "insert into orders (id, user_id, amount_cents) values ($1, $2, $3)", o.Order, o.User, o.AmountCents)
	p.db <- db
	if err != nil {
		lab.WriteJSON(w, http.StatusInternalServerError, map[string]any{"error": "order not stored", "order": o.Order})
		return
	}
	lab.WriteJSON(w, http.StatusCreated, map[string]any{"order": o.Order, "receipt": said["receipt"]})
}

func shopInventory(ctx context.Context, _ []string) error {
	return web.GrpcServer(ctx, []string{":50051"})
}

func shopAuth(ctx context.Context, _ []string) error {
	mux := http.NewServeMux()
	probes(mux, always)
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Token string }
		json.NewDecoder(r.Body).Decode(&in)
		switch {
		case strings.HasPrefix(in.Token, "expired-"):
			lab.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "token_expired", "expired_at": time.Now().Add(-90 * time.Minute).UTC().Format(time.RFC3339)})
		case in.Token == "":
			lab.WriteJSON(w, http.StatusUnauthorized, map[string]any{"error": "token_missing"})
		default:
			lab.WriteJSON(w, http.StatusOK, map[string]any{"active": true})
		}
	})
	return lab.Listen(ctx, ":8080", mux)
}

// shopNotification sends mail through an external service, over TLS.
func shopNotification(ctx context.Context, args []string) error {
	roots, err := lab.Pool(args[0])
	if err != nil {
		return err
	}
	c := newCaller("notification/1.3.3")
	c.c.Transport = agent{"notification/1.3.3", &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	mux := http.NewServeMux()
	probes(mux, always)
	mux.HandleFunc("POST /v1/send", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		json.NewDecoder(r.Body).Decode(&in)
		status, _, err := c.json(r.Context(), "POST", "https://mail.example.net/v1/messages", r.Header.Get(correlation), in)
		if err != nil || status != http.StatusAccepted {
			lab.WriteJSON(w, http.StatusBadGateway, map[string]string{"error": "mail not taken"})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return lab.Listen(ctx, ":8080", mux)
}

// shopCards is the external card gateway: slow for one card, and it rejects another.
func shopCards(ctx context.Context, _ []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/charge", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Card string }
		json.NewDecoder(r.Body).Decode(&in)
		switch in.Card[max(0, len(in.Card)-4):] {
		case "0119":
			select {
			case <-time.After(700 * time.Millisecond):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler) // the client is gone: no response
			}
		case "0002":
			lab.WriteJSON(w, http.StatusPaymentRequired, map[string]string{"error": "card_declined"})
			return
		}
		time.Sleep(20 * time.Millisecond)
		lab.WriteJSON(w, http.StatusOK, map[string]string{"receipt": newID()})
	})
	return lab.Listen(ctx, ":80", mux)
}

func shopMail(ctx context.Context, args []string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(args[0], "cert.pem"), filepath.Join(args[0], "key.pem"))
	if err != nil {
		return err
	}
	ln, err := tls.Listen("tcp", ":443", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	fmt.Println("ready")
	err = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		lab.WriteJSON(w, http.StatusAccepted, map[string]string{"id": newID()})
	}))
	if ctx.Err() != nil {
		return nil
	}
	return err
}
