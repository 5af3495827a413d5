package everyquestion_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/console"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// acting contains what a terminal acts on: a title and a colour, a bell, a return, a C1
// control, a change of direction, a zero-width space, a line separator, a tag.
const acting = "\x1b]0;owned\x07\x1b[31m\r\x08\x7f\u009b31m\u202egnp.exe\u2066\u200b\u2028\ufeff\U000e0041"

// conversations writes a capture of HTTP exchanges, one per connection.
func conversations(t *testing.T, path string, exchanges ...[2]string) {
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
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	for n, x := range exchanges {
		client, server := net.IPv4(10, 0, 0, 2), net.IPv4(10, 0, 0, 1)
		port := layers.TCPPort(40000 + n)
		seq := [2]uint32{uint32(100 + n*1000), uint32(500 + n*1000)}
		send := func(fromServer bool, syn, fin bool, payload string) {
			at = at.Add(time.Millisecond)
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: client, DstIP: server}
			tcp := &layers.TCP{SrcPort: port, DstPort: 80, Seq: seq[0], Ack: seq[1], SYN: syn, FIN: fin, ACK: !syn || fromServer, PSH: payload != "", Window: 65535}
			me := 0
			if fromServer {
				me = 1
				ip.SrcIP, ip.DstIP = server, client
				tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = 80, port, seq[1], seq[0]
			}
			seq[me] += uint32(len(payload))
			if syn || fin {
				seq[me]++
			}
			tcp.SetNetworkLayerForChecksum(ip)
			buf := gopacket.NewSerializeBuffer()
			eth := &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv4}
			if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
				t.Fatal(err)
			}
			data := buf.Bytes()
			if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(data), Length: len(data)}, data); err != nil {
				t.Fatal(err)
			}
		}
		send(false, true, false, "")
		send(true, true, false, "")
		send(false, false, false, x[0])
		send(true, false, false, x[1])
		send(false, false, true, "")
		send(true, false, true, "")
	}
}

// hostile writes a capture with text that a terminal would act on in every field.
func hostile(t *testing.T, path string) {
	line := strings.NewReplacer("\r", "", "\n", "").Replace(acting)
	body := `{"name":"` + line + `","email":"a@b.c","n":1}`
	var list [][2]string
	for _, status := range []string{"200 OK", "500 " + line, "503 Gone " + line, "401 No"} {
		for range 4 {
			list = append(list, [2]string{
				fmt.Sprintf("POST /a/%s?q=%s HTTP/1.1\r\nHost: h%s\r\nUser-Agent: %s\r\nX-%s: %s\r\nContent-Type: application/json\r\nX-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s", line, line, line, line, "Odd", line, line, len(body), body),
				fmt.Sprintf("HTTP/1.1 %s\r\nServer: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", status, line, len(body), body),
			})
		}
	}
	conversations(t, path, list...)
}

// TestNoTextActsOnATerminal runs every command on a capture full of text that a terminal would
// act on.
func TestNoTextActsOnATerminal(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	name := "odd\u202efile\u200b.pcap"
	if runtime.GOOS != "windows" {
		name = "odd\x1b[31m\nfile\u202e.pcap"
	}
	hostile(t, name)
	if err := os.WriteFile("hosts", []byte("10.0.0.1 shop\x1b[31m\u202e\n10.0.0.2 web\u202e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("rules.yaml", []byte("rules:\n  - name: \"r\\e[31m\\u202e\"\n    calls: http\n    status: [204]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		_, out, stderr := clitest.Run(args...)
		for stream, text := range map[string]string{"output": out, "messages": stderr} {
			for i, r := range text {
				if r != '\n' && r != '\t' && console.Acts(r) || r == utf8.RuneError && !utf8.ValidString(text[i:i+1]) {
					t.Errorf("pcapsule %q: %s contain %q: …%.60q", args, stream, r, text[max(0, i-30):])
					break
				}
			}
		}
		return out + stderr
	}
	bundle := "x.pcapsule"
	if text := run("bundle", name, "--hosts", "hosts", "-o", bundle); !strings.Contains(text, "packets") {
		t.Fatal(text)
	}
	run("info", bundle)
	run("info", bundle, "--json")
	for _, format := range []string{"table", "json", "ndjson", "csv", "har", "curl"} {
		run("query", bundle, "http", "--format", format)
		run("query", bundle, "http", "--explain", "--format", format)
	}
	for _, format := range []string{"table", "json", "csv"} {
		run("sql", bundle, "select * from calls", "--format", format)
	}
	for i, table := range []string{"flows", "endpoints", "anomalies", "coverage", "objects", "workloads", "connections", "bodies", "clocks"} {
		run("sql", bundle, "select * from "+table, "--format", []string{"table", "json", "csv"}[i%3])
	}
	run("sql", bundle, "select path as \"=\x1b[31m\" from calls where path = '\u202e", "--format", "csv")
	for i, q := range findings.Questions() {
		if i%2 == 0 || nightly.On() {
			run("ask", clitest.Dashed(q.Name), bundle)
		}
		if i%2 == 1 || nightly.On() {
			run("ask", clitest.Dashed(q.Name), bundle, "--json")
		}
	}
	run("show", bundle, "#0")
	run("show", bundle, "#0", "--json")
	run("follow", bundle, "#0")
	run("check", bundle, "rules.yaml")
	run("schema")
	run("kfl", "check", "http.path == '\x1b[31m\u202e'")
	run("packets", bundle, "http", "-o", "s\u202e.pcapng")
	run("nosuch\x1b[31m\u202e")
	run("query", bundle, "nosuch\u202e == 1")
	run("report", bundle, "-o", "r.html")
	run("verify", "nosuch\x1b\u202e.pcapsule")
	if runtime.GOOS != "windows" {
		for _, odd := range []string{"data/e\x1b[31m\nvil\u202e", "custody/x\x9b31m"} {
			if err := os.WriteFile(filepath.Join(bundle, odd), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text := run("verify", bundle)
		if !strings.Contains(text, `data/e\u001b[31m\u000avil\u202e: added`) {
			t.Errorf("an odd name: %s", text)
		}
	}
}
