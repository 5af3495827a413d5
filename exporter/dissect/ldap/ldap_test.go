package ldap

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// el is an element of BER.
func el(tag byte, parts ...string) string {
	s := strings.Join(parts, "")
	if len(s) < 0x80 {
		return string([]byte{tag, byte(len(s))}) + s
	}
	return string(binary.BigEndian.AppendUint32([]byte{tag, 0x84}, uint32(len(s)))) + s
}

func octets(s string) string { return el(4, s) }

func msg(id byte, op string, more ...string) string {
	return el(0x30, el(2, string([]byte{id})), op, strings.Join(more, ""))
}

func bind(id byte, dn, auth string) string {
	return msg(id, el(0x60, "\x02\x01\x03", octets(dn), auth))
}
func simple(password string) string { return el(0x80, password) }
func result(id, op, code byte, text string) string {
	return msg(id, el(0x60|op, "\x0a\x01"+string([]byte{code}), octets(""), octets(text)))
}

func search(id byte, base string, scope byte, filter string, attributes ...string) string {
	list := ""
	for _, a := range attributes {
		list += octets(a)
	}
	return msg(id, el(0x63, octets(base), "\x0a\x01"+string([]byte{scope})+"\x0a\x01\x00\x02\x01\x05\x02\x01\x00\x01\x01\x00", filter, el(0x30, list)))
}

func entry(id byte, dn, value string) string {
	return msg(id, el(0x64, octets(dn), el(0x30, el(0x30, octets("cn"), el(0x31, octets(value))))))
}

func extended(id byte, oid string) string { return msg(id, el(0x77, el(0x80, oid))) }
func equal(a, v string) string            { return el(0xa3, octets(a), octets(v)) }

const base = "dc=example,dc=org"

var samples = []dissecttest.Sample{
	{Name: "a session", Rows: 4, Chunks: chunks{client(bind(1, "cn=admin,"+base, simple("geheim"))), server(result(1, 1, 0, "")),
		client(search(2, base, 2, equal("cn", "ann"), "cn", "mail")), server(entry(2, "cn=ann,"+base, "ann") + entry(2, "cn=ann2,"+base, strings.Repeat("x", 300))),
		server(result(2, 5, 0, "")), client(msg(3, el(0x4a, "cn=ann,"+base))), server(result(3, 11, 32, "no such object")), client(msg(4, "\x42\x00"))}},
	{Name: "operations at once", Rows: 3, Chunks: chunks{client(search(7, base, 0, el(0x87, "objectClass")) + search(8, base, 1, equal("a", "b")) +
		msg(9, el(0x6e, octets("cn=ann"), el(0x30, octets("cn"), octets("ann"))))), server(entry(8, "cn=b", "b") + result(9, 15, 6, "") + entry(7, "cn=a", "a")), server(result(7, 5, 0, "") + result(8, 5, 4, "too many"))}},
	{Name: "StartTLS", Rows: 2, Chunks: chunks{client(extended(1, startTLS)), server(msg(1, el(0x78, "\x0a\x01\x00", octets(""), octets(""), el(0x8a, startTLS)))), client("\x16\x03\x01\x00\x05hello")}},
	{Name: "a long entry", Rows: 1, Chunks: chunks{client(search(2, base, 2, equal("cn", "ann"))), server(entry(2, "cn=ann,"+base, strings.Repeat("x", maxWhole+9))), server(result(2, 5, 0, ""))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "ldap_user", "ldap_attributes", "ldap_names", "ldap_message", "ldap_controls", "ldap_entries", "ldap_referrals"}
	sasl := func(id byte, mechanism string) string {
		return bind(id, "", el(0xa3, octets(mechanism), octets("secret")))
	}
	modify := msg(2, el(0x66, octets("cn=ann"), el(0x30, el(0x30, "\x0a\x01\x02", el(0x30, octets("mail"), el(0x31, octets("m@example.org")))),
		el(0x30, "\x0a\x01\x00", el(0x30, octets("userPassword"), el(0x31, octets("secret")))))), el(0xa0, el(0x30, octets("1.2.3"))))
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a login by password, and what follows it", Chunks: samples[0].Chunks, Want: []string{
			"BIND cn=admin,dc=example,dc=org simple → success auth_kind=password",
			"SEARCH dc=example,dc=org sub (cn=ann) → 2 entries ldap_user=cn=admin,dc=example,dc=org ldap_attributes=[cn mail] ldap_entries=2 ldap_names=[cn=ann,dc=example,dc=org cn=ann2,dc=example,dc=org]",
			"DELETE cn=ann,dc=example,dc=org → noSuchObject outcome=client_error ldap_user=cn=admin,dc=example,dc=org ldap_message=no such object",
			"UNBIND ldap_user=cn=admin,dc=example,dc=org"}},
		{Name: "answers out of order", Chunks: samples[1].Chunks, Want: []string{
			"COMPARE cn=ann cn=ann → compareTrue",
			"SEARCH dc=example,dc=org base (objectClass=*) → 1 entry ldap_entries=1 ldap_names=[cn=a]",
			"SEARCH dc=example,dc=org one (a=b) → sizeLimitExceeded, 1 entry outcome=client_error ldap_entries=1 ldap_names=[cn=b] ldap_message=too many"}},
		{Name: "kinds of binds", Chunks: chunks{client(bind(1, "", simple(""))), server(result(1, 1, 0, "")), client(bind(2, "cn=a", simple(""))), server(result(2, 1, 53, "")),
			client(sasl(3, "SCRAM-SHA-256")), server(result(3, 1, 14, "")), client(sasl(4, "PLAIN")), server(result(4, 1, 49, ""))}, Want: []string{
			"BIND anonymous → success", "BIND cn=a unauthenticated → unwillingToPerform outcome=refused",
			"BIND SCRAM-SHA-256 sasl → saslBindInProgress auth_kind=scram-sha-256", "BIND PLAIN sasl → invalidCredentials outcome=client_error auth_kind=password"}},
		{Name: "changes without values", Chunks: chunks{client(modify), server(msg(2, el(0x67, "\x0a\x01\x0a", octets(""), octets(""), el(0xa3, octets("ldap://b.example/")))))}, Want: []string{
			"MODIFY cn=ann replace mail, add userPassword → referral auth_kind=password ldap_attributes=[mail userPassword] ldap_referrals=[ldap://b.example/] ldap_controls=[1.2.3]"}},
		{Name: "a filter of every kind", Chunks: chunks{client(search(1, "", 3, el(0xa0, el(0xa1, el(0xa2, equal("a", "(*)")), el(0xa5, octets("n"), octets("5")), el(0xa6, octets("n"), octets("9"))),
			el(0xa4, octets("cn"), el(0x30, el(0x80, "a"), el(0x81, "b"), el(0x82, "c"))), el(0xa4, octets("cn"), el(0x30, el(0x82, "c"))), el(0xa8, octets("n"), octets("\xff")),
			el(0xa9, el(0x81, "2.4"), el(0x82, "ou"), el(0x83, "x"), el(0x84, "\xff")), equal("userPassword", "secret"))))}, End: dissect.EndReset, Want: []string{
			`SEARCH subordinate (&(|(!(a=\28\2a\29))(n>=5)(n<=9))(cn=a*b*c)(cn=*c)(n~=\ff)(ou:dn:2.4:=x)(userPassword=***)) → reset error=reset outcome=no_answer auth_kind=password`}},
		{Name: "a search that the client gives up", Chunks: chunks{client(search(1, base, 2, el(0x87, "a"))), server(entry(1, "cn=a", "a")), client(msg(2, el(0x50, "\x01")))}, Want: []string{
			"SEARCH dc=example,dc=org sub (a=*) → abandoned error=no_response outcome=no_answer ldap_entries=1 ldap_names=[cn=a]", "ABANDON"}},
		{Name: "a message of the server alone, and entries whose search was not captured", Chunks: chunks{server(entry(5, "cn=a", "a") + entry(5, "cn=b", "b") + result(5, 5, 0, "")),
			server(msg(0, el(0x78, "\x0a\x01\x34", octets(""), octets("bye"), el(0x8a, "1.3.6.1.4.1.1466.20036"))))}, Want: []string{
			"SEARCH → 2 entries error=no_request outcome=cut ldap_entries=2 ldap_names=[cn=a cn=b]",
			"NOTIFICATION 1.3.6.1.4.1.1466.20036 → unavailable outcome=server_error ldap_message=bye"}},
		{Name: "an entry is lost", Chunks: chunks{client(search(1, base, 2, el(0x87, "a"))), server(entry(1, "cn=a", "a")), {Dir: dissect.ToClient, Gap: 40}, server(result(1, 5, 0, ""))}, Want: []string{
			"SEARCH dc=example,dc=org sub (a=*) → 1 entry error=gap ldap_entries=1 ldap_names=[cn=a]"}},
		{Name: "what SASL signs is read, what it encrypts is counted", Chunks: chunks{client(sasl(1, "GSSAPI")), server(result(1, 1, 0, "")), signed(dissect.ToServer, search(2, base, 2, el(0x87, "a"))),
			signed(dissect.ToClient, entry(2, "cn=a", "a")+result(2, 5, 0, "")), sealed(dissect.ToServer, 50), sealed(dissect.ToClient, 80)}, Want: []string{
			"BIND GSSAPI sasl → success auth_kind=gssapi", "SEARCH dc=example,dc=org sub (a=*) → 1 entry ldap_entries=1 ldap_names=[cn=a]", "SEALED messages that SASL encrypted"}},
	}...)
}

// signed is a message of a side that Kerberos signed, with the sum at its end.
func signed(dir dissect.Dir, s string) dissecttest.Chunk {
	return dissecttest.Chunk{Dir: dir, Data: frame("\x05\x04" + string(byte(dir)) + "\xff\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + s + "ss")}
}

// sealed is a message of a side that Kerberos encrypted.
func sealed(dir dissect.Dir, n int) dissecttest.Chunk {
	return dissecttest.Chunk{Dir: dir, Data: frame("\x05\x04" + string(byte(dir)|6) + "\xff" + strings.Repeat("\x01", n+12))}
}

func frame(token string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
}

// TestProtectedMidway begins a capture in messages that a login before it protects: signed ones are read on any
// port, encrypted ones on a port of LDAP.
func TestProtectedMidway(t *testing.T) {
	answer := signed(dissect.ToClient, entry(2, strings.Repeat("cn=a,", 5000)+"dc=b", "a")+result(2, 5, 0, ""))
	rest := answer
	rest.Data = rest.Data[120:] // the rest of a long message
	read := chunks{rest, signed(dissect.ToServer, search(3, base, 2, el(0x87, "a"))), signed(dissect.ToClient, result(3, 5, 0, ""))}
	secret := chunks{rest, sealed(dissect.ToServer, 50), sealed(dissect.ToClient, 80)}
	for _, c := range []struct {
		name   string
		port   uint16
		chunks chunks
		want   string
	}{
		{"signed", 389, read, "SEARCH dc=example,dc=org sub (a=*) → 0 entries"},
		{"signed, on another port", 50001, read, "SEARCH dc=example,dc=org sub (a=*) → 0 entries"},
		{"encrypted", 389, secret, "SEALED messages that SASL encrypted"},
		{"encrypted, on another port", 50001, secret, ""},
		{"encrypted by NTLM", 389, chunks{{Dir: dissect.ToServer, Data: frame("\x01\x00\x00\x00" + strings.Repeat("\x02", 40))}}, "SEALED messages that SASL encrypted"},
		{"a token that the other side sends", 389, chunks{{Dir: dissect.ToServer, Data: sealed(dissect.ToClient, 50).Data}}, ""},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.Roles, o.ServerPort = false, c.port
		got := ""
		for _, row := range dissecttest.Play(t, o, c.chunks...).Rows() {
			if r, ok := row.(*Row); ok {
				got += r.Summary
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNestedFilters reads a filter of 10,000 levels.
func TestNestedFilters(t *testing.T) {
	f := el(0x87, "a")
	for range 10_000 {
		f = el(0xa2, f)
	}
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(search(1, base, 2, f)), server(result(1, 5, 1, "")))
	if got := r.Rows()[0].(*Row).Filter.V; !strings.HasSuffix(got, strings.Repeat("(!", 3)+"(…)"+strings.Repeat(")", maxDepth+1)) {
		t.Errorf("%q", got)
	}
}

// TestNoPassword looks for passwords in every column.
func TestNoPassword(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples[0].Chunks...)
	for _, row := range r.Rows() {
		if s := dissecttest.Line(row, "ldap_filter", "ldap_dn"); strings.Contains(s, "secret") {
			t.Error(s)
		}
	}
}

func TestDatagrams(t *testing.T) {
	o := dissecttest.OptionsOf(Protocol())
	o.Transport = dissect.UDP
	r := dissecttest.Play(t, o, client(search(1, "", 0, equal("DnsDomain", "example.org"), "Netlogon")), server(entry(1, "", "x")+result(1, 5, 0, "")))
	if rows := r.Rows(); len(rows) != 1 || rows[0].Base().Summary != "SEARCH base (DnsDomain=example.org) → 1 entry" {
		t.Errorf("%v, anomalies %v", rows, r.Anomalies)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a bind", dissect.ToServer, bind(1, "cn=a", simple("x")), dissect.Yes},
		{"the beginning of a bind", dissect.ToServer, bind(1, "cn=a", simple("x"))[:8], dissect.More},
		{"a bind from the server", dissect.ToClient, bind(1, "cn=a", simple("x")), dissect.No},
		{"a result", dissect.ToClient, result(1, 1, 0, ""), dissect.Yes},
		{"an unbind", dissect.ToServer, msg(3, "\x42\x00"), dissect.Likely},
		{"SNMP", dissect.ToServer, el(0x30, "\x02\x01\x01", octets("public"), el(0xa0, "\x02\x01\x01")), dissect.No},
		{"a certificate", dissect.ToServer, el(0x30, el(0x30, el(0xa0, "\x02\x01\x02"), "\x02\x01\x01")), dissect.No},
		{"a signed unbind", dissect.ToServer, string(signed(dissect.ToServer, msg(3, "\x42\x00")).Data), dissect.Likely},
		{"a signed result", dissect.ToClient, string(signed(dissect.ToClient, result(1, 1, 0, "")).Data), dissect.Yes},
		{"the beginning of one", dissect.ToClient, string(signed(dissect.ToClient, result(1, 1, 0, "")).Data[:18]), dissect.More},
		{"a signed result from the other side", dissect.ToClient, string(signed(dissect.ToServer, result(1, 1, 0, "")).Data), dissect.No},
		{"an encrypted message", dissect.ToServer, string(sealed(dissect.ToServer, 40).Data), dissect.No},
		{"a signed message of another protocol", dissect.ToServer, string(signed(dissect.ToServer, "GET / HTTP/1.1").Data), dissect.No},
		{"a frame in a frame", dissect.ToServer, string(signed(dissect.ToServer, string(signed(dissect.ToServer, msg(3, "\x42\x00")).Data)).Data), dissect.No},
		{"an operation longer than its message", dissect.ToServer, el(0x30, "\x02\x01\x01\x60\x70\x02\x01\x03\x04\x00\x80\x00"), dissect.No},
	})
}
