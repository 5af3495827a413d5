package all_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
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
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// servicePort is the port of those of the shop's services whose pods listen on another one.
const servicePort = 8088

// ofPods replaces what differs between the two captures in text.
var ofPods = strings.NewReplacer("10.96.", "10.244.", fmt.Sprint(servicePort), "8080", "at least ", "")

// recordedTwice writes what two nodes record of the shop: the clients' node sees the addresses of services, and that
// of the servers the pods behind them. At the end, connections are refused, each twice from the same port.
func recordedTwice(t *testing.T) (client, server, kube string) {
	t.Helper()
	dir := t.TempDir()
	in, err := os.Open("../../../samples/shop.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := pcapgo.NewNgReader(in, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	client, server = filepath.Join(dir, "client.pcap"), filepath.Join(dir, "server.pcap")
	var writers []*pcapgo.Writer
	for _, path := range []string{client, server} {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := pcapgo.NewWriterNanos(f)
		if err := w.WriteFileHeader(65535, r.LinkType()); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	write := func(at time.Time, data []byte) {
		for i, translate := range []bool{true, false} {
			data := data
			if translate {
				data = ofService(t, data)
			}
			if err := writers[i].WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(data), Length: len(data)}, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	var last time.Time
	for {
		data, ci, err := r.ReadPacketData()
		if err != nil {
			break
		}
		last = ci.Timestamp
		write(last, data)
	}
	for port := range 12 {
		for range 2 {
			syn := &layers.TCP{SrcPort: layers.TCPPort(60000 + port), DstPort: 8080, Seq: 0x1234567, SYN: true, Window: 64000}
			reset := &layers.TCP{SrcPort: 8080, DstPort: layers.TCPPort(60000 + port), Ack: 0x1234568, RST: true, ACK: true}
			write(last.Add(10*time.Millisecond), packet(t, "10.244.0.12", "10.244.0.15", syn))
			last = last.Add(20 * time.Millisecond)
			write(last, packet(t, "10.244.0.15", "10.244.0.12", reset))
		}
	}
	text, err := os.ReadFile(shopPolicies(t))
	if err != nil {
		t.Fatal(err)
	}
	var dump struct {
		APIVersion string           `json:"apiVersion"`
		Kind       string           `json:"kind"`
		Items      []map[string]any `json:"items"`
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	pods := map[any]string{}
	for _, item := range dump.Items {
		if item["kind"] == "Pod" && item["status"].(map[string]any)["podIP"] != "10.244.0.13" {
			pods[item["metadata"].(map[string]any)["labels"].(map[string]any)["app"]] = item["status"].(map[string]any)["podIP"].(string)
		}
	}
	for _, item := range dump.Items {
		if item["kind"] == "Service" {
			spec := item["spec"].(map[string]any)
			spec["clusterIP"] = strings.Replace(pods[item["metadata"].(map[string]any)["name"]], "10.244.", "10.96.", 1)
			if port := spec["ports"].([]any)[0].(map[string]any); port["targetPort"] == float64(8080) {
				port["port"] = servicePort
			}
		}
	}
	if text, err = json.Marshal(dump); err != nil {
		t.Fatal(err)
	}
	kube = filepath.Join(dir, "kube.json")
	if err := os.WriteFile(kube, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return client, server, kube
}

func packet(t *testing.T, src, dst string, tcp *layers.TCP) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4()}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// ofService is a packet with the address and port of the service in place of those of the pod behind it.
func ofService(t *testing.T, data []byte) []byte {
	t.Helper()
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
	ip, ok := p.NetworkLayer().(*layers.IPv4)
	if !ok {
		return data
	}
	service := func(ip net.IP, port uint16) (net.IP, uint16, bool) {
		if ip[0] != 10 || ip[1] != 244 || port > 50051 || port < 50051 && port > 9000 {
			return ip, port, false
		}
		if port == 8080 {
			port = servicePort
		}
		to := net.IP{10, 96, ip[2], ip[3]}
		if to[3] == 13 { // the second pod of the frontend
			to[3] = 12
		}
		return to, port, true
	}
	var transport interface {
		gopacket.SerializableLayer
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		ip.SrcIP, l.SrcPort = translated(service, ip.SrcIP, l.SrcPort)
		ip.DstIP, l.DstPort = translated(service, ip.DstIP, l.DstPort)
		transport = l
	case *layers.UDP:
		ip.SrcIP, l.SrcPort = translated(service, ip.SrcIP, l.SrcPort)
		ip.DstIP, l.DstPort = translated(service, ip.DstIP, l.DstPort)
		transport = l
	default:
		return data
	}
	if err := transport.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	eth, payload := p.LinkLayer().(*layers.Ethernet), gopacket.Payload(p.TransportLayer().LayerPayload())
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, transport, payload); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func translated[P ~uint16](service func(net.IP, uint16) (net.IP, uint16, bool), ip net.IP, port P) (net.IP, P) {
	to, n, ok := service(ip.To4(), uint16(port))
	if !ok {
		return ip, port
	}
	return to, P(n)
}

// ofVantage are the members of answers that depend on which of two rows of a call stands for both: its addresses and
// times, its place in a bundle, text with them, who has them, and lookups that led to it: those of the sample name pods.
var ofVantage = append([]string{"first", "last", "time", "times", "at", "at_ms", "port", "ports", "ip", "ips", "flow_ids", "call_id", "call_ids", "id", "ids", "kfl", "coverage", "notes", "next_cursor", "who", "dns", "most_in"}, aboutBundles...)

// TestCallsThroughServicesChangeNoAnswer asks every question about the bundle of the servers' node, and about it with
// that of the clients' node, which has other addresses and ports of the servers.
func TestCallsThroughServicesChangeNoAnswer(t *testing.T) {
	client, server, kube := recordedTwice(t)
	dir := t.TempDir()
	made := func(name, capture string) string {
		path := filepath.Join(dir, name+".pcapsule")
		if _, err := exporter.Run(ctx, []string{capture}, path, exporter.Options{Release: "test", Repanic: true, Kube: []string{kube}}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	there, here := made("servers", server), made("clients", client)
	// answers counts each value of an answer by its question, its path without positions, and itself.
	answers := func(paths ...string) map[string]int {
		c, err := forensics.Open(ctx, paths, forensics.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		finding.Bind(c, all.Analyzers())
		out := map[string]int{}
		var add func(path string, v any)
		add = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				for k, x := range v {
					if !slices.Contains(ofVantage, k) {
						add(path+"."+k, x)
					}
				}
			case []any:
				for _, x := range v {
					add(path, x)
				}
			case string:
				v = ofPods.Replace(v)
				out[fmt.Sprintf("%s is %s", path, v)]++
			default:
				out[fmt.Sprintf("%s is %v", path, v)]++
			}
		}
		eachAnswer(t, c, func(question string, answer any) { add(question, plain(t, answer)) })
		return out
	}
	want := answers(there)
	if len(want) < 2000 {
		t.Fatalf("only %d values", len(want))
	}
	for _, paths := range nightly.Some([][]string{{here, there}, {there, here}}, 1) {
		got := answers(paths...)
		for _, key := range slices.Sorted(maps.Keys(got)) {
			want[key] += 0
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if got[key] != want[key] {
				t.Errorf("%v: %d × %s, want %d", paths[0] == there, got[key], key, want[key])
			}
		}
	}
}
