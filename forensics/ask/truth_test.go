package ask_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	packets "github.com/pcapsule/pcapsule/samples/traffic"
)

// openMade opens a bundle of made traffic, one in each test.
func openMade(t *testing.T, made *packets.Capture) *forensics.Case {
	t.Helper()
	file := filepath.Join(t.TempDir(), "made.pcap")
	if err := made.Write(file); err != nil {
		t.Fatal(err)
	}
	return asktest.Share(t, t.Name(), []string{file}, exporter.Options{})
}

// A DHCP message, up to its options, with its cookie: a request if kind is 1.
func bootp(kind byte) string {
	return string([]byte{kind, 1, 6, 0, 1, 2, 3, 4}) + strings.Repeat("\x00", 20) + "\x02\x00\x00\x00\x00\x01" + strings.Repeat("\x00", 202) + "\x63\x82\x53\x63"
}

// TestOverviewNamesServersOnly: who is called most, called from outside, and why a call failed is what the packets show.
func TestOverviewNamesServersOnly(t *testing.T) {
	const client, server, outside = "10.0.0.1", "10.0.0.2", "203.0.113."
	var made packets.Capture
	for i := range 3 {
		at := time.Duration(i) * 10 * time.Second
		made.Ping(at, client, server, false)
		made.Datagram(at+time.Millisecond, client, "255.255.255.255:67", bootp(1)+"\x35\x01\x01\x0c\x06ab.xyz\xff")
		made.Datagram(at+2*time.Millisecond, outside+"1", "239.255.255.250:1900", "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n")
		made.Datagram(at+3*time.Millisecond, client, outside+"2:67", bootp(1)+"\x35\x01\x03\x0c\x06ab.xyz\xff")
	}
	c := openMade(t, &made)
	o, err := servicemap.AskOverview(ctx, c, servicemap.OverviewIn{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(o.Summary, "\n")
	for _, want := range []string{"Most called: 10.0.0.2 (3).", "Most called outside: 203.0.113.2.", "echo_request to 10.0.0.2, no_response, 2 times"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %s in\n%s", want, text)
		}
	}
	if len(o.Ingress) > 0 {
		t.Errorf("called from outside: %+v", o.Ingress)
	}
	list, err := servicemap.AskExternal(ctx, c, servicemap.ExternalIn{Scope: ask.Scope{Limit: 10}})
	if err != nil || len(list.Destinations) != 1 || list.Destinations[0].Name != outside+"2" || list.Destinations[0].NameFrom != "none" {
		t.Errorf("the name of a client is not that of its server: %+v, %v", list.Destinations, err)
	}
}

// TestEncryptionOfDestinations: what encrypts itself is encrypted, and nothing is known of a connection without a call.
func TestEncryptionOfDestinations(t *testing.T) {
	var made packets.Capture
	hello := "SSH-2.0-OpenSSH_9.6\r\n"
	made.Exchange(0, time.Millisecond, "shell", "10.0.0.1", "203.0.113.1:22", hello, hello)
	made.Exchange(time.Second, time.Millisecond, "web", "10.0.0.1", "203.0.113.2:80", packets.HTTP("GET / HTTP/1.1", "Host: 203.0.113.2", ""), packets.HTTP("HTTP/1.1 200 OK", "", ""))
	made.Exchange(2*time.Second, time.Millisecond, "other", "10.0.0.1", "203.0.113.3:4444", "\x01\x02\x03", "\x04\x05\x06")
	made.Attempt(3*time.Second, "10.0.0.1", "203.0.113.4:443", true)
	c := openMade(t, &made)
	out, err := servicemap.AskExternal(ctx, c, servicemap.ExternalIn{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range out.Destinations {
		got[d.Name] = d.Encrypted
	}
	for _, e := range m.Edges {
		if got[e.Dst] != e.Encrypted {
			t.Errorf("%s: the list says %q, the map %q", e.Dst, got[e.Dst], e.Encrypted)
		}
	}
	for last, want := range map[string]string{"1": "yes", "2": "no", "3": "unknown", "4": "unknown"} {
		if got["203.0.113."+last] != want {
			t.Errorf("203.0.113.%s: %q, want %q", last, got["203.0.113."+last], want)
		}
	}
	if text := strings.Join(out.Summary, "\n"); !strings.Contains(text, "Unencrypted: 203.0.113.2.") {
		t.Error(text)
	}
}

// TestConnectionsWithoutCalls: a connection that was accepted is not refused, even if nothing was sent on it.
func TestConnectionsWithoutCalls(t *testing.T) {
	var made packets.Capture
	for i, server := range []string{"10.0.0.2:80", "10.0.0.3:80"} {
		at := time.Duration(i) * time.Second
		for j := range 3 {
			made.Exchange(at+time.Duration(j)*10*time.Millisecond, time.Millisecond, server+strings.Repeat("'", j), "10.0.0.1", server, packets.HTTP("GET / HTTP/1.1", "Host: a", ""), packets.HTTP("HTTP/1.1 200 OK", "", ""))
		}
		if i == 0 {
			made.Exchange(at+50*time.Millisecond, time.Millisecond, "idle", "10.0.0.1", server, "", "")
		} else {
			made.Attempt(at+50*time.Millisecond, "10.0.0.1", server, true)
		}
	}
	d, err := servicemap.AskDependencies(ctx, openMade(t, &made), servicemap.DependenciesIn{Service: "10.0.0.1"})
	if err != nil || len(d.Downstream) != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, e := range d.Downstream {
		want := map[string]string{"10.0.0.2": "", "10.0.0.3": "1 of 4 connections was refused or not answered"}[e.Dst]
		if e.Why != want {
			t.Errorf("%s: %q, want %q", e.Dst, e.Why, want)
		}
	}
}
