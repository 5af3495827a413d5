package all

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// opened is TLS without encryption: each record is 0x16 and its content.
type opened struct {
	dissect.Stateless
	c, inner *dissect.Conn
}

func (o *opened) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 {
		return 0, nil
	}
	if o.inner == nil {
		o.inner = o.c.NewInner("test")
		o.c.Continue(o.inner)
	}
	o.inner.Data(in.Dir, in.Data[1:], in.Packet(0))
	return len(in.Data), nil
}

func (*opened) Gap(*dissect.Input, int64) bool { return false }

func (o *opened) Close(why dissect.End) {
	if o.inner != nil {
		o.inner.Close(why, o.c.Now())
	}
}

// TestProtocolContinuesInTLS changes connections to TLS in which the first messages do not show the protocol, or which
// lack what was said before.
func TestProtocolContinuesInTLS(t *testing.T) {
	const (
		greeting = "\x4a\x00\x00\x00\x0a8.0.32\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\x00\x00\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00mysql_native_password\x00" // no query attributes
		caps     = "\x85\xaa\xff\x0f\x00\x00\x00\x01\x21"                                                                                                                                        // query attributes
	)
	zeros := strings.Repeat("\x00", 23)
	login := caps + zeros + "ann\x00\x00mysql_native_password\x00"
	for _, x := range []struct {
		protocol string
		chunks   []dissecttest.Chunk
		want     []string
	}{
		{"pop3", []dissecttest.Chunk{dissecttest.Server("+OK POP3\r\n"), dissecttest.Client("STLS\r\n"), dissecttest.Server("+OK\r\n"), dissecttest.Client("\x16CAPA\r\n"), dissecttest.Server("\x16+OK\r\nTOP\r\n.\r\n"),
			dissecttest.Client("\x16USER ann\r\n"), dissecttest.Server("\x16+OK\r\n")}, []string{"GREETING → +OK POP3", "STLS → +OK", "CAPA → +OK", "USER ann → +OK"}},
		{"ftp", []dissecttest.Chunk{dissecttest.Server("220 FTP\r\n"), dissecttest.Client("AUTH TLS\r\n"), dissecttest.Server("234 go\r\n"), dissecttest.Client("\x16NOOP\r\n"), dissecttest.Server("\x16200 ok\r\n")},
			[]string{"GREETING → 220 FTP", "AUTH TLS → 234 go", "NOOP → 200 ok"}},
		{"smtp", []dissecttest.Chunk{dissecttest.Server("220 a ESMTP\r\n"), dissecttest.Client("EHLO a\r\n"), dissecttest.Server("250 a\r\n"), dissecttest.Client("STARTTLS\r\n"), dissecttest.Server("220 go\r\n"), dissecttest.Client("\x16NOOP\r\n"), dissecttest.Server("\x16250 ok\r\n")},
			[]string{"GREETING → 220 a ESMTP", "EHLO a → 250 a", "STARTTLS → 220 go", "NOOP → 250 ok"}},
		{"mysql", []dissecttest.Chunk{dissecttest.Server(string([]byte{byte(len(greeting) - 4)}) + greeting[1:]), dissecttest.Client("\x20\x00\x00\x01" + caps + zeros),
			dissecttest.Client("\x16" + string([]byte{byte(len(login))}) + "\x00\x00\x02" + login), dissecttest.Server("\x16\x07\x00\x00\x03\x00\x00\x00\x02\x00\x00\x00"),
			dissecttest.Client("\x16\x0c\x00\x00\x00\x03select nope"), dissecttest.Server("\x16\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00")},
			[]string{"ssl request → ok", "connect ann@ → ok", "select nope → 0 rows affected"}},
	} {
		protocols := slices.DeleteFunc(Protocols(nil), func(p *dissect.Protocol) bool { return p.Name != x.protocol })
		protocols = append(protocols, &dissect.Protocol{Name: "tls", Transports: []dissect.Transport{dissect.TCP}, Detect: func(dissect.Dir, []byte) dissect.Verdict { return dissect.No },
			New: func(c *dissect.Conn) dissect.Dissector { return &opened{c: c} }, Row: &dissect.Unknown{}})
		r := dissecttest.Play(t, dissecttest.Options{Protocols: protocols, ServerPort: 50001, Roles: true, End: dissect.EndFin}, x.chunks...)
		var got []string
		for _, row := range r.Rows() {
			s := row.Base().Summary
			if !row.Base().Complete {
				s += " " + row.Base().Error.V
			}
			got = append(got, s)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %q, want %q, anomalies %v", x.protocol, got, x.want, r.Anomalies)
		}
	}
}
