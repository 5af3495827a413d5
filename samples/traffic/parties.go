package traffic

import (
	"fmt"
	"strings"
)

// oneTenant has a gateway that limits one of three clients.
func oneTenant(c *Capture) {
	for i := range 60 {
		conn, user, answer := fmt.Sprintf("user %d", i), fmt.Sprintf("203.0.113.%d", 5+i%3), ok(`[]`)
		if i%3 == 2 && i >= 12 {
			answer = HTTP("HTTP/1.1 429 Too Many Requests", "Content-Type: text/html", "<html><head><title>429 Too Many Requests</title></head></html>")
		}
		c.Exchange(at(float64(i)*0.3), at(0.004), conn, user, gateway+":80", HTTP("GET /api/items HTTP/1.1\r\nHost: api.example", "", ""), answer)
		c.Close(at(float64(i)*0.3+0.01), conn)
	}
}

// gaveUp has users who do not wait for the answers of a service that became slow.
func gaveUp(c *Capture) {
	for i := range 40 {
		s, up, conn := float64(i)*3, fmt.Sprintf("up %d", i), fmt.Sprintf("user %d", i)
		request := HTTP("GET /feed HTTP/1.1\r\nHost: shop", "", "")
		if i < 20 {
			c.Exchange(at(s+0.002), at(0.01), up, gateway, orders+":8080", request, ok(`{"f":1}`))
			c.Exchange(at(s), at(0.02), conn, userA, gateway+":80", request, ok(`{"f":1}`))
			c.Close(at(s+0.03), up)
			c.Close(at(s+0.03), conn)
			continue
		}
		c.Exchange(at(s), 0, conn, userA, gateway+":80", request, "")
		c.Acknowledge(at(s+0.001), conn)
		c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", request, "")
		c.Acknowledge(at(s+0.003), up)
		c.Close(at(s+1), conn)
		c.Leave(at(s+1.001), up)
		c.Exchange(at(s+2.5), 0, up, gateway, orders+":8080", "", ok(`{"f":1}`))
		c.Reject(at(s+2.501), up)
	}
}

// tooLarge has a network that drops large packets, so that large answers do not arrive.
func tooLarge(c *Capture) {
	page := HTTP("HTTP/1.1 200 OK", "", strings.Repeat("The report has more than one page. ", 300))[:2800]
	for i := range 40 {
		s, up, conn, path := float64(i)*4, fmt.Sprintf("up %d", i), fmt.Sprintf("user %d", i), "GET /health"
		inner, answer, took := ok("ok"), ok("ok"), 0.02
		if i%4 == 3 {
			path, inner, answer, took = "GET /report", page, HTTP("HTTP/1.1 504 Gateway Timeout", "Content-Type: text/html", "<html><title>504 Gateway Time-out</title></html>"), 3.01
		}
		request := HTTP(path+" HTTP/1.1\r\nHost: shop", "", "")
		c.Exchange(at(s), at(took), conn, userA, gateway+":80", request, answer)
		c.Close(at(s+took+0.01), conn)
		c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", request, "")
		if took < 1 {
			c.Exchange(at(s+0.01), 0, up, gateway, orders+":8080", "", inner)
		} else {
			c.Exchange(at(s+0.01), 0, up, gateway, orders+":8080", "", inner)
			for _, wait := range []float64{0.2, 0.6, 1.4} {
				c.SendAgain(at(s+0.01+wait), up, inner)
			}
			c.Unseen(up, inner)
		}
		if took < 1 {
			c.Close(at(s+took), up)
		} else {
			c.Reset(at(s+3), up)
		}
	}
}

// asksFirst has clients of Redis that ask for what it does not know when they connect, and a service that is down.
func asksFirst(c *Capture) {
	for i := range 30 {
		s, db := float64(i), fmt.Sprintf("cache %d", i)
		c.Exchange(at(s), at(0.001), db, orders, cache+":6379", "*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$5\r\nredis\r\n", "-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.\r\n")
		c.Exchange(at(s+0.01), at(0.001), db, orders, cache+":6379", "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n", "$1\r\n7\r\n")
		c.Close(at(s+0.02), db)
	}
	for i := range 4 {
		conn := fmt.Sprintf("mail %d", i)
		c.Exchange(at(31+float64(i)), at(0.01), conn, orders, payments+":8080", HTTP("POST /pay HTTP/1.1\r\nHost: payments", "", "{}"), HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: text/plain", "no such card"))
		c.Close(at(31.1+float64(i)), conn)
	}
}

// otherName has a service whose certificate is for another name.
func otherName(c *Capture) {
	for i := range 12 {
		s, up := float64(i)*2, fmt.Sprintf("up %d", i)
		hello, flight := handshakeFor("payments-old.shop", begin.AddDate(0, 1, 0), 0x0303)
		c.Exchange(at(s+0.002), at(0.002), up, gateway, payments+":443", hello, flight)
		c.Exchange(at(s+0.006), 0, up, gateway, payments+":443", "\x15\x03\x03\x00\x02\x02\x2a", "")
		c.Close(at(s+0.007), up)
		checkout(c, s, 0.02, i, HTTP("HTTP/1.1 502 Bad Gateway", "Content-Type: application/json", `{"error":"upstream TLS error"}`))
	}
}
