package derive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
)

// pg is a PostgreSQL message; without a kind it is a start-up packet.
func pg(kind, body string) string {
	return kind + string(binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))) + body
}

// resp is a Redis command.
func resp(words ...string) []byte {
	s := fmt.Sprintf("*%d\r\n", len(words))
	for _, w := range words {
		s += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	return []byte(s)
}

// tlv is an element of ASN.1 (BER) of at most 127 bytes.
func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	return string([]byte{tag, byte(len(body))}) + body
}

// radius is a message of RADIUS with some attributes, each with its kind and value.
func radius(code byte, authenticator string, attributes ...string) []byte {
	all := ""
	for _, a := range attributes {
		all += string([]byte{a[0], byte(len(a) + 1)}) + a[1:]
	}
	return append(binary.BigEndian.AppendUint16([]byte{code, 7}, uint16(20+len(all))), authenticator+all...)
}

// stun is a message of STUN with some attributes, each with its kind and value, and a fingerprint.
func stun(kind, transaction string, attributes ...string) []byte {
	all := ""
	for _, a := range attributes {
		all += a[:2] + string([]byte{0, byte(len(a) - 2)}) + a[2:] + strings.Repeat("\x00", (4-len(a[2:])&3)&3)
	}
	b := append(binary.BigEndian.AppendUint16([]byte(kind), uint16(len(all)+8)), "\x21\x12\xa4\x42"+transaction+all...)
	return binary.BigEndian.AppendUint32(append(b, "\x80\x28\x00\x04"...), crc32.ChecksumIEEE(b)^0x5354554e)
}

// smb is a command of SMB 2 over NetBIOS, SESSION_SETUP, with a token at offset 88 or, of the server, 72.
func smb(id, status, flags uint32, fixed, token string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("\xfeSMB\x40\x00\x01\x00"), status)
	b = le.AppendUint32(append(b, 1, 0, 1, 0), flags)
	b = le.AppendUint32(append(b, 0, 0, 0, 0), id)
	b = append(append(b, make([]byte, 12)...), 9, 0, 0, 0, 0, 0, 0, 0)
	b = append(append(b, make([]byte, 16)...), fixed...)
	b = le.AppendUint16(b, uint16(len(token)))
	if flags == 0 {
		b = append(b, make([]byte, 8)...)
	}
	b = append(b, token...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// login is a conversation with credentials that no row shows.
type login struct {
	name    string
	port    uint16
	talk    func(secret string) []say
	secrets []string
}

// datagrams are the ports of logins over UDP.
var datagrams = map[uint16]bool{161: true, 1812: true, 3478: true, 5060: true}

func logins() []login { return append(binaryLogins(), textLogins()...) }

func textLogins() []login {
	start := []byte(pg("", "\x00\x03\x00\x00user\x00app\x00database\x00shop\x00\x00"))
	ok := pg("R", "\x00\x00\x00\x00") + pg("K", "\x00\x00\x00\x07\x12\x9a\x34\x56") + pg("Z", "I")
	query := []say{{data: []byte(pg("Q", "SELECT 1\x00"))}, {server: true, data: []byte(pg("C", "SELECT 1\x00") + pg("Z", "I"))}}
	auth := func(code byte, more string) string { return pg("R", "\x00\x00\x00"+string(rune(code))+more) }
	postgres := func(list ...say) []say {
		return append(append([]say{{data: start}}, list...), query...)
	}
	redis := func(words func(s string) []byte) func(s string) []say {
		return func(s string) []say {
			return []say{{data: words(s)}, {server: true, data: []byte("+OK\r\n")}, {data: resp("GET", "order:7")}, {server: true, data: []byte("$3\r\nnew\r\n")}}
		}
	}
	long, short := []string{"s3cr3t/K01+Zq~ab"}, []string{"k7#"}
	snmp := func(s string) []say {
		list := func(value string) string {
			return tlv(0x30, tlv(0x30, "\x06\x08\x2b\x06\x01\x02\x01\x01\x05\x00", value), tlv(0x30, "\x06\x09\x2b\x06\x01\x06\x03\x12\x01\x01\x01", tlv(4, "c0mm")))
		}
		message := func(pdu byte, value string) []byte {
			return []byte(tlv(0x30, "\x02\x01\x01", tlv(4, s), tlv(pdu, "\x02\x01\x07\x02\x01\x00\x02\x01\x00", list(value))))
		}
		return []say{{data: message(0xa3, tlv(4, "till"))}, {server: true, data: message(0xa2, tlv(4, "till"))}}
	}
	usm := func(s string) []say {
		message := func(pdu byte) []byte {
			return []byte(tlv(0x30, "\x02\x01\x03", tlv(0x30, "\x02\x01\x07\x02\x02\x05\xdc", tlv(4, "\x05"), "\x02\x01\x03"),
				tlv(4, tlv(0x30, tlv(4, "engine"), "\x02\x01\x01\x02\x01\x02", tlv(4, "ann"), tlv(4, s), tlv(4))),
				tlv(0x30, tlv(4, "engine"), tlv(4, "shop"), tlv(pdu, "\x02\x01\x07\x02\x01\x00\x02\x01\x00", tlv(0x30)))))
		}
		return []say{{data: message(0xa0)}, {server: true, data: message(0xa2)}}
	}
	const random, proof = "Fr4nd0mR3qAuth#!", "pr00f-0f-s3rver!"
	access := func(code byte, answer []string, attributes ...string) func(string) []say {
		return func(s string) []say {
			all := []string{"\x01ann"}
			for _, a := range attributes {
				all = append(all, strings.ReplaceAll(a, "%s", s))
			}
			return []say{{data: radius(1, random, append(all, "\x04\x0a\x00\x00\x01", "\x50m3ss4g3-signed!!")...)}, {server: true, data: radius(code, proof, answer...)}}
		}
	}
	turn := func(s string) []say {
		user, realm, nonce := "\x00\x06ann", "\x00\x14shop", "\x00\x15obMatJos2Q"
		return []say{{data: stun("\x00\x03", "transaction1", "\x00\x19\x11\x00\x00\x00")}, {server: true, data: stun("\x01\x13", "transaction1", "\x00\x09\x00\x00\x04\x01Unauthorized", realm, nonce)},
			{data: stun("\x00\x03", "transaction2", "\x00\x19\x11\x00\x00\x00", user, realm, nonce, "\x40\x01t0k", "\x00\x08"+s)}, {server: true, data: stun("\x01\x03", "transaction2", "\x00\x0d\x00\x00\x02\x58", "\x00\x22r3s3rved", "\x00\x08"+s[1:]+"=")}}
	}
	sip := func(s string) []say {
		head := func(first, more, body string) []byte {
			return []byte(first + "\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=b1\r\nFrom: <sip:ann@shop.example>;tag=1\r\nTo: <sip:till@shop.example>\r\nCall-ID: c:d:1@10.0.0.1\r\nCSeq: 2 INVITE\r\n" +
				more + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
		}
		const media = "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwg\r\na=ice-pwd:1cepwd\r\n"
		return []say{{data: head("INVITE sip:till:p4ss@shop.example SIP/2.0", "Proxy-Authorization: Digest username=\"ann\", realm=\"shop, east\", nonce=\"n0nce\",\r\n cnonce=\"cn0\", nc=00000001, response=\""+s+"\"\r\nContent-Type: application/sdp\r\n", media)},
			{server: true, data: head("SIP/2.0 200 OK", "Authentication-Info: rspauth=\"rsp4uth\"\r\nContent-Type: text/plain\r\n", "k3y")}}
	}
	ntlm := func(s string) []say {
		const ask, reply = "\x19\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x58\x00", "\x09\x00\x00\x00\x48\x00"
		field := func(n, at byte) string { return string([]byte{n, 0, n, 0, at, 0, 0, 0}) }
		n := byte(len(s))
		return []say{{data: smb(1, 0, 0, ask, "NTLMSSP\x00\x01\x00\x00\x00"+strings.Repeat("\x00", 24))},
			{server: true, data: smb(1, 0xc0000016, 1, reply, "NTLMSSP\x00\x02\x00\x00\x00"+field(4, 48)+"\x01\x02\x00\x00ch4ll#ng"+strings.Repeat("\x00", 8)+field(0, 52)+"SHOP")},
			{data: smb(2, 0, 0, ask, "NTLMSSP\x00\x03\x00\x00\x00"+field(0, 88)+field(n, 88)+field(4, 88+n)+field(3, 92+n)+field(4, 95+n)+field(0, 99+n)+"\x00\x02\x00\x00"+"versionsmess4g3-c0de-16b"+s+"SHOPannTILL")},
			{server: true, data: smb(2, 0, 1, reply, "")}}
	}
	mqtt := func(s string) []say {
		text := func(s string) string { return "\x00" + string(rune(len(s))) + s }
		data := func(s string) string { return string(rune(11+len(s))) + "\x15" + text("SCRAM") + "\x16" + text(s) }
		return []say{{data: []byte(tlv(0x10, text("MQTT"), "\x05\xc2\x00\x3c", data("f1rst"), text("till"), text("ann"), text(s)))}, {server: true, data: []byte(tlv(0xf0, "\x18", data("ch4ll")))},
			{data: []byte(tlv(0xf0, "\x18", data("pr00f")))}, {server: true, data: []byte(tlv(0x20, "\x00\x00", data("s3rv")))}}
	}
	telnet := func(s string) []say { // the server echoes, but not what was typed first
		return []say{{server: true, data: []byte("\xff\xfd\x18\xff\xfb\x01\xff\xfb\x03$ ")}, {data: []byte("\xff\xfc\x18\xff\xfd\x01\xff\xfd\x03")}, {data: []byte(s + "\r\n")}, {server: true, data: []byte("\r\nok\r\n$ ")},
			{data: []byte("passwd\r\n")}, {server: true, data: []byte("passwd\r\nNew password: ")}, {data: []byte("n3w-s3cr3t\r\n")}, {server: true, data: []byte("\r\ndone\r\n$ ")}}
	}
	fastcgi := func(s string) []say {
		record := func(kind byte, content string) string {
			return string([]byte{1, kind, 0, 1, 0, byte(len(content)), 0, 0}) + content
		}
		value := func(name, v string) string { return string([]byte{byte(len(name)), byte(len(v))}) + name + v }
		return []say{{data: []byte(record(1, "\x00\x01\x01\x00\x00\x00\x00\x00") + record(4, value("REQUEST_METHOD", "GET")+value("SCRIPT_NAME", "/a.php")+value("HTTP_HOST", "shop")+value("DB_PASSWORD", s)) + record(4, "") + record(5, ""))},
			{server: true, data: []byte(record(6, "Content-Type: text/plain\r\n\r\nok") + record(3, "\x00\x00\x00\x00\x00\x00\x00\x00"))}}
	}
	rows := strings.Repeat(pg("D", "\x00\x02\x00\x00\x00\x04name\x00\x00\x00\x0aopen-sesam"), 300)
	return []login{
		{"Redis AUTH", 6379, redis(func(s string) []byte { return resp("AUTH", s) }), long},
		{"Redis AUTH with a user", 6379, redis(func(s string) []byte { return resp("AUTH", "ann", s) }), long},
		{"Redis AUTH, short", 6379, redis(func(s string) []byte { return resp("AUTH", s) }), short},
		{"Redis HELLO with a user", 6379, redis(func(s string) []byte { return resp("HELLO", "3", "AUTH", "ann", s) }), short},
		{"Redis ACL", 6379, redis(func(s string) []byte { return resp("ACL", "SETUSER", "ann", "on", ">"+s) }), short},
		{"Redis CONFIG", 6379, redis(func(s string) []byte { return resp("CONFIG", "SET", "requirepass", s) }), long},
		{"Redis reply to CONFIG", 6379, func(s string) []say {
			return []say{{data: resp("CONFIG", "GET", "*auth")}, {server: true, data: resp("masterauth", s)}, {data: resp("PING")}, {server: true, data: []byte("+PONG\r\n")}}
		}, short},
		{"Redis reply to ACL", 6379, func(s string) []say {
			return []say{{data: resp("ACL", "GENPASS")}, {server: true, data: []byte(fmt.Sprintf("$%d\r\n%s\r\n", len(s), s))}, {data: resp("PING")}, {server: true, data: []byte("+PONG\r\n")}}
		}, long},
		{"Redis inline", 6379, redis(func(s string) []byte { return append(resp("PING"), `AUTH "`+s+"\"\r\n"...) }), short},
		{"PostgreSQL password", 5432, func(s string) []say {
			return postgres(say{server: true, data: []byte(auth(3, ""))}, say{data: []byte(pg("p", s+"\x00"))}, say{server: true, data: []byte(ok)})
		}, short},
		{"PostgreSQL SCRAM", 5432, func(s string) []say {
			return postgres(say{server: true, data: []byte(auth(10, "SCRAM-SHA-256\x00\x00"))},
				say{data: []byte(pg("p", "SCRAM-SHA-256\x00\x00\x00\x00\x1fn,,n=,r=fyko+d2lbbFgONRv9qkxdawL"))},
				say{server: true, data: []byte(auth(11, "r=fyko+d2lbbFgONRv9qkxdawL3rfc,s=QSXCR+Q6sek8bf92,i=4096"))},
				say{data: []byte(pg("p", "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfc,p="+s))},
				say{server: true, data: []byte(auth(12, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") + ok)})
		}, []string{"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ", "QSXCR+Q6sek8bf92", "d2lbbFgONRv9qkxdawL"}},
		{"PostgreSQL result that no row shows whole", 5432, func(s string) []say {
			columns := pg("T", "\x00\x02name\x00"+strings.Repeat("\x00", 6)+"\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00"+
				"password\x00"+strings.Repeat("\x00", 6)+"\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00")
			return append([]say{{data: start}, {server: true, data: []byte(auth(0, "") + pg("Z", "I"))}}, say{data: []byte(pg("Q", "SELECT * FROM users\x00"))},
				say{server: true, data: []byte(columns + rows + pg("D", "\x00\x02\x00\x00\x00\x04last\x00\x00\x00\x03"+s) + pg("C", "SELECT 301\x00") + pg("Z", "I"))})
		}, []string{"k7#", "open-sesam"}},
		{"SNMP community", 161, snmp, []string{"k7#", "c0mm"}},
		{"RADIUS password", 1812, access(2, []string{"\x12Hello", "\x1a\x00\x00\x01\x37\x10\x14k3y-0f-th3-s3ss10n"}, "\x02%s"), []string{"v0X8v3Bz2T0CJGbJ", proof, "m3ss4g3-signed", "k3y-0f-th3-s3ss10n"}},
		{"RADIUS CHAP", 1812, access(3, nil, "\x03\x01%s", "\x3cch4ll3nge"), []string{"QyF0X+HI4Ts=v0X8", "ch4ll3nge"}},
		{"RADIUS MS-CHAP", 1812, access(3, []string{"\x1a\x00\x00\x01\x37\x02\x0aE=691 R="}, "\x1a\x00\x00\x01\x37\x19\x0c%s", "\x1a\x00\x00\x00\x09\x00\x00\x00\x01pw=s0me"), []string{"rmF9pqV8S7", "s0me"}},
		{"RADIUS EAP", 1812, access(11, []string{"\x4f\x01\x02\x00\x0a\x04c0de", "\x18st4te"}, "\x4f\x02\x01\x00\x0d\x04%s", "\x4fm0re"), []string{"Zq~ab+K0", "m0re", "c0de", "st4te"}},
		{"TURN", 3478, turn, []string{"v0X8v3Bz2T0CJGbJQyF0", "0X8v3Bz2T0CJGbJQyF0=", "t0k", "r3s3rved"}},
		{"SIP Digest", 5060, sip, []string{"6629fae49393a0539745", "n0nce", "cn0", "rsp4uth", "p4ss", "WVNfX19zZW1jdGwg", "1cepwd", "k3y"}},
		{"SMB NTLM", 445, ntlm, []string{"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "ch4ll#ng", "mess4g3-c0de-16b"}},
		{"Telnet without echo", 23, telnet, []string{"hunter-K01+Zq", "n3w-s3cr3t"}},
		{"FastCGI", 9000, fastcgi, long},
		{"MQTT 5", 1883, mqtt, []string{"k7#", "f1rst", "ch4ll", "pr00f", "s3rv"}},
		{"SNMP version 3", 161, usm, []string{"pr0v3s-a-pw!"}},
		{"SNMP without a community", 161, func(string) []say { return snmp("") }, []string{"c0mm"}},
	}
}

// TestLoginsKeepTheirCalls redacts credentials that no row shows. The messages around them stay,
// and other copies of the packets do not have them either.
func TestLoginsKeepTheirCalls(t *testing.T) {
	for _, how := range []string{"once", "sent again", "seen twice", "byte by byte"} {
		t.Run(how, func(t *testing.T) {
			s := newScene(t)
			if how == "seen twice" {
				s.mirror()
			}
			for _, l := range logins() {
				list := l.talk(l.secrets[0])
				if datagrams[l.port] {
					s.datagrams(l.port, list...)
					continue
				}
				for i := range list {
					list[i].again = how == "sent again"
					// Short values that the policy finds, here the user, go from single packets only.
					if how == "byte by byte" && len(list[i].data) < 300 && !strings.Contains(l.name, "user") {
						list[i].mss = 1
					}
				}
				s.talk(l.port, list...)
			}
			b := bundleOf(t, s.save())
			d, r := redacted(t, b, policy)
			data := streamText(t, d)
			for _, l := range logins() {
				for _, secret := range l.secrets {
					if strings.Contains(data, secret) {
						t.Errorf("%s: the packets hold %q", l.name, secret)
					}
				}
			}
			was, now := shape(t, b), shape(t, d)
			if !slices.Equal(was, now) || r.Rounds != 1 {
				t.Errorf("%d rounds; calls and anomalies were\n%v\nand are\n%v", r.Rounds, was, now)
			}
		})
	}
}

// TestValuesAcrossPacketsAfterALoss has a value in several packets of which an earlier one is missing for good.
func TestValuesAcrossPacketsAfterALoss(t *testing.T) {
	const secret = "s3cr3t/K01+Zq~ab"
	ask := func(lost bool, mss int) say {
		return say{data: request("Content-Type: application/json\r\n", `{"card_token":"`+secret+`","qty":2}`), lost: lost, mss: mss}
	}
	ok, lostOK := answer("Content-Type: text/plain\r\n", "ok"), answer("Content-Type: text/plain\r\n", "ok")
	lostOK.lost = true
	s := newScene(t)
	s.talk(80, ask(false, 0), ok, ask(true, 0), lostOK, ask(false, 13), ok, ask(false, 7), ok)
	b := bundleOf(t, s.save())
	d, r := redacted(t, b, policy)
	if data := streamText(t, d); strings.Contains(data, secret) {
		t.Errorf("the packets hold %q", secret)
	}
	if was, now := shape(t, b), shape(t, d); !slices.Equal(was, now) || r.Rounds != 1 || len(was) < 3 {
		t.Errorf("%d rounds; calls and anomalies were\n%v\nand are\n%v", r.Rounds, was, now)
	}
}

// streamText is the payload of all packets, one after another.
func streamText(t *testing.T, b *bundle.Bundle) string {
	var text strings.Builder
	for _, p := range packetsOf(t, b) {
		head := 54
		if p.Data[23] == 17 { // UDP
			head = 42
		}
		text.Write(p.Data[head:])
	}
	return text.String()
}

// shape lists the calls and anomalies of a bundle without their content.
func shape(t *testing.T, b *bundle.Bundle) []string {
	t.Helper()
	list, err := derive.Columns(context.Background(), b, "calls", "method", "status_code", "complete", "auth_kind", "conn_id")
	if err != nil {
		t.Fatal(err)
	}
	more, err := derive.Columns(context.Background(), b, "anomalies", "source", "kind", "packet_no")
	if err != nil {
		t.Fatal(err)
	}
	return append(list, more...)
}

// samplePassword is the password with which the clients of samples/ log in.
const samplePassword = "sample-password"

// TestPasswordsOfLoginsGo redacts each sample whose clients sent their password as it is: no protocol
// keeps it, and the logins stay.
func TestPasswordsOfLoginsGo(t *testing.T) {
	files, err := filepath.Glob("../../samples/*.pcap*")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(raw, []byte(samplePassword)) {
			continue
		}
		tried++
		t.Run(filepath.Base(file), func(t *testing.T) {
			b := bundleOf(t, file)
			d, _ := redacted(t, b, policy)
			if bytes.Contains(payloads(t, d), []byte(samplePassword)) {
				t.Error("the packets hold the password")
			}
			was, now := logged(t, b), logged(t, d)
			if !slices.Equal(was, now) {
				t.Errorf("logins were\n%s\nand are\n%s", strings.Join(was, "\n"), strings.Join(now, "\n"))
			}
		})
	}
	if tried < 15 {
		t.Errorf("%d samples have the password", tried)
	}
}

// logged lists the calls with a password that no key opened.
func logged(t *testing.T, b *bundle.Bundle) []string {
	t.Helper()
	list, err := derive.Columns(context.Background(), b, "calls", "auth_kind", "method", "status_code", "complete", "decrypted_by", "conn_id")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(row string) bool {
		return !regexp.MustCompile(`\[(password|community|pap) .* <nil> \d+\]$`).MatchString(row)
	})
}

// payloads are the bytes of all packets, one after another.
func payloads(t *testing.T, b *bundle.Bundle) []byte {
	var all []byte
	for _, p := range packetsOf(t, b) {
		all = append(all, p.Data...)
	}
	return all
}
