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

const (
	single  = flagFirst | flagLast
	success = "\x00\x00\x00\x00"
)

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
		client(ask(single, 2, 0, 6, "0123456789")), server(reply(single, 2, "xyz\x00"+success)),
		client(ask(flagFirst, 3, 0, 34, "0123")), client(ask(flagLast, 3, 0, 34, "45")),
		server(reply(flagFirst, 3, "ab")), server(reply(0, 3, "cd")), server(reply(flagLast, 3, success)),
		client(ask(single, 4, 0, 1, "")), client(ask(single|flagObject, 5, 1, 3, samr[:16]+"arg")), server(fault(5, 5) + reply(single, 4, success)),
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
	columns := []string{"auth_kind", "dcerpc_interfaces", "dcerpc_results", "dcerpc_endpoint", "dcerpc_auth_level", "dcerpc_user", "dcerpc_domain", "dcerpc_workstation", "dcerpc_object", "dcerpc_status", "dcerpc_request_bytes", "dcerpc_response_bytes", "dcerpc_fragments"}
	big := "\x05\x00\x00\x03\x00\x00\x00\x00\x00\x1c\x00\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x06args"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "calls", Chunks: plain, Want: []string{
			"samr BIND → ok dcerpc_interfaces=[samr 00000001-0002-0003-0405-060708090a0b] dcerpc_results=[acceptance abstract_syntax_not_supported] dcerpc_endpoint=49154",
			"samr EnumDomains → ok dcerpc_status=0 dcerpc_request_bytes=10 dcerpc_response_bytes=8",
			"samr OpenUser → ok dcerpc_status=0 dcerpc_request_bytes=6 dcerpc_response_bytes=8 dcerpc_fragments=5",
			"00000001-0002-0003-0405-060708090a0b op_3 → nca_s_fault_access_denied outcome=refused dcerpc_status=5 dcerpc_object=12345778-1234-abcd-ef00-0123456789ac dcerpc_request_bytes=3",
			"samr Close → ok dcerpc_status=0 dcerpc_request_bytes=0 dcerpc_response_bytes=4"}},
		{Name: "a login", Chunks: protected, Want: []string{
			"samr BIND → ok auth_kind=ntlm dcerpc_interfaces=[samr] dcerpc_results=[acceptance] dcerpc_endpoint=49154 dcerpc_auth_level=privacy",
			"AUTH3 auth_kind=ntlm dcerpc_auth_level=privacy dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL",
			"samr LookupNames → encrypted result outcome=unread dcerpc_auth_level=privacy dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL dcerpc_request_bytes=9 dcerpc_response_bytes=2"}},
		{Name: "a bind that is refused, and one without an accepted interface", Chunks: chunks{
			client(bind(kindBind, 1, samr)), server(msg(kindBindNak, single, 1, le(8, 0))), client(bind(kindBind, 2, strange)), server(ack(kindBindAck, 2, 2, 1))}, Want: []string{
			"samr BIND → authentication_type_not_recognized outcome=refused dcerpc_interfaces=[samr]",
			"00000001-0002-0003-0405-060708090a0b BIND → abstract_syntax_not_supported outcome=client_error dcerpc_interfaces=[00000001-0002-0003-0405-060708090a0b] dcerpc_results=[abstract_syntax_not_supported] dcerpc_endpoint=49154"}},
		{Name: "from the middle, in big-endian order", Chunks: chunks{client(big), server(fault(2, 0x1c010003)), server(reply(flagLast, 9, "z"))}, Want: []string{
			"op_6 ? → nca_unk_if outcome=client_error dcerpc_status=469827587 dcerpc_request_bytes=4",
			"RESPONSE → gap error=gap outcome=unread dcerpc_response_bytes=1"}},
		{Name: "a login that protects no message", Chunks: chunks{client(signed(kindAuth3, single, 1, "\x00\x00\x00\x00", login(), 2)), client(ask(single, 2, 0, 1, "")), server(fault(2, 5))}, Want: []string{
			"AUTH3 auth_kind=ntlm dcerpc_auth_level=connect dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL",
			"op_1 ? → nca_s_fault_access_denied outcome=refused dcerpc_status=5 dcerpc_user=ann dcerpc_domain=SHOP dcerpc_workstation=TILL dcerpc_request_bytes=0"}},
		{Name: "a request that wants no response", Chunks: chunks{client(ask(single|flagMaybe, 1, 0, 2, "x"))}, Want: []string{"op_2 ? dcerpc_request_bytes=1"}},
	}...)
}

// TestResults reads what an operation returned: the attempts of CVE-2020-1472, which fail until one succeeds, and all that
// may hide a result.
func TestResults(t *testing.T) {
	const netlogon = "\x78\x56\x34\x12\x34\x12\xcd\xab\xef\x00\x01\x23\x45\x67\xcf\xfb\x01\x00\x00\x00"
	const bindRow = "netlogon BIND → ok"
	const denied = "\x22\x00\x00\xc0"
	bound := chunks{client(bind(kindBind, 1, netlogon, strange)), server(ack(kindBindAck, 1, 0, 0, 0, 0))}
	after := func(more ...dissecttest.Chunk) chunks { return append(bound[:2:2], more...) }
	bigReply := "\x05\x00\x02\x03\x00\x00\x00\x00\x00\x1c\x00\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x00\xc0\x00\x00\x22"
	object := func(id uint32, stub string) string {
		return ask(single|flagObject, id, 1, 3, samr[:16]+stub)
	}
	integrity := func(level byte) string {
		return signed(kindResponse, single, 2, le(uint32(8), 0, 0, "handle  ", denied), strings.Repeat("s", 16), level)
	}
	dissecttest.Converse(t, Protocol(), []string{"dcerpc_status"}, []dissecttest.Conversation{
		{Name: "two attempts", Chunks: after(
			client(ask(single, 2, 0, 26, "args")), server(reply(single, 2, le("\x00\x00\x00\x00\x00\x00\x00\x00", uint32(0x212fffff), uint32(1000), denied))),
			client(ask(single, 3, 0, 26, "args")), server(reply(single, 3, le("\x00\x00\x00\x00\x00\x00\x00\x00", uint32(0x212fffff), uint32(1000), success)))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → STATUS_ACCESS_DENIED outcome=refused dcerpc_status=3221225506",
			"netlogon NetrServerAuthenticate3 → ok dcerpc_status=0"}},
		{Name: "a Win32 error of the same interface", Chunks: after(client(ask(single, 2, 0, 20, "")), server(reply(single, 2, le(uint32(0), uint32(1355))))), Want: []string{bindRow,
			"netlogon DsrGetDcName → ERROR_NO_SUCH_DOMAIN outcome=client_error dcerpc_status=1355"}},
		{Name: "a server with another byte order", Chunks: after(client(ask(single, 2, 0, 26, "")), server(bigReply)), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → STATUS_ACCESS_DENIED outcome=refused dcerpc_status=3221225506"}},
		{Name: "in two fragments", Chunks: after(client(ask(single, 2, 0, 26, "")), server(reply(flagFirst, 2, "handle  \x22\x00")+reply(flagLast, 2, "\x00\xc0"))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → STATUS_ACCESS_DENIED outcome=refused dcerpc_status=3221225506"}},
		{Name: "signed", Chunks: after(client(ask(single, 2, 0, 26, "")), server(integrity(5))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → STATUS_ACCESS_DENIED outcome=refused dcerpc_status=3221225506"}},
		{Name: "encrypted", Chunks: after(client(ask(single, 2, 0, 26, "")), server(integrity(6))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → encrypted result outcome=unread"}},
		{Name: "less than a value", Chunks: after(client(ask(single, 2, 0, 26, "")), server(reply(single, 2, "\x22\x00"))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → result missing outcome=unread"}},
		{Name: "an interface that is not known", Chunks: after(client(ask(single, 2, 1, 3, "")), server(reply(single, 2, denied))), Want: []string{bindRow,
			"00000001-0002-0003-0405-060708090a0b op_3 → result not known outcome=unread"}},
		{Name: "a method of an object", Chunks: after(client(object(2, le(5, 7, uint32(0), uint32(0)))), server(reply(single, 2, le(uint32(0), uint32(0), uint32(0x80041002))))), Want: []string{bindRow,
			"00000001-0002-0003-0405-060708090a0b op_3 → WBEM_E_NOT_FOUND outcome=client_error dcerpc_status=2147749890"}},
		{Name: "the client cancels a call, and the server ends it", Chunks: after(client(ask(single, 2, 0, 26, "")+msg(kindCancel, single, 2, "")), server(fault(2, 0x1c00000d))), Want: []string{bindRow,
			"CO_CANCEL", "netlogon NetrServerAuthenticate3 → nca_s_fault_cancel outcome=client_error dcerpc_status=469762061"}},
		{Name: "the server cancels a call", Chunks: after(client(ask(single, 2, 0, 26, "")), server(fault(2, 0x1c00000d))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → nca_s_fault_cancel outcome=server_error dcerpc_status=469762061"}},
		{Name: "an answer whose first fragment is missing", Chunks: after(client(ask(single, 2, 0, 26, "")), server(reply(flagLast, 2, "\x00\xc0"))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → gap error=gap outcome=unread"}},
		{Name: "an answer whose first fragment is missing, with its value", Chunks: after(client(ask(single, 2, 0, 26, "")), server(reply(flagLast, 2, denied))), Want: []string{bindRow,
			"netlogon NetrServerAuthenticate3 → STATUS_ACCESS_DENIED error=gap outcome=refused dcerpc_status=3221225506"}},
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
