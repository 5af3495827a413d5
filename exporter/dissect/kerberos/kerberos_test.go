package kerberos

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
)

type chunks = []dissecttest.Chunk

// el is an element.
func el(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) < 0x80 {
		return string([]byte{tag, byte(len(body))}) + body
	}
	return string(binary.BigEndian.AppendUint16([]byte{tag, 0x82}, uint16(len(body)))) + body
}

func seq(parts ...string) string           { return el(ber.Sequence, parts...) }
func field(n byte, parts ...string) string { return el(context|n, parts...) }
func number(n int8) string                 { return el(ber.Integer, string([]byte{byte(n)})) }
func str(s string) string                  { return el(0x1b, s) }

func name(parts ...string) string {
	var list []string
	for _, p := range parts {
		list = append(list, str(p))
	}
	return seq(field(0, number(1)), field(1, seq(list...)))
}

func padata(n byte, value string) string {
	return seq(field(1, el(ber.Integer, "\x00"+string([]byte{n}))), field(2, el(ber.Octets, value)))
}

func sealed(etype int8) string {
	return seq(field(0, number(etype)), field(1, number(2)), field(2, el(ber.Octets, "secretcipher")))
}

// request is AS-REQ or TGS-REQ.
func request(kind byte, service []string, client string, etypes string, data ...string) string {
	var list []string
	for _, e := range etypes {
		list = append(list, number(int8(e)))
	}
	body := []string{field(0, el(ber.BitString, "\x00\x40\x81\x00\x10"))}
	if client != "" {
		body = append(body, field(1, name(client)))
	}
	body = append(body, field(2, str("SHOP.EXAMPLE")), field(3, name(service...)), field(5, el(kerberosTime, "20370913024805Z")), field(7, number(7)), field(8, seq(list...)),
		field(9, seq(seq(field(0, number(netBIOS)), field(1, el(ber.Octets, "TILL-1   "))), seq(field(0, number(2)), field(1, el(ber.Octets, "\x0a\x00\x00\x05"))))))
	parts := []string{field(1, number(version)), field(2, number(int8(kind)))}
	if len(data) > 0 {
		parts = append(parts, field(3, seq(data...)))
	}
	return el(application|kind, seq(append(parts, field(4, seq(body...)))...))
}

// reply is AS-REP or TGS-REP.
func reply(kind byte, service []string, client string, ticket, mine int8) string {
	return el(application|kind, seq(field(0, number(version)), field(1, number(int8(kind))), field(3, str("SHOP.EXAMPLE")), field(4, name(client)),
		field(5, el(ticketTag, seq(field(0, number(5)), field(1, str("SHOP.EXAMPLE")), field(2, name(service...)), field(3, sealed(ticket))))), field(6, sealed(mine))))
}

func failure(code int8, service []string, more ...string) string {
	return el(application|krbError, seq(append([]string{field(0, number(version)), field(1, number(krbError)), field(4, el(kerberosTime, "20261122120000Z")), field(5, number(1)), field(6, number(code)),
		field(9, str("SHOP.EXAMPLE")), field(10, name(service...))}, more...)...))
}

var (
	tgt       = []string{"krbtgt", "SHOP.EXAMPLE"}
	files     = []string{"cifs", "files"}
	first     = request(asReq, tgt, "ann", "\x12\x17")
	required  = failure(25, tgt, field(11, str("NEEDED")), field(12, el(ber.Octets, seq(seq(field(1, number(2)), field(2, el(ber.Octets, ""))), seq(field(1, number(19)), field(2, el(ber.Octets, "secretsalt")))))))
	second    = request(asReq, tgt, "ann", "\x12\x17", padata(paTimestamp, sealed(18)), padata(128, "\x30\x00"))
	granted   = reply(asRep, tgt, "ann", 18, 18)
	service   = request(tgsReq, files, "", "\x17", padata(1, "secretticket"))
	ticket    = reply(tgsRep, files, "ann", 23, 18)
	imitate   = request(tgsReq, files, "", "\x12", padata(1, "secretticket"), padata(paForUser, seq(field(0, name("boss")), field(1, str("SHOP.EXAMPLE")), field(2, "secret"))))
	not       = failure(24, tgt)
	unknown   = failure(7, files)
	overTCP   = func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	fromHere  = func(s string) dissecttest.Chunk { return dissecttest.Client(s) }
	fromThere = func(s string) dissecttest.Chunk { return dissecttest.Server(s) }
)

func login(of func(string) string) chunks {
	return chunks{fromHere(of(first)), fromThere(of(required)), fromHere(of(second)), fromThere(of(granted)), fromHere(of(service)), fromThere(of(ticket))}
}

func plain(s string) string { return s }

var datagrams = []dissecttest.Sample{
	{Name: "a login", Rows: 3, Chunks: login(plain)},
	{Name: "errors", Rows: 2, Chunks: chunks{fromHere(second), fromThere(not), fromHere(imitate), fromThere(unknown)}},
}

var streams = []dissecttest.Sample{{Name: "a login", Rows: 3, Chunks: login(overTCP)}}

// over is the protocol on one transport.
func over(kind dissect.Transport) *dissect.Protocol {
	p := Protocol()
	p.Transports = []dissect.Transport{kind}
	return p
}

func TestSuite(t *testing.T) { dissecttest.Run(t, over(dissect.UDP), datagrams...) }

func TestSuiteOfStreams(t *testing.T) { dissecttest.Run(t, over(dissect.TCP), streams...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, over(dissect.UDP), datagrams...) }

func FuzzStreams(f *testing.F) { dissecttest.Fuzz(f, over(dissect.TCP), streams...) }

func TestRows(t *testing.T) {
	columns := []string{"host", "path", "status_code", "attempt", "auth_kind", "kerberos_client_realm", "kerberos_ticket_service", "kerberos_etypes", "kerberos_etype", "kerberos_ticket_etype", "kerberos_weak", "kerberos_weak_offered", "kerberos_padata",
		"kerberos_preauth_etype", "kerberos_required_padata", "kerberos_for_user", "kerberos_options", "kerberos_till", "kerberos_addresses", "kerberos_error_text", "kerberos_server_time"}
	const (
		asked  = " kerberos_options=[forwardable renewable canonicalize renewable-ok] kerberos_till=20370913024805Z kerberos_addresses=[TILL-1 10.0.0.5]"
		realm  = "krbtgt/SHOP.EXAMPLE"
		strong = " kerberos_etypes=[aes256-cts-hmac-sha1-96 rc4-hmac]"
	)
	sent := func(extra string) string {
		return "AS-REQ ann@SHOP.EXAMPLE for " + realm + " → no_response error=no_response outcome=no_answer path=" + realm + extra + " auth_kind=none kerberos_client_realm=SHOP.EXAMPLE" + strong + " kerberos_weak_offered=false" + asked
	}
	steps := []string{
		"AS-REQ ann@SHOP.EXAMPLE for " + realm + " → KDC_ERR_PREAUTH_REQUIRED path=" + realm + " status_code=25 auth_kind=none kerberos_client_realm=SHOP.EXAMPLE" + strong + " kerberos_weak_offered=false kerberos_required_padata=[PA-ENC-TIMESTAMP PA-ETYPE-INFO2]" + asked + " kerberos_error_text=NEEDED kerberos_server_time=20261122120000Z",
		"AS-REQ ann@SHOP.EXAMPLE for " + realm + " → AS-REP path=" + realm + " auth_kind=enc-timestamp kerberos_client_realm=SHOP.EXAMPLE kerberos_ticket_service=" + realm + strong + " kerberos_etype=aes256-cts-hmac-sha1-96 kerberos_ticket_etype=aes256-cts-hmac-sha1-96 kerberos_weak_offered=false kerberos_padata=[PA-ENC-TIMESTAMP PA-PAC-REQUEST] kerberos_preauth_etype=aes256-cts-hmac-sha1-96" + asked,
		"TGS-REQ ann@SHOP.EXAMPLE for cifs/files → TGS-REP (rc4) host=files path=cifs/files auth_kind=ticket kerberos_client_realm=SHOP.EXAMPLE kerberos_ticket_service=cifs/files kerberos_etypes=[rc4-hmac] kerberos_etype=aes256-cts-hmac-sha1-96 kerberos_ticket_etype=rc4-hmac kerberos_weak=rc4 kerberos_weak_offered=true kerberos_padata=[PA-TGS-REQ]" + asked,
	}
	dissecttest.Converse(t, over(dissect.UDP), columns, []dissecttest.Conversation{
		{Name: "a login", Chunks: login(plain), Want: steps},
		{Name: "errors", Chunks: datagrams[1].Chunks, Want: []string{
			"AS-REQ ann@SHOP.EXAMPLE for " + realm + " → KDC_ERR_PREAUTH_FAILED outcome=client_error path=" + realm + " status_code=24 auth_kind=enc-timestamp kerberos_client_realm=SHOP.EXAMPLE" + strong + " kerberos_weak_offered=false kerberos_padata=[PA-ENC-TIMESTAMP PA-PAC-REQUEST] kerberos_preauth_etype=aes256-cts-hmac-sha1-96" + asked + " kerberos_server_time=20261122120000Z",
			"TGS-REQ for cifs/files → KDC_ERR_S_PRINCIPAL_UNKNOWN outcome=client_error host=files path=cifs/files status_code=7 auth_kind=s4u kerberos_etypes=[aes256-cts-hmac-sha1-96] kerberos_weak_offered=false kerberos_padata=[PA-TGS-REQ PA-FOR-USER] kerberos_for_user=boss@SHOP.EXAMPLE" + asked + " kerberos_server_time=20261122120000Z"}},
		{Name: "a request that is sent again", Chunks: chunks{fromHere(first), fromHere(first)}, Want: []string{sent(""), sent(" attempt=2")}},
		{Name: "responses in another order", Chunks: chunks{fromHere(second), fromHere(service), fromThere(ticket), fromThere(granted)}, Want: []string{steps[2], steps[1]}},
		{Name: "two services at once", Chunks: chunks{fromHere(request(tgsReq, tgt, "", "\x12")), fromHere(service), fromThere(ticket)}, Want: []string{steps[2],
			"TGS-REQ for " + realm + " → no_response error=no_response outcome=no_answer path=" + realm + " auth_kind=none kerberos_etypes=[aes256-cts-hmac-sha1-96] kerberos_weak_offered=false" + asked}},
	}...)
	dissecttest.Converse(t, over(dissect.TCP), columns, dissecttest.Conversation{Name: "a login on TCP", Chunks: login(overTCP), End: dissect.EndFin, Want: steps})
}

// TestNoSecrets states that no column has a ticket, a cipher text or a salt.
func TestNoSecrets(t *testing.T) {
	for _, s := range datagrams {
		dissecttest.NoSecret(t, over(dissect.UDP), s, "secret")
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, first, dissect.Yes},
		{"a request from the server", dissect.ToClient, first, dissect.No},
		{"a response", dissect.ToClient, granted, dissect.Yes},
		{"an error", dissect.ToClient, required, dissect.Yes},
		{"an error of the client", dissect.ToServer, required, dissect.No},
		{"a request on TCP", dissect.ToServer, overTCP(first), dissect.Yes},
		{"the beginning of a response on TCP", dissect.ToClient, overTCP(granted)[:40], dissect.Yes},
		{"too little of it", dissect.ToClient, overTCP(granted)[:9], dissect.More},
		{"a length that disagrees", dissect.ToServer, "\x00\x00\x01" + overTCP(first)[3:], dissect.No},
		{"a length of 4 GB", dissect.ToServer, "\xff\xff\xff\xff" + first, dissect.No},
		{"version 4", dissect.ToServer, strings.Replace(first, "\xa1\x03\x02\x01\x05", "\xa1\x03\x02\x01\x04", 1), dissect.No},
		{"another type inside", dissect.ToServer, strings.Replace(first, "\xa2\x03\x02\x01\x0a", "\xa2\x03\x02\x01\x0c", 1), dissect.No},
		{"bytes after the end", dissect.ToServer, first + "\x00", dissect.No},
		{"a bind of LDAP", dissect.ToServer, seq(number(1), el(0x60, number(3), el(ber.Octets, "cn=a"), el(0x80, "x"))), dissect.No},
		{"zeros", dissect.ToServer, strings.Repeat("\x00", 64), dissect.No},
	})
}
