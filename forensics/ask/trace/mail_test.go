package trace_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

// TestTraceFollowsAMail expects the way of one mail, and no call of another: from the client to a server,
// to the next server, and to the client that fetched it. The chain is the same whichever call is asked for.
func TestTraceFollowsAMail(t *testing.T) {
	w := &asktest.Made{}
	const client, relay, store, reader = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"
	for i, id := range []string{"order-1@shop.example", "order-2@shop.example"} {
		at := time.Duration(i) * 500 * time.Millisecond
		mail(w, at+time.Second, client, relay, id)
		mail(w, at+3*time.Second, relay, store, id)
		head := "From: ann@shop.example\r\nMessage-ID: <" + id + ">\r\nSubject: order\r\n\r\nhello\r\n"
		w.Dialog(at+6*time.Second, time.Millisecond, reader, store, "143", "", "* OK ready\r\n", "a1 LOGIN bob secret\r\n", "a1 OK in\r\n", "a2 SELECT INBOX\r\n", "* 1 EXISTS\r\na2 OK\r\n",
			"a3 FETCH 1 (BODY[])\r\n", "* 1 FETCH (BODY[] {"+itoa(len(head))+"}\r\n"+head+")\r\na3 OK done\r\n")
	}
	c := w.Open(t)
	type call struct {
		ID   string `json:"call_id"`
		Text string `json:"id"`
	}
	list, _, err := ask.Rows[call](ctx, c, 100, "SELECT call_id, coalesce(smtp_message_id, imap_message_id) AS id FROM calls WHERE coalesce(smtp_message_id, imap_message_id) IS NOT NULL ORDER BY ts_ns")
	if err != nil || len(list) != 6 {
		t.Fatalf("%d calls with a mail, want 6: %v", len(list), err)
	}
	for _, asked := range list {
		got := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{CallID: asked.ID}))
		if len(got.Chains) != 1 {
			t.Fatalf("%s: %d chains, want 1", asked.Text, len(got.Chains))
		}
		var steps []string
		for _, s := range got.Chains[0].Steps {
			steps = append(steps, itoa(s.Parent)+" "+s.Src+" "+s.Dst+" "+s.Sure)
		}
		if want := "0 10.0.0.1 10.0.0.2 , 1 10.0.0.2 10.0.0.3 exact, 2 10.0.0.4 10.0.0.3 exact"; strings.Join(steps, ", ") != want {
			t.Errorf("%s of %s: steps %q, want %q", asked.ID, asked.Text, strings.Join(steps, ", "), want)
		}
		if q := got.Chains[0].Steps[1].QueueMs; q < 1900 || q > 2000 {
			t.Errorf("%s: the mail waited %v ms at the relay, want 2 s less the delivery", asked.Text, q)
		}
	}
}

// TestTraceFollowsAUser has a server that works for two users at once. Only the name shows for whom it
// asked another.
func TestTraceFollowsAUser(t *testing.T) {
	w := &asktest.Made{}
	const ms = time.Millisecond
	for i, basic := range []string{"YW5uOnNlY3JldA==", "U0hPUFxib2I6c2VjcmV0"} { // ann:secret, SHOP\bob:secret
		w.Single(time.Duration(10+i)*ms, 50*ms, "10.0.0.1", "10.0.0.2", asktest.Get("/login", "Authorization: Basic "+basic), asktest.Answer("200 OK", "{}"))
	}
	w.Single(20*ms, 5*ms, "10.0.0.2", "10.0.0.3", asktest.Get("/accounts/ann"), asktest.Answer("200 OK", `{"a":1}`))
	w.Single(30*ms, 5*ms, "10.0.0.2", "10.0.0.3", asktest.Get("/accounts/bob"), asktest.Answer("200 OK", `{"b":1}`))
	c := w.Open(t)
	for path, want := range map[string]string{"/accounts/ann": "ann", "/accounts/bob": `SHOP\bob`} {
		got := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: "path == '" + path + "'"}}))
		if len(got.Chains) != 1 || len(got.Chains[0].Steps) != 2 {
			t.Fatalf("%s: chains %+v", path, got.Chains)
		}
		parent, child := got.Chains[0].Steps[0], got.Chains[0].Steps[1]
		user, err := ask.One[struct {
			Name string `json:"name"`
		}](ctx, c, "SELECT "+terms.User()+" AS name FROM calls WHERE starts_with(lower(hex(call_id)), ?)", parent.CallID)
		if err != nil || user.Name != want || !strings.Contains(child.How, "the same user") {
			t.Errorf("%s: made for %q (%s), want %q: %v", path, user.Name, child.How, want, err)
		}
	}
}

// mail writes a delivery by SMTP.
func mail(w *asktest.Made, at time.Duration, from, to, id string) {
	w.Dialog(at, time.Millisecond, from, to, "25", "", "220 mx ESMTP\r\n", "EHLO c\r\n", "250 mx\r\n", "MAIL FROM:<ann@shop.example>\r\n", "250 ok\r\n", "RCPT TO:<bob@shop.example>\r\n", "250 ok\r\n", "DATA\r\n", "354 go\r\n",
		"From: ann@shop.example\r\nMessage-ID: <"+id+">\r\nSubject: order\r\n\r\nhello\r\n.\r\n", "250 2.0.0 queued\r\n", "QUIT\r\n", "221 bye\r\n")
}
