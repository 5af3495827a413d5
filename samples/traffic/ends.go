package traffic

import (
	"fmt"
	"strings"
)

// fed adds 24 requests, of which the last 12 take what bad adds.
func fed(c *Capture, path func(i int) string, bad func(s float64, conn, request string)) {
	for i := range 24 {
		s, conn := float64(i)*2, fmt.Sprintf("user %d", i)
		request := HTTP("GET "+path(i)+" HTTP/1.1\r\nHost: shop", "", "")
		if i >= 12 {
			bad(s, conn, request)
			continue
		}
		c.Exchange(at(s), at(0.02), conn, userA, gateway+":80", request, ok(`{"f":1}`))
		c.Close(at(s+0.03), conn)
	}
}

func feed(int) string { return "/feed" }

// hungUp has users who do not wait for answers that do not come. Each asks for another page, and other pages are served.
func hungUp(c *Capture) {
	fed(c, func(i int) string { return "/page-" + string(rune('a'+i%8)) }, func(s float64, conn, request string) {
		c.Exchange(at(s), 0, conn, userA, gateway+":80", request, "")
		c.Acknowledge(at(s+0.001), conn)
		for _, quick := range []float64{0.1, 0.3} {
			other := fmt.Sprintf("%s %v", conn, quick)
			c.Exchange(at(s+quick), at(0.02), other, userB, gateway+":80", HTTP("GET /feed HTTP/1.1\r\nHost: shop", "", ""), ok(`{"f":1}`))
			c.Close(at(s+quick+0.03), other)
		}
		c.Close(at(s+0.5+float64(int(s)%12)/10), conn)
	})
}

// dropped has a server that closes connections instead of answering.
func dropped(c *Capture) {
	fed(c, feed, func(s float64, conn, request string) {
		c.Exchange(at(s), 0, conn, userA, gateway+":80", request, "")
		c.Acknowledge(at(s+0.001), conn)
		c.Hang(at(s+1.5), conn)
	})
}

// droppedBelow has the same below a gateway.
func droppedBelow(c *Capture) {
	fed(c, feed, func(s float64, conn, request string) {
		up := "up " + conn
		c.Exchange(at(s), at(0.4), conn, userA, gateway+":80", request, HTTP("HTTP/1.1 502 Bad Gateway", "", ""))
		c.Exchange(at(s+0.002), 0, up, gateway, orders+":8080", request, "")
		c.Acknowledge(at(s+0.003), up)
		c.Hang(at(s+0.39), up)
		c.Close(at(s+0.5), conn)
	})
}

// brokeOff has a server that closes connections in the middle of its answers.
func brokeOff(c *Capture) {
	page := HTTP("HTTP/1.1 200 OK", "", strings.Repeat("The feed has more than one page. ", 60))[:900]
	fed(c, feed, func(s float64, conn, request string) {
		c.Exchange(at(s), at(0.02), conn, userA, gateway+":80", request, page)
		c.Take(at(s+0.021), conn)
		c.Hang(at(s+0.3), conn)
	})
}

// forbiddenResolver has a router that lets no question through to a resolver.
func forbiddenResolver(c *Capture) {
	const question = "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05stock\x07example\x00\x00\x01\x00\x01"
	for i := range 12 {
		c.Datagram(at(float64(i)), gateway, resolver+":53", fmt.Sprintf("\x20%c", i+1)+question)
		c.Prohibit(at(float64(i))+step, "10.0.0.1")
	}
}
