package http3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// ownColumns renders the http3 columns that are set.
func ownColumns(row *Row) string {
	var b strings.Builder
	put := func(name string, ok bool, v any) {
		if ok {
			fmt.Fprintf(&b, "%s=%v ", name, v)
		}
	}
	put("protocol", row.Tunnel.OK, row.Tunnel.V)
	put("interim", row.Interim.OK, row.Interim.V)
	put("pushed_on", row.PushedOn.OK, row.PushedOn.V)
	put("push", row.PushID.OK, row.PushID.V)
	put("priority", row.Priority.OK, row.Priority.V)
	put("code", row.ErrorCode.OK, row.ErrorCode.V)
	put("by", row.ResetBy.OK, row.ResetBy.V)
	put("datagrams", row.Datagrams.OK, row.Datagrams.V)
	put("datagram_bytes", row.DatagramBytes.OK, row.DatagramBytes.V)
	put("capsules", row.Capsules.OK, row.Capsules.V)
	put("streams", row.SessionStreams.OK, row.SessionStreams.V)
	put("bytes", row.SessionBytes.OK, row.SessionBytes.V)
	put("list", row.SessionList.OK, row.SessionList.V)
	return strings.TrimSpace(b.String())
}

func datagram(d dissect.Dir, s string) dissecttest.Step {
	return dissecttest.Step{Dir: d, Data: []byte(s), Datagram: true}
}

func connect(protocol string, more ...string) string {
	return headers(append([]string{":method", "CONNECT", ":protocol", protocol, ":scheme", "https", ":authority", "h", ":path", "/t"}, more...)...)
}

func TestColumns(t *testing.T) {
	ok := headers(":status", "200")
	promise := func(push int64) string {
		return frameOf(framePushPromise, num(push)+section(":method", "GET", ":scheme", "https", ":authority", "h", ":path", "/style"))
	}
	get := fin(0, up, request("/"))
	allow := say(2, up, frameOf(frameMaxPushID, num(8)))
	for _, row := range []struct {
		name  string
		steps []dissecttest.Step
		want  []string
		kinds string
	}{
		{"interim", with(get, fin(0, down, headers(":status", "100")+headers(":status", "103")+ok)), []string{"0 GET / → 200: interim=100,103"}, ""},
		{"priority before the request and after", with(say(2, up, frameOf(framePriorityRequest, num(0)+"u=3")), get, say(2, up, frameOf(framePriorityRequest, num(0)+"u=1, i")), fin(0, down, ok)),
			[]string{"0 GET / → 200: priority=u=1, i"}, ""},
		{"push", with(allow, get, fin(0, down, promise(3)+ok), fin(15, down, num(streamPush)+num(3)+response("css"))),
			[]string{"0 GET / → 200: ", "15 GET /style → 200: pushed_on=0 push=3"}, ""},
		{"push before its promise", with(allow, get, fin(15, down, num(streamPush)+num(3)+response("css")), fin(0, down, promise(3)+ok)),
			[]string{"15 GET /style → 200: pushed_on=0 push=3", "0 GET / → 200: "}, ""},
		{"push promised twice", with(allow, get, fin(4, up, request("/b")), fin(0, down, promise(3)+ok), fin(4, down, promise(3)+ok), fin(15, down, num(streamPush)+num(3)+response("css"))),
			[]string{"0 GET / → 200: ", "4 GET /b → 200: ", "15 GET /style → 200: pushed_on=0 push=3"}, ""},
		{"push cancelled", with(allow, get, fin(0, down, promise(3)+ok), say(2, up, frameOf(frameCancelPush, num(3)))),
			[]string{"0 GET / → 200: ", "0 GET /style → reset: pushed_on=0 push=3 by=client"}, ""},
		{"push that the client stops", with(allow, get, fin(0, down, promise(3)+ok), say(15, down, num(streamPush)+num(3)+response("css")), stop(15, up, 0x10c), reset(15, down, 0x10c)),
			[]string{"0 GET / → 200: ", "15 GET /style → 200, reset H3_REQUEST_CANCELLED: pushed_on=0 push=3 code=268 by=client"}, ""},
		{"push never made", with(allow, get, fin(0, down, promise(3)+ok)), []string{"0 GET / → 200: ", "0 GET /style → no response: pushed_on=0 push=3"}, ""},
		{"push that is not allowed", with(get, fin(0, down, promise(3)+ok), fin(15, down, num(streamPush)+num(3)+response("css"))),
			[]string{"0 GET / → 200: ", "15 GET /style → 200: pushed_on=0 push=3"}, "push_promise"},
		{"push reset", with(allow, get, fin(0, down, promise(3)+ok), say(15, down, num(streamPush)+num(3)+response("css")), reset(15, down, 0x102)),
			[]string{"0 GET / → 200: ", "15 GET /style → 200, reset H3_INTERNAL_ERROR: pushed_on=0 push=3 code=258 by=server"}, ""},
		{"websocket", with(say(0, up, connect("websocket")), say(0, down, ok), say(0, up, data("\x81\x85")), say(0, down, data("\x81")), fin(0, up, ""), fin(0, down, "")),
			[]string{"0 CONNECT /t → 200: protocol=websocket"}, ""},
		{"connect-udp with datagrams and capsules", with(say(0, up, connect("connect-udp", "capsule-protocol", "?1")), say(0, down, ok), datagram(up, num(0)+"\x00dns"), datagram(down, num(0)+"\x00answer"),
			say(0, up, data(num(0)+num(3)+"\x00a")), say(0, up, data("b"+num(0x2f)+num(0))), fin(0, up, ""), fin(0, down, data(num(0)+num(1)+"\x00"))),
			[]string{"0 CONNECT /t → 200: protocol=connect-udp datagrams=2 datagram_bytes=11 capsules=DATAGRAM 2, 0x2f 1"}, ""},
		{"datagram before the request", with(datagram(up, num(1)+"x"), fin(4, up, connect("connect-udp")), fin(4, down, ok)),
			[]string{"4 CONNECT /t → 200: protocol=connect-udp datagrams=1 datagram_bytes=1"}, ""},
		{"datagram of no stream", with(datagram(up, "")), nil, "datagram"},
		{"webtransport", with(say(0, up, connect("webtransport")), say(0, down, ok),
			say(14, up, num(streamSession)+num(0)+"hello"), fin(14, up, " world"),
			fin(4, up, num(frameSession)+num(0)+"ask"), fin(4, down, "answer"),
			say(1, down, num(frameSession)+num(0)), say(1, down, "s"), say(1, up, "cc"), say(19, down, num(streamSession)[:1]), say(19, down, num(streamSession)[1:]), fin(19, down, num(0)+"u"),
			datagram(up, num(0)+"d"), fin(0, up, data(num(0x2843)+num(4)+"\x00\x00\x00\x00")), fin(0, down, "")),
			[]string{"0 CONNECT /t → 200: protocol=webtransport datagrams=1 datagram_bytes=1 capsules=CLOSE_WEBTRANSPORT_SESSION 1 streams=4 bytes=24 list=14:11/0 4:3/6 1:2/1 19:0/1"}, ""},
		{"webtransport stream before its session", with(fin(14, up, num(streamSession)+num(0)+"hello"), fin(0, up, connect("webtransport")), fin(0, down, ok)),
			[]string{"0 CONNECT /t → 200: protocol=webtransport streams=1 bytes=5 list=14:5/0"}, ""},
		{"webtransport streams whose opener is late", append([]dissecttest.Step{say(3, down, num(streamControl)+settings(0x14e9cd29, 1))}, say(0, up, connect("webtransport")), say(0, down, ok), fin(4, down, "answer"), say(1, up, "cc"), fin(4, up, num(frameSession)+num(0)+"ask"),
			say(1, down, num(frameSession)+num(0)), fin(0, up, ""), fin(0, down, "")),
			[]string{"0 CONNECT /t → 200: protocol=webtransport streams=2 bytes=11 list=4:3/6 1:2/0"}, ""},
		{"webtransport stream of no session", with(fin(14, up, num(streamSession)+num(3)+"hello")), nil, "webtransport"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := play(t, dissect.EndFin, noError, row.steps...)
			var got []string
			for _, e := range r.Emissions {
				x := e.Row.(*Row)
				got = append(got, fmt.Sprintf("%d %s: %s", x.StreamID.V, x.Summary, ownColumns(x)))
				if failed := strings.Contains(x.Summary, "INTERNAL"); x.Failed != failed {
					t.Errorf("%s: failed is %t", x.Summary, x.Failed)
				}
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", row.want) {
				t.Errorf("rows\n%q\nwant\n%q", got, row.want)
			}
			if got := dissecttest.Kinds(r); got != row.kinds {
				t.Errorf("anomalies %q, want %q: %v", got, row.kinds, r.Anomalies)
			}
		})
	}
}

// TestTargetOfConnectUDP reads the destination of proxied datagrams.
func TestTargetOfConnectUDP(t *testing.T) {
	ask := headers(":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":authority", "proxy", ":path", "/.well-known/masque/udp/target.example/53/")
	r := play(t, dissect.EndFin, noError, fin(0, up, ask), fin(0, down, headers(":status", "200")))
	if len(r.Emissions) != 1 {
		t.Fatalf("%d rows, want 1", len(r.Emissions))
	}
	if x := r.Emissions[0].Row.(*Row); x.ProxiedTo.V != "target.example:53" || x.Host.V != "proxy" {
		t.Errorf("proxied to %q at host %q", x.ProxiedTo.V, x.Host.V)
	}
}
