package mcp

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pcapsule/pcapsule/internal/nightly"
)

// journey is a question that people answer by looking: where they begin, the keys that they press, and what they see.
type journey struct {
	question string
	at       string   // an address, such as one from a colleague
	keys     []string // each is typed, and the page answers
	see      []string
}

// filtered types a filter. A real keyboard does not type the key that opened the box.
func filtered(kfl string) []string { return []string{"/", kb.Backspace + kfl + kb.Enter} }

// journeys are about the traffic of samples/shop.pcapng.
var journeys = []journey{
	{"checkout failed: the calls to payment in that time, and what went wrong", "v=calls", filtered(`dst.service == "payment" && failed`), []string{"12 of 369 calls", "503 server error"}},
	{"where is the timeout behind a 5xx of /api/checkout", "v=calls&c=CALL", nil, []string{"Trace", "api.cards.example.net", "POST /v1/charge", "no end"}},
	{"what happened around the event of a pod", "v=evidence", nil, []string{"Unhealthy", "Readiness probe failed"}},
	{"walk from the failed checkout to the expired token", "v=summary", nil, []string{"token_expired", "shop/auth"}},
	{"which calls failed, and why", "v=summary", nil, []string{"89 failed", "Where failures began", "did not answer POST /v1/charge within 500 ms"}},
	{"the exact request that made payment return a 503", "v=calls", append(filtered(`dst.service == "payment" && status_code == 503 && method == "POST"`), "j", kb.Enter), []string{"POST /v1/payments", `"card": "4000 00** **** 0119"`}},
	{"what about the service frontend", "v=map&n=shop/frontend", nil, []string{"clients call it directly", "shop/gateway", "It depends on"}},
	{"more about these 503s", "v=calls&g=to", filtered("status_code == 503"), []string{"14 of 369 calls", "payment", "100 %"}},
	{"error patterns in a namespace", "v=calls&g=outcome", filtered(`dst.namespace == "shop" && failed`), []string{"34 of 369 calls", "server_error", "client_error"}},
	{"this time against the time before", "v=compare&t=1795166690500-1795166692000", nil, []string{"All requests: 64, before 127", "baseline"}},
	{"what does payment depend on, is any of it unhealthy", "v=map&n=shop/payment", nil, []string{"api.cards.example.net", "failing"}},
	{"who connects to outside addresses", "v=summary", nil, []string{"Outside", "example.net"}},
	{"calls without Authorization", "v=calls&g=to", filtered("http && !request.headers.authorization"), []string{"152 of 369 calls"}},
	{"what the outside reaches", "v=map", nil, []string{"(outside)", "shop/gateway"}},
	{"cards in bodies", "v=findings", nil, []string{"card (personal) in the request body of POST /v1/payments"}},
	{"credentials in clear text", "v=findings", nil, []string{"sends credentials (apikey) to api.cards.example.net"}},
	{"all that talks to inventory, both ways", "v=calls", filtered(`src.service == "inventory" || dst.service == "inventory"`), []string{"8 of 369 calls", "grpc"}},
	{"the whole flow of an order", "v=calls&c=CALL", nil, []string{"Trace", "shop/payment", "shop/frontend"}},
	{"what is hit if redis is gone", "v=map&n=shop/redis", nil, []string{"Affected: its callers", "shop/catalogue"}},
	{"who goes to the database", "v=calls&g=from", filtered("postgresql"), []string{"63 of 369 calls", "catalogue"}},
	{"the most used endpoints", "v=calls&g=endpoint", nil, []string{"GET /healthz", "p99"}},
	{"what payment does", "v=calls&g=endpoint", filtered(`src.service == "payment"`), []string{"83 of 369 calls", "POST /v1/charge"}},
	{"which protocols, and an example", "v=summary", nil, []string{"Protocols", "postgresql", "grpc"}},
	{"where time goes in a call", "v=calls&c=CALL", nil, []string{"Time", "wait", "1.66 s"}},
	{"calls over 500 ms, the slowest first", "v=calls&o=slowest", filtered("elapsed_us > 500000"), []string{"10 of 369 calls", "1.68 s"}},
	{"database queries over 1 ms", "v=calls", filtered("postgresql && elapsed_us > 1000"), []string{"11 of 369 calls"}},
	{"evidence of all traffic of payment", "v=calls&c=CALL", nil, []string{"Packets for Wireshark", "Cite: call"}},
	{"who did what with the evidence", "v=evidence", nil, []string{"Custody log", "made", "SHA-256"}},
	{"every call in processing order 5006", "v=calls", filtered(`request.body.contains("5006")`), []string{"5 of 369 calls"}},
	{"the last requests of frontend from gateway", "v=calls&o=newest", filtered(`src.service == "gateway" && dst.service == "frontend"`), []string{"29 of 369 calls"}},
	{"which headers were in the request", "v=calls&c=CALL", nil, []string{"Bearer [masked]", "Content-Type"}},
	{"all 4xx, and what caused them", "v=calls", filtered("status_code >= 400 && status_code < 500"), []string{"10 of 369 calls", "client error"}},
	{"does auth reject invalid tokens", "v=calls", append(filtered(`dst.service == "auth" && status_code == 401`), "j", kb.Enter), []string{"1 of 369 calls", "token_expired"}},
	{"transport health of the database", "v=connections", filtered("postgresql"), []string{"retransmissions", "postgres-0:5432"}},
	{"a number that no view has", "v=sql&s=select count(*) as n from calls where failed", nil, []string{"89"}},
	{"files in transfer", "v=objects", nil, []string{"text/html", "2 files"}},
}

// TestJourneys takes every journey by keyboard alone.
func TestJourneys(t *testing.T) {
	t.Parallel()
	web := paged(t, nil)
	b := browse(t, web.URL)
	place := placeOf(t, web)
	b.open("#token=" + secret)
	for _, j := range nightly.Some(journeys, 18) {
		b.turn("#" + place.Replace(j.at))
		for _, k := range j.keys {
			b.do(chromedp.KeyEvent(k))
			b.until(settled)
		}
		for _, text := range j.see {
			b.until(fmt.Sprintf("document.body.innerText.includes(%q) /* %s */", text, j.question))
		}
	}
	b.quiet()
}
