package ftp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// talk is a control connection and the data connections that a test opens beside it.
type talk struct {
	t     *testing.T
	e     *dissect.Engine
	rows  []string
	no    int64
	ctl   *dissect.Conn
	conns []*dissect.Conn
}

var clientIP, serverIP, thirdIP, publicIP = netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("203.0.113.2")

func (k *talk) Call(e dissect.Emission) {
	b := e.Row.Base()
	if b.Protocol == "ftp" && !transfers[b.Method.V] {
		return
	}
	s := b.Protocol + " " + b.Method.V
	if r, ok := e.Row.(*Row); ok && r.Data.OK {
		s += " data=" + r.Data.V
	}
	for i, body := range []*dissect.Body{e.ReqBody, e.RespBody} {
		if body != nil {
			s += fmt.Sprintf(" %s=%q", []string{"up", "down"}[i], body.Bytes())
		}
	}
	if b.Error.OK && b.Error.V == "gap" {
		s += " gap"
	}
	for _, o := range e.Objects {
		s += fmt.Sprintf(" file=%s,%v", o.Name.V, o.Complete)
		if o.FileFrom.OK {
			s += fmt.Sprintf(",%d", o.FileFrom.V)
		}
	}
	k.rows = append(k.rows, s)
}

func (k *talk) Anomaly(*dissect.Conn, table.Anomaly) {}

func (k *talk) packet() dissect.Packet {
	k.no++
	at := uint32(k.no) * 1000 // each side has received what the other one sent before
	return dissect.Packet{No: k.no, Time: k.no * 1e6, Seq: at, Ack: at}
}

func (k *talk) open(client, server netip.Addr, cport, sport uint16) *dissect.Conn {
	c := k.e.NewConn(dissect.Info{Transport: dissect.TCP, ClientPort: cport, ServerPort: sport, IPVersion: 4, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1, Client: client, Server: server, Opened: k.packet()})
	k.conns = append(k.conns, c)
	return c
}

// says feeds lines of the control connection: "> " from the client, "< " from the server.
func (k *talk) says(lines ...string) {
	for _, l := range lines {
		dir := dissect.ToServer
		if l[0] == '<' {
			dir = dissect.ToClient
		}
		k.ctl.Data(dir, []byte(l[2:]+"\r\n"), k.packet())
	}
}

func (k *talk) close(c *dissect.Conn, dirs ...dissect.Dir) {
	for _, d := range dirs {
		c.End(d, k.packet())
	}
}

func TestDataConnections(t *testing.T) {
	const up, down = dissect.ToServer, dissect.ToClient
	retr := []string{"> RETR pub/a.bin", "< 150 go"}
	for _, c := range []struct {
		name string
		do   func(k *talk)
		want string
	}{
		{"a passive download", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01file"), k.packet())
			k.close(d, down, up)
			k.says("< 226 done")
		}, `ftp RETR data=read down="\x00\x01file" file=a.bin,true`},
		{"the reply comes before the last bytes", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01fi"), k.packet())
			k.says("< 226 done")
			d.Data(down, []byte("le"), k.packet())
			k.close(d, down, up)
		}, `ftp RETR data=read down="\x00\x01file" file=a.bin,true`},
		{"an active upload from an offset", func(k *talk) {
			k.says("> PORT 10,0,0,5,4,1", "< 200 ok", "> REST 7", "< 350 ok", "> STOR b", "< 150 go")
			d := k.open(serverIP, clientIP, 20, 1025)
			d.Data(down, []byte("\x00\x01file"), k.packet())
			k.close(d, down, up)
			k.says("< 226 done")
		}, `ftp STOR data=read up="\x00\x01file" file=b,false,7`},
		{"a translated address: the client uses the announced one", func(k *talk) {
			k.says("> PASV", "< 227 ok (203,0,113,2,156,64)")
			d := k.open(clientIP, publicIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01"), k.packet())
			k.close(d, down)
			k.says("< 226 done")
		}, `ftp RETR data=read down="\x00\x01" file=a.bin,true`},
		{"a translated address: the client uses the server's", func(k *talk) {
			k.says("> PASV", "< 227 ok (192,168,7,7,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01"), k.packet())
			k.close(d, down)
			k.says("< 226 done")
		}, `ftp RETR data=read down="\x00\x01" file=a.bin,true`},
		{"an aborted transfer is not complete", func(k *talk) {
			k.says("> EPSV", "< 229 ok (|||40000|)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01"), k.packet())
			k.close(d, down)
			k.says("> ABOR", "< 426 aborted", "< 226 ok")
		}, `ftp RETR data=read down="\x00\x01" file=a.bin,false`},
		{"a listing is no file", func(k *talk) {
			k.says("> EPSV", "< 229 ok (|||40000|)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says("> LIST", "< 150 go")
			d.Data(down, []byte("\x01list"), k.packet())
			k.close(d, down)
			k.says("< 226 ok")
		}, `ftp LIST data=read down="\x01list"`},
		{"another client's connection to the port", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(thirdIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01file"), k.packet())
			k.close(d, down, up)
			k.says("< 226 done")
		}, "ftp RETR|tcp "},
		{"a PORT to a third host", func(k *talk) {
			k.says("> PORT 10,0,0,9,4,1", "< 200 ok")
			d := k.open(serverIP, thirdIP, 20, 1025)
			k.says(retr...)
			d.Data(up, []byte("\x00\x01file"), k.packet())
			k.close(d, down, up)
			k.says("< 226 done")
		}, "ftp RETR|tcp "},
		{"a PORT that the server refused", func(k *talk) {
			k.says("> PORT 10,0,0,5,4,1", "< 500 no")
			d := k.open(serverIP, clientIP, 20, 1025)
			k.says(retr...)
			d.Data(up, []byte("\x00\x01file"), k.packet())
			k.close(d, down, up)
			k.says("< 226 done")
		}, "ftp RETR|tcp "},
		{"a port that serves HTTP", func(k *talk) {
			k.says("> PORT 10,0,0,5,0,80", "< 200 ok")
			d := k.open(serverIP, clientIP, 3000, 80)
			k.says("> RETR a", "< 150 go")
			d.Data(up, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), k.packet())
			d.Data(down, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), k.packet())
			k.says("< 226 done")
		}, "ftp RETR data=http1|http1 GET"},
		{"a connection on which both sides speak", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01\x02\x03 who is there, please say"), k.packet())
			d.Data(up, []byte("\x00\x01\x02\x04"), k.packet())
			k.says("< 226 done")
		}, "ftp RETR data=other|tcp "},
		{"bytes before any command asked for them", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			d.Data(down, []byte("\x00\x01file that nobody asked for, and more of it"), k.packet())
			k.close(d, down, up)
		}, "tcp "},
		{"too late", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			k.no += 200_000
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01"), k.packet())
			k.close(d, down)
			k.says("< 226 done")
		}, "ftp RETR|tcp "},
		{"the beginning is lost", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Gap(down, 100, k.packet())
			d.Data(down, []byte("\x00\x01file"), k.packet())
			k.close(d, down)
			k.says("< 226 done")
		}, `ftp RETR data=read down="\x00\x01file" gap file=a.bin,false`},
		{"a gap, and the end of the capture", func(k *talk) {
			k.says("> PASV", "< 227 ok (10,0,0,2,156,64)")
			d := k.open(clientIP, serverIP, 5000, 40000)
			k.says(retr...)
			d.Data(down, []byte("\x00\x01fi"), k.packet())
			d.Gap(down, 100, k.packet())
			d.Data(down, []byte("le"), k.packet())
		}, `ftp RETR data=read down="\x00\x01file" file=a.bin,false`},
	} {
		k := &talk{t: t}
		var err error
		if k.e, err = dissect.NewEngine([]*dissect.Protocol{Protocol(), http1.Protocol()}, nil, k, true); err != nil {
			t.Fatal(err)
		}
		k.ctl = k.open(clientIP, serverIP, 4000, 21)
		k.says("< 220 FTP ready", "> USER a", "< 331 name", "> PASS b", "< 230 ok")
		c.do(k)
		for _, x := range k.conns {
			x.Close(dissect.EndCapture, k.packet())
		}
		slices.Sort(k.rows)
		if got := strings.Join(k.rows, "|"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
