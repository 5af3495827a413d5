package all_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// UUIDs of interfaces with their version, as they are sent.
const (
	netlogonUUID = "\x78\x56\x34\x12\x34\x12\xcd\xab\xef\x00\x01\x23\x45\x67\xcf\xfb\x01\x00\x00\x00"
	svcctlUUID   = "\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03\x02\x00\x00\x00"
	drsuapiUUID  = "\x35\x42\x51\xe3\x06\x4b\xd1\x11\xab\x04\x00\xc0\x4f\xc2\xdc\xd2\x04\x00\x00\x00"
	efsrpcUUID   = "\x88\xd4\x81\xc6\x50\xd8\xd0\x11\x8c\x52\x00\xc0\x4f\xd9\x0f\x7e\x01\x00\x00\x00"
	ndrUUID      = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00"
)

// rpc is a connection of DCE/RPC of a client to 10.0.0.2.
type rpc struct {
	w      *traffic.Capture
	client string
	id     uint32
}

func (c *rpc) message(kind byte, body string) string {
	b := append([]byte{5, 0, kind, 3, 0x10, 0, 0, 0}, 0, 0, 0, 0)
	binary.LittleEndian.PutUint16(b[8:], uint16(16+len(body)))
	return string(binary.LittleEndian.AppendUint32(b, c.id)) + body
}

// bind selects an interface.
func (c *rpc) bind(at time.Duration, uuid string) {
	c.id++
	sizes := "\xb8\x10\xb8\x10"
	c.w.Exchange(at, ms, "rpc "+c.client, c.client, "10.0.0.2:135", c.message(11, sizes+"\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00"+uuid+ndrUUID),
		c.message(12, sizes+"\x01\x00\x00\x00\x04\x00135\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"+ndrUUID))
}

// call calls an operation, which returns a status.
func (c *rpc) call(at time.Duration, operation byte, status uint32) {
	c.id++
	c.w.Exchange(at, ms, "rpc "+c.client, c.client, "10.0.0.2:135", c.message(0, "\x04\x00\x00\x00\x00\x00"+string([]byte{operation, 0})+"\x00\x00\x00\x00"),
		c.message(2, "\x04\x00\x00\x00\x00\x00\x00\x00"+string(binary.LittleEndian.AppendUint32(nil, status))))
}

// TestZerologon has clients that are refused often, seldom or slowly.
func TestZerologon(t *testing.T) {
	for _, tt := range []struct {
		name         string
		failures     int
		apart        time.Duration
		then, change bool
		want         []string
	}{
		{"an attack", 20, 10 * ms, true, true, []string{"high: 10.0.0.1 tried 21 times to authenticate to Netlogon of 10.0.0.2, and was refused up to 20 times within a minute, as in Zerologon (CVE-2020-1472); an attempt, and a change of the machine's password, were accepted"}},
		{"a test", 20, 10 * ms, true, false, []string{"was refused up to 20 times within a minute, as in Zerologon (CVE-2020-1472); an attempt was accepted"}},
		{"a patched server", 10, 10 * ms, false, false, []string{"was refused up to 10 times within a minute, as in Zerologon (CVE-2020-1472)"}},
		{"a wrong password", 9, 10 * ms, true, false, nil},
		{"in an hour", 20, 3 * time.Minute, false, false, nil},
		{"a member of the domain", 0, 0, true, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			c := rpc{w: &w, client: "10.0.0.1"}
			c.bind(0, netlogonUUID)
			at := 10 * ms
			for range tt.failures {
				c.call(at, 26, 0xc0000022)
				at += tt.apart
			}
			if tt.then {
				c.call(at+10*ms, 26, 0)
			}
			if tt.change {
				c.call(at+20*ms, 30, 0)
			}
			hold(t, of(t, openTraffic(t, &w), "zerologon"), tt.want...)
		})
	}
}

// TestDCShadow has a client that adds a source of replication.
func TestDCShadow(t *testing.T) {
	var w traffic.Capture
	c := rpc{w: &w, client: "10.0.0.1"}
	c.bind(0, drsuapiUUID)
	c.call(10*ms, 5, 0)
	hold(t, of(t, openTraffic(t, &w), "dcsync"), "high: 10.0.0.1, which is not known as a domain controller, told 10.0.0.2 in 1 call of DsReplicaAdd from which machine to replicate (DCShadow)")
}

// TestDCSync has a client of replication, and a domain controller.
func TestDCSync(t *testing.T) {
	const claim = "10.0.0.1, which is not known as a domain controller, requested the replication of accounts from 10.0.0.2 in 1 call of DsGetNCChanges"
	for _, tt := range []struct {
		name       string
		status     uint32
		controller bool
		want       []string
	}{
		{"a client", 0, false, []string{"high: " + claim}},
		{"refused", 0x2105, false, []string{"medium: " + claim + "; none succeeded"}},
		{"a domain controller", 0, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			c := rpc{w: &w, client: "10.0.0.1"}
			c.bind(0, drsuapiUUID)
			c.call(10*ms, 3, tt.status)
			if tt.controller {
				request, response := kerberosLogin("ann", 18, true)
				w.Datagram(time.Second, "10.0.0.7", "10.0.0.1:88", request, response)
			}
			hold(t, of(t, openTraffic(t, &w), "dcsync"), tt.want...)
		})
	}
}

// TestCoercedAuthentication has a call after which the server logs in to another machine, soon or late.
func TestCoercedAuthentication(t *testing.T) {
	const claim = "10.0.0.1 called EfsRpcOpenFileRaw of 10.0.0.2 1 time, which makes it connect to a machine that the caller names"
	for _, tt := range []struct {
		name string
		back time.Duration
		want string
	}{
		{"a call", 0, "medium: " + claim},
		{"with a login", 5 * time.Second, "high: " + claim + "; within 21 seconds 10.0.0.2 began a login to 10.0.0.66"},
		{"a login later", 30 * time.Second, "medium: " + claim},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			c := rpc{w: &w, client: "10.0.0.1"}
			c.bind(0, efsrpcUUID)
			c.call(10*ms, 0, 0)
			if tt.back > 0 {
				w.Exchange(tt.back, ms, "back", "10.0.0.2", "10.0.0.66:80", traffic.HTTP("GET / HTTP/1.1", "Host: a\r\nAuthorization: NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=", ""), traffic.HTTP("HTTP/1.1 401 x", "", ""))
			}
			hold(t, of(t, openTraffic(t, &w), "coerced-authentication"), tt.want)
		})
	}
}

// TestRemoteExecution has a client that creates a service, and one that only starts it.
func TestRemoteExecution(t *testing.T) {
	for _, tt := range []struct {
		name      string
		client    string
		operation byte
		status    uint32
		want      []string
	}{
		{"a service", "10.0.0.1", 12, 0, []string{"medium: 10.0.0.1 created a service on 10.0.0.2 in 1 call"}},
		{"a service of 32 bits", "10.0.0.1", 45, 0, []string{"medium: 10.0.0.1 created a service on 10.0.0.2 in 1 call"}},
		{"from outside", "203.0.113.9", 12, 0, []string{"high: (outside) created a service on 10.0.0.2 in 1 call"}},
		{"refused", "203.0.113.9", 12, 5, []string{"medium: (outside) created a service on 10.0.0.2 in 1 call; none succeeded"}},
		{"another program", "10.0.0.1", 11, 0, []string{"medium: 10.0.0.1 changed the settings of a service, such as its program, on 10.0.0.2 in 1 call"}},
		{"a start", "10.0.0.1", 19, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			c := rpc{w: &w, client: tt.client}
			c.bind(0, svcctlUUID)
			c.call(10*ms, tt.operation, tt.status)
			hold(t, of(t, openTraffic(t, &w), "remote-execution"), tt.want...)
		})
	}
}

// uuid is a UUID as it is sent, with its version.
func uuid(text string, version byte) string {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != 16 {
		panic("the UUID " + text)
	}
	return string([]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}) + string(b[8:]) + string([]byte{version, 0, 0, 0})
}

// TestMethodsByDCOM has a client that calls a method of a program on another machine, and one that asks for its names.
func TestMethodsByDCOM(t *testing.T) {
	for operation, want := range map[byte][]string{6: {"medium: 10.0.0.1 called methods of programs by DCOM on 10.0.0.2 in 1 call"}, 5: nil} {
		var w traffic.Capture
		c := rpc{w: &w, client: "10.0.0.1"}
		c.bind(0, uuid("00020400-0000-0000-c000-000000000046", 0))
		c.call(10*ms, operation, 0)
		hold(t, of(t, openTraffic(t, &w), "remote-execution"), want...)
	}
}

// TestRemoteAdministration calls the operations that it knows, and others of the same interfaces.
func TestRemoteAdministration(t *testing.T) {
	const (
		winreg, lsarpc, samr = "338cd001-2244-31f1-aaaa-900038001003", "12345778-1234-abcd-ef00-0123456789ab", "12345778-1234-abcd-ef00-0123456789ac"
		eventlog, eventlog6  = "82273fdc-e32a-18c3-3f78-827929dc23ea", "f6beaff7-1e19-4fbb-9f8f-b89e2018337c"
	)
	for _, tt := range []struct {
		name, client, id string
		operation        byte
		status           uint32
		want             string
	}{
		{"a saved hive", "10.0.0.1", winreg, 20, 0, "medium: 10.0.0.1 saved keys of the registry to files on 10.0.0.2 in 1 call SaveKey"},
		{"a saved hive, from outside", "203.0.113.9", winreg, 31, 0, "high: (outside) saved keys of the registry to files on 10.0.0.2 in 1 call SaveKeyEx"},
		{"a saved hive, refused", "203.0.113.9", winreg, 20, 5, "low: (outside) saved keys of the registry to files on 10.0.0.2 in 1 call; none succeeded"},
		{"a read key", "10.0.0.1", winreg, 17, 0, ""},
		{"a secret", "10.0.0.1", lsarpc, 43, 0, "medium: 10.0.0.1 read secrets of the local security authority of 10.0.0.2"},
		{"a name", "10.0.0.1", lsarpc, 14, 0, ""},
		{"a cleared log", "10.0.0.1", eventlog, 0, 0, "high: 10.0.0.1 cleared event logs of 10.0.0.2 in 1 call ClearEventLogW"},
		{"a cleared log of the newer interface", "10.0.0.1", eventlog6, 6, 0, "high: 10.0.0.1 cleared event logs of 10.0.0.2 in 1 call EvtRpcClearLog"},
		{"a read log", "10.0.0.1", eventlog6, 11, 0, ""},
		{"a new password", "10.0.0.1", samr, 58, 0, "low: 10.0.0.1 created or changed accounts, or members of groups, of 10.0.0.2 in 1 call SetUserInfo2"},
		{"the own password", "10.0.0.1", samr, 55, 0, ""},
		{"all users", "10.0.0.1", samr, 13, 0, "low: 10.0.0.1 listed accounts or members of groups of 10.0.0.2 in 1 call EnumDomainUsers"},
		{"shares", "10.0.0.1", "4b324fc8-1670-01d3-1278-5a47bf6ee188", 15, 0, "info: 10.0.0.1 listed the shares of 10.0.0.2"},
		{"DPAPI", "10.0.0.1", "3dde7c30-165d-11d1-ab8f-00805f14db40", 0, 0, "low: 10.0.0.1 used the backup key of protected data (DPAPI) of 10.0.0.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			c := rpc{w: &w, client: tt.client}
			c.bind(0, uuid(tt.id, 1))
			c.call(10*ms, tt.operation, tt.status)
			holdOne(t, &w, "remote-administration", tt.want)
		})
	}
}

// tlv is an element of BER.
func tlv(tag byte, parts ...string) string {
	body := ""
	for _, p := range parts {
		body += p
	}
	switch {
	case len(body) < 0x80:
		return string([]byte{tag, byte(len(body))}) + body
	case len(body) < 0x100:
		return string([]byte{tag, 0x81, byte(len(body))}) + body
	}
	return string(binary.BigEndian.AppendUint16([]byte{tag, 0x82}, uint16(len(body)))) + body
}

func krbNumber(n byte) string { return tlv(2, string([]byte{n})) }

func krbName(name string) string {
	return tlv(0x30, tlv(0xa0, krbNumber(1)), tlv(0xa1, tlv(0x30, tlv(0x1b, name))))
}

func krbSealed(etype byte) string {
	return tlv(0x30, tlv(0xa0, krbNumber(etype)), tlv(0xa2, tlv(4, "0123456789abcdef")))
}

// kerberosTicket is a request of kind 10 or 12 and its response, with types of encryption of the response and the ticket.
func kerberosTicket(kind byte, client, service string, mine, ticket byte, padata string) (request, response string) {
	body := []string{tlv(0xa0, tlv(3, "\x00\x40\x81\x00\x10"))}
	if kind == 10 {
		body = append(body, tlv(0xa1, krbName(client)))
	}
	body = append(body, tlv(0xa2, tlv(0x1b, "SHOP.EXAMPLE")), tlv(0xa3, krbName(service)), tlv(0xa5, tlv(0x18, "20370913024805Z")), tlv(0xa7, krbNumber(7)), tlv(0xa8, tlv(0x30, krbNumber(18), krbNumber(23))))
	parts := []string{tlv(0xa1, krbNumber(5)), tlv(0xa2, krbNumber(kind))}
	if padata != "" {
		parts = append(parts, tlv(0xa3, tlv(0x30, padata)))
	}
	request = tlv(0x60|kind, tlv(0x30, append(parts, tlv(0xa4, tlv(0x30, body...)))...))
	response = tlv(0x60|kind+1, tlv(0x30, tlv(0xa0, krbNumber(5)), tlv(0xa1, krbNumber(kind+1)), tlv(0xa3, tlv(0x1b, "SHOP.EXAMPLE")), tlv(0xa4, krbName(client)),
		tlv(0xa5, tlv(0x61, tlv(0x30, tlv(0xa0, krbNumber(5)), tlv(0xa1, tlv(0x1b, "SHOP.EXAMPLE")), tlv(0xa2, krbName(service)), tlv(0xa3, krbSealed(ticket))))), tlv(0xa6, krbSealed(mine))))
	return request, response
}

// kerberosLogin is a login with an encrypted timestamp or without.
func kerberosLogin(client string, etype byte, timestamp bool) (request, response string) {
	padata := ""
	if timestamp {
		padata = tlv(0x30, tlv(0xa1, krbNumber(2)), tlv(0xa2, tlv(4, krbSealed(etype))))
	}
	return kerberosTicket(10, client, "krbtgt", etype, etype, padata)
}

// TestRoasting has clients that get tickets of services and accounts.
func TestRoasting(t *testing.T) {
	const rc4, aes = 23, 18
	for _, tt := range []struct {
		name          string
		services      int
		mine, ticket  byte
		accounts      int
		apart         time.Duration
		authenticated bool
		want          []string
	}{
		{"a service without AES", 1, aes, rc4, 0, ms, false, []string{"medium: 10.0.0.1 got tickets of 1 service from 10.0.0.2 that are encrypted with RC4 or DES although the server has AES"}},
		{"three services without AES", 3, aes, rc4, 0, ms, false, []string{"high: 10.0.0.1 got tickets of 3 services from 10.0.0.2 that are encrypted with RC4 or DES although the server has AES"}},
		{"a domain without AES", 3, rc4, rc4, 0, ms, false, nil},
		{"tickets with AES", 9, aes, aes, 0, ms, false, nil},
		{"many tickets", 10, aes, aes, 0, ms, false, []string{"medium: 10.0.0.1 got tickets of 10 services from 10.0.0.2 within ten minutes"}},
		{"many tickets in a day", 10, aes, aes, 0, time.Hour, false, nil},
		{"a login", 0, aes, aes, 1, ms, true, nil},
		{"an account without pre-authentication", 0, aes, aes, 1, ms, false, []string{"low: 10.0.0.1 got tickets of 1 account from 10.0.0.2 without pre-authentication"}},
		{"nine accounts", 0, aes, aes, 9, ms, false, []string{"low: 10.0.0.1 got tickets of 9 accounts from 10.0.0.2 without pre-authentication"}},
		{"ten accounts", 0, aes, aes, 10, ms, false, []string{"high: 10.0.0.1 got tickets of 10 accounts from 10.0.0.2 without pre-authentication"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			at := time.Second
			send := func(request, response string) {
				at += tt.apart
				w.Datagram(at, "10.0.0.1", "10.0.0.2:88", request, response)
			}
			for i := range tt.services {
				send(kerberosTicket(12, "ann", fmt.Sprint("MSSQLSvc", i), tt.mine, tt.ticket, tlv(0x30, tlv(0xa1, krbNumber(1)), tlv(0xa2, tlv(4, "ticket")))))
			}
			for i := range tt.accounts {
				send(kerberosLogin(fmt.Sprint("user", i), aes, tt.authenticated))
			}
			hold(t, of(t, openTraffic(t, &w), "roasting"), tt.want...)
		})
	}
}

// TestSmuggling has requests and mails with two readings.
func TestSmuggling(t *testing.T) {
	both := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	const readings = "10.0.0.1 sent a request to 10.0.0.2 whose end two servers may see at different places (request: both Transfer-Encoding and Content-Length; Transfer-Encoding was applied, and another reader applies Content-Length (RFC 9112 section 6.3))"
	for _, tt := range []struct{ name, request, status, want string }{
		{"accepted", both, "200 OK", "high: " + readings + "; the server accepted 1 of 1 requests of such connections"},
		{"refused", both, "400 x", "medium: " + readings + "; the server accepted no request of the connection afterwards"},
		{"lines that end in LF alone", "GET / HTTP/1.1\nHost: a\n\n", "200 OK", "low: 10.0.0.1 sent a request to 10.0.0.2"},
		{"a plain request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, ms, "a", "10.0.0.1", "10.0.0.2:80", tt.request, traffic.HTTP("HTTP/1.1 "+tt.status, "", ""))
			w.Close(time.Second, "a")
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			hold(t, of(t, openTraffic(t, &w), "smuggling"), want...)
		})
	}
	for _, tt := range []struct {
		name, end, want string
		hidden          bool // the second mail is in the packet of the first one's content
	}{
		{"a second mail", "\n.\r\n", "high: 10.0.0.1 sent a mail to 10.0.0.2 whose end two servers may see at different places", false},
		{"a second mail in the same packet", "\n.\r\n", "high: 10.0.0.1 sent a mail to 10.0.0.2 whose end two servers may see at different places", true},
		{"a proper end", "\r\n.\r\n", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			at := time.Duration(0)
			say := func(request, response string) {
				w.Exchange(at, ms, "mail", "10.0.0.1", "10.0.0.2:25", request, response)
				at += 10 * ms
			}
			say("EHLO a\r\n", "250 b\r\n")
			for i := range 2 {
				if i > 0 && tt.hidden {
					break
				}
				say("MAIL FROM:<a@a.example>\r\n", "250 ok\r\n")
				say("RCPT TO:<b@b.example>\r\n", "250 ok\r\n")
				say("DATA\r\n", "354 go on\r\n")
				if tt.hidden {
					say("Subject: x\r\n\r\nhello"+tt.end+"MAIL FROM:<eve@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n", "250 queued\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
					say("Subject: y\r\n\r\nhidden\r\n.\r\n", "250 queued\r\n")
					continue
				}
				say("Subject: x\r\n\r\nhello"+tt.end, "250 queued\r\n")
			}
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			hold(t, of(t, openTraffic(t, &w), "smuggling"), want...)
		})
	}
}
