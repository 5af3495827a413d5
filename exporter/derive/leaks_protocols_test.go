package derive_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// wire is how a protocol sends a secret: one of its own, which its place tells, or a known one.
type wire struct {
	name string
	port uint16
	udp  bool
	own  bool
	talk func(s string) []say
}

// typed is what a client types letter by letter, and the server's echo.
func typed(s string, echo bool) (list []say) {
	for _, b := range []byte(s) {
		if list = append(list, say{data: []byte{b}}); echo {
			list = append(list, say{server: true, data: []byte{b}})
		}
	}
	return append(list, say{data: []byte("\r\x00")}, say{server: true, data: []byte("\r\n")})
}

// halves is a name of NetBIOS in half bytes, RFC 1001 section 14.1.
func halves(name string) string {
	s := ""
	for _, b := range []byte(name + strings.Repeat(" ", 15-len(name)) + "\x20") {
		s += string([]byte{'A' + b>>4, 'A' + b&15})
	}
	return " " + s + "\x00"
}

// dnp3Sum is the checksum of DNP3, IEEE 1815 clause 9.2.4.
func dnp3Sum(b []byte) (c uint16) {
	for _, x := range b {
		c ^= uint16(x)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa6bc
			} else {
				c >>= 1
			}
		}
	}
	return ^c
}

// dnp3 is a frame of DNP3.
func dnp3(fromMaster bool, data string) []byte {
	head := "\xc4\x0a\x00\x01\x00"
	if !fromMaster {
		head = "\x44\x01\x00\x0a\x00"
	}
	part := func(s string) string { return s + string(binary.LittleEndian.AppendUint16(nil, dnp3Sum([]byte(s)))) }
	out := part("\x05\x64" + string([]byte{byte(5 + len(data))}) + head)
	for len(data) > 0 {
		n := min(16, len(data))
		out += part(data[:n])
		data = data[n:]
	}
	return []byte(out)
}

// pulsar is a command of Pulsar with fields, and what follows it.
func pulsar(kind int, rest string, list ...any) string {
	fields := func(list ...any) (b []byte) {
		for i := 0; i < len(list); i += 2 {
			n := protowire.Number(list[i].(int))
			if v, ok := list[i+1].(int); ok {
				b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
			} else {
				b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), list[i+1].(string))
			}
		}
		return b
	}
	c := fields(1, kind, kind, string(fields(list...)))
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(c)+len(rest)))
	return string(append(binary.BigEndian.AppendUint32(b, uint32(len(c))), c...)) + rest
}

// wires are the protocols that are not planted as logins.
func wires() []wire {
	prompt := []say{{server: true, data: []byte("\xff\xfb\x01\xff\xfb\x03")}, {data: []byte("\xff\xfd\x01\xff\xfd\x03")}, {server: true, data: []byte("\r\nplant login: ")}}
	telnet := func(list ...say) []say { return append(append([]say{}, prompt...), list...) }
	login := func(secret string) (list []say) {
		list = append(typed("alice", true), say{server: true, data: []byte("Password: ")})
		list = append(list, typed(secret, false)...)
		return telnet(append(list, say{server: true, data: []byte("Last login: Mon\r\nalice@plant:~$ ")})...)
	}
	record := func(kind byte, content string) string {
		return string([]byte{1, kind, 0, 1, byte(len(content) >> 8), byte(len(content)), 0, 0}) + content
	}
	pairs := func(list ...string) (s string) {
		for i := 0; i < len(list); i += 2 {
			s += string([]byte{byte(len(list[i])), byte(len(list[i+1]))}) + list[i] + list[i+1]
		}
		return s
	}
	fastcgi := func(body string, params ...string) []say {
		params = append([]string{"REQUEST_METHOD", "POST", "SCRIPT_FILENAME", "/srv/a.php", "CONTENT_LENGTH", fmt.Sprint(len(body)), "CONTENT_TYPE", "application/x-www-form-urlencoded"}, params...)
		return said(record(1, "\x00\x01\x01\x00\x00\x00\x00\x00")+record(4, pairs(params...))+record(4, "")+record(5, body[:len(body)/2])+record(5, body[len(body)/2:])+record(5, ""),
			record(6, "Content-Type: text/plain\r\n\r\nok")+record(6, "")+record(3, "\x00\x00\x00\x00\x00\x00\x00\x00"))
	}
	tacacs := func(kind, seq byte, body string) string {
		return string([]byte{0xc0, kind, seq, 1, 0, 0, 0, 7, 0, 0, 0, byte(len(body))}) + body
	}
	str := func(s string) string {
		if len(s) < 0x20 {
			return string([]byte{byte(len(s))}) + s
		}
		return string([]byte{0x30 + byte(len(s)>>8), byte(len(s))}) + s
	}
	dubbo := func(arg string) []say {
		body := str("2.0.2") + str("com.example.Stock") + str("0.0.0") + str("reserve") + str("Ljava/lang/String;") + arg
		return said("\xda\xbb\xc2\x00"+strings.Repeat("\x00", 7)+"\x01\x00\x00\x00"+string([]byte{byte(len(body))})+body, "\xda\xbb\x02\x14"+strings.Repeat("\x00", 7)+"\x01\x00\x00\x00\x04\x94\x91HZ")
	}
	irc := func(line string) []say {
		return said("NICK ann\r\nUSER ann 0 * :Ann\r\n", ":irc.example 001 ann :Welcome\r\n:irc.example 376 ann :End of MOTD\r\n", line+"\r\n", ":irc.example 900 ann :Fine\r\n")
	}
	hello, welcome := func(auth string) string { return pulsar(2, "", 1, "Pulsar-CPP-v3", 5, "token", 3, auth, 4, 20) }, pulsar(3, "", 1, "Pulsar Server", 2, 20)
	smb := "\xffSMB%" + strings.Repeat("\x00", 27) + "\x00" + `\MAILSLOT\BROWSE` + "\x00"
	question := func(name string) []byte {
		return []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + halves(name) + "\x00\x20\x00\x01")
	}
	octets := func(s string) string { // an object of group 110
		return "\xc0\xc1\x02\x6e" + string([]byte{byte(len(s))}) + "\x00\x00\x00" + s
	}
	file := func(s string) string { // user and password of group 70, variation 2
		return "\xc0\xc1\x1d\x46\x02\x5b\x01" + string([]byte{byte(15 + len(s)), 0, 12, 0, 3, 0, 15, 0, byte(len(s)), 0}) + "\x00\x00\x00\x00ann" + s
	}
	return []wire{
		{"Telnet password", 23, false, true, login},
		{"Telnet, typed", 23, false, false, func(s string) []say { return append(login("hunter-2"), typed("echo "+s, true)...) }},
		{"Telnet, shown", 23, false, false, func(s string) []say {
			return append(login("hunter-2"), append(typed("cat key", true), say{server: true, data: []byte(s + "\r\n$ ")})...)
		}},
		{"TACACS+ PAP", 49, false, true, func(s string) []say {
			return said(tacacs(1, 1, "\x01\x0f\x02\x01\x04\x00\x00"+string([]byte{byte(len(s))})+"root"+s), tacacs(1, 2, "\x01\x00\x00\x00\x00\x00"))
		}},
		{"TACACS+ argument", 49, false, false, func(s string) []say {
			arg := "cmd-arg=" + s
			return said(tacacs(2, 1, "\x06\x01\x01\x01\x05\x04\x00\x01"+string([]byte{byte(len(arg))})+"alicetty0"+arg), tacacs(2, 2, "\x01\x00\x00\x00\x00\x00"))
		}},
		{"NetBIOS datagram", 138, true, false, func(s string) []say {
			return []say{{data: []byte("\x11\x0a\x00\x07\x0a\x00\x00\x01\x00\x8a\x00\xa0\x00\x00" + halves("FILES") + halves("SHOP") + smb + s)}}
		}},
		{"NetBIOS name", 137, true, false, func(s string) []say { return []say{{data: question(s)}} }},
		{"IRC password", 6667, false, true, func(s string) []say {
			return said("PASS "+s+"\r\nNICK ann\r\nUSER ann 0 * :Ann\r\n", ":irc.example 001 ann :Welcome\r\n")
		}},
		{"IRC operator", 6667, false, true, func(s string) []say { return irc("OPER ann " + s) }},
		{"IRC services", 6667, false, true, func(s string) []say { return irc("PRIVMSG NickServ :IDENTIFY " + s) }},
		{"IRC SASL", 6667, false, true, func(s string) []say {
			return irc("AUTHENTICATE " + base64.StdEncoding.EncodeToString([]byte("ann\x00ann\x00"+s)))
		}},
		{"IRC SASL of which the beginning is missing", 6667, false, true, func(s string) []say {
			return irc("AUTHENTICATE PLAIN\r\nAUTHENTICATE " + base64.StdEncoding.EncodeToString([]byte("ann\x00ann\x00"+s)))[2:]
		}},
		{"IRC message", 6667, false, false, func(s string) []say { return irc("PRIVMSG #shop :the key is " + s) }},
		{"FastCGI parameter", 9000, false, true, func(s string) []say { return fastcgi("item=7&n=1", "DB_PASSWORD", s) }},
		{"FastCGI header", 9000, false, true, func(s string) []say { return fastcgi("item=7&n=1", "HTTP_AUTHORIZATION", "Bearer "+s) }},
		{"FastCGI body", 9000, false, true, func(s string) []say { return fastcgi("user=ann&password=" + s) }},
		{"FastCGI query", 9000, false, false, func(s string) []say { return fastcgi("item=7&n=1", "QUERY_STRING", "q="+s) }},
		{"Dubbo argument", 20880, false, false, func(s string) []say { return dubbo(str(s) + "HZ") }},
		{"Dubbo attachment", 20880, false, true, func(s string) []say { return dubbo(str("mug") + "H" + str("password") + str(s) + "Z") }},
		{"Pulsar login", 6650, false, true, func(s string) []say { return said(hello(s), welcome) }},
		{"Pulsar message", 6650, false, false, func(s string) []say {
			const meta = "\x0a\x03p-1\x10\x07\x18\x01"
			return said(hello("eyJ"), welcome, pulsar(6, "\x0e\x01\x12\x34\x56\x78\x00\x00\x00\x09"+meta+s, 1, 0, 2, 7, 3, 1), pulsar(7, "", 1, 0, 2, 7))
		}},
		{"DNP3 text", 20000, false, false, func(s string) []say {
			return []say{{data: dnp3(true, octets(s))}, {server: true, data: dnp3(false, "\xc0\xc1\x81\x00\x00")}}
		}},
		{"DNP3 file", 20000, false, true, func(s string) []say {
			return []say{{data: dnp3(true, file(s))}, {server: true, data: dnp3(false, "\xc0\xc1\x81\x00\x00")}}
		}},
	}
}

// wireStages plant secrets in protocols, each in a stage of its own.
func wireStages(number *int) (list []stage) {
	for _, w := range wires() {
		*number++
		secret := kinds[0].of(*number)
		bad := pieces(secret)
		if w.name == "NetBIOS name" {
			secret = secret[:15]
			bad = pieces(secret)
		}
		list = append(list, stage{"protocols, " + w.name, []planted{{w.name, bad}}, func(s *scene, tell bool) {
			if tell && !w.own {
				kinds[0].says(s, secret)
			}
			if tell {
				s.talk(80, say{data: request("X-Api-Key: another-12345678\r\n", "x")}, answer("", "ok"))
			}
			if w.udp {
				s.datagrams(w.port, w.talk(secret)...)
			} else {
				s.talk(w.port, w.talk(secret)...)
			}
		}})
	}
	return list
}

// joinBlocks joins the data of frames of DNP3, which has a checksum after every 16 bytes.
func joinBlocks(text []byte) (out []byte) {
	for len(text) >= 10 && text[0] == 5 && text[1] == 0x64 && text[2] > 5 {
		n := int(text[2]) - 5
		for text = text[10:]; n > 0; {
			size := min(n, 16)
			if size+2 > len(text) {
				return out
			}
			out, text, n = append(out, text[:size]...), text[size+2:], n-size
		}
	}
	return out
}

// joinRecords joins the content of records of FastCGI.
func joinRecords(text []byte) (out []byte) {
	for len(text) >= 8 && text[0] == 1 {
		n := int(binary.BigEndian.Uint16(text[4:]))
		if 8+n+int(text[6]) > len(text) {
			return out
		}
		out = append(out, text[8:8+n]...)
		text = text[8+n+int(text[6]):]
	}
	return out
}

// joinHalves joins the half bytes of names of NetBIOS.
func joinHalves(text []byte) (out []byte) {
	for i := 0; i+1 < len(text); i++ {
		if text[i]-'A' < 16 && text[i+1]-'A' < 16 {
			out = append(out, (text[i]-'A')<<4|text[i+1]-'A')
			i++
		} else {
			out = append(out, 0)
		}
	}
	return out
}
