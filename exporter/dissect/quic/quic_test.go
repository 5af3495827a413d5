package quic

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

func chunk(dir dissect.Dir, b []byte) dissecttest.Chunk { return dissecttest.Chunk{Dir: dir, Data: b} }

func TestConformance(t *testing.T) {
	f := begin(t, "blob")
	f.send(oneRTT, client, streamFrame(0, 0, "question", true))
	f.send(oneRTT, server, streamFrame(0, 0, "answer", true), frame(frameHandshakeDone))
	f.send(oneRTT, client, frame(frameCloseApp, 0, 0))
	var chunks []dissecttest.Chunk
	for _, d := range f.list {
		chunks = append(chunks, chunk(d.dir, d.data))
	}
	needs := []*dissect.Protocol{tls.Protocol(nil), blobProtocol(&blob{})}
	dissecttest.Run(t, Protocol(f.store()), dissecttest.Sample{Name: "with keys", Chunks: chunks, Rows: 2, Needs: needs})
	dissecttest.Run(t, Protocol(nil), dissecttest.Sample{Name: "without keys", Chunks: chunks, Rows: 2, Needs: needs},
		dissecttest.Sample{Name: "version 2", Rows: 2, Needs: needs, Chunks: []dissecttest.Chunk{
			chunk(dissect.ToServer, vector(t, "v2 client-packet")), chunk(dissect.ToClient, vector(t, "v2 server-packet"))}})
}

func TestRFCPackets(t *testing.T) {
	for _, v := range []string{"v1", "v2"} {
		out, c := play(t, []datagram{{dir: dissect.ToServer, data: vector(t, v+" client-packet")}, {dir: dissect.ToClient, data: vector(t, v+" server-packet")}}, protocols(nil, &blob{})...)
		row := out.row(t)
		if row.Version.V != v[1:] || row.Host.V != "example.com" || row.OriginalDCID.V != "8394c8f03e515708" || row.ServerCID.V != "f067a5502a4262b5" ||
			row.ClientInitial != 1 || row.ServerInitial != 1 || c.Encrypted().Opened != [2]int64{1, 1} || len(out.Anomalies) > 0 {
			t.Errorf("%s: %+v, %v", v, row, out.Anomalies)
		}
		out, _ = play(t, []datagram{{dir: dissect.ToServer, data: vector(t, v+" client-packet")}, {dir: dissect.ToClient, data: vector(t, v+" retry")}}, protocols(nil, &blob{})...)
		if row := out.row(t); !row.Retry || row.Retries != 1 || len(out.Anomalies) > 0 {
			t.Errorf("%s: %+v, %v", v, row, out.Anomalies)
		}
		bad := vector(t, v+" retry")
		bad[len(bad)-1] ^= 1
		out, _ = play(t, []datagram{{dir: dissect.ToServer, data: vector(t, v+" client-packet")}, {dir: dissect.ToClient, data: bad}}, protocols(nil, &blob{})...)
		if row := out.row(t); row.Retry || out.kinds() != "retry" {
			t.Errorf("%s: %+v, %v", v, row, out.Anomalies)
		}
	}
}

func TestDetect(t *testing.T) {
	client := vector(t, "v1 client-packet")
	negotiation := func(versions ...uint32) []byte {
		b := []byte{0x80, 0, 0, 0, 0, 1, 7, 1, 8}
		for _, v := range versions {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	with := func(b []byte, at int, v ...byte) []byte { b = bytes.Clone(b); copy(b[at:], v); return b }
	for _, c := range []struct {
		name string
		dir  dissect.Dir
		head []byte
		want dissect.Verdict
	}{
		{"a client's Initial", dissect.ToServer, client, dissect.Yes},
		{"a client's Initial from the other side", dissect.ToClient, client, dissect.Yes},
		{"a server's Initial without a client's id is not the client's", dissect.ToServer, vector(t, "v1 server-packet"), dissect.No},
		{"a server's Initial, whose keys only the client's shows", dissect.ToClient, vector(t, "v1 server-packet"), dissect.No},
		{"a client's Initial that does not authenticate", dissect.ToServer, with(client, len(client)-1, client[len(client)-1]^1), dissect.No},
		{"a client's Initial that was cut", dissect.ToServer, client[:200], dissect.Yes},
		{"a Retry comes from a server", dissect.ToServer, vector(t, "v1 retry"), dissect.No},
		{"a Retry", dissect.ToClient, vector(t, "v2 retry"), dissect.Yes},
		{"version negotiation", dissect.ToClient, negotiation(0x1a2a3a4a, 1), dissect.Yes},
		{"version negotiation comes from a server", dissect.ToServer, negotiation(1), dissect.No},
		{"version negotiation without a version in use", dissect.ToClient, negotiation(0x12345678), dissect.No},
		{"version negotiation with half a version", dissect.ToClient, negotiation(1)[:12], dissect.No},
		{"a version to force negotiation", dissect.ToServer, with(client, 1, 0x1a, 0x2a, 0x3a, 0x4a), dissect.Yes},
		{"such a version in a short datagram", dissect.ToServer, with(client, 1, 0x1a, 0x2a, 0x3a, 0x4a)[:100], dissect.No},
		{"a version not in use", dissect.ToServer, with(client, 1, 0x12, 0x34, 0x56, 0x78), dissect.No},
		{"an id that is too long", dissect.ToServer, with(client, 5, 21), dissect.No},
		{"Google's QUIC", dissect.ToServer, []byte("\x0d01234567Q039\x01rest"), dissect.Yes},
		{"Google's QUIC in a version it never had", dissect.ToServer, []byte("\x0d01234567Q099\x01rest"), dissect.No},
		{"a short header alone proves nothing", dissect.ToServer, append([]byte{0x40}, client[1:]...), dissect.No},
		{"nothing", dissect.ToServer, nil, dissect.No},
	} {
		if got := detect(c.dir, c.head); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// An Initial that nothing authenticates is QUIC only if the other side answers with its ids.
func TestForgedInitial(t *testing.T) {
	random := bytes.Repeat([]byte{0x5a}, 1200)
	forged := append(long(0xc3, []byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{9, 9, 9, 9}, true, 7, len(random)-20), random...)
	whole := begin(t, "blob").list
	for _, c := range []struct {
		name string
		list []datagram
		want string
	}{
		{"random bytes", []datagram{{dir: dissect.ToServer, data: forged}}, "udp"},
		{"random bytes twice", []datagram{{dir: dissect.ToServer, data: forged}, {dir: dissect.ToServer, data: forged}}, "udp"},
		{"the client's first packet is missing", append([]datagram{whole[1], {dir: dissect.ToServer, data: forgedReply()}}, whole[2:]...), "tls quic"},
		{"the server's first packets only", whole[1:], "tls quic"},
		{"the answer was captured first", append([]datagram{whole[1], whole[0]}, whole[2:]...), "tls quic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, conn := play(t, c.list, protocols(secrets.NewStore(), &blob{})...)
			got := ""
			if encrypted := conn.Encrypted() != nil; encrypted == (c.want == "udp") {
				t.Errorf("encrypted: %v", encrypted)
			}
			for _, e := range out.Emissions {
				got = strings.TrimSpace(got + " " + e.Row.Base().Protocol)
			}
			if got != c.want {
				t.Errorf("rows of %q, want %q", got, c.want)
			}
		})
	}
}

// forgedReply is an Initial of a client whose first one was not captured: nobody can read it.
func forgedReply() []byte {
	return append(long(0xc3, []byte{0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5}, nil, true, 7, 40), bytes.Repeat([]byte{0x5a}, 60)...)
}

func TestReadLong(t *testing.T) {
	client := vector(t, "v1 client-packet")
	var h header
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"whole", client, ""},
		{"truncated in its ids", client[:9], "it ends early"},
		{"truncated in its payload", client[:900], "length 1182"},
		{"a length below a tag", append(bytes.Clone(client[:16]), 0x40, 0x05), "length 5 is outside 20"},
		{"a token beyond the end", append(bytes.Clone(client[:15]), 0x7f, 0xff), "it ends early"},
	} {
		err := readLong(c.b, true, &h)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestVersionNames(t *testing.T) {
	for v, want := range map[uint32]string{1: "1", version2: "2", 0xff00001d: "draft-29", 0x51303436: "Q046", 0x54303531: "T051", 0xfaceb002: "mvfst-2", 0x0a1a2a3a: "grease", 0x12345678: "0x12345678"} {
		if got := versionName(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestVersionNegotiation(t *testing.T) {
	f := newFake(t)
	first := append([]byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 9, 9}, make([]byte, 1200)...)
	f.list = append(f.list, datagram{dir: dissect.ToServer, data: first},
		datagram{dir: dissect.ToClient, data: []byte{0x80, 0, 0, 0, 0, 2, 9, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0x6b, 0x33, 0x43, 0xcf}})
	out, _ := f.play(&blob{})
	if row := out.row(t); row.Version.V != "grease" || strings.Join(row.Negotiation, " ") != "1 2" || !row.Failed || row.Summary != "QUIC grease → version not supported" {
		t.Errorf("%+v", row)
	}
	f.hellos()
	out, _ = f.play(&blob{})
	if row := out.row(t); row.Version.V != "1" || strings.Join(row.Offered, " ") != "grease 1" || strings.Join(row.Negotiation, " ") != "1 2" || row.Host.V != "example.com" || row.Negotiations != 1 {
		t.Errorf("%+v", row)
	}
}

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		name      string
		do        func(f *fake)
		want      string // of stream 0 to the server
		gaps      int64
		anomalies string
	}{
		{"in order", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one ", false))
			f.send(oneRTT, client, streamFrame(0, 4, "two", true))
		}, "one two", 0, ""},
		{"out of order, twice and overlapping", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 4, "two", true))
			f.send(oneRTT, client, streamFrame(0, 4, "tw", false))
			f.send(oneRTT, client, streamFrame(0, 2, "e two", true))
			f.send(oneRTT, client, streamFrame(0, 0, "one", false))
		}, "one two", 0, ""},
		{"before the handshake was read", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "early", true))
			f.list = []datagram{f.list[3], f.list[0], f.list[1], f.list[2]}
		}, "early", 0, ""},
		{"bytes that come twice and differ", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 4, "two", false))
			f.send(oneRTT, client, streamFrame(0, 4, "TWO", false))
			f.send(oneRTT, client, streamFrame(0, 0, "one ", false))
		}, "one two", 0, "overlap"},
		{"another size at the end", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one", true))
			f.send(oneRTT, client, streamFrame(4, 0, "one", false))
			f.send(oneRTT, client, streamFrame(4, 2, "", true))
		}, "one", 0, "final_size"},
		{"acknowledged without having been captured", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one ", false))
			f.packet(oneRTT, client, streamFrame(0, 4, "two ", false))
			f.send(oneRTT, client, streamFrame(0, 8, "three", false))
			f.send(oneRTT, server, frame(frameAck, 2, 0, 0, 2))
			f.send(oneRTT, client, frame(framePing))
		}, "one \x00\x00\x00\x00three", 4, ""},
		{"lost at the end", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 8, "three", true))
		}, "\x00\x00\x00\x00\x00\x00\x00\x00three", 8, ""},
		{"an unknown frame ends its packet", func(f *fake) {
			f.send(oneRTT, client, frame(0x3f), streamFrame(0, 0, "one", false))
			f.send(oneRTT, client, streamFrame(0, 0, "two", false))
		}, "two", 0, "frame"},
		{"a frame that ends early", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one", false)[:20])
		}, "", 0, "frame"},
		{"a stream frame at a level that has none", func(f *fake) {
			f.send(handshakePacket, client, streamFrame(0, 0, "one", false))
		}, "", 0, "frame"},
		{"a packet that comes twice", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one", false))
			f.list = append(f.list, f.list[3])
		}, "one", 0, ""},
		{"a packet that does not authenticate", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one", false))
			f.list[3].data[30] ^= 1
		}, "", 0, ""},
		{"a number far on", func(f *fake) {
			f.send(oneRTT, client, streamFrame(0, 0, "one ", false))
			f.next[spaceApp][client] = 1 << 40
			f.send(oneRTT, client, streamFrame(0, 4, "two", false))
		}, "one two", 0, ""},
		{"zeros after the packets of a datagram", func(f *fake) {
			f.list[0].data = append(f.list[0].data, make([]byte, 50)...)
			f.send(oneRTT, client, streamFrame(0, 0, "one", false))
		}, "one", 0, ""},
		{"0-RTT that is not accepted", func(f *fake) {
			f.send(zeroRTT, client, streamFrame(0, 0, "early", true))
		}, "early", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, b := begin(t, "blob"), &blob{}
			c.do(f)
			out, _ := f.play(b)
			if got := b.text(dissect.ToServer, 0); got != c.want || b.gaps != c.gaps || out.kinds() != c.anomalies {
				t.Errorf("%q, gaps %d, anomalies %v; want %q, %d, %q", got, b.gaps, out.Anomalies, c.want, c.gaps, c.anomalies)
			}
		})
	}
}

func TestPatience(t *testing.T) {
	f, b := begin(t, "blob"), &blob{}
	f.send(oneRTT, client, streamFrame(0, 4, "two", false))
	for range 40_000 { // 0.1 ms each
		f.list = append(f.list, f.list[2])
	}
	f.send(oneRTT, client, streamFrame(0, 0, "one ", false)) // too late
	f.send(oneRTT, client, streamFrame(0, 7, " three", false))
	f.play(b)
	if got := b.text(dissect.ToServer, 0); got != "\x00\x00\x00\x00two three" {
		t.Errorf("%q", got)
	}
}

func TestTooMuchAhead(t *testing.T) {
	f, b := begin(t, "blob"), &blob{}
	piece := strings.Repeat("x", 60_000)
	for i := range 40 {
		f.send(oneRTT, client, streamFrame(0, 10+i*len(piece), piece, false))
	}
	out, _ := f.play(b)
	if got := b.got[plainKey{dissect.ToServer, 0}]; len(got) != 10+40*len(piece) || b.gaps != 10 || len(out.Anomalies) > 0 {
		t.Errorf("%d bytes, gaps %d, %v", len(got), b.gaps, out.Anomalies)
	}
}

func TestTooManyStreams(t *testing.T) {
	f, b := begin(t, "blob"), &blob{}
	for i := range maxStreams + 10 {
		f.send(oneRTT, client, streamFrame(i*4, 0, "x", false))
	}
	out, _ := f.play(b)
	if row := out.row(t); row.ClientBidi != maxStreams+10 || row.ClientStreamBytes != maxStreams || !strings.HasPrefix(out.kinds(), "limit") {
		t.Errorf("%d streams of %d, %v", len(b.got), row.ClientBidi, out.kinds())
	}
}

func TestStatelessReset(t *testing.T) {
	f := begin(t, "blob")
	token := []byte("sixteen  letters")
	f.send(oneRTT, server, append(append(frame(frameNewID, 1, 0), 4, 1, 2, 3, 4), token...))
	f.list = append(f.list, datagram{dir: dissect.ToClient, data: append([]byte{0x52, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, token...)})
	out, _ := f.play(&blob{})
	if row := out.row(t); row.StatelessResets != 1 || row.Close.V != "stateless_reset" || row.CloseBy.V != "server" || row.Error.V != "reset" || !row.Failed || row.ServerUnread != 0 {
		t.Errorf("%+v", row)
	}
}

func TestClose(t *testing.T) {
	for _, c := range []struct {
		name           string
		frame          []byte
		level          kind
		how, code, why string
		failed         bool
	}{
		{"an alert in the handshake", append(frame(frameClose, 0x128, 6, 3), "bad"...), initial, "transport", "CRYPTO_ERROR handshake_failure", "bad", true},
		{"no error", frame(frameClose, 0, 0, 0), oneRTT, "transport", "NO_ERROR", "", false},
		{"an application's error", append(frame(frameCloseApp, 99, 2), 0xff, '!'), oneRTT, "application", "", "\uFFFD!", true},
		{"HTTP/3 without error", frame(frameCloseApp, 0x100, 0), oneRTT, "application", "", "", false},
	} {
		f := begin(t, "blob")
		f.send(c.level, server, c.frame)
		out, _ := f.play(&blob{})
		row := out.row(t)
		if row.Close.V != c.how || row.CloseName.V != c.code || row.CloseReason.V != c.why || row.Failed != c.failed || !row.Complete || row.CloseBy.V != "server" || len(out.Anomalies) > 0 {
			t.Errorf("%s: %+v, %v", c.name, row, out.Anomalies)
		}
	}
}

// TestCloseWithoutAServer has a client that gives up before any packet of the server: what it closes with is not the
// server's answer.
func TestCloseWithoutAServer(t *testing.T) {
	for _, answered := range []bool{false, true} {
		f := newFake(t, all...)
		f.send(initial, client, vector(f.t, "v1 client-frames"), make([]byte, 900))
		if answered {
			f.send(initial, server, vector(f.t, "v1 server-frames"))
		}
		f.send(initial, client, append(frame(frameClose, 0x128, 6, 3), "bad"...))
		out, _ := f.play(&blob{})
		row, want, why := out.row(t), "no_answer", "no_response"
		if answered {
			want, why = "server_error", ""
		}
		if row.Outcome != want || row.Error.V != why || row.Close.V != "transport" || row.StatusText.OK != answered {
			t.Errorf("answered %v: outcome %s, error %q, %+v", answered, row.Outcome, row.Error.V, row)
		}
	}
}

// TestForgedClose has a CONNECTION_CLOSE in an Initial packet, whose keys everyone has, from one who is not the server.
func TestForgedClose(t *testing.T) {
	for _, c := range []struct {
		name   string
		logged []secrets.Label
		shaken bool // the client's Handshake packet came before
		rounds int  // in which both sides continue
		forged bool
	}{
		{"after the handshake", all, true, 1, true},
		{"before its end, both continue", all, false, 4, true},
		{"both continue, no keys", nil, true, 4, true},
		{"some packets were on their way", all, false, 2, false},
		{"some packets were on their way, no keys", nil, true, 2, false},
	} {
		f := newFake(t, all...).hellos().extensions("blob")
		f.log = newFake(t, c.logged...).log
		if c.shaken {
			f.send(handshakePacket, client, frame(framePing))
		}
		f.send(initial, server, frame(frameClose, 0x128, 0, 0))
		for i := range c.rounds {
			f.send(oneRTT, client, streamFrame(4*i, 0, "question", true))
			f.send(oneRTT, server, streamFrame(4*i, 0, "answer", true))
		}
		out, _ := f.play(&blob{})
		row := out.row(t)
		if row.Close.OK == c.forged || row.Failed == c.forged || (out.kinds() == "forged_close") != c.forged {
			t.Errorf("%s: %+v, %v", c.name, row, out.Anomalies)
		}
		for _, e := range out.Emissions {
			if row, ok := e.Row.(*tls.Row); ok && c.forged && len(row.Alerts) > 0 {
				t.Errorf("%s: alerts %v", c.name, row.Alerts)
			}
		}
	}
}

func TestResets(t *testing.T) {
	f, b := begin(t, "blob"), &resets{}
	f.send(oneRTT, client, streamFrame(0, 0, "one", false))
	f.send(oneRTT, server, frame(frameStopSending, 0, 7))
	f.send(oneRTT, client, frame(frameResetStream, 0, 8, 3))
	f.send(oneRTT, client, frame(frameResetStreamAt, 4, 9, 10, 4), streamFrame(4, 0, "abc", false))
	f.send(oneRTT, client, streamFrame(4, 3, "d", false), streamFrame(0, 3, "late", false))
	p := blobProtocol(&b.blob)
	p.NewStreams = func(c *dissect.Conn) dissect.Streams { b.open(c); return b }
	play(t, f.list, Protocol(f.store()), tls.Protocol(nil), p)
	if b.text(dissect.ToServer, 0) != "one" || b.text(dissect.ToServer, 4) != "abcd" || b.seen != "0 to_client stop 7, 0 to_server 8, 4 to_server 9, " {
		t.Errorf("%q, %q, %q", b.text(dissect.ToServer, 0), b.text(dissect.ToServer, 4), b.seen)
	}
}

// TestDNS reads DNS over QUIC (RFC 9250), which no protocol selects by ALPN.
func TestDNS(t *testing.T) {
	f := begin(t, "doq")
	name := "\x07example\x03com\x00\x00\x01\x00\x01"
	ask := "\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name
	answer := "\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + name + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01"
	framed := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	for i := range 2 {
		f.send(oneRTT, client, streamFrame(i*4, 0, framed(ask), true))
		f.send(oneRTT, server, streamFrame(i*4, 0, framed(answer), true))
	}
	out, c := play(t, f.list, Protocol(f.store()), tls.Protocol(nil), dns.Protocol())
	n := 0
	for _, e := range out.Emissions {
		if b := e.Row.Base(); b.Protocol == "dns" && b.Host.V == "example.com" && b.Complete && b.DecryptedBy.V == "quic" && b.Transport == "quic" {
			n++
		}
	}
	if n != 2 || c.Inner() != "dns" {
		t.Errorf("%d exchanges, inner %s, %v", n, c.Inner(), out.Anomalies)
	}
}

// TestTwoConnections reads two connections that share a 5-tuple, one after another.
func TestTwoConnections(t *testing.T) {
	f := begin(t, "blob")
	f.send(oneRTT, client, streamFrame(0, 0, "one", false))
	g := newFake(t)
	g.odcid = []byte("another!")
	c, s := initialSecrets(g.odcid)
	g.levels[initial] = [2]*sealer{newSealer(c, "quic "), newSealer(s, "quic ")}
	g.ids = [2][]byte{{1, 2, 3}, {4, 5, 6}}
	hello := vector(t, "v1 client-frames")
	hello[20] ^= 1 // another random
	g.send(initial, client, hello, make([]byte, 900))
	g.send(initial, server, vector(t, "v1 server-frames"))
	b := &blob{}
	out, _ := play(t, append(f.list, g.list...), protocols(f.store(), b)...)
	n := 0
	for _, e := range out.Emissions {
		if row, ok := e.Row.(*Row); ok {
			if n++; row.ClientInitial != 1 || row.ServerInitial != 1 || row.Host.V != "example.com" {
				t.Errorf("%+v", row)
			}
		}
	}
	if n != 2 || b.text(dissect.ToServer, 0) != "one" {
		t.Errorf("%d connections, %q", n, b.text(dissect.ToServer, 0))
	}
}

// TestOneDirection reads one side of a connection if the other was not captured.
func TestOneDirection(t *testing.T) {
	f := begin(t, "blob")
	f.send(oneRTT, client, streamFrame(0, 0, "question", true))
	f.send(oneRTT, server, streamFrame(0, 0, "answer", true))
	for dir, want := range map[dissect.Dir][2]int64{dissect.ToServer: {8, 0}, dissect.ToClient: {0, 6}} {
		var list []datagram
		for _, d := range f.list {
			if d.dir == dir {
				list = append(list, d)
			}
		}
		out, c := play(t, list, protocols(f.store(), &blob{})...)
		if row := out.row(t); row.ClientStreamBytes != want[0] || row.ServerStreamBytes != want[1] || c.Encrypted().State != dissect.KeyVerified || len(out.Anomalies) > 0 {
			t.Errorf("%s: %+v %v", dir, row, out.Anomalies)
		}
	}
}

// TestCompatibleVersion: the server continues in version 2 if the client began in version 1.
func TestCompatibleVersion(t *testing.T) {
	out, c := play(t, []datagram{{data: vector(t, "v1 client-packet")}, {dir: dissect.ToClient, data: vector(t, "v2 server-packet")}}, protocols(nil, &blob{})...)
	if row := out.row(t); row.Version.V != "2" || strings.Join(row.Offered, " ") != "1" || c.Encrypted().Opened != [2]int64{1, 1} {
		t.Errorf("%+v", row)
	}
}

// TestSegments reads datagrams that were captured before the kernel split them.
func TestSegments(t *testing.T) {
	for _, id := range []int{0, 8} {
		f, b := begin(t, "blob"), &blob{}
		f.ids[server] = bytes.Repeat([]byte{7}, id)
		f.list = nil
		f.hellos().extensions("blob")
		want := strings.Repeat("x", 1300)
		off := 0
		for range 3 {
			at := len(f.list)
			for range 5 {
				f.send(oneRTT, client, streamFrame(0, off, want, false))
				off += len(want)
			}
			f.send(oneRTT, client, streamFrame(0, off, "end", false))
			off += 3
			var all []byte
			for _, d := range f.list[at:] {
				all = append(all, d.data...)
			}
			f.list = append(f.list[:at], datagram{data: all})
		}
		out, _ := f.play(b)
		if row := out.row(t); len(b.got[plainKey{dissect.ToServer, 0}]) != off || row.ClientOneRTT != 18 || row.ClientUnread != 0 {
			t.Errorf("ids of %d bytes: %d bytes of %d, %d packets, %d not read", id, len(b.got[plainKey{dissect.ToServer, 0}]), off, row.ClientOneRTT, row.ClientUnread)
		}
	}
}
