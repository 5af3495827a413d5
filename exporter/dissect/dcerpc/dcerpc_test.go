package dcerpc

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// le joins numbers in little-endian order, and text.
func le(parts ...any) string {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case byte:
			b = append(b, p)
		case int: // 16 bits
			b = binary.LittleEndian.AppendUint16(b, uint16(p))
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, p)
		}
	}
	return string(b)
}

const single = flagFirst | flagLast

// msg is a message without a token.
func msg(kind, flags byte, id uint32, body string) string {
	return le(byte(5), byte(0), kind, flags, uint32(0x10), 16+len(body), 0, id, body)
}

// signed is a message with a token of NTLM at a level, behind 4 bytes of padding.
func signed(kind, flags byte, id uint32, body, token string, level byte) string {
	body += "\x00\x00\x00\x00" + le(byte(10), level, byte(4), byte(0), uint32(7), token)
	return le(byte(5), byte(0), kind, flags, uint32(0x10), 16+len(body), len(token), id, body)
}

// UUIDs as they are sent: samr, an interface without a name, the encoding NDR.
const (
	samr    = "\x78\x57\x34\x12\x34\x12\xcd\xab\xef\x00\x01\x23\x45\x67\x89\xac\x01\x00\x00\x00"
	strange = "\x01\x00\x00\x00\x02\x00\x03\x00\x04\x05\x06\x07\x08\x09\x0a\x0b\x01\x00\x00\x00"
	ndr     = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00"
)

func bind(kind byte, id uint32, interfaces ...string) string {
	return msg(kind, single, id, bindBody(interfaces...))
}

func bindBody(interfaces ...string) string {
	body := le(4280, 4280, uint32(0), byte(len(interfaces)), "\x00\x00\x00")
	for i, s := range interfaces {
		body += le(i, byte(1), byte(0), s, ndr)
	}
	return body
}

// ack is a bind_ack with pairs of result and reason.
func ack(kind byte, id uint32, results ...int) string {
	return msg(kind, single, id, ackBody(results...))
}

func ackBody(results ...int) string {
	body := le(4280, 4280, uint32(9), 6, "49154\x00", byte(len(results)/2), "\x00\x00\x00")
	for i := 0; i < len(results); i += 2 {
		body += le(results[i], results[i+1], ndr)
	}
	return body
}

func ask(flags byte, id uint32, context, opnum int, stub string) string {
	return msg(kindRequest, flags, id, le(uint32(len(stub)), context, opnum, stub))
}

func reply(flags byte, id uint32, stub string) string {
	return msg(kindResponse, flags, id, le(uint32(len(stub)), 0, 0, stub))
}

func fault(id, status uint32) string {
	return msg(kindFault, single, id, le(uint32(0), 0, 0, status, uint32(0)))
}

// login is an NTLM message in which ann of SHOP authenticates at TILL.
func login() string {
	wide := func(s string) (w string) {
		for _, u := range utf16.Encode([]rune(s)) {
			w += le(int(u))
		}
		return w
	}
	fields, data, at := "", "", uint32(64)
	for _, s := range []string{strings.Repeat("l", 24), strings.Repeat("secret!!", 6), wide("SHOP"), wide("ann"), wide("TILL"), "sessionkey123456"} {
		fields += le(len(s), len(s), at)
		data, at = data+s, at+uint32(len(s))
	}
	return le("NTLMSSP\x00", uint32(3), fields, uint32(1), data)
}

var (
	plain = chunks{
		client(bind(kindBind, 1, samr, strange)), server(ack(kindBindAck, 1, 0, 0, 2, 1)),
		client(ask(single, 2, 0, 6, "0123456789")), server(reply(single, 2, "xyz")),
		client(ask(flagFirst, 3, 0, 34, "0123")), client(ask(flagLast, 3, 0, 34, "45")),
		server(reply(flagFirst, 3, "ab")), server(reply(0, 3, "cd")), server(reply(flagLast, 3, "e")),
		client(ask(single, 4, 0, 1, "")), client(ask(single|flagObject, 5, 1, 3, samr[:16]+"arg")), server(fault(5, 5) + reply(single, 4, "")),
	}
	protected = chunks{
		client(signed(kindBind, single, 1, bindBody(samr), "NTLMSSP\x00\x01\x00\x00\x00", 6)),
		server(signed(kindBindAck, single, 1, ackBody(0, 0), le("NTLMSSP\x00", uint32(2), strings.Repeat("\x00", 12), "challenge"), 6)),
		client(signed(kindAuth3, single, 1, "\x00\x00\x00\x00", login(), 6)),
		client(signed(kindRequest, single, 2, le(uint32(9), 0, 17, "encrypted"), strings.Repeat("s", 16), 6)),
		server(signed(kindResponse, single, 2, le(uint32(2), 0, 0, "ok"), strings.Repeat("s", 16), 6)),
	}
)

var samples = []dissecttest.Sample{{Name: "calls", Rows: 5, Chunks: plain}, {Name: "a login", Rows: 3, Chunks: protected}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "dcerpc_interfaces", "dcerpc_results", "dcerpc_endpoint", "dcerpc_auth_level", "dcerpc_user", "dcerpc_domain", "dcerpc_workstation", "dcerpc_object", "dcerpc_request_bytes", "dcerpc_response_bytes", "dcerpc_fragments"}
	big := "\x05\x00\x00\x03\x00\x00\x00\x00\x00\x1c\x00\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x06args"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "calls", Chunks: plain, Want: []string{
			"samr BIND → ok dcerpc_interfaces=[samr 00000001-0002-0003-0405-060708090a0b] dcerpc_results=[acceptance abstract_syntax_not_supported] dcerpc_endpoint=49154",
			"samr EnumDomains → ok dcerpc_request_bytes=10 dcerpc_response_bytes=3",
			"samr OpenUser → ok dcerpc_request_bytes=6 dcerpc_response_bytes=5 dcerpc_fragments=5",
			"00000001-0002-0003-0405-060708090a0b op_3 → nca_s_fault_access_denied outcome=refused dcerpc_object=12345778-1234-abcd-ef00-0123456789ac dcerpc_request_bytes=3",
			"samr Close → ok dcerpc_request_bytes=0 dcerpc_response_bytes=0"}},
		{Name: "a login", Chunks: protected, Want: []string{
			"samr BIND → ok auth_kind=ntlm dcerpc_interfaces=[samr] dcerpc_results=[acceptance] dcerpc_endpoint=49154 dcerpc_auth_level=privacy",
			"AUTH3 auth_kind=ntlm dcerpc_auth_level=privacy dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL",
			"samr LookupNames → ok dcerpc_auth_level=privacy dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL dcerpc_request_bytes=9 dcerpc_response_bytes=2"}},
		{Name: "a bind that is refused, and one without an accepted interface", Chunks: chunks{
			client(bind(kindBind, 1, samr)), server(msg(kindBindNak, single, 1, le(8, 0))), client(bind(kindBind, 2, strange)), server(ack(kindBindAck, 2, 2, 1))}, Want: []string{
			"samr BIND → authentication_type_not_recognized outcome=refused dcerpc_interfaces=[samr]",
			"00000001-0002-0003-0405-060708090a0b BIND → abstract_syntax_not_supported outcome=client_error dcerpc_interfaces=[00000001-0002-0003-0405-060708090a0b] dcerpc_results=[abstract_syntax_not_supported] dcerpc_endpoint=49154"}},
		{Name: "from the middle, in big-endian order", Chunks: chunks{client(big), server(fault(2, 0x1c010003)), server(reply(flagLast, 9, "z"))}, Want: []string{
			"op_6 ? → nca_unk_if outcome=client_error dcerpc_request_bytes=4",
			"RESPONSE → gap error=gap outcome=unread dcerpc_response_bytes=1"}},
		{Name: "a login that protects no message", Chunks: chunks{client(signed(kindAuth3, single, 1, "\x00\x00\x00\x00", login(), 2)), client(ask(single, 2, 0, 1, "")), server(fault(2, 5))}, Want: []string{
			"AUTH3 auth_kind=ntlm dcerpc_auth_level=connect dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL",
			"op_1 ? → nca_s_fault_access_denied outcome=refused dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL dcerpc_request_bytes=0"}},
		{Name: "a request that wants no response", Chunks: chunks{client(ask(single|flagMaybe, 1, 0, 2, "x"))}, Want: []string{"op_2 ? dcerpc_request_bytes=1"}},
	}...)
}

func TestDetect(t *testing.T) {
	good := bind(kindBind, 1, samr)
	with := func(at int, c byte) string {
		b := []byte(good)
		b[at] = c
		return string(b)
	}
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"bind", dissect.ToServer, good, dissect.Yes},
		{"bind from a server", dissect.ToClient, good, dissect.No},
		{"a part of bind", dissect.ToServer, good[:20], dissect.More},
		{"bind_ack", dissect.ToClient, ack(kindBindAck, 1, 0, 0), dissect.Yes},
		{"request", dissect.ToServer, ask(single, 2, 0, 6, "x"), dissect.Likely},
		{"response", dissect.ToClient, reply(single, 2, "x"), dissect.Likely},
		{"fault", dissect.ToClient, fault(2, 5), dissect.Likely},
		{"response from a client", dissect.ToServer, reply(single, 2, "x"), dissect.No},
		{"version 4", dissect.ToServer, with(0, 4), dissect.No},
		{"an unknown kind", dissect.ToServer, with(2, 4), dissect.No},
		{"an unknown representation", dissect.ToServer, with(4, 0x22), dissect.No},
		{"representation with rest", dissect.ToServer, with(6, 1), dissect.No},
		{"a size that is too small", dissect.ToServer, with(8, 20), dissect.No},
		{"a token that does not fit", dissect.ToServer, with(10, 255), dissect.No},
		{"a bind of nothing", dissect.ToServer, with(requestHead, 0), dissect.No},
		{"a bind of more than there is", dissect.ToServer, with(requestHead, 9), dissect.No},
		{"SOCKS 5", dissect.ToServer, "\x05\x01\x00", dissect.More},
		{"SOCKS 5 with a request", dissect.ToServer, "\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", dissect.No},
	})
}
