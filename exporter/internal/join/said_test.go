package join_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestSaid joins claims with packets, flows and calls by each rule of docs/format/alerts.md.
func TestSaid(t *testing.T) {
	dir := t.TempDir()
	var c traffic.Capture
	get := func(path string) string { return traffic.HTTP("GET "+path+" HTTP/1.1", "Host: shop", "") }
	ok := traffic.HTTP("HTTP/1.1 200 OK", "Content-Length: 2", "ok")
	c.Exchange(time.Second, 10*time.Millisecond, "a", "10.0.0.1", "10.0.0.2:80", get("/one"), ok)
	c.Exchange(2*time.Second, 10*time.Millisecond, "a", "10.0.0.1", "10.0.0.2:80", get("/two"), ok)
	c.Close(3*time.Second, "a")
	c.Datagram(4*time.Second, "10.0.0.1", "10.0.0.3:9999", "hello", "there")
	c.Ping(5*time.Second, "10.0.0.1", "10.0.0.4", true)
	pcap := filepath.Join(dir, "x.pcap")
	if err := c.Write(pcap); err != nil {
		t.Fatal(err)
	}
	type packet struct {
		ns  int64
		tcp bool
	}
	var packets []packet
	var port, udpPort uint16
	c.Packets(func(ns int64, data []byte) {
		p := packet{ns, data[23] == 6}
		if p.tcp && port == 0 {
			port = uint16(data[34])<<8 | uint16(data[35])
		}
		if data[23] == 17 && udpPort == 0 {
			udpPort = uint16(data[34])<<8 | uint16(data[35])
		}
		packets = append(packets, p)
	})
	request := 3 // behind the handshake
	at := func(i int, more time.Duration) string {
		return time.Unix(0, packets[i].ns).Add(more).UTC().Format("2006-01-02T15:04:05.000000+0000")
	}
	seconds := func(i int) string { return fmt.Sprintf("%d.%06d", packets[i].ns/1e9, packets[i].ns%1e9/1e3) }
	udp, ping := 0, 0
	for i, p := range packets {
		if !p.tcp && udp == 0 {
			udp = i
		}
	}
	ping = len(packets) - 2
	eve := func(time, rest string) string {
		return fmt.Sprintf(`{"timestamp":%q,"event_type":"alert","alert":{"signature":"x"},%s}`, time, rest)
	}
	tcp := fmt.Sprintf(`"src_ip":"10.0.0.1","src_port":%d,"dest_ip":"10.0.0.2","dest_port":80,"proto":"TCP"`, port)
	for _, tt := range []struct{ name, line, want string }{ // here why flow conn calls cites
		{"the packet of a request", eve(at(request, 0), tcp), fmt.Sprintf("yes packet 0 0 [0] [%d-%[1]d]", request)},
		{"seen from the server", eve(at(request, 0), fmt.Sprintf(`"src_ip":"10.0.0.2","src_port":80,"dest_ip":"10.0.0.1","dest_port":%d,"proto":"TCP"`, port)), fmt.Sprintf("yes packet 0 0 [0] [%d-%[1]d]", request)},
		{"the first packet, before any call", eve(at(0, 0), tcp), "yes packet 0 0 - [0-0]"},
		{"another clock", eve(at(request, time.Millisecond), tcp), "unknown no_packet 0 0 - -"},
		{"another day", eve(at(request, 48*time.Hour), tcp), "unknown no_packet - - - -"},
		{"ends that nothing has", eve(at(request, 0), strings.Replace(tcp, "10.0.0.2", "10.0.0.9", 1)), "no no_flow - - - -"},
		{"another port", eve(at(request, 0), strings.Replace(tcp, `"dest_port":80`, `"dest_port":81`, 1)), "no no_flow - - - -"},
		{"UDP", eve(at(udp, 0), fmt.Sprintf(`"src_ip":"10.0.0.1","src_port":%d,"dest_ip":"10.0.0.3","dest_port":9999,"proto":"UDP"`, udpPort)), fmt.Sprintf("yes packet 1 1 [3] [%d-%[1]d]", udp)},
		{"a ping", eve(at(ping, 0), `"src_ip":"10.0.0.1","dest_ip":"10.0.0.4","proto":"ICMP","icmp_type":8`), fmt.Sprintf("yes packet 2 2 [2] [%d-%[1]d]", ping)},
		{"a frame without ends", fmt.Sprintf(`{"timestamp":%q,"event_type":"anomaly","pcap_cnt":%d,"anomaly":{"event":"x"}}`, at(udp, 0), udp+1), fmt.Sprintf("yes frame 1 - - [%d-%[1]d]", udp)},
		{"a frame of another time", fmt.Sprintf(`{"timestamp":%q,"event_type":"anomaly","pcap_cnt":%d,"anomaly":{"event":"x"}}`, at(udp, time.Second), udp+1), "unknown no_ends - - - -"},
		{"neither ends nor time", fmt.Sprintf(`{"timestamp":%q,"event_type":"anomaly","anomaly":{"event":"x"}}`, at(0, -time.Hour)), "no outside - - - -"},
		{"Zeek, whose match names no protocol", fmt.Sprintf(`{"ts":%s,"seen.indicator":"x","id.orig_h":"10.0.0.1","id.orig_p":%d,"id.resp_h":"10.0.0.2","id.resp_p":80}`, seconds(request), port), fmt.Sprintf("yes packet 0 0 [0] [%d-%[1]d]", request)},
		{"a connection of Zeek", fmt.Sprintf(`{"ts":%s,"duration":%d.%06d,"conn_state":"SF","proto":"udp","id.orig_h":"10.0.0.1","id.orig_p":%d,"id.resp_h":"10.0.0.3","id.resp_p":9999}`, seconds(udp), (packets[udp+1].ns-packets[udp].ns)/1e9, (packets[udp+1].ns-packets[udp].ns)%1e9/1e3, udpPort), fmt.Sprintf("yes packet 1 1 - [%d-%d]", udp, udp+1)},
		{"a connection that lasted longer", fmt.Sprintf(`{"ts":%s,"duration":99.5,"conn_state":"SF","proto":"udp","id.orig_h":"10.0.0.1","id.orig_p":%d,"id.resp_h":"10.0.0.3","id.resp_p":9999}`, seconds(udp), udpPort), fmt.Sprintf("unknown no_packet 1 1 - [%d-%[1]d]", udp)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := filepath.Join(dir, "log.json")
			if err := os.WriteFile(log, []byte(tt.line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, got := exportertest.Proven(t, exporter.Options{Alerts: []string{log}}, []string{pcap},
				`SELECT concat_ws(' ', packets_here, packets_why, coalesce(flow_id::VARCHAR, '-'), coalesce(conn_id::VARCHAR, '-'), coalesce(call_nos::VARCHAR, '-'), coalesce(list_transform(cites, r -> r."first" || '-' || r."last")::VARCHAR, '-')) FROM alerts`)
			if got[0] != tt.want {
				t.Errorf("%s, want %s", got[0], tt.want)
			}
		})
	}
}
