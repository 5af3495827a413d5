// Package weeks makes the captures of four weeks on two nodes, for the guide to collections.
//
// From 2026-10-05 on, node-1 carries a request of web to orders every 4 hours and node-2 one of orders to stock every 6
// hours. In the second week node-1 also carries a Telnet session to an old terminal, and in the fourth again. The capture
// of node-2 of the third week does not exist.
package weeks

import (
	"fmt"
	"os"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

//go:generate go test -run TestFiles -update .

// Begin is the first instant of the first week.
var Begin = time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)

const week = 7 * 24 * time.Hour

// zero is the time of a capture of package traffic at 0.
var zero = time.Date(2026, 2, 25, 6, 13, 20, 0, time.UTC)

// Write writes the captures of a week, from 1 on, into a folder, and returns their names.
func Write(dir string, number int) (names []string, err error) {
	for node := 1; node <= 2; node++ {
		if node == 2 && number == 3 {
			continue
		}
		name := fmt.Sprintf("week-%d-node-%d.pcapng", number, node)
		names = append(names, name)
		if err := write(dir+string(os.PathSeparator)+name, number, node); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func write(file string, number, node int) error {
	var c traffic.Capture
	from := Begin.Sub(zero) + time.Duration(number-1)*week
	client, server, path, every := "10.0.1.10", "10.0.1.20:80", "orders", 4*time.Hour
	if node == 2 {
		client, server, path, every = "10.0.1.20", "10.0.1.30:80", "stock", 6*time.Hour
	}
	for i, at := 0, from+time.Minute; at < from+week; i, at = i+1, at+every {
		name := fmt.Sprint(i)
		c.Exchange(at, 3*time.Millisecond, name, client, server, traffic.HTTP(fmt.Sprintf("GET /%s/%d HTTP/1.1", path, number*1000+i), "Host: shop.example", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/json", `{"state":"paid"}`))
		c.Close(at+time.Second, name)
	}
	if node == 1 && number%2 == 0 {
		at := from + 2*24*time.Hour + 9*time.Hour
		c.Exchange(at, time.Millisecond, "telnet", "10.0.1.10", "10.0.1.99:23", "\xff\xfb\x18\xff\xfb\x20", "\xff\xfd\x18\xff\xfd\x20")
		c.Close(at+time.Minute, "telnet")
	}
	var list []pcapng.Packet
	c.Packets(func(ns int64, data []byte) {
		list = append(list, pcapng.Packet{Time: ns, TimeOK: true, Data: data, OrigLen: uint32(len(data)), LinkType: 1})
	})
	return traffic.WriteSegment(file, fmt.Sprintf(`{"version":1,"ring":"ring-of-node-%d","series":"interfaces","node":"node-%[1]d","boot_id":"b%[1]d","sequence":%d}`, node, number), list)
}
