package all

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// flood is a row of the table.
type flood dissecttest.Flood

// TestStateStaysInTheBudget sends each protocol traffic that makes its state grow without end,
// on many connections.
func TestStateStaysInTheBudget(t *testing.T) {
	stay := func(list []flood) {
		for _, f := range list {
			t.Run(f.Name, func(t *testing.T) { dissecttest.StayInBudget(t, Protocols(nil), dissecttest.Flood(f)) })
		}
	}
	stay(floods())
	for _, file := range nightly.Some(slices.Sorted(maps.Keys(samples)), 3) { // one at a time, because each measurement of memory scans what is in it
		stay(recorded(t, file))
	}
}

// recorded makes floods from the conversations of a recording: the client's side alone,
// repeatedly; and both sides in 1-byte segments, without the last.
func recorded(t *testing.T, file string) (list []flood) {
	const mostBytes = 3000
	for n, k := range talks(t, file) {
		if n == 3 {
			break
		}
		var client []dissecttest.Chunk
		var bytes []dissecttest.Chunk
		for _, c := range k.chunks {
			if c.Dir == dissect.ToServer {
				client = append(client, c)
			}
			for i := range c.Data[:min(len(c.Data), mostBytes+1-len(bytes))] {
				bytes = append(bytes, dissecttest.Chunk{Dir: c.Dir, Data: c.Data[i : i+1]})
			}
		}
		size := 0
		for _, c := range client {
			size += len(c.Data)
		}
		if size == 0 {
			continue
		}
		rounds := min(150_000/size, 5_000/len(client)) + 1 // of each connection
		list = append(list, flood{k.name + ", only the client", dissect.TCP, k.port, 20, len(client) * rounds, func(_, i int) dissecttest.Chunk {
			return client[i%len(client)]
		}}, flood{k.name + ", byte by byte", dissect.TCP, k.port, 60, min(len(bytes)-1, mostBytes), func(_, i int) dissecttest.Chunk {
			return bytes[i]
		}})
	}
	return list
}

// manyNames is a certificate with hundreds of names.
func manyNames() string {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	for i := range 300 {
		c.DNSNames = append(c.DNSNames, fmt.Sprintf("host-%d.shop.example", i))
	}
	der, err := x509.CreateCertificate(zeros{}, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(der)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func fromClient(s string) dissecttest.Chunk { return dissecttest.Client(s) }
func fromServer(s string) dissecttest.Chunk { return dissecttest.Server(s) }

// h2 is a frame of HTTP/2.
func h2(typ, flags byte, stream int, body string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))[1:]
	b = append(b, typ, flags)
	return string(binary.BigEndian.AppendUint32(b, uint32(stream))) + body
}

// literal is a header field that HTTP/2 adds to its table.
func literal(name, value string) string {
	n := ""
	for v := len(value) - 127; ; v >>= 7 {
		if v < 128 {
			n += string(rune(0))[:0] + string([]byte{byte(v)})
			break
		}
		n += string([]byte{byte(v) | 0x80})
	}
	return "\x40" + string([]byte{byte(len(name))}) + name + "\x7f" + n + value
}

// pg is a message of PostgreSQL.
func pg(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
}

// my is a packet of MySQL.
func my(seq byte, body string) string {
	return string([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq}) + body
}

// mysqlFloods are conversations of MySQL after a login, without and with compression.
func mysqlFloods(begun func([]dissecttest.Chunk, func(c, i int) dissecttest.Chunk) func(c, i int) dissecttest.Chunk) []flood {
	zeros := strings.Repeat("\x00", 23)
	login := func(caps string) []dissecttest.Chunk {
		return []dissecttest.Chunk{fromServer(my(0, "\x0a8.0.32\x00\x01\x00\x00\x00abcdefgh\x00\xff\xff\x21\x02\x00\xff\xc0\x15"+zeros[:10]+"ijklmnopqrst\x00mysql_native_password\x00")),
			fromClient(my(1, caps+"\x00\x00\x00\x01\x21"+zeros+"bob\x00\x00mysql_native_password\x00")), fromServer(my(2, "\x00\x00\x00\x02\x00\x00\x00"))}
	}
	const plain, packed = "\x00\x82\x08\x00", "\x20\x82\x08\x00"
	ok := my(1, "\x00\x00\x00\x02\x00\x00\x00")
	long := strings.Repeat("x", 1000)
	id := func(c, i int) string { return string([]byte{byte(i), byte(i >> 8), byte(c), 0}) }
	var bomb strings.Builder
	z := zlib.NewWriter(&bomb)
	z.Write(make([]byte, 1<<22))
	z.Close()
	return []flood{
		{"mysql, prepared statements", dissect.TCP, 3306, 30, 4000, begun(login(plain), func(c, i int) dissecttest.Chunk {
			if i%2 == 0 {
				return fromClient(my(0, "\x16select '"+long+"'"))
			}
			return fromServer(my(1, "\x00"+id(c, i)+"\x00\x00\x00\x00\x00\x00\x00"))
		})},
		{"mysql, statements that were never prepared", dissect.TCP, 3306, 30, 4000, begun(login(plain), func(c, i int) dissecttest.Chunk {
			if i%2 == 0 {
				return fromClient(my(0, "\x17"+id(c, i)+"\x00\x01\x00\x00\x00"))
			}
			return fromServer(ok)
		})},
		{"mysql, queries without an answer", dissect.TCP, 3306, 30, 3000, begun(login(plain), func(c, i int) dissecttest.Chunk {
			return fromClient(my(0, "\x03select '"+long+"'"))
		})},
		{"mysql, a value in advance", dissect.TCP, 3306, 30, 3000, begun(append(login(plain), fromClient(my(0, "\x16select ?")), fromServer(my(1, "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))),
			func(c, i int) dissecttest.Chunk {
				return fromClient(my(0, "\x18\x01\x00\x00\x00"+string([]byte{byte(i), 0})+long))
			})},
		{"mysql, columns", dissect.TCP, 3306, 30, 3000, begun(append(login(plain), fromClient(my(0, "\x03select a")), fromServer(my(1, "\xfc\x00\x10"))),
			func(c, i int) dissecttest.Chunk {
				return fromServer(my(byte(i+2), "\x03def\x00\x00\x00\xfa"+long[:250]+"\x00\x0c\x21\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00"))
			})},
		{"mysql, a file byte by byte", dissect.TCP, 3306, 30, 3000, begun(append(login(plain), fromClient(my(0, "\x03load data")), fromServer(my(1, "\xfba"))),
			func(c, i int) dissecttest.Chunk { return fromClient(my(byte(i+2), "b")) })},
		{"mysql, bombs", dissect.TCP, 3306, 10, 200, begun(login(packed), func(c, i int) dissecttest.Chunk {
			n := bomb.Len()
			return fromClient(string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(i), 0, 0, 0x40}) + bomb.String())
		})},
	}
}

func floods() []flood {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	get := "\x82\x84\x86\x41\x04shop"
	start := fromClient(preface + h2(4, 0, 0, ""))
	startup := fromClient("\x00\x00\x00\x13\x00\x03\x00\x00user\x00alice\x00\x00")
	ready := pg('R', "\x00\x00\x00\x00") + pg('Z', "I")
	long := strings.Repeat("x", 1000)
	name := func(c, i int) string { return fmt.Sprintf("%06d-%06d", c, i) }
	// begun returns the first parts, then the results of part for the numbers after them.
	begun := func(first []dissecttest.Chunk, part func(c, i int) dissecttest.Chunk) func(c, i int) dissecttest.Chunk {
		return func(c, i int) dissecttest.Chunk {
			if i < len(first) {
				return first[i]
			}
			return part(c, i-len(first))
		}
	}
	list := func(p ...dissecttest.Chunk) []dissecttest.Chunk { return p }
	record := func(messages ...string) string {
		s := strings.Join(messages, "")
		return "\x16\x03\x03" + string([]byte{byte(len(s) >> 8), byte(len(s))}) + s
	}
	message := func(typ byte, body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(typ)<<24|uint32(len(body)))) + body
	}
	random := strings.Repeat("r", 32)
	hello := fromClient(record(message(1, "\x03\x03"+random+"\x00\x00\x02\xc0\x2f\x01\x00")))
	certificate := manyNames()
	size := func(n int) string { return string([]byte{byte(n >> 16), byte(n >> 8), byte(n)}) }
	answer := fromServer(record(message(2, "\x03\x03"+random+"\x00\xc0\x2f\x00")) +
		record(message(11, size(3*(len(certificate)+3))+strings.Repeat(size(len(certificate))+certificate, 3))))
	return append(mysqlFloods(begun), []flood{
		{"tls, a hello", dissect.TCP, 443, 400, 2, begun(list(hello), func(int, int) dissecttest.Chunk { return dissecttest.Chunk{} })},
		{"tls, certificates with many names", dissect.TCP, 443, 400, 3, begun(list(hello, answer), func(int, int) dissecttest.Chunk { return dissecttest.Chunk{} })},
		{"tls, repeated handshakes", dissect.TCP, 443, 40, 200, func(_, i int) dissecttest.Chunk {
			return [...]dissecttest.Chunk{hello, answer}[i%2]
		}},
		{"http1, a body byte by byte", dissect.TCP, 80, 30, 12_000, begun(list(fromClient("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")),
			func(int, int) dissecttest.Chunk { return fromClient("b") })},
		{"unknown, byte by byte", dissect.TCP, 4000, 30, 12_000, func(int, int) dissecttest.Chunk { return fromClient("\x01") }},
		{"http2, streams without an answer", dissect.TCP, 80, 40, 2000, begun(list(start),
			func(_, i int) dissecttest.Chunk { return fromClient(h2(1, 5, 2*i+1, get)) })},
		{"http2, streams that send byte by byte", dissect.TCP, 80, 40, 8000, begun(list(start),
			func(_, i int) dissecttest.Chunk {
				if i < 4 {
					return fromClient(h2(1, 4, 2*i+1, get))
				}
				return fromClient(h2(0, 0, 2*(i%4)+1, "b"))
			})},
		{"http2, tables of headers", dissect.TCP, 80, 200, 200, begun(list(fromClient(preface+h2(4, 0, 0, "\x00\x01\x00\x01\x00\x00")), fromServer(h2(4, 0, 0, "\x00\x01\x00\x01\x00\x00"))),
			func(_, i int) dissecttest.Chunk {
				size := ""
				if i == 0 {
					size = "\x3f\xe1\xff\x03" // 65536 bytes
				}
				return fromClient(h2(1, 5, 2*i+1, size+get+literal("a", name(i, 0)+long)) + h2(3, 0, 2*i+1, "\x00\x00\x00\x08"))
			})},
		{"http2, a header block that never ends", dissect.TCP, 80, 60, 300, begun(list(start, fromClient(h2(1, 0, 1, get))),
			func(_, i int) dissecttest.Chunk { return fromClient(h2(9, 0, 1, literal("a", name(i, 0)+long))) })},
		{"http2, streams that were reset", dissect.TCP, 80, 200, 1500, begun(list(start),
			func(_, i int) dissecttest.Chunk {
				return fromClient(h2(1, 4, 2*i+1, get) + h2(3, 0, 2*i+1, "\x00\x00\x00\x08"))
			})},
		{"redis, a string byte by byte", dissect.TCP, 6379, 30, 12_000, begun(list(fromClient("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$99999999\r\n")),
			func(int, int) dissecttest.Chunk { return fromClient("b") })},
		{"redis, a reply byte by byte", dissect.TCP, 6379, 30, 12_000, begun(list(fromClient("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), fromServer("$99999999\r\n")),
			func(int, int) dissecttest.Chunk { return fromServer("b") })},
		{"redis, commands without a reply", dissect.TCP, 6379, 30, 3000, func(_, i int) dissecttest.Chunk {
			return fromClient("*2\r\n$3\r\nGET\r\n$1000\r\n" + long + "\r\n")
		}},
		{"redis, subscriptions", dissect.TCP, 6379, 30, 3000, func(c, i int) dissecttest.Chunk {
			return fromClient("*2\r\n$9\r\nSUBSCRIBE\r\n$13\r\n" + name(c, i) + "\r\n")
		}},
		{"postgresql, prepared statements", dissect.TCP, 5432, 30, 4000, begun(list(startup, fromServer(ready)),
			func(c, i int) dissecttest.Chunk {
				if i%2 == 0 {
					return fromClient(pg('P', name(c, i)+"\x00SELECT '"+long+"'\x00\x00\x00") + pg('S', ""))
				}
				return fromServer(pg('1', "") + pg('Z', "I"))
			})},
		{"postgresql, portals", dissect.TCP, 5432, 30, 4000, begun(list(startup, fromServer(ready)),
			func(c, i int) dissecttest.Chunk {
				if i%2 == 0 {
					return fromClient(pg('B', name(c, i)+"\x00s\x00\x00\x00\x00\x01\x00\x00\x03\xe8"+long+"\x00\x00") + pg('S', ""))
				}
				return fromServer(pg('2', "") + pg('Z', "I"))
			})},
		{"postgresql, statements that were never prepared", dissect.TCP, 5432, 60, 8000, begun(list(startup, fromServer(ready)),
			func(c, i int) dissecttest.Chunk {
				if i%2 == 0 {
					return fromClient(pg('B', "\x00"+name(c, i)+long+"\x00\x00\x00\x00\x00\x00\x00") + pg('S', ""))
				}
				return fromServer(pg('2', "") + pg('Z', "I"))
			})},
		{"postgresql, descriptions", dissect.TCP, 5432, 30, 400, begun(list(startup, fromServer(ready)),
			func(c, i int) dissecttest.Chunk {
				if i%2 == 0 {
					return fromClient(pg('P', name(c, i)+"\x00SELECT 1\x00\x00\x00") + pg('D', "S"+name(c, i)+"\x00") + pg('S', ""))
				}
				return fromServer(pg('1', "") + pg('T', "\x00\x64"+strings.Repeat(name(c, i)+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00", 100)) + pg('Z', "I"))
			})},
		{"postgresql, queries without an answer", dissect.TCP, 5432, 30, 3000, begun(list(startup, fromServer(ready)),
			func(c, i int) dissecttest.Chunk { return fromClient(pg('Q', "SELECT '"+long+"'\x00")) })},
		{"postgresql, a query that is never executed", dissect.TCP, 5432, 30, 3000, begun(list(startup, fromServer(ready)),
			func(c, i int) dissecttest.Chunk {
				return fromClient(pg('P', "\x00SELECT '"+long+"'\x00\x00\x00") + pg('H', ""))
			})},
		{"postgresql, COPY byte by byte", dissect.TCP, 5432, 30, 12_000, begun(list(startup, fromServer(ready), fromClient(pg('Q', "COPY a FROM STDIN\x00")), fromServer(pg('G', "\x00\x00\x00"))),
			func(c, i int) dissecttest.Chunk { return fromClient(pg('d', "b")) })},
		{"postgresql, rows byte by byte", dissect.TCP, 5432, 30, 12_000, begun(list(startup, fromServer(ready), fromClient(pg('Q', "SELECT a\x00"))),
			func(c, i int) dissecttest.Chunk { return fromServer(pg('D', "\x00\x00")) })},
		{"dns, questions without an answer", dissect.UDP, 53, 60, 1500, func(c, i int) dissecttest.Chunk {
			return fromClient(fmt.Sprintf("%c%c", i>>8, i)[:0] + string([]byte{byte(i >> 8), byte(i)}) + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0d" + name(c, i) + "\x03com\x00\x00\x01\x00\x01")
		}},
		{"dns, a transfer that never ends", dissect.TCP, 53, 30, 3000, begun(list(fromClient("\x00\x15\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03com\x00\x00\xfc\x00\x01")),
			func(c, i int) dissecttest.Chunk {
				soa := "\x03com\x00\x00\x06\x00\x01\x00\x00\x00\x01\x00\x16\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01"
				txt := "\x03com\x00\x00\x10\x00\x01\x00\x00\x00\x01\x00\xc8\xc7" + (name(c, i) + long)[:199]
				msg := "\x00\x01\x84\x00\x00\x01\x00\x02\x00\x00\x00\x00\x03com\x00\x00\xfc\x00\x01"
				if i == 0 {
					msg += soa + txt
				} else {
					msg += txt + txt
				}
				return fromServer(string([]byte{byte(len(msg) >> 8), byte(len(msg))}) + msg)
			})},
		{"icmp, requests without a reply", dissect.ICMP, 0, 60, 1500, func(c, i int) dissecttest.Chunk {
			return fromClient("\x08\x00\x00\x00" + string([]byte{byte(c), 1, byte(i >> 8), byte(i)}) + long)
		}},
	}...)
}
