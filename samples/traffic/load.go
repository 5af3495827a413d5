package traffic

import "fmt"

// user asks the gateway for something, on a connection of its own.
func askGateway(c *Capture, s, took float64, i int, req, answer string) {
	conn := fmt.Sprintf("user %d", i)
	c.Exchange(at(s), at(took), conn, []string{userA, userB, "203.0.113.9"}[i%3], gateway+":80", req, answer)
	c.Close(at(s+took+0.01), conn)
}

// web asks a server for something, on a connection of its own.
func askServer(c *Capture, s, took float64, name, from, to, req, answer string) {
	c.Exchange(at(s), at(took), name, from, to, req, answer)
	c.Close(at(s+took+0.001), name)
}

// amplified has a service that becomes unavailable, which its caller asks three times, and the gateway that caller twice.
func amplified(c *Capture) {
	n := 0
	for i := range 80 {
		s := float64(i) * 0.5
		if i < 40 {
			askServer(c, s+0.003, 0.004, fmt.Sprintf("st %d", i), orders, "10.0.0.4:8081", HTTP("GET /stock/7 HTTP/1.1\r\nHost: stock", "", ""), ok("{}"))
			askServer(c, s+0.001, 0.01, fmt.Sprintf("or %d", i), gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), ok("{}"))
			askGateway(c, s, 0.015, i, HTTP("POST /checkout HTTP/1.1\r\nHost: shop", "", "{}"), ok("{}"))
			continue
		}
		for g := range 2 {
			for r := range 3 {
				n++
				askServer(c, s+0.003+float64(g)*0.2+float64(r)*0.05, 0.004, fmt.Sprintf("st %d %d", i, n), orders, "10.0.0.4:8081", HTTP("GET /stock/7 HTTP/1.1\r\nHost: stock", "", ""), HTTP("HTTP/1.1 503 Service Unavailable", "", "overloaded"))
			}
			askServer(c, s+0.001+float64(g)*0.2, 0.15, fmt.Sprintf("or %d %d", i, g), gateway, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", "", "{}"), HTTP("HTTP/1.1 502 Bad Gateway", "", "stock unavailable"))
		}
		askGateway(c, s, 0.38, i, HTTP("POST /checkout HTTP/1.1\r\nHost: shop", "", "{}"), HTTP("HTTP/1.1 502 Bad Gateway", "", "try later"))
	}
}

// manyReads has a release that reads each item of a list with a query of its own.
func manyReads(c *Capture) {
	for i := range 100 {
		s, k := float64(i)*0.6, 2
		if i >= 50 {
			k = 52
		}
		db := fmt.Sprintf("db %d", i)
		c.Exchange(at(s+0.001), at(0.001), db, gateway, database+":5432", pgStartup("shop"), pgReady())
		for q := range k {
			c.Exchange(at(s+0.004+float64(q)*0.007), at(0.006), db, gateway, database+":5432", pgMessage('Q', fmt.Sprintf("SELECT * FROM items WHERE id = %d\x00", q)), pgRows())
		}
		end := 0.004 + float64(k)*0.007
		c.Close(at(s+end+0.001), db)
		askGateway(c, s, end+0.004, i, HTTP("GET /list HTTP/1.1\r\nHost: shop", "", ""), ok("list"))
	}
}

// surge has users that ask more often than a gateway can answer.
func surge(c *Capture) {
	i := 0
	for s := 0.0; s < 60; {
		step, took := 0.5, 0.02
		if s > 30 {
			step, took = 0.03, 0.02+(s-30)*0.05
		}
		if s > 40 && i%2 == 0 {
			askGateway(c, s, 0.002, i, HTTP("GET /home HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 503 Service Unavailable", "", "queue full"))
		} else {
			askGateway(c, s, took, i, HTTP("GET /home HTTP/1.1\r\nHost: shop", "", ""), ok("home"))
		}
		s += step
		i++
	}
}

// tokenExpired has a gateway whose token for a service expires.
func tokenExpired(c *Capture) {
	for i := range 60 {
		s := float64(i)
		up := fmt.Sprintf("up %d", i)
		a, st := ok("{}"), 0.01
		if i >= 35 {
			a = HTTP("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Bearer error=\"invalid_token\", error_description=\"The access token expired\"", "")
		}
		askServer(c, s+0.001, st, up, gateway, orders+":8080", HTTP("GET /orders HTTP/1.1\r\nHost: orders", "Authorization: Bearer abcdefgh12345678", ""), a)
		b := ok("{}")
		if i >= 35 {
			b = HTTP("HTTP/1.1 500 Internal Server Error", "", "upstream said 401")
		}
		askGateway(c, s, 0.02, i, HTTP("GET /my-orders HTTP/1.1\r\nHost: shop", "", ""), b)
	}
}

// forgotten has a connection of a pool that something on its way forgot while nobody used it.
func forgotten(c *Capture) {
	c.Exchange(at(0.002), at(0.004), "pool", gateway, database+":5432", pgStartup("shop"), pgReady())
	c.Exchange(at(0.01), at(0.004), "pool", gateway, database+":5432", pgMessage('Q', "SELECT 1\x00"), pgRows())
	askGateway(c, 0, 0.02, 0, HTTP("GET /cart HTTP/1.1\r\nHost: shop", "", ""), ok("cart"))
	q := pgMessage('Q', "SELECT 1\x00")
	c.Exchange(at(400.003), 0, "pool", gateway, database+":5432", q, "")
	for _, x := range []float64{0.2, 0.6, 1.4, 3, 6.2} {
		c.Resend(at(400.003+x), "pool", q)
	}
	askGateway(c, 400, 10, 1, HTTP("GET /cart HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 504 Gateway Timeout", "", ""))
	c.Exchange(at(411), at(0.004), "pool2", gateway, database+":5432", pgStartup("shop"), pgReady())
	for i := range 20 {
		c.Exchange(at(411.01+float64(i)), at(0.004), "pool2", gateway, database+":5432", q, pgRows())
		askGateway(c, 411+float64(i), 0.02, 2+i, HTTP("GET /cart HTTP/1.1\r\nHost: shop", "", ""), ok("cart"))
	}
}

// bareReplicas has three servers that no name connects, of which one begins to fail.
func bareReplicas(c *Capture) {
	for i := range 90 {
		s, answer := float64(i)*0.4, ok(`{"q":1}`)
		if i >= 30 && i%3 == 2 {
			answer = HTTP("HTTP/1.1 500 Internal Server Error", "", "out of quotes")
		}
		askServer(c, s+0.002, 0.01, fmt.Sprintf("up %d", i), gateway, fmt.Sprintf("10.0.1.%d:8080", 1+i%3), HTTP("GET /quote HTTP/1.1", "", ""), answer)
		askGateway(c, s, 0.015, i, HTTP("GET /quote HTTP/1.1\r\nHost: shop", "", ""), answer)
	}
}
