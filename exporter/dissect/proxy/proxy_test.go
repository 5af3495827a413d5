package proxy

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client = dissecttest.Client

const (
	text4  = "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"
	addrs4 = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x9c\x40\x01\xbb"
	addrs6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x9c\x40\x00\x50"
)

// v2 is a header of version 2.
func v2(command, family byte, rest ...string) string {
	all := strings.Join(rest, "")
	return sign + string([]byte{0x20 | command, family, byte(len(all) >> 8), byte(len(all))}) + all
}

func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

// summed is a header whose last field is the checksum plus off.
func summed(off uint32) string {
	b := []byte(v2(1, 0x11, addrs4, tlv(typeCRC32C, "\x00\x00\x00\x00")))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, castagnoli)+off)
	return string(b)
}

var full = v2(1, 0x21, addrs6, tlv(typeALPN, "h2"), tlv(typeAuthority, "shop.example"), tlv(typeUniqueID, "\x01\xfe"), tlv(typeNetns, "blue"), tlv(typeAWS, "\x01vpce-08d2bf15fac5001c9"),
	tlv(typeSSL, "\x03\x00\x00\x00\x00"+tlv(typeVersion, "TLSv1.3")+tlv(typeCN, "ann")+tlv(typeCipher, "TLS_AES_128_GCM_SHA256")))

var samples = []dissecttest.Sample{
	{Name: "version 1", Rows: 1, Chunks: chunks{client(text4)}},
	{Name: "version 2", Rows: 1, Chunks: chunks{client(full)}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"proxy_version", "proxy_family", "proxy_client_ip", "proxy_client_port", "proxy_server_ip", "proxy_server_port", "proxy_authority", "proxy_alpn", "proxy_unique_id",
		"proxy_tls_version", "proxy_tls_client_cn", "proxy_tls_verified", "proxy_tls_cipher", "proxy_netns", "proxy_cloud_endpoint"}
	in4 := " proxy_family=tcp4 proxy_client_ip=192.0.2.1 proxy_client_port=40000 proxy_server_ip=198.51.100.2 proxy_server_port=443"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "version 1", Chunks: samples[0].Chunks, Want: []string{"PROXY 192.0.2.1:40000 → 198.51.100.2:443 proxy_version=1" + in4}},
		{Name: "version 1 for IPv6", Chunks: chunks{client("PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n")}, Want: []string{
			"PROXY [2001:db8::1]:1 → [::1]:2 proxy_version=1 proxy_family=tcp6 proxy_client_ip=2001:db8::1 proxy_client_port=1 proxy_server_ip=::1 proxy_server_port=2"}},
		{Name: "version 1 without addresses", Chunks: chunks{client("PROXY UNKNOWN anything\r\n")}, Want: []string{"PROXY proxy_version=1"}},
		{Name: "version 2", Chunks: samples[1].Chunks, Want: []string{"PROXY [2001:db8::1]:40000 → [2001:db8::2]:80 (shop.example) proxy_version=2 proxy_family=tcp6 proxy_client_ip=2001:db8::1 " +
			"proxy_client_port=40000 proxy_server_ip=2001:db8::2 proxy_server_port=80 proxy_authority=shop.example proxy_alpn=h2 proxy_unique_id=01fe proxy_tls_version=TLSv1.3 proxy_tls_client_cn=ann " +
			"proxy_tls_verified=true proxy_tls_cipher=TLS_AES_128_GCM_SHA256 proxy_netns=blue proxy_cloud_endpoint=vpce-08d2bf15fac5001c9"}},
		{Name: "version 2 of a health check", Chunks: chunks{client(v2(0, 0))}, Want: []string{"LOCAL proxy_version=2"}},
		{Name: "version 2 with sockets of Unix", Chunks: chunks{client(v2(1, 0x31, strings.Repeat("/a\x00\x00", 54)))}, Want: []string{"PROXY proxy_version=2 proxy_family=unix stream"}},
		{Name: "a link of Azure", Chunks: chunks{client(v2(1, 0x11, addrs4, tlv(typeAzure, "\x01\x0c\x00\x00\x04")))}, Want: []string{
			"PROXY 192.0.2.1:40000 → 198.51.100.2:443 proxy_version=2" + in4 + " proxy_cloud_endpoint=0c000004"}},
	}...)
}

// TestChecksum holds the checksum of a header against one that was altered.
func TestChecksum(t *testing.T) {
	for off, want := range map[uint32]int{0: 0, 1: 1} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(summed(off)))
		if len(r.Anomalies) != want || len(r.Emissions) != 1 {
			t.Errorf("off by %d: %d rows, anomalies %v", off, len(r.Emissions), r.Anomalies)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"version 1", dissect.ToServer, text4 + "GET /", dissect.Yes},
		{"a part of it", dissect.ToServer, text4[:20], dissect.More},
		{"a letter", dissect.ToServer, "P", dissect.More},
		{"a request of HTTP", dissect.ToServer, "POST / HTTP/1.1\r\n", dissect.No},
		{"an address of the other family", dissect.ToServer, "PROXY TCP6 192.0.2.1 198.51.100.2 40000 443\r\n", dissect.No},
		{"a port that is not one", dissect.ToServer, "PROXY TCP4 192.0.2.1 198.51.100.2 40000 65536\r\n", dissect.No},
		{"a line that is too long", dissect.ToServer, "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", dissect.No},
		{"version 2", dissect.ToServer, full[:headSize], dissect.Yes},
		{"the beginning of version 2", dissect.ToServer, full[:9], dissect.More},
		{"version 3", dissect.ToServer, sign + "\x31\x11\x00\x0c", dissect.No},
		{"too short for its addresses", dissect.ToServer, v2(1, 0x21, addrs4), dissect.No},
		{"the server", dissect.ToClient, text4, dissect.No},
	})
}
