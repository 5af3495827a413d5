package traffic

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Incident is made traffic in which something goes wrong, and what a person would say of it.
type Incident struct {
	Name  string
	Make  func(c *Capture)
	Words []string // that a sentence about it has
	Not   []string // that it must not have
}

// The people of the incidents: two users, a gateway, a service of orders, a database and a job that reports.
const (
	userA, userB = "203.0.113.5", "203.0.113.6"
	gateway      = "10.0.0.2"
	orders       = "10.0.0.3"
	database     = "10.0.0.5"
	reporter     = "10.0.0.7"
	resolver     = "10.0.0.9"
)

// Incidents are failures of the kinds that people ask about.
func Incidents() []Incident {
	return []Incident{
		{"slots", slots, []string{"all 35 requests POST /orders to 10.0.0.3 failed", "PostgreSQL at 10.0.0.5 refused connections", "remaining connection slots are reserved", "When that began, 5 of its connections were held by 10.0.0.7."}, []string{"STARTUP"}},
		{"refused", refused, []string{"all 12 requests GET /cart to 10.0.0.2 failed", "10.0.0.3 refused connections to port 8080"}, nil},
		{"silent", silent, []string{"all 10 requests GET /pay to 10.0.0.2 failed", "10.0.0.3 did not answer"}, nil},
		{"said", said, []string{"8 of 15 requests POST /cart to 10.0.0.2 failed: ", "10.0.0.3 answered POST /stock with 500 Internal Server Error", "out of stock"}, []string{`{"`}},
		{"names", names, []string{"9 look-ups of stock.example failed: SERVFAIL from 10.0.0.9."}, nil},
		{"own", own, []string{"all 7 requests GET /home to 10.0.0.2 failed with ", "503 Service Unavailable", "over capacity"}, nil},
		{"several", several, []string{"all 6 requests POST /charge to 10.0.0.3 failed", "Also failed: 80 look-ups of a.example and 19 other names (no response from 10.0.0.9); 12 requests GET /old to 10.0.0.2 (404 Not Found); 2 more kinds of failures."}, []string{"echo request"}},
		{"resolver", deaf, []string{"70 look-ups of a.example and 19 other names failed: no response from 10.0.0.9. Also failed: 1 ICMP echo request to 10.0.0.2 (no response)."}, []string{"likely"}},
		{"slower", slower, []string{"40 requests GET /list to 10.0.0.2 took longer", "from 20 ms to 900 ms", "Nothing failed."}, []string{"requests failed"}},
		{"resolver", nameDown, []string{"all 18 requests POST /checkout to 10.0.0.2 failed, likely because 10.0.0.9 did not answer look-ups of payments.shop.svc.cluster.local."}, []string{"did not resolve"}},
		{"expired", expired, []string{"all 20 requests", "10.0.0.2 ended the TLS handshake with payments.shop (certificate expired); its certificate was valid until 2026-02-24."}, []string{"_"}},
		{"sealed alert", sealedAlert, []string{"10.0.0.2 ended the TLS handshake with payments.shop, with an alert that is encrypted."}, []string{"expired", "valid"}},
		{"disk", diskFull, []string{"all 25 requests", `PostgreSQL at 10.0.0.5 answered INSERT with the error 'could not extend file "base/16384/16397": No space left on device' (53100).`}, []string{"SELECT"}},
		{"slow below", slowBelow, []string{"all 26 requests", "possibly because PostgreSQL at 10.0.0.5 took up to 3.2 s to answer SELECT."}, nil},
		{"limited", limited, []string{"24 of 31 requests", "api.cards.example answered POST /v1/charges with 429 Too Many Requests ('Too many requests hit the API too quickly')."}, nil},
		{"pool", pool, []string{"all 20 requests", "20 were followed to their origin: in 16, likely because 10.0.0.3 answered POST /orders with 500 Internal Server Error ('HikariPool-1 - Connection is not available", "in 4, possibly because PostgreSQL at 10.0.0.5 did not answer SELECT within"}, nil},
		{"replica", oneReplica, []string{"10 of 28 requests", "'column items.discount does not exist'", "From then on, 10.0.1.3 failed 10 of 10 such calls, the other 2 addresses of orders.shop none of 18."}, nil},
		{"lossy", lossy, []string{"20 of 24 requests", "POST /orders was not delivered to 10.0.0.3: no acknowledgement within 2 s."}, []string{"did not answer"}},
		{"memory", memory, []string{"all 15 requests", "Redis at 10.0.0.6 answered SET with the error 'OOM command not allowed when used memory > 'maxmemory''."}, nil},
		{"well", well, nil, nil},
		{"one tenant", oneTenant, []string{"16 of 46 requests GET /api/items to 10.0.0.2 failed with 429 Too Many Requests. Only requests of 203.0.113.7 failed: 16 of 16, of the other 2 clients none of 30."}, []string{"'429"}},
		{"gave up", gaveUp, []string{"all 20 requests GET /feed to 10.0.0.2 failed, likely because 10.0.0.3 took up to 2.5 s to answer GET /feed, and its caller gave up after 999 ms."}, []string{"200 OK"}},
		{"too large", tooLarge, []string{"all 10 requests GET /report to 10.0.0.2 failed, likely because the answer of 10.0.0.3 to GET /report did not arrive whole: its caller did not acknowledge all of it within 3 s."}, []string{"200 OK", "page", "Only requests"}},
		{"asks first", asksFirst, []string{"all 4 requests POST /pay to 10.0.0.4 failed", "Also failed: 30 Redis requests CLIENT to 10.0.0.6"}, nil},
		{"other name", otherName, []string{"10.0.0.2 ended the TLS handshake with payments.shop (bad certificate); its certificate is for payments-old.shop."}, nil},
		{"steady", steady, nil, nil},
		{"queued", queued, []string{"40 requests GET /cart to 10.0.0.2 took longer than before and after: the median went from ", "to 1.21 s", "That was possibly because PostgreSQL at 10.0.0.5 took up to 1.2 s to answer SELECT.", "Nothing failed."}, nil},
		{"slow replica", slowReplica, []string{"20 of 58 requests GET /quote to 10.0.0.2 were slow: they took 1.11 s to 1.11 s. Outside that time 0 of 32 took so long", "likely because 10.0.1.3 took up to 1.1 s to answer GET /quote."}, nil},
		{"second resolver", secondResolver, []string{"look-ups of stock.example failed: no response from 10.0.0.9.", "35 requests POST /pay to 10.0.0.2 took longer than before: the median went from 30 ms to 1.03 s", "likely because 10.0.0.9 did not answer look-ups of stock.example."}, []string{"Nothing failed"}},
		{"lossy answers", lossyAnswers, []string{"17 of 49 requests GET /quote to 10.0.0.2 were slow", "likely because packets between 10.0.0.2 and 10.0.0.3 were lost: waiting until they were sent again took up to 800 ms."}, nil},
		{"amplified", amplified, []string{"all 40 requests POST /checkout to 10.0.0.2 failed, likely because 10.0.0.4 answered GET /stock/{id} with 503 Service Unavailable ('overloaded'). 10.0.0.4 was asked GET /stock/{id} about 6 times for each request, before about once."}, []string{"Such requests"}},
		{"many reads", manyReads, []string{"50 requests GET /list to 10.0.0.2 took longer than before", "likely because PostgreSQL at 10.0.0.5 was asked up to 52 times for each", "Nothing failed."}, nil},
		{"surge", surge, []string{"334 of 667 requests GET /home to 10.0.0.2 failed with 503 Service Unavailable ('queue full'). Such requests came 33 times a second, in the 40 s before 9.4 times."}, nil},
		{"token expired", tokenExpired, []string{"all 25 requests", "10.0.0.3 answered GET /orders with 401 Unauthorized ('The access token expired')."}, []string{"Such requests"}},
		{"forgotten", forgotten, []string{"the only request GET /cart to 10.0.0.2 failed", "SELECT was not delivered to PostgreSQL at 10.0.0.5: no acknowledgement within 10 s."}, []string{"did not answer"}},
		{"bare replicas", bareReplicas, []string{"10.0.1.3 answered GET /quote with 500 Internal Server Error ('out of quotes'). From then on, 10.0.1.3 failed 20 of 20 such calls, the other 2 addresses that 10.0.0.2 asked none of 38."}, nil},
		{"full window", fullWindow, []string{"17 of 49 requests GET /quote to 10.0.0.2 were slow", "likely because 10.0.0.2 stopped reading what 10.0.0.3 sent: its receive window was zero for up to 800 ms.", "Nothing failed."}, []string{"were lost"}},
		{"forbidden", forbidden, []string{"all 12 requests GET /cart to 10.0.0.2 failed", "connections to port 8080 of 10.0.0.3 were refused: 10.0.0.1 reported 'communication administratively prohibited' by ICMP."}, []string{"10.0.0.3 refused"}},
		{"forbidden resolver", forbiddenResolver, []string{"12 look-ups of stock.example failed: not delivered to 10.0.0.9: 10.0.0.1 reported 'communication administratively prohibited' by ICMP."}, []string{"from 10.0.0.9"}},
		{"hung up", hungUp, []string{"12 of 34 requests to 10.0.0.2 failed: 10.0.0.2 did not answer, and its callers gave up after 500 ms to 1.5 s."}, []string{"all 12", "closed"}},
		{"dropped", dropped, []string{"all 12 requests GET /feed to 10.0.0.2 failed: 10.0.0.2 closed the connection instead of answering; most waits ended after 1.5 s"}, []string{"did not answer", "gave up"}},
		{"dropped below", droppedBelow, []string{"all 12 requests GET /feed to 10.0.0.2 failed", "10.0.0.3 closed the connection instead of answering GET /feed."}, []string{"did not answer"}},
		{"broke off", brokeOff, []string{"all 12 requests GET /feed to 10.0.0.2 failed: the answers of 10.0.0.2 broke off: it closed the connection; most waits ended after 300 ms without the whole response, likely a timeout of 300 ms."}, []string{"did not answer", "delivered"}},
	}
}

func at(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// pgStartup is the first message of a client of PostgreSQL, and pgQuery a simple query.
func pgStartup(user string) string {
	body := "\x00\x03\x00\x00user\x00" + user + "\x00database\x00shop\x00\x00"
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

func pgMessage(kind byte, body string) string {
	return string(kind) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

func pgReady() string { return pgMessage('R', "\x00\x00\x00\x00") + pgMessage('Z', "I") }

func pgRows() string {
	return pgMessage('T', "\x00\x01n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00") + pgMessage('D', "\x00\x01\x00\x00\x00\x011") + pgMessage('C', "SELECT 1\x00") + pgMessage('Z', "I")
}

// slots has orders that fail while a job holds the connections of the database, which stay open.
func slots(c *Capture) {
	order := func(s float64, i int, ok bool) {
		conn, user := fmt.Sprintf("user %d %v", i, ok), []string{userA, userB}[i%2]
		id := fmt.Sprintf("X-Request-Id: 7b0c1e52-%04d-4d11-9a3e-1f2e3d4c5b6a", int(s*10))
		answer := HTTP("HTTP/1.1 201 Created", "Content-Type: application/json", `{"order":1}`)
		if !ok {
			answer = HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: application/json", `{"error":"order failed"}`)
		}
		c.Exchange(at(s), at(0.02), conn, user, orders+":8080", HTTP("POST /orders HTTP/1.1\r\nHost: orders", id, `{"item":3}`), answer)
		db := fmt.Sprintf("db %d %v", i, ok)
		if ok {
			c.Exchange(at(s+0.002), at(0.001), db, orders, database+":5432", pgStartup("orders"), pgReady())
			c.Exchange(at(s+0.006), at(0.002), db, orders, database+":5432", pgMessage('Q', "INSERT INTO orders VALUES (3)\x00"), pgMessage('C', "INSERT 0 1\x00")+pgMessage('Z', "I"))
		} else {
			c.Exchange(at(s+0.002), at(0.001), db, orders, database+":5432", pgStartup("orders"), pgMessage('E', "SFATAL\x00VFATAL\x00C53300\x00Mremaining connection slots are reserved for non-replication superuser connections\x00\x00"))
		}
		c.Close(at(s+0.015), db)
		c.Close(at(s+0.03), conn)
	}
	for i := range 20 {
		order(float64(i)*0.4, i, true)
	}
	for i := range 5 {
		name := fmt.Sprintf("report %d", i)
		c.Exchange(at(9+float64(i)*0.1), at(0.002), name, reporter, database+":5432", pgStartup("report"), pgReady())
		c.Exchange(at(9.01+float64(i)*0.1), at(0.01), name, reporter, database+":5432", pgMessage('Q', "SELECT * FROM everything\x00"), pgRows())
	}
	for i := range 35 {
		order(10+float64(i)*1.2, i, false)
	}
	for i := range 10 {
		order(60+float64(i), 100+i, true)
	}
}

// refused has a gateway whose service is not running for a while.
func refused(c *Capture) {
	unreached(c, func(at time.Duration) { c.Attempt(at, gateway, orders+":8080", true) })
}

// forbidden has a gateway whose service a router does not allow it to reach for a while.
func forbidden(c *Capture) {
	unreached(c, func(at time.Duration) {
		c.Attempt(at, gateway, orders+":8080", false)
		c.Prohibit(at+step, "10.0.0.1")
	})
}

func unreached(c *Capture, attempt func(at time.Duration)) {
	for i := range 24 {
		s, conn := float64(i), fmt.Sprintf("user %d", i)
		down := i >= 6 && i < 18
		answer := HTTP("HTTP/1.1 200 OK", "", "ok")
		if down {
			answer = HTTP("HTTP/1.1 502 Bad Gateway", "Content-Type: text/html", "<html>502 Bad Gateway</html>")
			attempt(at(s + 0.002))
		} else {
			c.Exchange(at(s+0.002), at(0.003), fmt.Sprintf("up %d", i), gateway, orders+":8080", HTTP("GET /cart HTTP/1.1\r\nHost: orders", "", ""), HTTP("HTTP/1.1 200 OK", "", "ok"))
			c.Close(at(s+0.008), fmt.Sprintf("up %d", i))
		}
		c.Exchange(at(s), at(0.01), conn, userA, gateway+":80", HTTP("GET /cart HTTP/1.1\r\nHost: shop", "", ""), answer)
		c.Close(at(s+0.1), conn)
	}
}

// silent has a service that takes requests and does not answer.
func silent(c *Capture) {
	for i := range 20 {
		s, conn, up := float64(i)*2, fmt.Sprintf("user %d", i), fmt.Sprintf("up %d", i)
		request := HTTP("GET /pay HTTP/1.1\r\nHost: shop", fmt.Sprintf("X-Request-Id: 7b0c1e52-%04d-4d11-9a3e-1f2e3d4c5b6a", i), "")
		if i < 10 {
			c.Exchange(at(s), at(0.01), conn, userA, gateway+":80", request, HTTP("HTTP/1.1 200 OK", "", "paid"))
			c.Exchange(at(s+0.002), at(0.003), up, gateway, orders+":8080", request, HTTP("HTTP/1.1 200 OK", "", "paid"))
		} else {
			c.Exchange(at(s), at(1.01), conn, userA, gateway+":80", request, HTTP("HTTP/1.1 504 Gateway Timeout", "", ""))
			c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", request, "")
			c.Acknowledge(at(s+0.003), up)
			c.Reset(at(s+1.002), up)
		}
		c.Close(at(s+1.5), conn)
	}
}

// said has a service below whose errors say what is wrong.
func said(c *Capture) {
	for i := range 16 {
		s, conn, up := float64(i), fmt.Sprintf("user %d", i), fmt.Sprintf("up %d", i)
		id := fmt.Sprintf("X-Request-Id: 7b0c1e52-%04d-4d11-9a3e-1f2e3d4c5b6a", i)
		first, second := HTTP("HTTP/1.1 200 OK", "", "ok"), HTTP("HTTP/1.1 200 OK", "", "ok")
		if i%2 == 1 {
			first = HTTP("HTTP/1.1 502 Bad Gateway", "", "")
			second = HTTP("HTTP/1.1 500 Internal Server Error", "Content-Type: application/json", `{"code":17,"error":{"message":"article 5 is out of stock"}}`)
		}
		c.Exchange(at(s), at(0.02), conn, userA, gateway+":80", HTTP("POST /cart HTTP/1.1\r\nHost: shop", id, "{}"), first)
		c.Exchange(at(s+0.002), at(0.01), up, gateway, orders+":8080", HTTP("POST /stock HTTP/1.1\r\nHost: stock", id, "{}"), second)
		c.Close(at(s+0.03), conn)
		c.Close(at(s+0.03), up)
	}
}

// names has a resolver that fails.
func names(c *Capture) {
	const question = "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05stock\x07example\x00\x00\x01\x00\x01"
	for i := range 9 {
		id := fmt.Sprintf("\x10%c", i+1)
		c.Datagram(at(float64(i)), gateway, resolver+":53", id+question, id+"\x81\x82"+question[2:])
	}
}

// deaf has a resolver that answers nothing, and a host that does not answer a ping while it looks up names.
func deaf(c *Capture) {
	c.Ping(at(1), orders, gateway, false)
	for i := range 80 {
		id := fmt.Sprintf("\x11%c", i+1)
		c.Datagram(at(float64(i)*0.5), gateway, resolver+":53", id+"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"+string(rune('a'+i%20))+"\x07example\x00\x00\x01\x00\x01")
	}
}

// several has failures that have nothing to do with each other.
func several(c *Capture) {
	deaf(c)
	for i := range 18 {
		to, what, answer := gateway, "GET /old", "HTTP/1.1 404 Not Found"
		switch {
		case i < 6:
			to, what, answer = orders, "POST /charge", "HTTP/1.1 500 Internal Server Error"
		case i == 6:
			what, answer = "GET /secret", "HTTP/1.1 403 Forbidden"
		}
		conn := fmt.Sprintf("user %d", i)
		c.Exchange(at(50+float64(i)), at(0.01), conn, userA, to+":80", HTTP(what+" HTTP/1.1\r\nHost: shop", "", ""), HTTP(answer, "", ""))
		c.Close(at(50.1+float64(i)), conn)
	}
	c.Exchange(at(69), at(0.01), "last", userA, gateway+":80", HTTP("GET /old HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 404 Not Found", "", ""))
	c.Close(at(70), "last")
}

// own has a service that refuses users itself.
func own(c *Capture) {
	for i := range 20 {
		conn, answer := fmt.Sprintf("user %d", i), HTTP("HTTP/1.1 200 OK", "", "home")
		if i >= 8 && i < 15 {
			answer = HTTP("HTTP/1.1 503 Service Unavailable", "Content-Type: text/plain", "over capacity, try again")
		}
		c.Exchange(at(float64(i)), at(0.01), conn, userA, gateway+":80", HTTP("GET /home HTTP/1.1\r\nHost: shop", "", ""), answer)
		c.Close(at(float64(i)+0.1), conn)
	}
}

// slower has answers that take longer from a moment on.
func slower(c *Capture) {
	for i := range 80 {
		took := 0.02
		if i >= 40 {
			took = 0.9
		}
		conn := fmt.Sprintf("user %d", i)
		c.Exchange(at(float64(i)), at(took), conn, userA, gateway+":80", HTTP("GET /list HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 200 OK", "", "list"))
		c.Close(at(float64(i)+0.95), conn)
	}
}

// well has nothing wrong.
func well(c *Capture) {
	for i := range 30 {
		c.Exchange(at(float64(i)), at(0.01), "user", userA, gateway+":80", HTTP("GET /home HTTP/1.1\r\nHost: shop", "", ""), HTTP("HTTP/1.1 200 OK", "", "home"))
	}
}
