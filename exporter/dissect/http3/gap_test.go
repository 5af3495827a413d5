package http3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
)

func TestGaps(t *testing.T) {
	head := headers(":status", "200", "content-length", "10")
	get := fin(0, up, request("/"))
	for _, row := range []struct {
		name  string
		steps []dissecttest.Step
		want  string
		kinds string
	}{
		{"inside a body", with(get, say(0, down, head+data("0123456789")[:6]), dissecttest.Step{Stream: 0, Dir: down, Gap: 3, Data: []byte("789"), Fin: true}),
			"0 GET / → 200, gap error=gap got=\"0123789\"\n", ""},
		{"to the end of a body, and trailers after it", with(get, say(0, down, head+data("0123456789")[:6]), dissecttest.Step{Stream: 0, Dir: down, Gap: 6, Data: []byte(headers("x-t", "1")), Fin: true}),
			"0 GET / → 200, gap error=gap got=\"0123\"\n", ""},
		{"over the heads of frames", with(get, say(0, down, head+data("01234")[:5]), dissecttest.Step{Stream: 0, Dir: down, Gap: 5, Data: []byte("56789"), Fin: true}),
			"0 GET / → 200, gap error=gap got=\"012\"\n", ""},
		{"after a body of the announced length", with(get, say(0, down, head+data("0123456789")), dissecttest.Step{Stream: 0, Dir: down, Gap: 5, Data: []byte("x"), Fin: true}),
			"0 GET / → 200 complete got=\"0123456789\"\n", ""},
		{"inside HEADERS", with(get, say(0, down, head[:4]), dissecttest.Step{Stream: 0, Dir: down, Gap: int64(len(head) - 4), Data: []byte(data("0123456789")), Fin: true}),
			"0 GET / → gap error=gap got=\"0123456789\"\n", ""},
		{"over the whole request", with(gap(0, up, 50, ""), fin(0, down, head+data("0123456789"))), "0 ? ? → 200, gap error=gap got=\"0123456789\"\n", ""},
		{"over both sides", with(gap(0, up, 50, ""), gap(0, down, 50, "x")), "", ""},
		{"inside a frame of the control stream", with(say(3, down, num(0x21)+num(10)+"abc"), gap(3, down, 7, frameOf(frameGoAway, num(4))), get, fin(0, down, head+data("0123456789"))),
			"0 GET / → 200 complete got=\"0123456789\"\n", ""},
		{"on the control stream, which is no longer read", with(gap(3, down, 7, frameOf(frameGoAway, num(0))), get, fin(0, down, head+data("0123456789"))),
			"0 GET / → 200 complete got=\"0123456789\"\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := play(t, dissect.EndFin, -1, row.steps...)
			if got := dissecttest.Lines(r); got != row.want {
				t.Errorf("rows\n%swant\n%s", got, row.want)
			}
			if got := dissecttest.Kinds(r); got != row.kinds {
				t.Errorf("anomalies %q, want %q: %v", got, row.kinds, r.Anomalies)
			}
		})
	}
}

func samples() []dissecttest.StreamSample {
	ok := headers(":status", "200")
	return []dissecttest.StreamSample{
		{Name: "requests", Rows: 3, Steps: with(fin(0, up, request("/a")), say(4, up, headers(":method", "POST", ":scheme", "https", ":path", "/b")+data("sent")),
			fin(0, down, headers(":status", "103")+response("hello", "set-cookie", strings.Repeat("c", 100))+headers("x-t", "1")), fin(4, up, data("more")+frameOf(0x21, "g")),
			fin(8, up, request("/c")), reset(8, down, 0x10b), fin(4, down, ok))},
		{Name: "dynamic table", Rows: 2, Steps: with(fin(0, up, request("/a")), say(0, down, dynamic(2, 1)), say(7, down, capacity()+insertion("x-a", "1")+insertion("x-b", "2")),
			fin(0, down, data("more")+frameOf(frameHeaders, indexed(2, 0))), say(10, up, "\x80\x01"),
			say(6, up, capacity()+insertion("cookie", "s=1")), fin(4, up, frameOf(frameHeaders, after("\xd1\xd7\xc1", indexed(1, 0)))), fin(4, down, ok))},
		{Name: "push", Rows: 2, Steps: with(say(2, up, frameOf(frameMaxPushID, num(9))), fin(0, up, request("/a")),
			fin(0, down, frameOf(framePushPromise, num(2)+section(":method", "GET", ":scheme", "https", ":path", "/p"))+response("x")), fin(15, down, num(streamPush)+num(2)+response("pushed")))},
		{Name: "tunnels", Rows: 2, Steps: with(say(0, up, connect("webtransport")), say(0, down, ok), fin(14, up, num(streamSession)+num(0)+"hello"), fin(4, up, num(frameSession)+num(0)+"ask"), fin(4, down, "answer"),
			datagram(up, num(0)+"d"), say(2, up, frameOf(framePriorityRequest, num(0)+"u=1")), fin(0, up, data(num(0x2843)+num(4)+"\x00\x00\x00\x00")), fin(0, down, ""),
			say(8, up, connect("connect-ip")), say(8, down, ok), fin(8, up, data("\x01\x02ab")), fin(8, down, data("\x03\x00")))},
		{Name: "gRPC", Rows: 2, Needs: []*dissect.Protocol{grpc.Protocol()}, Steps: with(fin(0, up, request("/a")), fin(0, down, response("x")),
			fin(4, up, headers(":method", "POST", ":scheme", "https", ":path", "/pkg.Svc/Do", "content-type", "application/grpc")+data("\x00\x00\x00\x00\x02\x08\x01")),
			fin(4, down, headers(":status", "200", "content-type", "application/grpc")+data("\x00\x00\x00\x00\x00")+headers("grpc-status", "0")))},
	}
}

func TestSuite(t *testing.T) { dissecttest.RunStreams(t, Protocol(), samples()...) }

func TestLimits(t *testing.T) {
	t.Run("header section", func(t *testing.T) {
		big := frameOf(frameHeaders, "\x00\x00"+strings.Repeat("\xd1", maxHeaderList))
		r := play(t, dissect.EndFin, -1, with(fin(0, up, big), fin(0, down, response("x")))...)
		if got := dissecttest.Lines(r); got != "0 ? ? → 200, gap error=gap got=\"x\"\n" || dissecttest.Kinds(r) != "limit" {
			t.Errorf("%s%v", got, r.Anomalies)
		}
	})
	t.Run("one-way streams", func(t *testing.T) {
		var steps []dissecttest.Step
		for i := range int64(maxUni + 5) {
			steps = append(steps, say(4*i+14, up, num(0x21)))
		}
		if r := play(t, dissect.EndFin, -1, with(steps...)...); !strings.HasPrefix(dissecttest.Kinds(r), "malformed") {
			t.Errorf("%v", r.Anomalies)
		}
	})
	t.Run("capsules of many types, and many streams of a session", func(t *testing.T) {
		steps := with(say(0, up, connect("webtransport")), say(0, down, headers(":status", "200")))
		for i := range int64(100) {
			steps = append(steps, say(0, up, data(num(i*64)+num(1)+"x")), fin(4*i+14, up, num(streamSession)+num(0)+"x"))
		}
		r := play(t, dissect.EndFin, -1, steps...)
		row := r.Emissions[0].Row.(*Row)
		if row.SessionStreams.V != 100 || strings.Count(row.SessionList.V, ":") != maxListed || !strings.HasSuffix(row.Capsules.V, "others 84") {
			t.Errorf("%s", ownColumns(row))
		}
	})
}

// FuzzStreams plays random bytes on random streams in random order.
func FuzzStreams(f *testing.F) {
	for _, s := range samples() {
		var seed []byte
		for _, st := range s.Steps {
			if len(st.Data) < 256 {
				kind := byte(st.Dir)
				switch {
				case st.Fin:
					kind |= 2
				case st.Datagram:
					kind |= 4
				case st.Reset:
					kind |= 8
				}
				seed = append(append(seed, byte(st.Stream), kind, byte(len(st.Data))), st.Data...)
			}
		}
		f.Add(seed, int64(-1))
	}
	f.Fuzz(func(t *testing.T, in []byte, code int64) {
		var steps []dissecttest.Step
		for len(in) > 3 {
			n := min(int(in[2]), len(in)-3)
			kind := in[1]
			s := dissecttest.Step{Stream: int64(in[0]), Dir: dissect.Dir(kind & 1), Data: in[3 : 3+n]}
			switch kind >> 1 {
			case 1:
				s.Fin = true
			case 2:
				s.Datagram = true
			case 4, 5:
				s.Reset, s.Stop, s.Code = kind>>1 == 4, kind>>1 == 5, int64(n)
			case 6:
				s.Gap = int64(n) + 1
			case 7:
				s.Wait = 6e9
			}
			steps = append(steps, s)
			in = in[3+n:]
		}
		play(t, dissect.End(uint64(code)%6), code, steps...)
	})
}

func TestErrorNames(t *testing.T) {
	for code, want := range map[int64]string{0x100: "H3_NO_ERROR", 0x110: "H3_VERSION_FALLBACK", 0x200: "QPACK_DECOMPRESSION_FAILED", 0x33: "H3_DATAGRAM_ERROR", 0x111: "0x111"} {
		if got := errorName(code); got != want {
			t.Errorf("error code %s is %q, want %q", fmt.Sprintf("%#x", code), got, want)
		}
	}
}
