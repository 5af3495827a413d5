package sip

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	offer  = "v=0\r\no=ann 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/SAVP 0 101\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secretkey\r\na=rtpmap:101 telephone-event/8000\r\nm=video 51372 RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\n"
	answer = "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 4000 RTP/AVP 8\r\nm=image 4002 udptl t38\r\n"
	digest = "Authorization: Digest username=\"ann\", realm=\"shop, east\", nonce=\"n\", uri=\"sip:shop.example\", response=\"secret\"\r\n"
)

// msg is a message of a transaction. more are its other fields.
func msg(first, method string, cseq int, branch, more, body string) string {
	return fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%s;rport\r\nFrom: \"Ann <3\" <sip:ann:secret@shop.example>;tag=1\r\nTo: sip:bob@shop.example;tag=2\r\nCall-ID: c-1\r\nCSeq: %d %s\r\n%sContent-Length: %d\r\n\r\n%s", first, branch, cseq, method, more, len(body), body)
}

func request(method, branch string, cseq int, more, body string) string {
	return msg(method+" sip:bob:secret@shop.example:5070;transport=udp SIP/2.0", method, cseq, branch, more, body)
}

func response(status, method, branch string, cseq int, more, body string) string {
	return msg("SIP/2.0 "+status, method, cseq, branch, more, body)
}

const sdp = "Content-Type: application/sdp\r\nContact: <sip:ann@192.0.2.1>\r\n"

var (
	register   = request("REGISTER", "a", 1, "User-Agent: phone\r\nExpires: 60\r\n", "")
	challenge  = response("401 Unauthorized", "REGISTER", "a", 1, "WWW-Authenticate: Digest realm=\"shop, east\", nonce=\"n\"\r\nServer: pbx\r\n", "")
	again      = request("REGISTER", "b", 2, digest, "")
	registered = response("200 OK", "REGISTER", "b", 2, "Expires: 30\r\n", "")
	invite     = request("INVITE", "c", 3, sdp, offer)
	trying     = response("100 Trying", "INVITE", "c", 3, "", "")
	ringing    = response("180 Ringing", "INVITE", "c", 3, "", "")
	taken      = response("200 OK", "INVITE", "c", 3, sdp, answer)
	ack        = request("ACK", "d", 3, "", "")
	bye        = request("BYE", "e", 4, "Reason: Q.850;cause=16\r\n", "")
	gone       = response("200 OK", "BYE", "e", 4, "", "")
)

var whole = chunks{client(register), server(challenge), client(again), server(registered), client(invite), server(trying), server(ringing), server(taken), client(ack), server(bye), client(gone)}

var samples = []dissecttest.Sample{{Name: "a call", Rows: 5, Chunks: whole}}

// over is the protocol on one transport.
func over(kind dissect.Transport) *dissect.Protocol {
	p := Protocol()
	p.Transports = []dissect.Transport{kind}
	return p
}

func TestSuite(t *testing.T) { dissecttest.Run(t, over(dissect.UDP), samples...) }

// onTCP has no 180: how long it rings depends on how the samples are cut into segments.
var onTCP = dissecttest.Sample{Name: "a call", Rows: 5, Chunks: slices.DeleteFunc(slices.Clone(whole), func(c dissecttest.Chunk) bool { return string(c.Data) == ringing })}

func TestSuiteOfStreams(t *testing.T) { dissecttest.Run(t, over(dissect.TCP), onTCP) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, over(dissect.UDP), samples...) }

func FuzzStreams(f *testing.F) { dissecttest.Fuzz(f, over(dissect.TCP), onTCP) }

func TestRows(t *testing.T) {
	columns := []string{"host", "attempt", "user_agent", "auth_kind", "sip_from", "sip_to", "sip_call_id", "sip_cseq", "sip_contact", "sip_response_contact", "sip_hops", "sip_provisional", "sip_ringing_us", "sip_expires_s", "sip_auth_user", "sip_auth_realm", "sip_server", "sip_reason", "sip_media", "sip_response_media"}
	const (
		uri   = " sip:bob:***@shop.example:5070;transport=udp"
		ends  = " sip_from=sip:ann:***@shop.example sip_to=sip:bob@shop.example sip_call_id=c-1"
		realm = " sip_auth_realm=shop, east"
	)
	rows := []string{
		"REGISTER" + uri + " → 401 Unauthorized host=shop.example user_agent=phone" + ends + " sip_cseq=1 sip_hops=1 sip_expires_s=60" + realm + " sip_server=pbx",
		"REGISTER" + uri + " → 200 OK host=shop.example auth_kind=digest" + ends + " sip_cseq=2 sip_hops=1 sip_expires_s=30 sip_auth_user=ann" + realm,
		"INVITE" + uri + " → 200 OK host=shop.example" + ends + " sip_cseq=3 sip_contact=sip:ann@192.0.2.1 sip_response_contact=sip:ann@192.0.2.1 sip_hops=1 sip_provisional=[100 180] sip_ringing_us=2 sip_media=[audio 192.0.2.1:49170 RTP/SAVP PCMU/8000 telephone-event/8000 video [2001:db8::1]:51372 RTP/AVP H261/90000] sip_response_media=[audio 192.0.2.2:4000 RTP/AVP PCMA/8000 image 192.0.2.2:4002 udptl t38]",
		"ACK" + uri + " host=shop.example" + ends + " sip_cseq=3 sip_hops=1",
		"BYE" + uri + " → 200 OK host=shop.example" + ends + " sip_cseq=4 sip_hops=1 sip_reason=Q.850;cause=16",
	}
	dissecttest.Converse(t, over(dissect.UDP), columns, []dissecttest.Conversation{
		{Name: "a call", Chunks: whole, Want: rows},
		{Name: "compact and folded", Chunks: chunks{client("OPTIONS tel:+123 SIP/2.0\r\nv:\tSIP/2.0/UDP a,\r\n SIP/2.0/UDP b\r\nf: <sip:a@b>\r\nt: <sip:c@[::1]:9>\r\ni: x\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n")}, Want: []string{
			"OPTIONS tel:+123 → no_response error=no_response outcome=no_answer sip_from=sip:a@b sip_to=sip:c@[::1]:9 sip_call_id=x sip_cseq=1 sip_hops=2"}},
		{Name: "a request that is sent again, and a wrong password", Chunks: chunks{client(again), client(again), server(response("403 Forbidden", "REGISTER", "b", 2, "", ""))}, Want: []string{
			"REGISTER" + uri + " → no_response error=no_response outcome=no_answer host=shop.example auth_kind=digest" + ends + " sip_cseq=2 sip_hops=1 sip_auth_user=ann" + realm,
			"REGISTER" + uri + " → 403 Forbidden outcome=client_error host=shop.example attempt=2 auth_kind=digest" + ends + " sip_cseq=2 sip_hops=1 sip_auth_user=ann" + realm}},
		{Name: "a call that is declined", Chunks: chunks{client(invite), server(response("603 Decline", "INVITE", "c", 3, "", ""))}, Want: []string{
			"INVITE" + uri + " → 603 Decline outcome=refused host=shop.example" + ends + " sip_cseq=3 sip_contact=sip:ann@192.0.2.1 sip_hops=1 sip_media=[audio 192.0.2.1:49170 RTP/SAVP PCMU/8000 telephone-event/8000 video [2001:db8::1]:51372 RTP/AVP H261/90000]"}},
		{Name: "a response of another transaction", Chunks: chunks{client(bye), server(registered)}, Want: []string{
			"REGISTER sip:bob@shop.example → 200 OK error=no_request outcome=cut" + ends + " sip_cseq=2 sip_hops=1 sip_expires_s=30",
			"BYE" + uri + " → no_response error=no_response outcome=no_answer host=shop.example" + ends + " sip_cseq=4 sip_hops=1 sip_reason=Q.850;cause=16"}},
		{Name: "keep-alive", Chunks: chunks{client(bye), client("\r\n\r\n"), server(gone)}, Want: []string{"keep-alive", rows[4]}},
	}...)
	dissecttest.Converse(t, over(dissect.TCP), columns, dissecttest.Conversation{Name: "a call on TCP", Chunks: whole, End: dissect.EndFin, Want: rows})
}

// TestNoSecrets states that no column has a password, the answer to a challenge or a key of media.
func TestNoSecrets(t *testing.T) {
	dissecttest.NoSecret(t, over(dissect.UDP), samples[0], "secret")
}

// TestLimits states that a description with very many lines costs little.
func TestLimits(t *testing.T) {
	list, _ := describe([]byte(strings.Repeat("m=audio 1 RTP/AVP"+strings.Repeat(" 0", 100)+"\r\n", 1000)))
	if len(list) != maxMedia || strings.Count(list[0], "PCMU") != maxFormats {
		t.Errorf("%d media, the first is %s", len(list), list[0])
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, register, dissect.Yes},
		{"a request of the server", dissect.ToClient, register, dissect.Likely},
		{"a response", dissect.ToClient, challenge, dissect.Yes},
		{"a response of the client", dissect.ToServer, challenge, dissect.Likely},
		{"the beginning of a request", dissect.ToServer, "REGISTER sip:shop", dissect.More},
		{"the beginning of a response", dissect.ToClient, "SIP/2.0 4", dissect.More},
		{"HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"the beginning of HTTP", dissect.ToServer, "GET /index", dissect.No},
		{"HTTP with an absolute URI", dissect.ToServer, "GET http://a/ HTTP/1.1\r\n", dissect.No},
		{"RTSP", dissect.ToClient, "RTSP/1.0 200 OK\r\n", dissect.No},
		{"another version", dissect.ToServer, "INVITE sip:a@b SIP/1.0\r\n", dissect.No},
		{"a method in small letters", dissect.ToServer, "invite sip:a@b SIP/2.0\r\n", dissect.No},
		{"a status that does not exist", dissect.ToClient, "SIP/2.0 999 OK\r\n", dissect.No},
		{"a line without an end", dissect.ToServer, "INVITE sip:" + strings.Repeat("a", maxFirst), dissect.No},
	})
}

// TestProvisionalResponseFirst has a provisional response before its request, as packets that were captured out of order
// are, and one whose request was not captured.
func TestProvisionalResponseFirst(t *testing.T) {
	columns := []string{"sip_provisional", "sip_ringing_us"}
	dissecttest.Converse(t, over(dissect.UDP), columns,
		dissecttest.Conversation{Name: "then the request", Chunks: chunks{server(ringing), client(invite), server(taken)}, Midway: true,
			Want: []string{"INVITE sip:bob:***@shop.example:5070;transport=udp → 200 OK sip_provisional=[180]"}},
		dissecttest.Conversation{Name: "then the request alone", Chunks: chunks{server(ringing), client(invite)}, Midway: true,
			Want: []string{"INVITE sip:bob:***@shop.example:5070;transport=udp → 180, no_response error=no_response outcome=no_answer sip_provisional=[180]"}},
		dissecttest.Conversation{Name: "without the request", Chunks: chunks{server(ringing), server(taken)}, Midway: true,
			Want: []string{"INVITE sip:bob@shop.example → 200 OK error=no_request outcome=cut sip_provisional=[180]"}},
		dissecttest.Conversation{Name: "alone", Chunks: chunks{server(ringing)}, Midway: true,
			Want: []string{"INVITE sip:bob@shop.example → 180, no_request error=no_request outcome=cut sip_provisional=[180]"}})
}
