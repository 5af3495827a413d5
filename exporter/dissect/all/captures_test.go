package all

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// alsoIn are the folders of the shared captures, besides its own, with messages of a protocol. A
// protocol with a list may claim segments of no other folder.
var alsoIn = map[string][]string{
	"http1": nil, "http2": nil, "dns": nil, "tls": nil, "dhcp": nil, // nearly everywhere
	"kafka":      {},
	"postgresql": {},
	"redis":      {},
	"ldap":       {"kerberos", "smb"},
	"ftp":        {"malformed", "mixed"},
	"smtp":       {"http1", "malformed", "other", "smb", "tls"},
	"ssh":        {"icmp", "link", "mixed", "tcp"},
	"mongodb":    {},
	"memcached":  {},
	"cassandra":  {},
	"clickhouse": {},
	"imap":       {"other", "smb", "tcp"},
	"pop3":       {"other", "smb"},
	"ntp":        {"mixed", "pcapng"},
	"syslog":     {"other"},
	"socks":      {"other", "tls"}, // proxies before TLS
	"thrift":     {"cassandra"},    // its old interface
	"proxy":      {"tcp"},
	"ws":         {"websocket", "tcp"},
	"radius":     {"malformed"},
	"snmp":       {},
	"sip":        {"malformed"},
	"kerberos":   {"ldap"},
	"rtp":        {"sip"},
	"diameter":   {},
	"sctp":       {},
	"modbus":     {"other"},
	"bgp":        {"link", "malformed", "other"},
	"ssrp":       {"mssql"},
	"wireguard":  {"other"},
	"openvpn":    {"other", "tls"},
	"rdp":        {"other"},
	"stun":       {"mixed", "other", "tls"},
	"tftp":       {"other"},
	"ssdp":       {"mixed", "other", "sip", "smb", "ssh", "tls"},
	"tds":        {"mssql", "smb"}, // a login with NTLM
	"smb":        {"ipfrag", "kerberos", "ldap", "malformed"},
	"nfs":        {"ipfrag", "malformed"},
}

// TestDetectionMatrix passes every TCP segment and every datagram of all shared captures to the Detect of each
// protocol. It prints who claims what.
func TestDetectionMatrix(t *testing.T) {
	root := captures.Dir(t)
	protocols := Protocols(nil)
	claims := map[string]map[string]int{} // by protocol and folder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), ".pcap") {
			return err
		}
		folder, _, _ := strings.Cut(strings.TrimPrefix(path, root+string(filepath.Separator)), string(filepath.Separator))
		segments(path, func(kind dissect.Transport, b []byte) {
			for _, p := range protocols {
				if p.Detect == nil || !slices.Contains(p.Transports, kind) || p.Name == "quic" || p.Name == "dns" {
					continue
				}
				if max(p.Detect(dissect.ToServer, b), p.Detect(dissect.ToClient, b)) >= dissect.Likely {
					if claims[p.Name] == nil {
						claims[p.Name] = map[string]int{}
					}
					if claims[p.Name][folder]++; foreignTo(p.Name, folder) {
						t.Errorf("%s claims a segment of %s: %.60q", p.Name, path, b)
					}
				}
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		line := name + ":"
		for _, folder := range slices.Sorted(maps.Keys(claims[name])) {
			line += fmt.Sprintf(" %s %d", folder, claims[name][folder])
		}
		t.Log(line)
	}
}

// foreignTo reports whether a folder has no captures of a protocol.
func foreignTo(protocol, folder string) bool {
	others := alsoIn[protocol]
	return others != nil && folder != protocol && !slices.Contains(others, folder)
}

// segments calls f with the payload of each packet of TCP and UDP of a capture. Damaged captures end early.
func segments(path string, f func(kind dissect.Transport, b []byte)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	r, err := pcapng.NewReader(file, pcapng.Options{})
	d := decode.New(decode.Options{})
	var b pcapng.Batch
	for err == nil {
		err = r.Next(&b)
		for i := range b.Packets {
			p := &b.Packets[i]
			var x decode.Frame
			d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &x)
			if kind, ok := transports[x.Proto]; ok && kind <= dissect.UDP && x.L4 && len(x.Payload) > 0 {
				f(kind, x.Payload)
			}
		}
	}
}
