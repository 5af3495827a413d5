package derive_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// escaped writes each character of a text as a format escapes it.
func escaped(format, s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// every second character escaped, as some programs do.
func half(format, s string) string {
	var b strings.Builder
	for i := range len(s) {
		if i%2 == 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, format, s[i])
		}
	}
	return b.String()
}

// frame is a frame of WebSocket, compressed if deflate is set (RFC 7692).
func frame(client, deflate bool, text string) []byte {
	data, first := []byte(text), byte(0x81)
	if deflate {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 9)
		w.Write(data)
		w.Flush()
		data, first = bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")), 0xc1
	}
	out := []byte{first, byte(len(data))}
	if len(data) > 125 {
		out = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(len(data)))
	}
	if !client {
		return append(out, data...)
	}
	out[1] |= 0x80
	mask := [4]byte{0x12, 0x9a, 0x34, 0x56}
	out = append(out, mask[:]...)
	for i, c := range data {
		out = append(out, c^mask[i%4])
	}
	return out
}

func websocket(deflate bool, list ...say) []say {
	more := ""
	if deflate {
		more = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
	}
	open := []say{{data: []byte("GET /live HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + more + "\r\n")},
		{server: true, data: []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" + more + "\r\n")}}
	return append(open, list...)
}

// document is BSON of a text by its name.
func document(name, text string) []byte {
	b := "\x02" + name + "\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)+1))) + text + "\x00"
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b)+5)), b+"\x00"...)
}

// mongo is an OP_MSG that inserts a document.
func mongo(id uint32, doc []byte) []byte {
	cmd := "\x02insert\x00\x06\x00\x00\x00users\x00\x02$db\x00\x05\x00\x00\x00shop\x00"
	cmd = string(binary.LittleEndian.AppendUint32(nil, uint32(len(cmd)+5))) + cmd + "\x00"
	seq := "documents\x00" + string(doc)
	body := "\x00\x00\x00\x00\x00" + cmd + "\x01" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(seq)+4))) + seq
	return mongoMessage(id, 0, 2013, body)
}

func mongoMessage(id, to, op uint32, body string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	for _, n := range []uint32{id, to, op} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return append(out, body...)
}

// mongoZlib compresses a message with zlib (OP_COMPRESSED).
func mongoZlib(m []byte) []byte {
	body := string(binary.LittleEndian.AppendUint32(nil, binary.LittleEndian.Uint32(m[12:]))) + string(binary.LittleEndian.AppendUint32(nil, uint32(len(m)-16))) + "\x02" + encoders["deflate"](string(m[16:]))
	return mongoMessage(binary.LittleEndian.Uint32(m[4:]), 0, 2012, body)
}

func mongoOK(to uint32) []byte {
	doc := "\x10n\x00\x01\x00\x00\x00\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f"
	doc = string(binary.LittleEndian.AppendUint32(nil, uint32(len(doc)+5))) + doc + "\x00"
	return mongoMessage(900+to, to, 2013, "\x00\x00\x00\x00\x00"+doc)
}

// produce is a Produce request of Kafka, version 3, with one record in a batch that is compressed if
// codec is not 0.
func produce(codec int, value string) []byte {
	str := func(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }
	varint := func(n int) string { return string(binary.AppendVarint(nil, int64(n))) }
	record := "\x00" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
	records := varint(len(record)) + record
	switch codec {
	case 1:
		records = encoders["gzip"](records)
	case 4:
		records = encoders["zstd"](records)
	}
	rest := string([]byte{0, byte(codec)}) + "\x00\x00\x00\x00" + "\x00\x00\x01\x9b\x00\x00\x00\x00\x00\x00\x01\x9b\x00\x00\x00\x00" + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x01" + records
	crc := crc32.Checksum([]byte(rest), crc32.MakeTable(crc32.Castagnoli))
	body := "\x00\x00\x00\x00\x02" + string(binary.BigEndian.AppendUint32(nil, crc)) + rest
	batch := "\x00\x00\x00\x00\x00\x00\x00\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
	req := "\x00\x00\x00\x03\x00\x00\x00\x07" + str("shop") + "\xff\xff\x00\x01\x00\x00\x75\x30\x00\x00\x00\x01" + str("orders") + "\x00\x00\x00\x01\x00\x00\x00\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(batch)))) + batch
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(req))), req...)
}

func produced() []byte {
	body := "\x00\x00\x00\x07\x00\x00\x00\x01\x00\x06orders\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// grpcTalk is a call of gRPC with a compressed message and the secret in a header too.
func grpcTalk(secret string) []say {
	var c, s, block bytes.Buffer
	c.WriteString(http2.ClientPreface)
	cf, sf := http2.NewFramer(&c, nil), http2.NewFramer(&s, nil)
	cf.WriteSettings()
	sf.WriteSettings()
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/shop.Users/Login"}, {":authority", "a"}, {"content-type", "application/grpc"}, {"grpc-encoding", "gzip"}, {"authorization", "Bearer " + secret}} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	cf.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	packed := encoders["gzip"]("\x0a\x03ann\x12" + string(rune(len(secret))) + secret)
	cf.WriteData(1, true, append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(packed))), packed...))
	block.Reset()
	enc = hpack.NewEncoder(&block)
	enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	enc.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
	enc.WriteField(hpack.HeaderField{Name: "grpc-status", Value: "0"})
	sf.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	return []say{{data: c.Bytes()}, {server: true, data: s.Bytes()}}
}

// morePlants are further ways in which a secret is sent.
func morePlants() []plant {
	b64 := base64.StdEncoding.EncodeToString
	json := func(s string) string { return `{"user":"ann","password":"` + s + `"}` }
	ok := answer("Content-Type: text/plain\r\n", "ok")
	post := func(head, body string) []say { return []say{{data: request(head, body)}, ok} }
	const isJSON, isForm = "Content-Type: application/json\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"
	return []plant{
		{"multipart", 80, func(s string) []say {
			return post("Content-Type: multipart/form-data; boundary=xYz\r\n", "--xYz\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nann\r\n--xYz\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n"+s+"\r\n--xYz--\r\n")
		}},
		{"JSON with escapes", 80, func(s string) []say { return post(isJSON, json(escaped(`\u%04x`, s))) }},
		{"JSON with some escapes", 80, func(s string) []say { return post(isJSON, json(half(`\u%04X`, s))) }},
		{"form with escapes", 80, func(s string) []say { return post(isForm, "user=ann&password="+escaped("%%%02x", s)) }},
		{"form with some escapes", 80, func(s string) []say { return post(isForm, "user=ann&password="+half("%%%02X", s)) }},
		{"XML with entities", 80, func(s string) []say {
			return post("Content-Type: application/xml\r\n", "<login><user>ann</user><password>"+half("&#%d;", s)+"</password></login>")
		}},
		{"JSON in base64 in base64", 80, func(s string) []say {
			return post(isJSON, `{"state":"`+b64([]byte(`{"more":"`+b64([]byte(json(s)))+`"}`))+`"}`)
		}},
		{"JSON in JSON", 80, func(s string) []say {
			return post(isJSON, fmt.Sprintf(`{"event":%q}`, fmt.Sprintf(`{"inner":%q}`, json(s))))
		}},
		{"JSON in gzip in base64", 80, func(s string) []say {
			return post("X-Api-Key: "+s+"\r\n"+isJSON, `{"blob":"`+b64([]byte(encoders["gzip"](json(s))))+`"}`)
		}},
		{"trailer and chunk extension", 80, func(s string) []say {
			return []say{{data: request("X-Api-Key: "+s+"\r\n", "x")}, {server: true, data: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Token\r\n\r\n2;key=" + s + "\r\nok\r\n0\r\nX-Auth-Token: " + s + "\r\n\r\n")}}
		}},
		{"WebSocket", 80, func(s string) []say {
			return websocket(false, say{data: frame(true, false, json(s))}, say{server: true, data: frame(false, false, json(s))})
		}},
		{"WebSocket, compressed", 80, func(s string) []say {
			return websocket(true, say{data: frame(true, true, json(s))}, say{server: true, data: frame(false, true, json(s))})
		}},
		{"gRPC, compressed", 80, grpcTalk},
		{"MongoDB", 27017, func(s string) []say {
			return []say{{data: mongo(1, document("password", s))}, {server: true, data: mongoOK(1)}}
		}},
		{"MongoDB, compressed", 27017, func(s string) []say {
			return []say{{data: mongoZlib(mongo(1, document("password", s)))}, {server: true, data: mongoOK(1)}}
		}},
		{"MongoDB user", 27017, func(s string) []say {
			doc := "\x02createUser\x00\x04\x00\x00\x00ann\x00\x02pwd\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)+1))) + s + "\x00\x02$db\x00\x06\x00\x00\x00admin\x00"
			doc = string(binary.LittleEndian.AppendUint32(nil, uint32(len(doc)+5))) + doc + "\x00"
			return []say{{data: mongoMessage(1, 0, 2013, "\x00\x00\x00\x00\x00"+doc)}, {server: true, data: mongoOK(1)}}
		}},
		{"Redis reply", 6379, func(s string) []say {
			return []say{{data: resp("GET", "user:1:token")}, {server: true, data: fmt.Appendf(nil, "$%d\r\n%s\r\n", len(s), s)}}
		}},
		{"Redis replies", 6379, func(s string) []say {
			return []say{{data: resp("HMGET", "user:1", "password", "name")}, {server: true, data: resp(s, "ann")}}
		}},
		{"memcached", 11211, func(s string) []say {
			return []say{{data: fmt.Appendf(nil, "set user:1:token 0 0 %d\r\n%s\r\n", len(s), s)}, {server: true, data: []byte("STORED\r\n")},
				{data: []byte("get user:1:token\r\n")}, {server: true, data: fmt.Appendf(nil, "VALUE user:1:token 0 %d\r\n%s\r\nEND\r\n", len(s), s)}}
		}},
		{"Kafka", 9092, func(s string) []say { return []say{{data: produce(0, json(s))}, {server: true, data: produced()}} }},
		{"Kafka, gzip", 9092, func(s string) []say { return []say{{data: produce(1, json(s))}, {server: true, data: produced()}} }},
		{"Kafka, zstd", 9092, func(s string) []say { return []say{{data: produce(4, json(s))}, {server: true, data: produced()}} }},
	}
}
