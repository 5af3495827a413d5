package rdp

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// x224 is a TPKT with a connection request or confirm; source is its reference.
func x224(kind byte, source, rest string) string {
	return "\x03\x00\x00" + string([]byte{byte(11 + len(rest)), byte(6 + len(rest)), kind}) + "\x00\x00" + source + "\x00" + rest
}

// data is a TPKT with an X.224 data unit.
func data(rest string) string {
	n := len(rest) + 7
	return "\x03\x00" + string([]byte{byte(n >> 8), byte(n)}) + dataHead + rest
}

// element2 is an element of BER whose tag has two bytes.
func element2(tag byte, body string) string {
	return "\x7f" + string([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}) + body
}

func octets(s string) string {
	return "\x04\x82" + string([]byte{byte(len(s) >> 8), byte(len(s))}) + s
}

func wide(s string) string {
	var b strings.Builder
	for _, c := range s {
		b.Write(binary.LittleEndian.AppendUint16(nil, uint16(c)))
	}
	return b.String()
}

var (
	ask     = x224(request, "\x00\x00", "Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x00\x00\x00\x00") // [MS-RDPBCGR] section 4.1.1
	agree   = x224(confirm, "\x12\x34", "\x02\x00\x08\x00\x00\x00\x00\x00")
	askTLS  = x224(request, "\x00\x00", "\x01\x01\x08\x00\x0b\x00\x00\x00")
	useNLA  = x224(confirm, "\x12\x34", "\x02\x1f\x08\x00\x02\x00\x00\x00")
	refuse  = x224(confirm, "\x12\x34", "\x03\x00\x08\x00\x05\x00\x00\x00")
	old     = x224(request, "\x00\x00", "")
	agreed  = x224(confirm, "\x12\x34", "")
	name    = wide("ELTONS-DEV2") + strings.Repeat("\x00", 10)
	core    = "\x01\xc0\xd8\x00" + "\x04\x00\x08\x00" + "\x00\x05\x00\x04" + "\x01\xca\x03\xaa" + "\x09\x04\x00\x00" + "\xce\x0e\x00\x00" + name + strings.Repeat("\x00", 0xd8-4-52)
	gcc     = conference + "\x81\x00" + "\x00\x08\x00\x10\x00\x01\xc0\x00Duca" + "\x80\xd8" + core
	params  = "\x30\x03\x02\x01\x22"
	initial = data(element2(0x65, "\x04\x01\x01\x04\x01\x01\x01\x01\xff"+params+params+params+octets(gcc)))
	result  = data(element2(0x66, "\x0a\x01\x00\x02\x01\x00"+params+octets("x")))
)

var samples = []dissecttest.Sample{
	{Name: "RDP's own security", Rows: 2, Chunks: chunks{client(ask), server(agree), client(initial), server(result), client("\x03\x00\x00\x0c\x02\xf0\x80\x04\x01\x00\x01\x00"), server("\x03\x00\x00\x08\x02\xf0\x80\x2e")}},
	{Name: "a refusal", Rows: 1, Chunks: chunks{client(ask), server(refuse)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_text", "rdp_user", "rdp_routing_token", "rdp_requested", "rdp_selected", "rdp_restricted_admin", "rdp_client_name", "rdp_client_version", "rdp_client_build", "rdp_keyboard_layout", "rdp_desktop", "rdp_client_bytes", "rdp_server_bytes"}
	session := "MCS_CONNECT ELTONS-DEV2 → rt-successful status_text=rt-successful rdp_client_name=ELTONS-DEV2 rdp_client_version=5.0-8.1 rdp_client_build=3790 rdp_keyboard_layout=1033 rdp_desktop=1280x1024"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "RDP's own security", Chunks: samples[0].Chunks, Want: []string{
			"CONNECT eltons → rdp rdp_user=eltons rdp_requested=[rdp] rdp_selected=rdp", session + " rdp_client_bytes=12 rdp_server_bytes=8"}},
		{Name: "NLA", Chunks: chunks{client(askTLS), server(useNLA)}, Want: []string{
			"CONNECT → credssp rdp_requested=[tls credssp credssp-ex] rdp_selected=credssp rdp_restricted_admin=true"}},
		{Name: "a refusal", Chunks: samples[1].Chunks, Want: []string{
			"CONNECT eltons → HYBRID_REQUIRED_BY_SERVER outcome=refused status_text=HYBRID_REQUIRED_BY_SERVER rdp_user=eltons rdp_requested=[rdp]"}},
		{Name: "a load balancer", Chunks: chunks{client(x224(request, "\x00\x00", "Cookie: msts=3640205228.15629.0000\r\n")), server(agreed)}, Want: []string{
			"CONNECT 3640205228.15629.0000 → rdp rdp_routing_token=3640205228.15629.0000 rdp_selected=rdp"}},
		{Name: "no answer", Chunks: chunks{client(ask)}, End: dissect.EndReset, Want: []string{"CONNECT eltons → reset error=reset outcome=no_answer rdp_user=eltons rdp_requested=[rdp]"}},
		{Name: "no request", Chunks: chunks{server(agree)}, Want: []string{"CONNECT → rdp error=no_request outcome=cut rdp_selected=rdp"}},
		{Name: "inside TLS, nothing is before MCS", Chunks: chunks{client(initial), server(result)}, Want: []string{session}},
		{Name: "MCS refuses", Chunks: chunks{client(initial), server(data(element2(0x66, "\x0a\x01\x0e")))}, Want: []string{
			strings.Replace(strings.ReplaceAll(session, "rt-successful", "rt-unspecified-failure"), " status_text", " outcome=refused status_text", 1)}},
		{Name: "a gap in the session", Chunks: chunks{client(ask), server(agree), client(initial), server(result), {Dir: dissect.ToClient, Gap: 9}, server("abc")}, Want: []string{
			"CONNECT eltons → rdp rdp_user=eltons rdp_requested=[rdp] rdp_selected=rdp", strings.Replace(session, " status_text", " error=gap status_text", 1) + " rdp_server_bytes=3"}},
	}...)
}

// TestUnreadClient reads a Connect-Initial whose user data is of something else.
func TestUnreadClient(t *testing.T) {
	for _, body := range []string{"", "\x04\x01\x01", "\x04\x01\x01\x04\x01\x01\x01\x01\xff" + params + params + params + octets("other")} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(data(element2(0x65, body))), server(result))
		if got := dissecttest.Lines(r); got != "0 MCS_CONNECT → rt-successful complete\n" {
			t.Errorf("%q: %s", body, got)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request with a cookie", dissect.ToServer, ask, dissect.Yes},
		{"a request with a negotiation", dissect.ToServer, askTLS, dissect.Yes},
		{"the beginning of a request", dissect.ToServer, ask[:20], dissect.More},
		{"a request that ends a longer one", dissect.ToServer, ask + "x", dissect.No},
		{"a request without anything", dissect.ToServer, old, dissect.No},
		{"a request of S7", dissect.ToServer, x224(request, "\x00\x01", "\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a"), dissect.No},
		{"a confirm", dissect.ToClient, useNLA, dissect.Yes},
		{"a confirm from the client", dissect.ToServer, useNLA, dissect.No},
		{"a confirm of two protocols", dissect.ToClient, x224(confirm, "\x12\x34", "\x02\x1f\x08\x00\x03\x00\x00\x00"), dissect.No},
		{"MCS", dissect.ToServer, initial, dissect.Yes},
		{"MCS of the server from the client", dissect.ToServer, result, dissect.No},
		{"another X.224 data unit", dissect.ToServer, data("\x32\x01\x00\x00"), dissect.No},
		{"TPKT of H.323", dissect.ToServer, "\x03\x00\x00\x40\x08\x02\x00\x01", dissect.No},
	})
	dissecttest.Detect(t, detectOnPort, dissecttest.Heads{
		{"a request without anything", dissect.ToServer, old, dissect.Yes},
		{"a confirm without anything", dissect.ToClient, agreed, dissect.Yes},
		{"something else", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}
