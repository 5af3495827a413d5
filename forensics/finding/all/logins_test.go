package all_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// proofs are the kinds of logins in the samples that prove a secret without sending it.
var proofs = []string{"scram-sha-256", "mysql_native_password", "nkey", "enc-timestamp", "ticket", "usm", "eap"}

// TestLoginsOfEveryProtocol reports the logins in the samples that send a secret, and no other one.
func TestLoginsOfEveryProtocol(t *testing.T) {
	c := open(t, false, "amqp.pcapng", "cassandra.pcapng", "ftp.pcapng", "imap.pcapng", "kafka.pcapng", "kerberos.pcapng", "mqtt.pcapng", "mysql.pcapng", "nats.pcapng", "pop3.pcapng",
		"postgresql.pcapng", "radius.pcapng", "redis.pcap", "smtp.pcapng", "snmp.pcapng", "socks.pcapng", "telnet.pcapng")
	for _, r := range kindsOf(t, c) {
		if !slices.Contains(table.SentLogin, r) && !slices.Contains(table.NoLogin, r) && !slices.Contains(proofs, r) {
			t.Errorf("auth_kind %q is neither one of table.SentLogin nor a known proof", r)
		}
	}
	list := find(t, c, finding.In{Names: []string{"plaintext-credentials", "deprecated-protocol", "admin-access"}})
	text := what(list)
	for _, want := range []string{
		"sends credentials (community) to 10.1.29.20 over snmp without encryption in 13 calls",
		"sends credentials (pap) to 10.1.28.20 over radius without encryption in 2 calls; a password hidden with MD5",
		"sends credentials (ms-chap) to 10.1.28.20 over radius",
		"sends credentials (password) to 10.1.28.20 over socks",
		"deprecated-protocol high: 10.1.30.5 uses Kerberos with RC4 to 10.1.30.20 in 1 call, with which",
		"deprecated-protocol high: 10.1.28.5 uses MS-CHAP to 10.1.28.20 in 2 calls",
		"deprecated-protocol medium: 10.1.28.5 uses RADIUS without Message-Authenticator to 10.1.28.20 in 4 calls, so",
		"deprecated-protocol low: 10.1.28.5 uses version 4 of SOCKS to 10.1.28.20 in 3 calls",
		"sends credentials (password) to 10.1.60.20 over telnet without encryption in 6 calls",
		"admin-access medium: 10.1.29.5 changes settings of 10.1.29.20 through SNMP, in 3 calls, without encryption",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, f := range list {
		if f.Finding == "plaintext-credentials" && (slices.Contains(proofs, f.Kind) || slices.Contains(table.NoLogin, f.Kind)) {
			t.Errorf("%s sends nothing that can be used", f.What)
		}
	}
}

// TestCredentialsInAResponse has the response of an SNMP agent, which repeats the community of a request that was not
// captured: the client is not said to have sent it.
func TestCredentialsInAResponse(t *testing.T) {
	var w traffic.Capture
	const response = "\x30\x26\x02\x01\x01\x04\x06public\xa2\x19\x02\x01\x07\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x03\x00\x05\x00"
	w.Reply(0, "10.0.0.1", "10.0.0.9:161", response)
	hold(t, of(t, openTraffic(t, &w), "plaintext-credentials"), "10.0.0.9 sends credentials (community) back to 10.0.0.1 over snmp without encryption in 1 response, whose request was not captured")
	w.Datagram(0, "10.0.0.2", "10.0.0.9:161", strings.Replace(response, "\xa2", "\xa0", 1), response)
	hold(t, of(t, openTraffic(t, &w), "plaintext-credentials"), "10.0.0.9 sends credentials (community) back to 10.0.0.1 over snmp without encryption in 1 response, whose request was not captured",
		"10.0.0.2 sends credentials (community) to 10.0.0.9 over snmp without encryption in 1 call")
}

// kindsOf lists the kinds of logins in a case.
func kindsOf(t *testing.T, c *forensics.Case) (kinds []string) {
	t.Helper()
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT DISTINCT auth_kind FROM calls WHERE auth_kind IS NOT NULL ORDER BY ALL"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		kinds = append(kinds, row[0].(string))
	}
	return kinds
}
