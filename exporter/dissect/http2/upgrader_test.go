package http2

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// upgrader imitates HTTP/1.1 with Upgrade: h2c.
type upgrader struct {
	dissect.Stateless
	c *dissect.Conn
}

func (u *upgrader) Read(in *dissect.Input) (int, error) {
	x := &dissect.Exchange{}
	x.Request(in, 0, len(in.Data))
	u.c.Upgrade("http2", &dissect.UpgradeInfo{Exchange: x, Method: "GET", Path: "/up", Host: "h", HeadersSize: 3,
		Headers: []table.Header{{Name: "User-Agent", Value: "u", Kind: "request"}}, Settings: []byte{0, 1, 0, 0, 0x20, 0}})
	return len(in.Data), nil
}

func (u *upgrader) Gap(*dissect.Input, int64) bool { return false }
func (u *upgrader) Close(dissect.End)              {}
