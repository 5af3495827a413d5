package derive_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// said makes what the client (even) and the server (odd) send in turn.
func said(list ...string) (all []say) {
	for i, s := range list {
		all = append(all, say{server: i%2 == 1, data: []byte(s)})
	}
	return all
}

func u16(n int) string { return string([]byte{byte(n), byte(n >> 8)}) }

func u32(n int) string { return u16(n) + u16(n>>16) }

// binaryLogins are those of protocols whose messages are no text.
func binaryLogins() []login {
	overTCP := func(string) []say { return said(kerberosTalk(true)...) }
	return slices.Concat(mysqlLogins(), tdsLogins(), []login{{"Kerberos", 88, overTCP, kerberosSecrets}, {"LDAP", 389, ldapTalk, []string{"s3cr3t/K01+Zq~ab-987", "<10a13c7bf708ca0f399c>", "Zmz8KW/q", "{SSHA}c9f1x", "eq-R7vt0", "sub-R7vt1", "rule-R7vt2"}}})
}

// ldapTalk is a login in two steps, of which the first has no credential, a password that the server makes, those of a filter and one in an entry.
func ldapTalk(s string) []say {
	message := func(id byte, op string) string { return tlv(0x30, tlv(2, string(rune(id)))+op) }
	bind := func(id byte, credentials string) string {
		return message(id, tlv(0x60, tlv(2, "\x03")+tlv(4, "")+tlv(0xa3, tlv(4, "CRAM-MD5")+credentials)))
	}
	result := func(id, code byte, more string) string {
		return message(id, tlv(0x61, tlv(10, string(rune(code)))+tlv(4, "")+tlv(4, "")+more))
	}
	modify := message(3, tlv(0x77, tlv(0x80, "1.3.6.1.4.1.4203.1.11.1")+tlv(0x81, tlv(0x30, tlv(0x80, "ann")))))
	made := message(3, tlv(0x78, tlv(10, "\x00")+tlv(4, "")+tlv(4, "")+tlv(0x8b, tlv(0x30, tlv(0x80, "Zmz8KW/q")))))
	search := []say{}
	for i, filter := range ldapFilters() {
		id, all := byte(4+i), tlv(4, "")+tlv(10, "\x02")+tlv(10, "\x00")+tlv(2, "\x00")+tlv(2, "\x00")+tlv(1, "\x00")+filter+tlv(0x30, "")
		entry := message(id, tlv(0x64, tlv(4, "cn=ann")+tlv(0x30, tlv(0x30, tlv(4, "userPassword")+tlv(0x31, tlv(4, "{SSHA}c9f1x"))))))
		search = append(search, say{data: []byte(message(id, tlv(0x63, all)))}, say{server: true, data: []byte(entry + message(id, tlv(0x65, tlv(10, "\x00")+tlv(4, "")+tlv(4, ""))))})
	}
	return append(search, said(modify, made, bind(1, ""), result(1, 14, tlv(0x87, "<10a13c7bf708ca0f399c>")), bind(2, tlv(4, "ann "+s)), result(2, 0, ""))...)
}

// ldapFilters have passwords in matches of every kind, the second one deeper than filters are read.
func ldapFilters() (filters [2]string) {
	filters[0] = tlv(0xa1, tlv(0xa3, tlv(4, "userPassword")+tlv(4, "eq-R7vt0"))+tlv(0xa4, tlv(4, "userPassword")+tlv(0x30, tlv(0x81, "sub-R7vt1"))))
	filters[1] = tlv(0xa9, tlv(0x82, "userPassword")+tlv(0x83, "rule-R7vt2"))
	for range 34 {
		filters[1] = tlv(0xa2, filters[1])
	}
	return filters
}

func mysqlLogins() []login {
	my := func(seq byte, body string) string { return u16(len(body)) + "\x00" + string([]byte{seq}) + body }
	const salt1, salt2, password = "Qm!7zKp4", "wE9r$Ty2uI5o", "s3cr3t/K01+Zq~ab-987"
	const caps = "\x09\x82\x38\x00" // LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, SECURE, PLUGIN_AUTH, CONNECT_ATTRS, LENENC
	thread := 0
	greeting := func() say {
		thread++
		return say{server: true, data: []byte(my(0, "\x0a8.0.30\x00"+u32(thread)+salt1+"\x00"+caps[:2]+"\x2d\x02\x00"+caps[2:]+"\x15"+strings.Repeat("\x00", 10)+salt2+"\x00caching_sha2_password\x00"))}
	}
	answer := func(s string) string {
		return my(1, caps+"\x00\x00\x00\x01\x2d"+strings.Repeat("\x00", 23)+"ann\x00"+string(rune(len(s)))+s+"shop\x00caching_sha2_password\x00\x12\x0cprogram_name\x04till")
	}
	ok := func(seq byte) string { return my(seq, "\x00\x00\x00\x02\x00\x00\x00") }
	after := []string{my(0, "\x03SELECT 1"), ok(1)}
	talk := func(steps ...string) []say { return append([]say{greeting()}, said(append(steps, after...)...)...) }
	return []login{
		{"MySQL", 3306, func(s string) []say { return talk(answer(s), ok(2)) }, []string{password, salt1, salt2}},
		{"MySQL, fast", 3306, func(s string) []say { return talk(answer(s), my(2, "\x01\x03")+ok(3)) }, []string{password}},
		{"MySQL, another plugin", 3306, func(s string) []say {
			return talk(answer("12345678901234567890"), my(2, "\xfemysql_clear_password\x00"+salt1+salt2+"\x00"), my(3, s+"\x00"), ok(4))
		}, []string{"k7#", salt1, salt2, "12345678901234567890"}},
		{"MySQL, more data", 3306, func(s string) []say {
			return talk(answer(""), my(2, "\x01\x04"), my(3, "\x02"), my(4, "\x01-----BEGIN "+salt1), my(5, s), ok(6))
		}, []string{password, salt1}},
		{"MySQL, refused", 3306, func(s string) []say {
			return append([]say{greeting()}, said(answer(s), my(2, "\xff\x15\x04#28000Access denied"))...)
		}, []string{password, salt1, salt2}},
		{"MySQL COM_REGISTER_SLAVE", 3306, func(s string) []say {
			return talk(answer(""), ok(2), my(0, "\x15\x01\x00\x00\x00\x04till\x03ann"+string(rune(len(s)))+s+"\xea\x0c"+strings.Repeat("\x00", 8)), ok(1))
		}, []string{password}},
		{"MySQL COM_CHANGE_USER", 3306, func(s string) []say {
			return talk(answer("12345678901234567890"), ok(2), my(0, "\x11bob\x00"+string(rune(len(s)))+s+"shop\x00\x2d\x00caching_sha2_password\x00"),
				my(1, "\xfemysql_native_password\x00"+salt1+salt2+"\x00"), my(2, "98765432109876543210"), ok(3))
		}, []string{password, salt1, "12345678901234567890", "98765432109876543210"}},
	}
}

func tdsLogins() []login {
	const password, newPassword = "s3cr3t/K01+Zq~ab", "N3w/p4ss+w0rd~99"
	part := func(kind, status byte, payload string) string {
		return string([]byte{kind, status, byte((8 + len(payload)) >> 8), byte(8 + len(payload)), 0, 52, 1, 0}) + payload
	}
	wide := func(s string) (out string) {
		for i := range len(s) {
			out += s[i:i+1] + "\x00"
		}
		return out
	}
	login7 := func(secret, token, feature string) string {
		fixed, data := make([]byte, 94), ""
		put := func(at, n int, s string) {
			binary.LittleEndian.PutUint16(fixed[at:], uint16(94+len(data)))
			binary.LittleEndian.PutUint16(fixed[at+2:], uint16(n))
			data += s
		}
		binary.LittleEndian.PutUint32(fixed[4:], 0x74000004)
		put(36, 4, wide("till"))
		put(40, 3, wide("ann"))
		put(44, len(secret)/2, secret)
		put(48, 4, wide("shop"))
		if feature != "" {
			fixed[27] = 0x10
			put(56, 4, u32(94+len(data)+4+len(token)))
		}
		if put(78, len(token), token); token != "" {
			fixed[25] = 0x80
		}
		if feature != "" {
			data += "\x02" + u32(len(feature)) + feature + "\xff"
		} else if secret != "" {
			put(86, len(newPassword)/2, newPassword)
		}
		binary.LittleEndian.PutUint32(fixed, uint32(94+len(data)))
		return string(fixed) + data
	}
	done := part(4, 1, "\xfd"+strings.Repeat("\x00", 12))
	prelogin := "\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff"
	talk := func(steps ...string) []say {
		list := append([]string{part(0x12, 1, prelogin+"\x09\x00\x00\x00\x00\x00\x02"), part(4, 1, prelogin+"\x10\x00\x03\xe8\x00\x00\x02")}, steps...)
		return said(append(list, part(1, 1, "\x16\x00\x00\x00\x12\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"+wide("SELECT 1")), done)...)
	}
	split := func(message string, at int) string { return part(16, 0, message[:at]) + part(16, 1, message[at:]) }
	sspi := part(4, 1, "\xed\x04\x00abcd")
	ntlm := "NTLMSSP\x00\x03\x00\x00\x00"
	token := strings.Repeat("-Kd8/", 40)
	return []login{
		{"TDS", 1433, func(s string) []say { return talk(part(16, 1, login7(s, "", "")), done) }, []string{password, newPassword}},
		{"TDS in two packets", 1433, func(s string) []say { return talk(split(login7(s, "", ""), 118), done) }, []string{password, newPassword}},
		{"TDS, SSPI", 1433, func(s string) []say {
			return talk(part(16, 1, login7("", s+token, "")), sspi, part(17, 1, token+s), done)
		}, []string{password, token}},
		{"TDS, SSPI in two packets", 1433, func(s string) []say {
			return talk(split(login7("", token+s, ""), 200), sspi, part(17, 0, token)+part(17, 1, s), done)
		}, []string{password, token}},
		{"TDS, NTLM", 1433, func(s string) []say {
			return talk(part(16, 1, login7("", ntlm+s, "")), sspi, part(17, 1, ntlm+token), done)
		}, []string{password, token}},
		{"TDS, token of a feature", 1433, func(s string) []say { return talk(split(login7("", "", "\x02"+u32(len(s))+s), 140), done) }, []string{password}},
		{"TDS, token", 1433, func(s string) []say {
			return talk(part(16, 1, login7("", "", "\x04\x01")), part(4, 1, "\xee\x00\x00\x00\x00"), part(8, 0, u32(4+len(s+token))+u32(len(s+token))+s)+part(8, 1, token), done)
		}, []string{password, token}},
	}
}

// el is an element of ASN.1.
func el(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	return string(binary.BigEndian.AppendUint16([]byte{tag, 0x82}, uint16(len(body)))) + body
}

// kerberosSecrets are in kerberosTalk.
var kerberosSecrets = []string{"timestamp/K01+Zq~ab", "ticket/K02+Zq~abcd", "answer/K03+Zq~abcd", "authenticator/K04", "authorization/K05", "checksum/K06+Zq", "challenge/K07+Zq", "unknown/K08+Zq~", "another/K09+Zq~", "unasked/K10+Zq~", "password/K11+Zq~"}

// kerberosTalk lists the messages of a login, of the client and the server in turn.
func kerberosTalk(head bool) []string {
	secret := kerberosSecrets
	short := func(tag byte, body string) string { return string([]byte{tag, byte(len(body))}) + body }
	number := func(n byte) string { return short(2, string([]byte{0, n})) }
	fixed := func(n, value byte) string { return short(0xa0|n, short(2, string([]byte{value}))) }
	field := func(n byte, parts ...string) string { return el(0xa0|n, parts...) }
	seq := func(parts ...string) string { return el(0x30, parts...) }
	str := func(s string) string { return el(0x1b, s) }
	name := func(s ...string) string { return seq(field(0, number(1)), field(1, seq(str(s[0]), str(s[1])))) }
	sealed := func(s string) string {
		return seq(field(0, number(18)), field(1, number(2)), field(2, el(4, s)))
	}
	ticket := func(s string) string {
		return el(0x61, seq(field(0, number(5)), field(1, str("SHOP")), field(2, name("cifs", "files")), field(3, sealed(s))))
	}
	padata := func(n byte, s string) string { return seq(field(1, number(n)), field(2, el(4, s))) }
	request := func(kind byte, more string, data ...string) string {
		return el(0x60|kind, seq(fixed(1, 5), fixed(2, kind), field(3, seq(data...)), field(4, seq(field(0, el(3, "\x00\x40\x81\x00\x10")), field(1, name("ann", "till")),
			field(2, str("SHOP")), field(3, name("cifs", "files")), field(8, seq(number(18))), more))))
	}
	reply := func(kind byte, sent, own string, data ...string) string {
		return el(0x60|kind, seq(fixed(0, 5), fixed(1, kind), field(2, seq(data...)), field(3, str("SHOP")), field(4, name("ann", "till")), field(5, ticket(sent)), field(6, sealed(own))))
	}
	list := []string{
		request(10, "", padata(2, sealed(secret[0])), padata(138, sealed(secret[6])), padata(128, "\x30\x00"), padata(136, secret[7])),
		reply(11, secret[1], secret[2], padata(136, secret[7])),
		request(12, field(10, sealed(secret[4]))+field(11, seq(ticket(secret[8]))), padata(1, el(0x6e, seq(field(0, number(5)), field(1, number(14)), field(3, ticket(secret[1])), field(4, sealed(secret[3]))))),
			padata(129, seq(field(0, name("boss", "x")), field(1, str("SHOP")), field(2, seq(field(0, number(7)), field(1, el(4, secret[5])))), field(3, str("Kerberos"))))),
		reply(13, secret[1], secret[2]),
		request(10, "", padata(2, sealed(secret[0]))),
		el(0x7e, seq(fixed(0, 5), fixed(1, 30), field(4, el(0x18, "20261122120000Z")), field(5, number(1)), field(6, number(24)), field(9, str("SHOP")), field(10, name("cifs", "files")),
			field(12, el(4, seq(padata(19, ""), padata(133, secret[8])))))),
		request(10, ""), // it proves nothing, but the response is encrypted with the password
		reply(11, secret[9], secret[10]),
	}
	for i := range list {
		if head {
			list[i] = string(binary.BigEndian.AppendUint32(nil, uint32(len(list[i])))) + list[i]
		}
	}
	return list
}

// TestKerberosDatagramsKeepTheirCalls redacts a login in datagrams.
func TestKerberosDatagramsKeepTheirCalls(t *testing.T) {
	for _, how := range []string{"once", "seen twice"} {
		t.Run(how, func(t *testing.T) {
			s := newScene(t)
			if how == "seen twice" {
				s.mirror()
			}
			s.datagrams(88, said(kerberosTalk(false)...)...)
			b := bundleOf(t, s.save())
			d, _ := redacted(t, b, policy)
			data := string(payloads(t, d))
			for _, secret := range kerberosSecrets {
				if strings.Contains(data, secret) {
					t.Errorf("the packets hold %q", secret)
				}
			}
			if was, now := shape(t, b), shape(t, d); !slices.Equal(was, now) || len(was) != 4 {
				t.Errorf("calls and anomalies were\n%v\nand are\n%v", was, now)
			}
		})
	}
}
