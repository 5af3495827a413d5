package traffic

import (
	"fmt"
	"strings"
	"time"
)

// queued has a database that is slow for a while; nothing fails, and it recovers.
func queued(c *Capture) {
	for i := range 120 {
		s, took := float64(i)*0.5, 0.004
		if i >= 40 && i < 80 {
			took = 1.2
		}
		db, conn := fmt.Sprintf("db %d", i), fmt.Sprintf("user %d", i)
		c.Exchange(at(s+0.002), at(0.001), db, gateway, database+":5432", pgStartup("shop"), pgReady())
		c.Exchange(at(s+0.004), at(took), db, gateway, database+":5432", pgMessage('Q', "SELECT * FROM carts WHERE owner = 7\x00"), pgRows())
		c.Close(at(s+took+0.006), db)
		c.Exchange(at(s), at(took+0.01), conn, userA, gateway+":80", HTTP("GET /cart HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 200 OK", "", "cart"))
		c.Close(at(s+took+0.02), conn)
	}
}

// slowReplica has three replicas of a service, of which one becomes slow; nothing fails.
func slowReplica(c *Capture) {
	for i := range 90 {
		s, took, up, conn := float64(i)*0.4, 0.01, fmt.Sprintf("up %d", i), fmt.Sprintf("user %d", i)
		if i >= 30 && i%3 == 2 {
			took = 1.1
		}
		c.Exchange(at(s+0.002), at(took), up, gateway, fmt.Sprintf("10.0.1.%d:8080", 1+i%3), HTTP("GET /quote HTTP/1.1\r\nHost: quotes", "", ""), ok(`{"q":1}`))
		c.Close(at(s+took+0.01), up)
		c.Exchange(at(s), at(took+0.005), conn, userA, gateway+":80", HTTP("GET /quote HTTP/1.1\r\nHost: shop", "", ""), ok(`{"q":1}`))
		c.Close(at(s+took+0.02), conn)
	}
}

// secondResolver has a first resolver that stops answering, so that each request waits a second for the other one.
func secondResolver(c *Capture) {
	const question, answer = "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05stock\x07example\x00\x00\x01\x00\x01", "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x03"
	for i := range 60 {
		s, up, conn, id := float64(i)*1.5, fmt.Sprintf("up %d", i), fmt.Sprintf("user %d", i), fmt.Sprintf("\x20%c", i+1)
		say, wait := id+"\x81\x80\x00\x01\x00\x01"+question[6:]+answer, 0.0
		if i < 25 {
			c.Datagram(at(s+0.001), gateway, resolver+":53", id+question, say)
		} else {
			wait = 1
			c.Datagram(at(s+0.001), gateway, resolver+":53", id+question)
			c.Datagram(at(s+1.001), gateway, "10.0.0.10:53", id+question, say)
		}
		c.Exchange(at(s+wait+0.01), at(0.01), up, gateway, orders+":8080", HTTP("POST /stock HTTP/1.1\r\nHost: stock.example", "", "{}"), ok(`{"n":1}`))
		c.Close(at(s+wait+0.03), up)
		c.Exchange(at(s), at(wait+0.03), conn, userA, gateway+":80", HTTP("POST /pay HTTP/1.1\r\nHost: shop", "", "{}"), ok(`{"n":1}`))
		c.Close(at(s+wait+0.04), conn)
	}
}

// steady has times that differ as they always do: one in ten is long, from the beginning to the end.
func steady(c *Capture) {
	for i := range 120 {
		took, conn := 0.02+float64(i*7%13)/500, fmt.Sprintf("user %d", i)
		if i*7%10 == 3 {
			took = 0.6
		}
		c.Exchange(at(float64(i)), at(took), conn, userA, gateway+":80", HTTP("GET /list HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 200 OK", "", "list"))
		c.Close(at(float64(i)+0.95), conn)
	}
}

// lossyAnswers has a network that loses the answers of a service now and then; each comes a second time, and nothing fails.
func lossyAnswers(c *Capture) {
	for i := range 80 {
		s, lost, up, conn := float64(i)*0.9, 0.0, fmt.Sprintf("up %d", i), fmt.Sprintf("user %d", i)
		if i >= 30 && i%3 == 0 {
			lost = 0.8
		}
		c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", HTTP("GET /quote HTTP/1.1\r\nHost: quotes", "", ""), "")
		if lost > 0 {
			c.Resend(at(s+0.002+lost), up, HTTP("GET /quote HTTP/1.1\r\nHost: quotes", "", ""))
		}
		c.Exchange(at(s+0.005+lost), 0, up, gateway, orders+":8080", "", ok(`{"q":1}`))
		c.Close(at(s+lost+0.02), up)
		c.Exchange(at(s), at(lost+0.01), conn, userA, gateway+":80", HTTP("GET /quote HTTP/1.1\r\nHost: shop", "", ""), ok(`{"q":1}`))
		c.Close(at(s+lost+0.03), conn)
	}
}

// fullWindow has a gateway that now and then stops reading the answers of a service; nothing fails.
func fullWindow(c *Capture) {
	body := strings.Repeat("q", 8000)
	for i := range 80 {
		s, full, up, conn := float64(i)*0.9, 0.0, fmt.Sprintf("up %d", i), fmt.Sprintf("user %d", i)
		if i >= 30 && i%3 == 0 {
			full = 0.8
		}
		answer := ok(body)
		c.Exchange(at(s+0.002), time.Millisecond, up, gateway, orders+":8080", HTTP("GET /quote HTTP/1.1\r\nHost: quotes", "", ""), answer[:4000])
		if full > 0 {
			c.Full(at(s+0.0031), up, true)
			c.Take(at(s+0.0031+full), up)
		}
		c.Exchange(at(s+0.005+full), 0, up, gateway, orders+":8080", "", answer[4000:])
		c.Close(at(s+full+0.02), up)
		c.Exchange(at(s), at(full+0.01), conn, userA, gateway+":80", HTTP("GET /quote HTTP/1.1\r\nHost: shop", "", ""), ok(`{"q":1}`))
		c.Close(at(s+full+0.03), conn)
	}
}
