package snmp

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// el is an element.
func el(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) < 0x80 {
		return string([]byte{tag, byte(len(body))}) + body
	}
	return string(binary.BigEndian.AppendUint16([]byte{tag, 0x82}, uint16(len(body)))) + body
}

func octets(s string) string { return el(ber.Octets, s) }
func number(n uint16) string {
	return el(ber.Integer, string(binary.BigEndian.AppendUint16(nil, n)))
}
func seq(parts ...string) string { return el(ber.Sequence, parts...) }

// mib is the OID 1.3.6.1 with more components, each below 128.
func mib(more string) string { return el(ber.OID, "\x2b\x06\x01"+more) }

// variable is a variable with a value, which is an element.
func variable(oid, value string) string { return seq(oid, value) }

// pdu is a PDU with two numbers after the request id.
func pdu(tag byte, id, first, second uint16, variables ...string) string {
	return el(tag, number(id), number(first), number(second), seq(variables...))
}

// community is a message of version 1 (0) or 2c (1).
func community(version byte, name, pdu string) string {
	return seq(el(ber.Integer, string([]byte{version})), octets(name), pdu)
}

// v3 is a message of version 3; data is a scoped PDU or an encrypted one.
func v3(id uint16, flags byte, engine, user, data string) string {
	return seq(number(3), seq(number(id), number(1500), octets(string([]byte{flags})), number(3)),
		octets(seq(octets(engine), number(7), number(60), octets(user), octets("secretdigest"), octets("secretsalt"))), data)
}

func scoped(engine, pdu string) string { return seq(octets(engine), octets("shop"), pdu) }

var (
	null     = el(ber.Null)
	sysName  = mib("\x02\x01\x01\x05\x00")
	uptime   = mib("\x02\x01\x01\x03\x00")
	trapOID  = mib("\x06\x03\x01\x01\x04\x01\x00")
	userKey  = mib("\x06\x03\x0f\x01\x02\x02\x01\x06\x01")
	get      = community(1, "secret", pdu(tagGet, 1, 0, 0, variable(sysName, null)))
	got      = community(1, "secret", pdu(tagResponse, 1, 0, 0, variable(sysName, octets("till"))))
	missing  = community(0, "public", pdu(tagResponse, 2, 2, 1, variable(sysName, null)))
	set      = community(0, "public", pdu(tagSet, 2, 0, 0, variable(sysName, octets("new"))))
	bulk     = community(1, "private", pdu(tagBulk, 3, 1, 10, variable(sysName, null), variable(uptime, null)))
	bulked   = community(1, "private", pdu(tagResponse, 3, 0, 0, variable(sysName, el(endOfMibView)), variable(uptime, el(tagTicks, "\x01\x00")), variable(uptime, el(tagCounter64, "\x00\xff\xff\xff\xff\xff\xff\xff\xff")), variable(uptime, el(tagAddress, "\x0a\x00\x00\x01")), variable(uptime, octets("\x00\xff")), variable(uptime, trapOID)))
	trap     = community(0, "", el(tagTrap, mib("\x04\x01\x09"), el(tagAddress, "\x0a\x00\x00\x01"), number(2), number(0), el(tagTicks, "\x01\x00"), seq()))
	vendor   = community(0, "", el(tagTrap, mib("\x04\x01\x09"), el(tagAddress, "\x0a\x00\x00\x01"), number(6), number(5), el(tagTicks, "\x01\x00"), seq()))
	trap2    = community(1, "public", pdu(tagTrap2, 4, 0, 0, variable(uptime, el(tagTicks, "\x01\x00")), variable(trapOID, mib("\x06\x03\x01\x01\x05\x04"))))
	inform   = community(1, "public", pdu(tagInform, 5, 0, 0, variable(uptime, el(tagTicks, "\x01\x00")), variable(trapOID, mib("\x04\x01\x09\x07"))))
	informed = community(1, "public", pdu(tagResponse, 5, 0, 0))
	discover = v3(6, 4, "", "", scoped("", pdu(tagGet, 6, 0, 0)))
	found    = v3(6, 0, "\x80\x00\x1f", "", scoped("\x80\x00\x1f", pdu(tagReport, 6, 0, 0, variable(mib("\x06\x03\x0f\x01\x01\x04\x00"), el(tagCounter, "\x01")))))
	asked    = v3(7, 5, "\x80\x00\x1f", "ann", scoped("\x80\x00\x1f", pdu(tagGet, 7, 0, 0, variable(sysName, null))))
	wrong    = v3(7, 0, "\x80\x00\x1f", "ann", scoped("\x80\x00\x1f", pdu(tagReport, 0, 0, 0, variable(mib("\x06\x03\x0f\x01\x01\x05\x00"), el(tagCounter, "\x01")))))
	hidden   = v3(8, 7, "\x80\x00\x1f", "ann", octets("secretsecret"))
	unhidden = v3(8, 3, "\x80\x00\x1f", "ann", octets("secretsecret"))
)

var samples = []dissecttest.Sample{
	{Name: "requests", Rows: 3, Chunks: chunks{client(get), server(got), client(set), server(missing), client(bulk), server(bulked)}},
	{Name: "traps", Rows: 3, Chunks: chunks{client(trap), client(trap2), client(inform), server(informed)}},
	{Name: "version 3", Rows: 3, Chunks: chunks{client(discover), server(found), client(asked), server(wrong), client(hidden), server(unhidden)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_text", "attempt", "auth_kind", "snmp_community", "snmp_user", "snmp_security_level", "snmp_engine_id", "snmp_engine_boots", "snmp_engine_time_s", "snmp_context", "snmp_error_index", "snmp_report",
		"snmp_non_repeaters", "snmp_max_repetitions", "snmp_oids", "snmp_values", "snmp_variables", "snmp_trap", "snmp_enterprise", "snmp_agent", "snmp_uptime_ms"}
	const name, engine = "1.3.6.1.2.1.1.5.0", " snmp_engine_id=80001f snmp_engine_boots=7 snmp_engine_time_s=60"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "requests", Chunks: samples[0].Chunks, Want: []string{
			"SNMPv2c GetRequest " + name + " → " + name + " = till status_text=noError auth_kind=community snmp_community=*** snmp_error_index=0 snmp_oids=[" + name + "] snmp_values=[" + name + " = till] snmp_variables=1",
			"SNMPv1 SetRequest " + name + " → noSuchName outcome=client_error status_text=noSuchName auth_kind=community snmp_community=public snmp_error_index=1 snmp_oids=[" + name + "] snmp_values=[" + name + " = ] snmp_variables=1",
			"SNMPv2c GetBulkRequest " + name + " +1 → 6 variables status_text=noError auth_kind=community snmp_community=private snmp_error_index=0 snmp_non_repeaters=1 snmp_max_repetitions=10 snmp_oids=[" + name + " 1.3.6.1.2.1.1.3.0]" +
				" snmp_values=[" + name + " = endOfMibView 1.3.6.1.2.1.1.3.0 = 256 1.3.6.1.2.1.1.3.0 = 18446744073709551615 1.3.6.1.2.1.1.3.0 = 10.0.0.1 1.3.6.1.2.1.1.3.0 = 0x00ff 1.3.6.1.2.1.1.3.0 = 1.3.6.1.6.3.1.1.4.1.0] snmp_variables=6"}},
		{Name: "traps", Chunks: append(samples[1].Chunks[:len(samples[1].Chunks):len(samples[1].Chunks)], client(vendor)), Want: []string{
			"SNMPv1 Trap linkDown auth_kind=community snmp_community= snmp_variables=0 snmp_trap=linkDown snmp_enterprise=1.3.6.1.4.1.9 snmp_agent=10.0.0.1 snmp_uptime_ms=2560",
			"SNMPv2c SNMPv2-Trap linkUp auth_kind=community snmp_community=public snmp_oids=[1.3.6.1.2.1.1.3.0 1.3.6.1.6.3.1.1.4.1.0] snmp_values=[1.3.6.1.2.1.1.3.0 = 256 1.3.6.1.6.3.1.1.4.1.0 = 1.3.6.1.6.3.1.1.5.4] snmp_variables=2 snmp_trap=linkUp snmp_uptime_ms=2560",
			"SNMPv2c InformRequest 1.3.6.1.4.1.9.7 → 0 variables status_text=noError auth_kind=community snmp_community=public snmp_error_index=0 snmp_oids=[1.3.6.1.2.1.1.3.0 1.3.6.1.6.3.1.1.4.1.0] snmp_values=[1.3.6.1.2.1.1.3.0 = 256 1.3.6.1.6.3.1.1.4.1.0 = 1.3.6.1.4.1.9.7] snmp_variables=0 snmp_trap=1.3.6.1.4.1.9.7 snmp_uptime_ms=2560",
			"SNMPv1 Trap 1.3.6.1.4.1.9.0.5 auth_kind=community snmp_community= snmp_variables=0 snmp_trap=1.3.6.1.4.1.9.0.5 snmp_enterprise=1.3.6.1.4.1.9 snmp_agent=10.0.0.1 snmp_uptime_ms=2560"}},
		{Name: "version 3", Chunks: samples[2].Chunks, Want: []string{
			"SNMPv3 GetRequest → usmStatsUnknownEngineIDs status_text=usmStatsUnknownEngineIDs auth_kind=none snmp_security_level=noAuthNoPriv" + engine + " snmp_context=shop snmp_error_index=0 snmp_report=usmStatsUnknownEngineIDs snmp_values=[1.3.6.1.6.3.15.1.1.4.0 = 1] snmp_variables=1",
			"SNMPv3 GetRequest ann " + name + " → usmStatsWrongDigests outcome=refused status_text=usmStatsWrongDigests auth_kind=usm snmp_user=ann snmp_security_level=authNoPriv" + engine + " snmp_context=shop snmp_error_index=0 snmp_report=usmStatsWrongDigests snmp_oids=[" + name + "] snmp_values=[1.3.6.1.6.3.15.1.1.5.0 = 1] snmp_variables=1",
			"SNMPv3 encrypted ann → encrypted outcome=unread auth_kind=usm snmp_user=ann snmp_security_level=authPriv" + engine}},
		{Name: "keys", Chunks: chunks{client(community(1, "secret", pdu(tagSet, 9, 0, 0, variable(userKey, octets("secretkey")))))}, Want: []string{
			"SNMPv2c SetRequest 1.3.6.1.6.3.15.1.2.2.1.6.1 → no_response error=no_response outcome=no_answer auth_kind=community snmp_community=*** snmp_oids=[1.3.6.1.6.3.15.1.2.2.1.6.1] snmp_values=[1.3.6.1.6.3.15.1.2.2.1.6.1 = ***] snmp_variables=1"}},
		{Name: "a request that is sent again", Chunks: chunks{client(set), client(set), server(missing)}, Want: []string{
			"SNMPv1 SetRequest " + name + " → no_response error=no_response outcome=no_answer auth_kind=community snmp_community=public snmp_oids=[" + name + "] snmp_values=[" + name + " = new] snmp_variables=1",
			"SNMPv1 SetRequest " + name + " → noSuchName outcome=client_error status_text=noSuchName attempt=2 auth_kind=community snmp_community=public snmp_error_index=1 snmp_oids=[" + name + "] snmp_values=[" + name + " = ] snmp_variables=1"}},
		{Name: "a response to another request", Chunks: chunks{client(get), server(missing)}, Want: []string{
			"SNMPv1 Response " + name + " → no_request error=no_request outcome=client_error status_text=noSuchName auth_kind=community snmp_community=public snmp_error_index=1 snmp_oids=[" + name + "] snmp_values=[" + name + " = ] snmp_variables=1",
			"SNMPv2c GetRequest " + name + " → no_response error=no_response outcome=no_answer auth_kind=community snmp_community=*** snmp_oids=[" + name + "] snmp_variables=1"}},
	}...)
}

// TestNoSecrets states that no column has a community, a key or a digest.
func TestNoSecrets(t *testing.T) {
	for _, s := range append(samples, dissecttest.Sample{Name: "keys", Chunks: chunks{client(community(1, "secret", pdu(tagSet, 9, 0, 0, variable(userKey, octets("secretkey")))))}}) {
		dissecttest.NoSecret(t, Protocol(), s, "secret")
	}
}

// TestManyVariables states that a message with more variables than are shown has their number.
func TestManyVariables(t *testing.T) {
	var many []string
	for range 300 {
		many = append(many, variable(sysName, octets(strings.Repeat("x", 100))))
	}
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), server(community(1, "public", pdu(tagResponse, 1, 0, 0, many...))))
	row := r.Rows()[0].(*Row)
	if len(row.Values) != maxVariables || len(row.OIDs) != maxVariables || row.Variables.V != 300 {
		t.Errorf("%d values and %d OIDs of %d variables", len(row.Values), len(row.OIDs), row.Variables.V)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a request", dissect.ToServer, get, dissect.Yes},
		{"a request from the server", dissect.ToClient, get, dissect.No},
		{"a response", dissect.ToClient, got, dissect.Yes},
		{"a response to the server", dissect.ToServer, got, dissect.No},
		{"a trap", dissect.ToServer, trap, dissect.Yes},
		{"a trap of version 1 in version 2c", dissect.ToServer, community(1, "", trap[len(trap)-30:]), dissect.No},
		{"a bulk request in version 1", dissect.ToServer, strings.Replace(bulk, "\x02\x01\x01", "\x02\x01\x00", 1), dissect.No},
		{"version 3", dissect.ToServer, discover, dissect.Yes},
		{"an encrypted request", dissect.ToServer, hidden, dissect.Yes},
		{"an encrypted response", dissect.ToClient, unhidden, dissect.Yes},
		{"a version that does not exist", dissect.ToServer, strings.Replace(get, "\x02\x01\x01", "\x02\x01\x02", 1), dissect.No},
		{"bytes after the end", dissect.ToServer, get + "\x00", dissect.No},
		{"cut", dissect.ToServer, get[:len(get)-1], dissect.No},
		{"LDAP", dissect.ToServer, seq(number(1), el(0x60, number(3), octets("cn=a"), el(0x80, "x"))), dissect.No},
	})
}
