package radius

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	someAuthenticator  = "0123456789abcdef"
	otherAuthenticator = "fedcba9876543210"
	hidden             = "secretsecretsecr"
)

// packet makes a message of attributes.
func packet(code, id byte, authenticator string, attributes ...string) string {
	all := strings.Join(attributes, "")
	b := binary.BigEndian.AppendUint16([]byte{code, id}, uint16(headSize+len(all)))
	return string(b) + authenticator + all
}

func attribute(kind byte, v string) string { return string([]byte{kind, byte(len(v) + 2)}) + v }

var (
	user    = attribute(atUser, "ann")
	nas     = attribute(atNASAddress, "\xc0\x00\x02\x01")
	signed  = attribute(atAuthenticator, hidden)
	pap     = packet(1, 7, someAuthenticator, user, attribute(atPassword, hidden), nas, attribute(atNASPort, "\x00\x00\x00\x09"), attribute(atNASPortType, "\x00\x00\x00\x13"), attribute(atCalled, "AP:Shop"), attribute(atCalling, "02-00"), signed)
	accept  = packet(2, 7, otherAuthenticator, attribute(atServiceType, "\x00\x00\x00\x02"), attribute(atFramedIP, "\x0a\x00\x00\x07"), attribute(atTimeout, "\x00\x00\x0e\x10"), attribute(atMessage, "Hello, "), attribute(atMessage, "Ann"))
	reject  = packet(3, 7, otherAuthenticator, signed)
	chap    = packet(1, 8, someAuthenticator, user, attribute(atCHAP, "x"+hidden))
	eap     = packet(1, 9, someAuthenticator, user, attribute(atEAP, "\x02\x01\x00\x08\x01ann"), signed)
	further = packet(11, 9, otherAuthenticator, attribute(atEAP, "\x01\x02\x00\x06\x19\x20"), attribute(24, hidden), signed)
	stop    = packet(4, 1, someAuthenticator, user, attribute(atAcct, "\x00\x00\x00\x02"), attribute(atSession, "s-1"), attribute(atInput, "\x00\x00\x00\x05"), attribute(atInputGiga, "\x00\x00\x00\x01"), attribute(atOutput, "\x00\x00\x00\x06"), attribute(atSeconds, "\x00\x00\x00\x3c"), attribute(atTerminated, "\x00\x00\x00\x01"), attribute(atNAS, "till"))
	stopped = packet(5, 1, otherAuthenticator)
	end     = packet(40, 2, someAuthenticator, user)
	not     = packet(42, 2, otherAuthenticator, attribute(atErrorCause, "\x00\x00\x01\xf7"))
)

var samples = []dissecttest.Sample{
	{Name: "logins", Rows: 3, Chunks: chunks{client(pap), server(accept), client(chap), server(packet(3, 8, otherAuthenticator, signed)), client(eap), server(further)}},
	{Name: "accounting", Rows: 1, Chunks: chunks{client(stop), server(stopped)}},
	{Name: "dynamic authorization", Rows: 1, Chunks: chunks{client(end), server(not)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_text", "attempt", "auth_kind", "radius_user", "radius_nas", "radius_nas_port", "radius_nas_port_type", "radius_called", "radius_calling", "radius_service_type", "radius_framed_ip", "radius_eap", "radius_eap_result",
		"radius_acct_status", "radius_acct_session", "radius_acct_session_s", "radius_acct_input_bytes", "radius_acct_output_bytes", "radius_acct_terminate_cause", "radius_session_timeout_s", "radius_message", "radius_error_cause",
		"radius_message_authenticator", "radius_response_message_authenticator", "radius_attributes", "radius_response_attributes"}
	const asked = " %sauth_kind=pap radius_user=ann radius_nas=192.0.2.1 radius_nas_port=9 radius_nas_port_type=Wireless-802.11 radius_called=AP:Shop radius_calling=02-00"
	const attributes = " radius_attributes=[User-Name User-Password NAS-IP-Address NAS-Port NAS-Port-Type Called-Station-Id Calling-Station-Id Message-Authenticator]"
	with := func(s, status string) string { return strings.Replace(s, "%s", status, 1) }
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "an accepted login", Chunks: samples[0].Chunks[:2], Want: []string{"Access-Request ann pap from 192.0.2.1 → Access-Accept: Hello, Ann" + with(asked, "status_text=Access-Accept ") +
			" radius_service_type=Framed-User radius_framed_ip=10.0.0.7 radius_session_timeout_s=3600 radius_message=Hello, Ann radius_message_authenticator=true radius_response_message_authenticator=false" + attributes +
			" radius_response_attributes=[Service-Type Framed-IP-Address Session-Timeout Reply-Message Reply-Message]"}},
		{Name: "a login that is sent again and refused", Chunks: chunks{client(pap), client(pap), server(reject)}, Want: []string{
			"Access-Request ann pap from 192.0.2.1 → no_response error=no_response outcome=no_answer" + with(asked, "") + " radius_message_authenticator=true" + attributes,
			"Access-Request ann pap from 192.0.2.1 → Access-Reject outcome=refused" + with(asked, "status_text=Access-Reject attempt=2 ") + " radius_message_authenticator=true radius_response_message_authenticator=true" + attributes + " radius_response_attributes=[Message-Authenticator]"}},
		{Name: "CHAP", Chunks: chunks{client(chap)}, Want: []string{"Access-Request ann chap → no_response error=no_response outcome=no_answer auth_kind=chap radius_user=ann radius_message_authenticator=false radius_attributes=[User-Name CHAP-Password]"}},
		{Name: "a step of EAP", Chunks: chunks{client(eap), server(further)}, Want: []string{"Access-Request ann eap/identity → Access-Challenge status_text=Access-Challenge auth_kind=eap radius_user=ann radius_eap=identity radius_message_authenticator=true radius_response_message_authenticator=true radius_attributes=[User-Name EAP-Message Message-Authenticator] radius_response_attributes=[EAP-Message State Message-Authenticator]"}},
		{Name: "the end of EAP", Chunks: chunks{client(eap), server(packet(2, 9, otherAuthenticator, attribute(atEAP, "\x03\x02\x00\x04")))}, Want: []string{"Access-Request ann eap/identity → Access-Accept status_text=Access-Accept auth_kind=eap radius_user=ann radius_eap=identity radius_eap_result=success radius_message_authenticator=true radius_response_message_authenticator=false radius_attributes=[User-Name EAP-Message Message-Authenticator] radius_response_attributes=[EAP-Message]"}},
		{Name: "accounting", Chunks: samples[1].Chunks, Want: []string{"Accounting-Request Stop ann from till → Accounting-Response status_text=Accounting-Response radius_user=ann radius_nas=till radius_acct_status=Stop radius_acct_session=s-1 radius_acct_session_s=60 radius_acct_input_bytes=4294967301 radius_acct_output_bytes=6 radius_acct_terminate_cause=User-Request radius_message_authenticator=false radius_response_message_authenticator=false radius_attributes=[User-Name Acct-Status-Type Acct-Session-Id Acct-Input-Octets Acct-Input-Gigawords Acct-Output-Octets Acct-Session-Time Acct-Terminate-Cause NAS-Identifier]"}},
		{Name: "a session that is not there", Chunks: samples[2].Chunks, Want: []string{"Disconnect-Request ann → Disconnect-NAK Session-Context-Not-Found outcome=server_error status_text=Session-Context-Not-Found radius_user=ann radius_error_cause=Session-Context-Not-Found radius_message_authenticator=false radius_response_message_authenticator=false radius_attributes=[User-Name] radius_response_attributes=[Error-Cause]"}},
		{Name: "MS-CHAP, a vendor and an unknown attribute", Chunks: chunks{client(packet(1, 3, someAuthenticator, attribute(26, "\x00\x00\x01\x37\x19\x34"+hidden), attribute(26, "\x00\x00\x00\x09\x01\x05tok"), attribute(200, hidden)))}, Want: []string{
			"Access-Request ms-chap-v2 → no_response error=no_response outcome=no_answer auth_kind=ms-chap-v2 radius_message_authenticator=false radius_attributes=[Vendor-Specific(311) Vendor-Specific(9) attribute_200]"}},
		{Name: "a response to another kind of request", Chunks: chunks{client(stop), server(packet(2, 1, otherAuthenticator, user))}, Want: []string{
			"Access-Accept ann → no_request error=no_request outcome=cut status_text=Access-Accept radius_user=ann radius_response_message_authenticator=false radius_response_attributes=[User-Name]",
			"Accounting-Request Stop ann from till → no_response error=no_response outcome=no_answer radius_user=ann radius_nas=till radius_acct_status=Stop radius_acct_session=s-1 radius_acct_session_s=60 radius_acct_input_bytes=4294967301 radius_acct_output_bytes=6 radius_acct_terminate_cause=User-Request radius_message_authenticator=false radius_attributes=[User-Name Acct-Status-Type Acct-Session-Id Acct-Input-Octets Acct-Input-Gigawords Acct-Output-Octets Acct-Session-Time Acct-Terminate-Cause NAS-Identifier]"}},
	}...)
}

// TestNoSecrets states that no column has a password, a challenge, a key or a state.
func TestNoSecrets(t *testing.T) {
	for _, s := range samples {
		dissecttest.NoSecret(t, Protocol(), s, "secret")
	}
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name       string
		dir        dissect.Dir
		head       string
		want, port dissect.Verdict
	}{
		{"a request", dissect.ToServer, pap, dissect.Likely, dissect.Likely},
		{"a request from the server", dissect.ToClient, pap, dissect.No, dissect.No},
		{"a response", dissect.ToClient, accept, dissect.Likely, dissect.Likely},
		{"a response without attributes", dissect.ToClient, stopped, dissect.No, dissect.Likely},
		{"a code that does not exist", dissect.ToServer, packet(6, 1, someAuthenticator, user), dissect.No, dissect.No},
		{"bytes after the end", dissect.ToServer, pap + "x", dissect.No, dissect.No},
		{"an attribute that does not fit", dissect.ToServer, packet(1, 1, someAuthenticator, "\x01\x09ann"), dissect.No, dissect.No},
		{"an attribute without a length", dissect.ToServer, packet(1, 1, someAuthenticator, "\x01\x01"), dissect.No, dissect.No},
		{"a number of three bytes", dissect.ToServer, packet(1, 1, someAuthenticator, attribute(atNASPort, "abc")), dissect.No, dissect.No},
		{"a password of another size", dissect.ToServer, packet(1, 1, someAuthenticator, attribute(atPassword, "abc")), dissect.No, dissect.No},
		{"an attribute that does not exist", dissect.ToServer, packet(1, 1, someAuthenticator, attribute(17, "abc")), dissect.No, dissect.No},
		{"nothing", dissect.ToServer, "", dissect.No, dissect.No},
	} {
		if got, port := detect(c.dir, []byte(c.head)), detectOnPort(c.dir, []byte(c.head)); got != c.want || port != c.port {
			t.Errorf("%s: %v and on a port %v, want %v and %v", c.name, got, port, c.want, c.port)
		}
	}
}
