package trace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
)

// brokered is traffic with brokers of messages.
type brokered struct {
	asktest.Made
	published int
}

// say sends bytes on a connection, in either direction.
func (w *brokered) say(ms float64, conn string, up bool, payload string) {
	if up {
		w.Exchange(asktest.Ms(ms), 0, conn, "", "", payload, "")
	} else {
		w.Exchange(asktest.Ms(ms), 0, conn, "", "", "", payload)
	}
}

// nats connects a client and subscribes to a subject, and to its inbox.
func (w *brokered) nats(ms float64, conn string, client, server byte, subject string) {
	w.Call(ms, 0, conn, client, server, 4222, "", `INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true,"jetstream":true}`+"\r\n")
	w.say(ms+1, conn, true, `CONNECT {"verbose":false,"name":"`+conn+`","headers":true}`+"\r\nSUB _INBOX."+conn+".* 1\r\n")
	if subject != "" {
		w.say(ms+2, conn, true, "SUB "+subject+" 2\r\n")
	}
}

func message(verb, subject, rest, payload string) string {
	return fmt.Sprintf("%s %s %s%d\r\n%s\r\n", verb, subject, rest, len(payload), payload)
}

// publish writes a message with the answer of a stream.
func (w *brokered) publish(ms float64, conn, subject, payload, stream string, seq int) {
	w.published++
	inbox := fmt.Sprintf("_INBOX.%s.%d", conn, w.published)
	w.say(ms, conn, true, message("PUB", subject, inbox+" ", payload))
	w.say(ms+1, conn, false, message("MSG", inbox, "1 ", fmt.Sprintf(`{"stream":"%s","seq":%d}`, stream, seq)))
}

// deliver writes a message of a stream, with the consumer's acknowledgement.
func (w *brokered) deliver(ms, took float64, conn, subject, payload, stream string, seq int) {
	reply := fmt.Sprintf("$JS.ACK.%s.billing.1.%d.%d.1700000000000000000.0", stream, seq, seq)
	w.say(ms, conn, false, message("MSG", subject, "2 "+reply+" ", payload))
	w.say(ms+took, conn, true, message("PUB", reply, "", "+ACK"))
}

// redis writes a command.
func (w *brokered) redis(ms, took float64, conn string, client, server byte, key string) {
	w.Call(ms, took, conn, client, server, 6379, fmt.Sprintf("*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\n1\r\n", len(key), key), "+OK\r\n")
}

// orders is a request that puts an order into a stream, whose consumer writes to a database and is
// done 50 ms after it got the message.
func orders(first, second *brokered) {
	first.nats(0, "shop", 2, 3, "")
	second.nats(0, "billing", 4, 3, "orders.*")
	first.HTTP(100, 20, "web", 1, 2, "POST /orders", "", `{"order":17}`, "202 Accepted", asktest.JSON, "{}")
	first.publish(105, "shop", "orders.new", "order 17", "ORDERS", 7)
	second.deliver(305, 50, "billing", "orders.new", "order 17", "ORDERS", 7)
	second.redis(315, 5, "store", 4, 5, "invoice")
	second.redis(900, 5, "store", 4, 5, "housekeeping")
}

func steps(c trace.Chain) string {
	var b []string
	for _, s := range c.Steps {
		method, _, _ := strings.Cut(s.Summary, " ")
		b = append(b, fmt.Sprintf("%d<%d %s %s", s.Step, s.Parent, method, s.Sure))
	}
	return strings.Join(b, ", ")
}

const wholeOrder = "1<0 POST , 2<1 PUB likely, 3<2 MSG exact, 4<3 SET likely"

func TestATraceCrossesABroker(t *testing.T) {
	w := &brokered{}
	orders(w, w)
	c := w.Open(t)
	for _, kfl := range []string{`path == "/orders"`, `redis_key == "invoice"`, `protocol == "nats" and method == "MSG"`} {
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: kfl}}))
		if len(tr.Chains) != 1 || steps(tr.Chains[0]) != wholeOrder {
			t.Fatalf("%s: %+v", kfl, tr.Chains)
		}
		got := tr.Chains[0]
		if msg := got.Steps[2]; msg.QueueMs != 200 || msg.SelfMs != 45 || got.ElapsedMs != 20 {
			t.Errorf("%s: queue %v ms, own time %v ms, chain %v ms", kfl, msg.QueueMs, msg.SelfMs, got.ElapsedMs)
		}
		if pub := got.Steps[1]; pub.SelfMs != 1 {
			t.Errorf("publishing took %v ms of its own", pub.SelfMs)
		}
		share := 0.0
		for _, h := range tr.Hops {
			if share += h.Share; h.Async != slices.Contains([]string{"10.0.0.4", "10.0.0.5"}, h.Dst) {
				t.Errorf("hop %+v", h)
			}
		}
		if share != 1 {
			t.Errorf("the shares of the request's time are %v", share)
		}
	}
	tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: `redis_key == "housekeeping"`}}))
	if len(tr.Chains) != 1 || len(tr.Chains[0].Steps) != 1 {
		t.Errorf("a call after the acknowledgement: %+v", tr.Chains)
	}
}

func TestManyCallsCrossABroker(t *testing.T) {
	w := &brokered{}
	orders(w, w)
	c := w.Open(t)
	l := asktest.Must[*latency.Answer](t)(latency.Ask(ctx, c, latency.In{Path: "/orders", Parts: []string{"chain"}}))
	if len(l.Chain.Hops) != 3 {
		t.Fatalf("%+v", l.Chain)
	}
	for i, want := range []struct {
		dst   string
		async bool
		own   float64
	}{{"10.0.0.2", false, 19}, {"10.0.0.3", false, 1}, {"10.0.0.5", true, 5}} {
		h := l.Chain.Hops[i]
		if h.Dst != want.dst || h.Depth != int64(i) || h.Async != want.async || h.OwnMs != want.own || h.Async != (h.QueueMs != nil) || h.Async && (*h.QueueMs != 200 || h.OwnShare != 0) {
			t.Errorf("hop %d: %+v", i, h)
		}
	}
	m := asktest.Must[*servicemap.Dependencies](t)(servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: "10.0.0.5", Blast: true}))
	if m.Blast == nil || m.Blast.Explained != 1 || len(m.Blast.Endpoints) != 1 || m.Blast.Endpoints[0].Endpoint != "POST /orders" || m.Blast.Endpoints[0].Confidence != "likely" {
		t.Errorf("%+v", m.Blast)
	}
}

// parentOf is the parent's summary of the only call that matches, with the confidence in it.
func parentOf(t *testing.T, c *forensics.Case, kfl string) string {
	t.Helper()
	tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: kfl}}))
	for _, one := range tr.Chains {
		for _, s := range one.Steps {
			if s.Asked && s.Parent > 0 {
				return one.Steps[s.Parent-1].Summary + " " + s.Sure
			}
		}
	}
	return ""
}

// TestMessagesAreNotLinkedByGuess plants messages that only look like others.
func TestMessagesAreNotLinkedByGuess(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(w *brokered)
		want string
	}{
		{"the only message with this subject and payload", func(w *brokered) {
			w.say(100, "shop", true, message("PUB", "log.a", "", "tick"))
			w.say(101, "billing", false, message("MSG", "log.a", "2 ", "tick"))
		}, "PUB log.a (4 B) → ok likely"},
		{"a request with its reply subject", func(w *brokered) {
			for i := range 2 { // the same payload twice
				w.say(100+float64(i), "shop", true, message("PUB", "log.a", fmt.Sprintf("_INBOX.shop.%d ", i), "tick"))
			}
			w.say(105, "billing", false, message("MSG", "log.a", "2 _INBOX.shop.0 ", "tick"))
		}, "exact"},
		{"the same payload twice", func(w *brokered) {
			for _, at := range []float64{100, 200} {
				w.say(at, "shop", true, message("PUB", "log.a", "", "tick"))
			}
			w.say(201, "billing", false, message("MSG", "log.a", "2 ", "tick"))
		}, ""},
		{"two messages, one of whose publishers was not captured", func(w *brokered) {
			w.say(100, "shop", true, message("PUB", "log.a", "", "tick"))
			w.say(101, "billing", false, message("MSG", "log.a", "2 ", "tick"))
			w.say(5000, "billing", false, message("MSG", "log.a", "2 ", "tick"))
		}, ""},
		{"another subject", func(w *brokered) {
			w.say(100, "shop", true, message("PUB", "log.b", "", "tick"))
			w.say(101, "billing", false, message("MSG", "log.a", "2 ", "tick"))
		}, ""},
		{"got before it was published", func(w *brokered) {
			w.say(101, "billing", false, message("MSG", "log.a", "2 ", "tick"))
			w.say(102, "shop", true, message("PUB", "log.a", "", "tick"))
		}, ""},
		{"too long ago", func(w *brokered) {
			w.say(100, "shop", true, message("PUB", "log.a", "", "tick"))
			w.say(70_000, "billing", false, message("MSG", "log.a", "2 ", "tick"))
		}, ""},
		{"the same trace", func(w *brokered) {
			for _, at := range []float64{100, 101} {
				line := []string{"HPUB log.a", "HMSG log.a 2"}[int(at)-100]
				w.say(at, []string{"shop", "billing"}[int(at)-100], at == 100, line+" 82 86\r\nNATS/1.0\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\ntick\r\n")
			}
		}, "exact"},
		{"another trace", func(w *brokered) {
			w.say(100, "shop", true, "HPUB log.a 82 86\r\nNATS/1.0\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\ntick\r\n")
			w.say(101, "billing", false, "HMSG log.a 2 82 86\r\nNATS/1.0\r\ntraceparent: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\ntick\r\n")
		}, ""},
		{"another broker", func(w *brokered) {
			w.nats(50, "test", 6, 9, "")
			w.say(100, "test", true, message("PUB", "log.a", "", "tick"))
			w.say(101, "billing", false, message("MSG", "log.a", "2 ", "tick"))
		}, ""},
		{"the same number in another stream", func(w *brokered) {
			w.publish(100, "shop", "log.a", "tick", "TEST", 7)
			w.deliver(300, 5, "billing", "log.a", "tick", "LOG", 7)
		}, ""},
		{"another number of the stream, with the same payload", func(w *brokered) {
			w.publish(100, "shop", "log.a", "tick", "LOG", 6)
			w.deliver(300, 5, "billing", "log.a", "tick", "LOG", 7)
		}, ""},
		{"the number before it was given", func(w *brokered) {
			w.deliver(100, 5, "billing", "log.a", "tick", "LOG", 7)
			w.publish(300, "shop", "log.a", "tick", "LOG", 7)
		}, ""},
		{"the same stream and number at two brokers", func(w *brokered) {
			w.nats(50, "test", 6, 9, "")
			w.publish(100, "shop", "log.a", "tick", "LOG", 7)
			w.publish(200, "test", "log.a", "tock", "LOG", 7)
			w.deliver(300, 5, "billing", "log.a", "tick", "LOG", 7)
		}, "PUB log.a (4 B) → LOG/7 exact"},
		{"a stream at two other brokers", func(w *brokered) {
			w.nats(50, "test", 6, 9, "")
			w.nats(50, "more", 7, 8, "")
			w.publish(100, "more", "log.a", "tick", "LOG", 7)
			w.publish(200, "test", "log.a", "tick", "LOG", 7)
			w.deliver(300, 5, "billing", "log.a", "tick", "LOG", 7)
		}, ""},
		{"delivered again", func(w *brokered) {
			w.publish(100, "shop", "log.a", "tick", "LOG", 7)
			w.deliver(200, 5, "other", "log.a", "tick", "LOG", 7)
			w.deliver(300, 5, "billing", "log.a", "tick", "LOG", 7)
		}, "PUB log.a (4 B) → LOG/7 exact"},
	} {
		w := &brokered{}
		w.nats(0, "shop", 2, 3, "")
		w.nats(0, "other", 10, 3, "log.*")
		w.nats(0, "billing", 4, 3, "log.*")
		c.make(w)
		if got := parentOf(t, w.Open(t), `protocol == "nats" and method == "MSG" and dst.ip == "10.0.0.4"`); got != c.want && (c.want == "" || !strings.HasSuffix(got, c.want)) {
			t.Errorf("%s: parent %q, want %q", c.name, got, c.want)
		}
	}
}

// TestMessagesInTwoBundles has a producer and a consumer in bundles with their own clocks.
func TestMessagesInTwoBundles(t *testing.T) {
	for _, late := range []float64{0, 203, -30_000, 2_000} { // ms that the consumer's clock is behind
		first, second := &brokered{}, &brokered{}
		orders(first, second)
		second.Shift(-asktest.Ms(late))
		tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, asktest.OpenAll(t, &first.Capture, &second.Capture), trace.In{Scope: ask.Scope{KFL: `path == "/orders"`}}))
		if len(tr.Chains) != 1 || (steps(tr.Chains[0]) == wholeOrder) != (late < 1000) {
			t.Errorf("%v ms: %s", late, steps(tr.Chains[0]))
		}
	}
}

// TestARequestThroughABroker has a service that answers requests of NATS: their sender waits.
func TestARequestThroughABroker(t *testing.T) {
	w := &brokered{}
	w.nats(0, "shop", 2, 3, "")
	w.nats(0, "prices", 4, 3, "price")
	w.HTTP(100, 60, "web", 1, 2, "GET /price", "", "", "200 OK", asktest.JSON, "{}")
	w.say(105, "shop", true, message("PUB", "price", "_INBOX.shop.1 ", "tea"))
	w.say(107, "prices", false, message("MSG", "price", "2 _INBOX.shop.1 ", "tea"))
	w.redis(110, 20, "store", 4, 5, "tea")
	w.say(147, "prices", true, message("PUB", "_INBOX.shop.1", "", "17"))
	w.say(150, "shop", false, message("MSG", "_INBOX.shop.1", "1 ", "17"))
	c := w.Open(t)
	tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: `path == "/price"`}}))
	if len(tr.Chains) != 1 || steps(tr.Chains[0]) != "1<0 GET , 2<1 PUB likely, 3<2 MSG exact, 4<3 SET likely" {
		t.Fatalf("%+v", tr.Chains)
	}
	for i, own := range []float64{15, 5, 20, 20} {
		if s := tr.Chains[0].Steps[i]; s.SelfMs != own || (s.QueueMs == 2) != (i == 2) {
			t.Errorf("%s: own time %v ms, queue %v ms", s.Summary, s.SelfMs, s.QueueMs)
		}
	}
	for _, h := range tr.Hops {
		if h.Async {
			t.Errorf("%+v", h)
		}
	}
	l := asktest.Must[*latency.Answer](t)(latency.Ask(ctx, c, latency.In{Path: "/price", Parts: []string{"chain"}}))
	if len(l.Chain.Hops) != 3 || l.Chain.Hops[2].Async || l.Chain.Hops[1].OwnMs != 25 {
		t.Errorf("%+v", l.Chain)
	}
}

// TestEntriesOfAStreamOfRedis has a consumer that reads two of three entries at once.
func TestEntriesOfAStreamOfRedis(t *testing.T) {
	w := &brokered{}
	for i := range 3 {
		w.Call(float64(100+i), 0.5, "shop", 2, 3, 6379, "*5\r\n$4\r\nXADD\r\n$6\r\norders\r\n$1\r\n*\r\n$1\r\nn\r\n$1\r\n7\r\n", fmt.Sprintf("$15\r\n170000000000%d-0\r\n", i))
	}
	entry := func(i int) string {
		return fmt.Sprintf("*2\r\n$15\r\n170000000000%d-0\r\n*2\r\n$1\r\nn\r\n$1\r\n7\r\n", i)
	}
	for i, list := range []string{"*2\r\n" + entry(0) + entry(2), "*1\r\n" + entry(1)} {
		w.Call(float64(50+200*i), 100, "billing", 4, 3, 6379, "*4\r\n$5\r\nXREAD\r\n$7\r\nSTREAMS\r\n$6\r\norders\r\n$1\r\n$\r\n", "*1\r\n*2\r\n$6\r\norders\r\n"+list)
	}
	w.redis(155, 5, "store", 4, 5, "two")
	w.redis(355, 5, "store", 4, 5, "one")
	c := w.Open(t)
	tr := asktest.Must[*trace.Answer](t)(trace.Ask(ctx, c, trace.In{Scope: ask.Scope{KFL: `method == "XADD"`}}))
	var got []string
	for _, one := range tr.Chains {
		got = append(got, steps(one))
	}
	want := []string{"1<0 XADD , 2<1 XREAD exact, 3<2 SET guess", "1<0 XADD , 2<1 XREAD exact, 3<2 SET likely", "1<0 XADD "}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if r := tr.Chains[1].Steps[1]; r.QueueMs != 249 || r.SelfMs != 0 {
		t.Errorf("queue %v ms, own time %v ms", r.QueueMs, r.SelfMs)
	}
}
