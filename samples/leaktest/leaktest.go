// Package leaktest contains many kinds of secrets, a bundle with them, and a search for them in
// answers. It is for tests only.
package leaktest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pcapsule/pcapsule/exporter"
)

// Secret is a kind of secret with the way in which a call carries it.
type Secret struct {
	Kind, Value string

	head        string // a header line
	query       string // of the URL
	contentType string
	body        string
	redis       []string // a command
	memcached   string   // the key of a value
	sql         string   // a statement
}

// Secrets returns 68 kinds of secrets, each with a different value.
func Secrets() []Secret {
	v := func(n int) string { return fmt.Sprintf("Zq%02dxK7-planted_%02dvV", n, n) }
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ"
	list := []Secret{
		{Kind: "authorization bearer", head: "Authorization: Bearer %s"}, {Kind: "proxy authorization", head: "Proxy-Authorization: Bearer %s"},
		{Kind: "authorization of another scheme", head: "Authorization: Token %s"}, {Kind: "x-api-key", head: "X-Api-Key: %s"},
		{Kind: "api-key", head: "Api-Key: %s"}, {Kind: "x-auth-token", head: "X-Auth-Token: %s"}, {Kind: "csrf token", head: "X-Csrf-Token: %s"},
		{Kind: "cookie", head: "Cookie: a=b; sid=%s"}, {Kind: "client secret header", head: "X-Client-Secret: %s"}, {Kind: "session header", head: "X-Session-Id: %s"},
		{Kind: "webhook signature", head: "X-Hub-Signature-256: sha256=%s"}, {Kind: "vault token", head: "X-Vault-Token: %s"},
		{Kind: "query token", query: "access_token=%s"}, {Kind: "query api key", query: "api_key=%s"}, {Kind: "query password", query: "user=a&password=%s"},
		{Kind: "query signature", query: "sig=%s"}, {Kind: "query nested", query: "user%%5Bpassword%%5D=%s"}, {Kind: "query session", query: "jsessionid=%s"},
		{Kind: "json password", contentType: "application/json", body: `{"user":"a","password":"%s"}`},
		{Kind: "json nested secret", contentType: "application/json", body: `{"a":[{"client_secret":"%s"}]}`},
		{Kind: "json in json", contentType: "application/json", body: `{"message":"{\"api_key\":\"%s\"}"}`},
		{Kind: "headers in json", contentType: "application/json", body: `{"headers":{"Authorization":"Bearer %s"}}`},
		{Kind: "list of headers in json", contentType: "application/json", body: `{"headers":[{"name":"X-Api-Key","value":"%s"}]}`},
		{Kind: "json private key", contentType: "application/json", body: `{"private_key":"%s"}`},
		{Kind: "json refresh token", contentType: "application/json", body: `{"refresh_token":"%s"}`},
		{Kind: "form password", contentType: "application/x-www-form-urlencoded", body: "user=a&password=%s"},
		{Kind: "form secret", contentType: "application/x-www-form-urlencoded", body: "client_secret=%s&x=1"},
		{Kind: "multipart", contentType: "multipart/form-data; boundary=XX", body: "--XX\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n%s\r\n--XX--\r\n"},
		{Kind: "xml element", contentType: "application/xml", body: "<a><password>%s</password></a>"},
		{Kind: "xml attribute", contentType: "application/xml", body: `<a><login password="%s"/></a>`},
		{Kind: "text assignment", contentType: "text/plain", body: "db_password=%s and more"},
		{Kind: "text colon", contentType: "text/plain", body: "secret: %s"},
		{Kind: "yaml", contentType: "text/yaml", body: "a:\n  api_key: %s\n"},
		{Kind: "jwt", Value: jwt, contentType: "text/plain", body: "see %s"},
		{Kind: "github token", Value: "ghp_16C7e42F292c6912E7710c838347Ae178B4a", contentType: "text/plain", body: "see %s"},
		{Kind: "gitlab token", Value: "glpat-Zq1234567890plantedV", contentType: "text/plain", body: "see %s"},
		{Kind: "slack token", Value: "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", contentType: "text/plain", body: "see %s"},
		{Kind: "aws access key", Value: "AKIAZQPLANTED7EXAMPL", contentType: "text/plain", body: "see %s"},
		{Kind: "stripe key", Value: "sk_live_51HplantedZq0123456789abcdef", contentType: "text/plain", body: "see %s"},
		{Kind: "card", Value: "4111111111111111", contentType: "text/plain", body: "see %s"},
		{Kind: "basic", Value: "Zq77plantedPass", head: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:Zq77plantedPass"))},
		{Kind: "redis key of a secret", redis: []string{"SET", "user:7:session_token", "%s"}},
		{Kind: "sql literal", sql: "INSERT INTO users (name, password) VALUES ('a', '%s')"},
		{Kind: "service token", Value: "npm_Zq16C7e42F292c6912E7710c838347Ae178B4a", contentType: "text/plain", body: "see %s"},
		{Kind: "bot token", Value: "987650321:AAZq77plantedZq77plantedZq77planted", contentType: "text/plain", body: "see %s"},
		{Kind: "signature header", head: "X-Signature: %s"}, {Kind: "json security answer", contentType: "application/json", body: `{"securityAnswer":"%s"}`},
		{Kind: "sentence", contentType: "text/plain", body: "The new password is: %s"}, {Kind: "quoted sentence", contentType: "text/plain", body: `with password "%s" at 12:00`},
		{Kind: "user of curl", contentType: "text/plain", body: "curl -u bob:%s x"},
		{Kind: "sql key", sql: "SELECT pgp_sym_decrypt(a, '%s') FROM t"}, {Kind: "sql setting", sql: "INSERT INTO settings VALUES ('smtp_password', '%s')"},
		{Kind: "sql comment", sql: "SELECT 1 /* password=%s */"}, {Kind: "sql row", sql: "SELECT 1 FROM u WHERE (name, password) = ('a', '%s')"}, {Kind: "sql value first", sql: "SELECT 1 FROM u WHERE '%s' = password"},
		{Kind: "query json", query: "filter=%%7B%%22password%%22%%3A%%22%s%%22%%7D"}, {Kind: "query graphql", query: "query=%%7Blogin(password%%3A%%22%s%%22)%%7Bid%%7D%%7D"},
		{Kind: "websocket protocol", head: "Sec-WebSocket-Protocol: bearer, %s"}, {Kind: "csv column", contentType: "text/csv", body: "user,password\na,%s\n"},
		{Kind: "file name", contentType: "multipart/form-data; boundary=XX", body: "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"password=%s\"\r\n\r\nhi\r\n--XX--\r\n"},
		{Kind: "html password", contentType: "text/html", body: `<input type="password" name="q" value="%s">`}, {Kind: "netrc", contentType: "text/plain", body: "machine h login u password %s"},
		{Kind: "redis key with a number", redis: []string{"SET", "session:7", "%s"}},
		{Kind: "memcached key of a secret", memcached: "user:7:password"},
		{Kind: "sql in a literal", sql: "INSERT INTO log VALUES ('CREATE USER z IDENTIFIED BY ''%s''')"}, {Kind: "login in a text", contentType: "text/plain", body: "7 root ALTER USER a IDENTIFIED WITH p AS '%s'"},
		{Kind: "quoted-printable", contentType: "text/plain", body: "Hello, the pass=\r\nword: %s"},
		{Kind: "url password", Value: "Zq78plantedPass", contentType: "text/plain", body: "postgres://u:%s@db/x"},
	}
	for i := range list {
		if list[i].Value == "" {
			list[i].Value = v(i)
		}
	}
	return list
}

// request returns a request that carries the secret, and its response.
func (s *Secret) request(i int) (request, response string) {
	fill := func(text string) string {
		if strings.Contains(text, "%") {
			return fmt.Sprintf(text, s.Value)
		}
		return text
	}
	switch {
	case s.redis != nil:
		request = fmt.Sprintf("*%d\r\n", len(s.redis))
		for _, word := range s.redis {
			word = fill(word)
			request += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
		}
		return request, "+OK\r\n"
	case s.memcached != "":
		return fmt.Sprintf("set %s 0 60 %d\r\n%s\r\n", s.memcached, len(s.Value), s.Value), "STORED\r\n"
	case s.sql != "":
		message := func(kind, body string) string {
			return kind + string(binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))) + body
		}
		start := message("", "\x00\x03\x00\x00user\x00shop\x00\x00")
		return start + message("Q", fill(s.sql)+"\x00"), message("R", "\x00\x00\x00\x00") + message("Z", "I") + message("C", "INSERT 0 1\x00") + message("Z", "I")
	}
	query, head, body, kind := "", "X-None: 1", `{"n":1}`, "application/json"
	if s.query != "" {
		query = "?" + fill(s.query)
	}
	if s.head != "" {
		head = fill(s.head)
	}
	if s.body != "" {
		body, kind = fill(s.body), s.contentType
	}
	return fmt.Sprintf("POST /api/v%d%s HTTP/1.1\r\nHost: shop\r\n%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", i%3, query, head, kind, len(body), body),
		"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
}

// Bundle makes a bundle in which every secret is sent once with its name, and again without: in a path,
// a header, a text, in base64 and in hexadecimal.
func Bundle(t testing.TB) (path string, secrets []Secret) {
	t.Helper()
	dir := t.TempDir()
	secrets = Secrets()
	var inputs []string
	for i, s := range secrets {
		in := filepath.Join(dir, fmt.Sprintf("%03d.pcap", 2*i))
		request, response := s.request(i)
		WriteExchange(t, in, 2*i, request, response)
		echo := fmt.Sprintf("it was %s, or %s, or %x", s.Value, base64.StdEncoding.EncodeToString([]byte(s.Value)), s.Value)
		at := filepath.Join(dir, fmt.Sprintf("%03d.pcap", 2*i+1))
		WriteExchange(t, at, 2*i+1, fmt.Sprintf("GET /seen/%s/x?note=%s HTTP/1.1\r\nHost: shop\r\nX-Echo: %s\r\nUser-Agent: agent %s\r\n\r\n", url.PathEscape(s.Value), url.QueryEscape(s.Value), s.Value, s.Value),
			fmt.Sprintf("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(echo), echo))
		inputs = append(inputs, in, at)
	}
	path = filepath.Join(dir, "leaky.pcapsule")
	if _, err := exporter.Run(context.Background(), inputs, path, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	return path, secrets
}

// Forms returns the forms in which an answer would leak the secret.
func (s *Secret) Forms() map[string]string {
	v := s.Value
	back := []byte(v)
	slices.Reverse(back)
	return map[string]string{"as it is": v, "backwards": string(back), "in hexadecimal": hex.EncodeToString([]byte(v)), "in HEX": strings.ToUpper(hex.EncodeToString([]byte(v))),
		"in base64": base64.RawStdEncoding.EncodeToString([]byte(v))[:len(v)], "in small letters": strings.ToLower(v), "in capitals": strings.ToUpper(v)}
}

// Shown describes the first secret that a text leaks, or returns "".
func Shown(text string, secrets []Secret) string {
	for _, s := range secrets {
		for form, v := range s.Forms() {
			if at := strings.Index(text, v); at >= 0 {
				return fmt.Sprintf("%s %s: …%s…", s.Kind, form, text[max(0, at-60):min(len(text), at+len(v)+60)])
			}
		}
	}
	return ""
}

// WriteExchange writes a capture of one TCP connection of the n-th client with one request and its
// response, one second after the previous client.
func WriteExchange(t testing.TB, path string, n int, request, response string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000+int64(n), 0)
	client, server := net.IPv4(10, 0, byte(n), 1), net.IPv4(10, 0, 0, 2)
	seq := [2]uint32{1000, 5000}
	send := func(from int, syn, fin bool, payload string) {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: client, DstIP: server}
		tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: seq[from], Ack: seq[1-from], SYN: syn, FIN: fin, ACK: !syn || from == 1, PSH: payload != "", Window: 65535}
		if from == 1 {
			ip.SrcIP, ip.DstIP = server, client
			tcp.SrcPort, tcp.DstPort = 80, 40000
		}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		b := gopacket.NewSerializeBuffer()
		eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()); err != nil {
			t.Fatal(err)
		}
		seq[from] += uint32(len(payload))
		if syn || fin {
			seq[from]++
		}
	}
	send(0, true, false, "")
	send(1, true, false, "")
	send(0, false, false, "")
	send(0, false, false, request)
	send(1, false, false, response)
	send(0, false, true, "")
	send(1, false, true, "")
	send(0, false, false, "")
}
