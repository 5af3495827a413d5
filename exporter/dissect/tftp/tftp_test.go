package tftp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// block is a block with n bytes; ack acknowledges one.
func block(number, n int) string {
	return string([]byte{0, opData, byte(number >> 8), byte(number)}) + strings.Repeat(string(rune('a'+number%26)), n)
}

func ack(number int) string { return string([]byte{0, opAck, byte(number >> 8), byte(number)}) }

const (
	get    = "\x00\x01dir/a.txt\x00octet\x00"
	put    = "\x00\x02b.txt\x00NetASCII\x00"
	sized  = "\x00\x01a.bin\x00octet\x00tsize\x000\x00blksize\x001024\x00"
	agreed = "\x00\x06tsize\x001500\x00blksize\x001024\x00"
	noFile = "\x00\x05\x00\x01File not found\x00"
)

// samples are transfers on one port, as some servers do them.
var samples = []dissecttest.Sample{
	{Name: "a download", Rows: 1, Chunks: chunks{client(get), server(block(1, 512)), client(ack(1)), server(block(2, 3)), client(ack(2))}},
	{Name: "an upload and an error", Rows: 2, Chunks: chunks{client(put), server(ack(0)), client(block(1, 9)), server(ack(1)), client(get), server(noFile)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"attempt", "tftp_mode", "tftp_options", "tftp_block_size", "tftp_size", "tftp_blocks", "tftp_retransmitted", "tftp_error_by"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a download", Chunks: samples[0].Chunks, Want: []string{"RRQ dir/a.txt → 515 bytes tftp_mode=octet tftp_block_size=512 tftp_blocks=2 tftp_retransmitted=0"}},
		{Name: "an upload and an error", Chunks: samples[1].Chunks, Want: []string{
			"WRQ b.txt → 9 bytes tftp_mode=netascii tftp_block_size=512 tftp_blocks=1 tftp_retransmitted=0",
			"RRQ dir/a.txt → 1 File not found outcome=client_error tftp_mode=octet tftp_block_size=512 tftp_blocks=0 tftp_retransmitted=0 tftp_error_by=server"}},
		{Name: "options", Chunks: chunks{client(sized), server(agreed), client(ack(0)), server(block(1, 1024)), client(ack(1)), server(block(2, 476)), client(ack(2))}, Want: []string{
			"RRQ a.bin → 1500 bytes tftp_mode=octet tftp_options=[tsize=1500 blksize=1024] tftp_block_size=1024 tftp_size=1500 tftp_blocks=2 tftp_retransmitted=0"}},
		{Name: "a client that wants to know the size", Chunks: chunks{client(sized), server(agreed), client("\x00\x05\x00\x08User aborted\x00")}, Want: []string{
			"RRQ a.bin → 8 User aborted tftp_mode=octet tftp_options=[tsize=1500 blksize=1024] tftp_block_size=1024 tftp_size=1500 tftp_blocks=0 tftp_retransmitted=0 tftp_error_by=client"}},
		{Name: "a block that is sent again", Chunks: chunks{client(get), server(block(1, 512)), server(block(1, 512)), client(ack(1)), client(ack(1)), server(block(2, 0)), client(ack(2))}, Want: []string{
			"RRQ dir/a.txt → 512 bytes tftp_mode=octet tftp_block_size=512 tftp_blocks=2 tftp_retransmitted=1"}},
		{Name: "a request that is sent again", Chunks: chunks{client(get), client(get)}, Want: []string{
			"RRQ dir/a.txt → no_response error=no_response outcome=no_answer tftp_mode=octet tftp_block_size=512",
			"RRQ dir/a.txt → no_response error=no_response outcome=no_answer attempt=2 tftp_mode=octet tftp_block_size=512"}},
		{Name: "a block that was not captured", Chunks: chunks{client(get), server(block(1, 512)), client(ack(1)), server(block(3, 3)), client(ack(3))}, Want: []string{
			"RRQ dir/a.txt → 515 bytes error=gap tftp_mode=octet tftp_block_size=512 tftp_blocks=2 tftp_retransmitted=0"}},
		{Name: "a transfer that ends early", Chunks: chunks{client(get), server(block(1, 512)), client(ack(1))}, Want: []string{
			"RRQ dir/a.txt → cut error=cut outcome=no_answer tftp_mode=octet tftp_block_size=512 tftp_blocks=1 tftp_retransmitted=0"}},
		{Name: "a window of which a block was lost in the network", Chunks: chunks{client("\x00\x01a\x00octet\x00windowsize\x004\x00"), server("\x00\x06windowsize\x004\x00"), client(ack(0)),
			server(block(1, 512)), server(block(3, 1)), client(ack(1)), server(block(2, 512)), server(block(3, 1)), client(ack(3))}, Want: []string{
			"RRQ a → 1025 bytes tftp_mode=octet tftp_options=[windowsize=4] tftp_block_size=512 tftp_blocks=3 tftp_retransmitted=1"}},
	}...)
}

// plays plays conversations between ports of a client and a server, and shows rows with their files.
type plays struct {
	t     *testing.T
	e     *dissect.Engine
	no    int64
	conns map[[2]uint16]*dissect.Conn
	order []*dissect.Conn
	rows  []string
}

var clientIP, serverIP = netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.2")

// Call implements dissect.Sink.
func (k *plays) Call(e dissect.Emission) {
	b := e.Row.Base()
	s := fmt.Sprintf("%s %s %d/%d", b.Protocol, b.Summary, b.RequestBytes, b.ResponseBytes)
	for _, o := range e.Objects {
		s += fmt.Sprintf(" %s=%s,%d,%v", o.Side, o.Name.V, o.Size, o.Complete)
	}
	k.rows = append(k.rows, s)
}

// Anomaly implements dissect.Sink.
func (k *plays) Anomaly(_ *dissect.Conn, a table.Anomaly) { k.rows = append(k.rows, a.Kind) }

// send sends a datagram between the client's first port and the server's second one.
func (k *plays) send(toServer bool, client, server uint16, data string) {
	k.no++
	at := dissect.Packet{No: k.no, Time: k.no * 1e6}
	c := k.conns[[2]uint16{client, server}]
	if c == nil {
		info := dissect.Info{Transport: dissect.UDP, IPVersion: 4, ClientPort: client, ServerPort: server, Client: clientIP, Server: serverIP, ConnectUs: -1, Opened: at}
		if !toServer {
			info.ClientPort, info.ServerPort, info.Client, info.Server = server, client, serverIP, clientIP
		}
		c = k.e.NewConn(info)
		k.conns[[2]uint16{client, server}] = c
		k.order = append(k.order, c)
	}
	dir := dissect.ToClient
	if toServer == (c.Info.Client == clientIP) {
		dir = dissect.ToServer
	}
	c.Datagram(dir, []byte(data), at)
}

// TestPorts plays transfers whose blocks come from another port of the server.
func TestPorts(t *testing.T) {
	const up, down = true, false
	for _, c := range []struct {
		name string
		do   func(k *plays)
		want string
	}{
		{"a download", func(k *plays) {
			k.send(up, 5000, 69, get)
			k.send(down, 5000, 3000, block(1, 512))
			k.send(up, 5000, 3000, ack(1))
			k.send(down, 5000, 3000, block(2, 3))
			k.send(up, 5000, 3000, ack(2))
		}, "tftp RRQ dir/a.txt → 515 bytes 26/523 response=a.txt,515,true"},
		{"an upload", func(k *plays) {
			k.send(up, 5000, 69, put)
			k.send(down, 5000, 3000, ack(0))
			k.send(up, 5000, 3000, block(1, 7))
			k.send(down, 5000, 3000, ack(1))
		}, "tftp WRQ b.txt → 7 bytes 28/8 request=b.txt,7,true"},
		{"two at once", func(k *plays) {
			k.send(up, 5000, 69, get)
			k.send(up, 5001, 69, put)
			k.send(down, 5001, 3001, ack(0))
			k.send(down, 5000, 3000, block(1, 1))
			k.send(up, 5001, 3001, block(1, 2))
			k.send(down, 5001, 3001, ack(1))
			k.send(up, 5000, 3000, ack(1))
		}, "tftp WRQ b.txt → 2 bytes 23/8 request=b.txt,2,true|tftp RRQ dir/a.txt → 1 byte 22/5 response=a.txt,1,true"},
		{"a conversation of something else", func(k *plays) {
			k.send(up, 5000, 69, get)
			k.send(down, 5000, 3000, block(7, 5))
			k.send(down, 5000, 3001, noFile)
		}, "tftp RRQ dir/a.txt → 1 File not found 18/19|udp udp payload: 0003000768686868, 9 bytes sent, 0 received 9/0"},
		{"the last acknowledgement again", func(k *plays) {
			k.send(up, 5000, 69, get)
			k.send(down, 5000, 3000, block(1, 1))
			k.send(up, 5000, 3000, ack(1))
			k.send(down, 5000, 3000, block(1, 1))
			k.send(up, 5000, 3000, ack(1))
		}, "tftp RRQ dir/a.txt → 1 byte 22/5 response=a.txt,1,true"},
		{"the capture ends", func(k *plays) {
			k.send(up, 5000, 69, get)
			k.send(down, 5000, 3000, block(1, 512))
		}, "tftp RRQ dir/a.txt → cut 18/516 response=a.txt,512,false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &plays{t: t, conns: map[[2]uint16]*dissect.Conn{}}
			var err error
			if k.e, err = dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, k, true); err != nil {
				t.Fatal(err)
			}
			c.do(k)
			for _, c := range k.order {
				k.no++
				c.Close(dissect.EndCapture, dissect.Packet{No: k.no, Time: k.no * 1e6})
			}
			if got := strings.Join(k.rows, "|"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if k.e.Held() != 0 {
				t.Errorf("%d bytes are still held", k.e.Held())
			}
		})
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, get, dissect.Yes},
		{"a request with options", dissect.ToServer, sized, dissect.Yes},
		{"a request by the other side", dissect.ToClient, get, dissect.No},
		{"a request without a mode", dissect.ToServer, "\x00\x01a.txt\x00", dissect.No},
		{"an unknown mode", dissect.ToServer, "\x00\x01a.txt\x00ascii\x00", dissect.No},
		{"an option without a value", dissect.ToServer, "\x00\x01a\x00octet\x00tsize\x00", dissect.No},
		{"a block", dissect.ToServer, block(1, 512), dissect.No},
		{"a question of DNS", dissect.ToServer, "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", dissect.No},
	})
}
