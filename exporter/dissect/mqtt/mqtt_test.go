package mqtt

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// packet is a packet with its fixed header.
func packet(first byte, body string) string {
	b := []byte{first}
	n := len(body)
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n))) + body
}

func text(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

func pub(flags byte, topic, rest string) string { return packet(0x30|flags, text(topic)+rest) }

var (
	login4   = packet(0x10, text("MQTT")+"\x04\xc2\x00\x3c"+text("sensor")+text("alice")+text("s3cret"))
	login5   = packet(0x10, text("MQTT")+"\x05\xc6\x00\x3c\x05\x11\x00\x00\x00\x10"+text("sensor")+"\x00"+text("gone")+text("bye")+text("alice")+text("s3cret"))
	login3   = packet(0x10, text("MQIsdp")+"\x03\x02\x00\x3c"+text("old"))
	accepted = "\x20\x02\x00\x00"
	accept5  = packet(0x20, "\x00\x00\x03\x22\x00\x0a")
	user     = "\x26" + text("traceparent") + text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
)

func begun(list ...dissecttest.Chunk) chunks {
	return append(chunks{client(login4), server(accepted)}, list...)
}

func begun5(list ...dissecttest.Chunk) chunks {
	return append(chunks{client(login5), server(accept5)}, list...)
}

// props are properties after their length.
func props(s string) string { return string(rune(len(s))) + s }

var samples = []dissecttest.Sample{
	{Name: "quality of service 0 to 2", Rows: 6, Chunks: begun(client(pub(0, "a/b", "hi")+pub(2, "a/b", "\x00\x01hi")), server("\x40\x02\x00\x01"),
		client(pub(4, "a/c", "\x00\x02hi")), server("\x50\x02\x00\x02"), client("\x62\x02\x00\x02"), server("\x70\x02\x00\x02"), client("\xc0\x00"), server("\xd0\x00"), client("\xe0\x00"))},
	{Name: "a subscriber", Rows: 4, Chunks: begun(client(packet(0x82, "\x00\x01"+text("a/#")+"\x01")), server("\x90\x03\x00\x01\x01"+pub(2, "a/b", "\x00\x07hi")),
		client("\x40\x02\x00\x07"), client(packet(0xa2, "\x00\x02"+text("a/#"))), server("\xb0\x02\x00\x02"))},
	{Name: "version 5", Rows: 4, Chunks: begun5(client(pub(2, "a/b", "\x00\x01"+props(user+"\x08"+text("reply")+"\x23\x00\x05")+"hi")+pub(0, "", props("\x23\x00\x05")+"again")),
		server("\x40\x04\x00\x01\x10\x00"), server("\xe0\x02\x8b\x00"))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"mqtt_packets", "auth_kind", "trace_id", "mqtt_response_topic", "mqtt_reason_code"}
	const in4 = "CONNECT sensor as alice → ok auth_kind=password mqtt_packets=[CONNECT CONNACK] mqtt_reason_code=0"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a message and its acknowledgements are one row", Chunks: samples[0].Chunks, Want: []string{in4,
			"PUBLISH a/b (2 B) mqtt_packets=[PUBLISH]", "PUBLISH a/b (2 B) → ok mqtt_packets=[PUBLISH PUBACK]",
			"PUBLISH a/c (2 B) → ok mqtt_packets=[PUBLISH PUBREC PUBREL PUBCOMP]", "PINGREQ → PINGRESP mqtt_packets=[PINGREQ PINGRESP]", "DISCONNECT mqtt_packets=[DISCONNECT]"}},
		{Name: "the server publishes too", Chunks: samples[1].Chunks, Want: []string{in4, "SUBSCRIBE a/# → QoS 1 mqtt_packets=[SUBSCRIBE SUBACK] mqtt_reason_code=1",
			"PUBLISH a/b (2 B) → ok mqtt_packets=[PUBLISH PUBACK]", "UNSUBSCRIBE a/# → ok mqtt_packets=[UNSUBSCRIBE UNSUBACK]"}},
		{Name: "from its middle, a subscriber that sends nothing but acknowledgements", Chunks: chunks{
			server(pub(2, "sensors/a", "\x00\x01hi")), client(packet(0x40, "\x00\x01")), server(pub(2, "sensors/a", "\x00\x02ho")), client(packet(0x40, "\x00\x02"))},
			Midway: true, Want: []string{
				"PUBLISH sensors/a (2 B) → ok mqtt_packets=[PUBLISH PUBACK]", "PUBLISH sensors/a (2 B) → ok mqtt_packets=[PUBLISH PUBACK]"}},
		{Name: "from its middle, a subscriber that sends nothing", Chunks: chunks{server(pub(0, "sensors/a", "hi")), server(pub(0, "sensors/a", "ho"))},
			Midway: true, Want: []string{"PUBLISH sensors/a (2 B) mqtt_packets=[PUBLISH]", "PUBLISH sensors/a (2 B) mqtt_packets=[PUBLISH]"}},
		{Name: "from its middle, payloads that may begin with properties", Chunks: chunks{
			server(pub(0, "a/b", props("\x23\x00\x05")+"hi")), server(pub(0, "a/b", "\x04\x23\x00")[:10]), server(pub(0, "a/b", "\x02\x23\x00")), server(pub(0, "a/b", props(user)+"hi")[:30]), server(pub(0, "a/b", props(user)+"hi")[30:])},
			Midway: true, Want: []string{"PUBLISH a/b (at most 6 B) mqtt_packets=[PUBLISH]", "PUBLISH a/b (3 B) mqtt_packets=[PUBLISH]", "PUBLISH a/b (3 B) mqtt_packets=[PUBLISH]",
				"PUBLISH a/b (at most " + strconv.Itoa(len(user)+3) + " B) mqtt_packets=[PUBLISH]"}},
		{Name: "properties of version 5", Chunks: samples[2].Chunks, Want: []string{in4,
			"PUBLISH a/b (5 B) mqtt_packets=[PUBLISH]",
			"PUBLISH a/b (2 B) → ok trace_id=4bf92f3577b34da6a3ce929d0e0e4736 mqtt_packets=[PUBLISH PUBACK] mqtt_reason_code=16 mqtt_response_topic=reply",
			"DISCONNECT: server shutting down outcome=server_error mqtt_packets=[DISCONNECT] mqtt_reason_code=139"}},
		{Name: "a login that is refused, versions 3.1 and 5", Chunks: chunks{client(login3), server("\x20\x02\x00\x03"), client(login5), server(packet(0x20, "\x00\x86\x00"))}, Want: []string{
			"CONNECT old → server unavailable outcome=server_error mqtt_packets=[CONNECT CONNACK] mqtt_reason_code=3",
			"CONNECT sensor as alice → bad user name or password outcome=client_error auth_kind=password mqtt_packets=[CONNECT CONNACK] mqtt_reason_code=134"}},
		{Name: "a login in several steps", Chunks: chunks{client(packet(0x10, text("MQTT")+"\x05\x02\x00\x3c"+props("\x15"+text("SCRAM-SHA-1")+"\x16"+text("s3cret"))+text("c"))),
			server(packet(0xf0, "\x18"+props("\x16"+text("s3cret")))), client(packet(0xf0, "\x18"+props("\x16"+text("s3cret")))), server(packet(0x20, "\x00\x00\x00"))}, Want: []string{
			"CONNECT c → ok auth_kind=scram-sha-1 mqtt_packets=[CONNECT AUTH AUTH CONNACK] mqtt_reason_code=0"}},
		{Name: "a filter that is refused", Chunks: begun(client(packet(0x82, "\x00\x01"+text("a")+"\x02"+text("secret")+"\x00")), server("\x90\x04\x00\x01\x02\x80")), Want: []string{in4,
			"SUBSCRIBE a, secret → unspecified error outcome=server_error mqtt_packets=[SUBSCRIBE SUBACK] mqtt_reason_code=128"}},
		{Name: "a message that is refused", Chunks: begun5(client(pub(4, "a/b", "\x00\x01\x00hi")), server("\x50\x04\x00\x01\x97\x00")), Want: []string{in4,
			"PUBLISH a/b (2 B) → quota exceeded outcome=server_error mqtt_packets=[PUBLISH PUBREC] mqtt_reason_code=151"}},
		{Name: "a message without an acknowledgement, and an acknowledgement without its message", Chunks: begun(client(pub(2, "a/b", "\x00\x01hi")), server("\x40\x02\x00\x09")), Want: []string{in4,
			"PUBACK → no_request error=no_request mqtt_packets=[PUBACK]", "PUBLISH a/b (2 B) → no_response error=no_response outcome=no_answer mqtt_packets=[PUBLISH]"}},
		{Name: "a server that lowers the quality of service", Chunks: begun(client(pub(4, "a/b", "\x00\x01hi")), server("\x40\x02\x00\x01")), Want: []string{in4,
			"PUBLISH a/b (2 B) → ok mqtt_packets=[PUBLISH PUBACK]"}},
		{Name: "bytes lost in a payload", Chunks: begun(client(pub(0, "a/b", "0123456789")[:10]), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 5, Data: []byte("89" + pub(0, "a/c", "x"))}), Want: []string{in4,
			"PUBLISH a/b (10 B) → gap error=gap outcome=unread mqtt_packets=[PUBLISH]", "PUBLISH a/c (1 B) mqtt_packets=[PUBLISH]"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"CONNECT", dissect.ToServer, login5, dissect.Yes},
		{"its beginning", dissect.ToServer, login5[:6], dissect.More},
		{"CONNECT of an unknown version", dissect.ToServer, strings.Replace(login5, "\x05", "\x09", 1), dissect.No},
		{"PUBLISH in mid-connection, which both sides send", dissect.ToClient, pub(0, "home/door", "open"), dissect.More},
		{"two of them", dissect.ToClient, pub(0, "home/door", "open") + pub(2, "home/door", "\x00\x01shut"), dissect.Likely},
		{"PUBLISH and an acknowledgement", dissect.ToServer, pub(0, "home/door", "open") + "\x40\x02\x00\x07", dissect.Likely},
		{"PUBLISH and the beginning of another packet", dissect.ToServer, pub(0, "home/door", "open") + "\x40\x02\x00", dissect.More},
		{"two acknowledgements", dissect.ToServer, "\x40\x02\x00\x07\x40\x02\x00\x08", dissect.More},
		{"a ping", dissect.ToServer, "\xc0\x00", dissect.More},
		{"two pings", dissect.ToServer, "\xc0\x00\xc0\x00", dissect.Likely},
		{"two pings from the other side", dissect.ToClient, "\xc0\x00\xc0\x00", dissect.No},
		{"PUBLISH and a packet of the server", dissect.ToClient, pub(0, "home/door", "open") + "\xd0\x00", dissect.Likely},
		{"PUBLISH and a packet of the client", dissect.ToClient, pub(0, "home/door", "open") + "\xc0\x00", dissect.No},
		{"one and something else", dissect.ToClient, pub(0, "home/door", "open") + "GET / HTTP/1.1\r\n", dissect.No},
		{"SUBSCRIBE", dissect.ToServer, packet(0x82, "\x00\x01"+text("a/#")+"\x01"), dissect.Likely},
		{"SUBSCRIBE with a byte too many", dissect.ToServer, packet(0x82, "\x00\x01"+text("a/#")+"\x01x"), dissect.No},
		{"SUBSCRIBE from the server", dissect.ToClient, packet(0x82, "\x00\x01"+text("a/#")+"\x01"), dissect.No},
		{"an acknowledgement, which shows too little", dissect.ToClient, accepted, dissect.More},
		{"a request of LDAP", dissect.ToServer, "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", dissect.No},
		{"a line of SMTP", dissect.ToClient, "220 mail.example ESMTP\r\n", dissect.No},
	})
}

// Of the last packets of a connection, the port says that they are MQTT.
func TestLastPackets(t *testing.T) {
	for _, c := range []struct {
		name   string
		port   uint16
		chunks chunks
		want   string
	}{
		{"a ping and the end", 1883, chunks{client("\xc0\x00"), server("\xd0\x00"), client("\xe0\x00")}, "DISCONNECT, PINGREQ → PINGRESP"},
		{"the end", 1883, chunks{client("\xe0\x00")}, "DISCONNECT"},
		{"the end on another port", 50001, chunks{client("\xe0\x00")}, ""},
		{"pings on another port", 50001, chunks{client("\xc0\x00"), server("\xd0\x00"), client("\xc0\x00"), server("\xd0\x00")}, "PINGREQ → PINGRESP, PINGREQ → PINGRESP"},
		{"messages of both sides on another port", 50001, chunks{client(pub(2, "bus/17/cmd", "\x00\x01go")), server("\x40\x02\x00\x01"), server(pub(2, "bus/17/info", "\x00\x09ok")), client("\x40\x02\x00\x09")},
			"PUBLISH bus/17/cmd (2 B) → ok, PUBLISH bus/17/info (2 B) → ok"},
		{"something else", 1883, chunks{client("\xe0\x00\x00\x00")}, ""},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.Roles, o.ServerPort = false, c.port
		var got []string
		for _, row := range dissecttest.Play(t, o, c.chunks...).Rows() {
			if r, ok := row.(*Row); ok {
				got = append(got, r.Summary)
			}
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNoSecretLeavesThePackage looks for the credentials of a login in its row.
func TestNoSecretLeavesThePackage(t *testing.T) {
	for _, list := range []chunks{begun(), begun5()} {
		for _, row := range dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), list...).Rows() {
			if text := fmt.Sprintf("%+v", row); strings.Contains(text, "s3cret") || !strings.Contains(text, "alice") {
				t.Error(text)
			}
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	dissecttest.Bench(b, Protocol(), begun(), chunks{client(pub(2, "sensors/kitchen/temperature", "\x00\x01"+strings.Repeat("21.5 ", 20))), server("\x40\x02\x00\x01")})
}
