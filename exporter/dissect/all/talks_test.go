package all

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// talk is a recorded conversation; of TCP, a connection from its SYN on.
type talk struct {
	name   string
	kind   dissect.Transport
	group  bool   // the server's address is a group or a broadcast
	port   uint16 // the server's
	chunks []dissecttest.Chunk
	next   [2]uint32
}

// samples lists the recordings of package samples with their protocols.
var samples = map[string]string{
	"amqp.pcapng":                   "amqp",
	"amqp1.pcapng":                  "amqp1",
	"apis.pcapng":                   "http1",
	"cassandra.pcapng":              "cassandra",
	"dns.pcap":                      "dns",
	"etcd.pcapng":                   "http2",
	"grpc.pcapng":                   "http2",
	"http1.pcapng":                  "http1",
	"http2.pcap":                    "http2",
	"kafka.pcapng":                  "kafka",
	"jsonrpc.pcapng":                "jsonrpc",
	"ldap.pcapng":                   "ldap",
	"mcp.pcapng":                    "http1",
	"memcached.pcapng":              "memcached",
	"mongodb.pcapng":                "mongodb",
	"mqtt.pcapng":                   "mqtt",
	"mqtt-ws.pcapng":                "http1",
	"mysql.pcapng":                  "mysql",
	"nats.pcapng":                   "nats",
	"stomp.pcapng":                  "stomp",
	"rabbitstream.pcapng":           "rabbitstream",
	"postgresql.pcapng":             "postgresql",
	"postgresql-replication.pcapng": "postgresql",
	"redis.pcap":                    "redis",
	"redis-cluster.pcapng":          "redis",
	"tls.pcapng":                    "tls",
	"web.pcapng":                    "http1",
	"socketio.pcapng":               "http1",
	"ftp.pcapng":                    "ftp",
	"smtp.pcapng":                   "smtp",
	"ssh.pcapng":                    "ssh",
	"imap.pcapng":                   "imap",
	"pop3.pcapng":                   "pop3",
	"ntp.pcapng":                    "ntp",
	"dhcp.pcapng":                   "dhcp",
	"syslog.pcapng":                 "syslog",
	"socks.pcapng":                  "socks",
	"proxy.pcapng":                  "proxy",
	"thrift.pcapng":                 "thrift",
	"thrift-header.pcapng":          "thrift",
	"radius.pcapng":                 "radius",
	"snmp.pcapng":                   "snmp",
	"sip.pcapng":                    "sip",
	"rtp.pcapng":                    "rtp",
	"diameter.pcapng":               "diameter",
	"sctp.pcapng":                   "sctp",
	"modbus.pcapng":                 "modbus",
	"bgp.pcapng":                    "bgp",
	"kerberos.pcapng":               "kerberos",
	"tds.pcapng":                    "tds",
	"ssrp.pcapng":                   "ssrp",
	"clickhouse.pcapng":             "clickhouse",
	"smb.pcapng":                    "smb",
	"dcerpc.pcapng":                 "dcerpc",
	"nfs.pcapng":                    "nfs",
	"wireguard.pcapng":              "wireguard",
	"openvpn.pcapng":                "openvpn",
	"rdp.pcapng":                    "rdp",
	"ssdp.pcapng":                   "ssdp",
	"stun.pcapng":                   "stun",
	"tftp.pcapng":                   "tftp",
	"telnet.pcapng":                 "telnet",
	"tacacs.pcapng":                 "tacacs",
	"netbios.pcapng":                "netbios",
	"irc.pcapng":                    "irc",
	"fastcgi.pcapng":                "fastcgi",
	"dnp3.pcapng":                   "dnp3",
	"dubbo.pcapng":                  "dubbo",
	"pulsar.pcapng":                 "pulsar",
}

// talks reads the TCP connections of a recording.
func talks(t testing.TB, file string) []*talk {
	return slices.DeleteFunc(conversations(t, file), func(k *talk) bool { return k.kind != dissect.TCP })
}

// transports are the transports of conversations, by the number of the IP protocol.
var transports = map[uint8]dissect.Transport{1: dissect.ICMP, 6: dissect.TCP, 17: dissect.UDP, 58: dissect.ICMP, 132: dissect.SCTP}

// conversations reads the conversations of a recording. The recording must be complete: a segment of TCP
// that is not the next one is a retransmission.
func conversations(t testing.TB, file string) (list []*talk) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type ends [2]netip.AddrPort
	open := map[ends]*talk{}
	d := decode.New(decode.Options{})
	var b pcapng.Batch
	for err == nil {
		err = r.Next(&b)
		for i := range b.Packets {
			p := &b.Packets[i]
			var f decode.Frame
			d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time}, &f)
			kind, ok := transports[f.Proto]
			if !ok || kind == dissect.TCP && !f.L4 {
				continue
			}
			from, to := netip.AddrPortFrom(f.Src.Netip(), f.SrcPort), netip.AddrPortFrom(f.Dst.Netip(), f.DstPort)
			if at, back := open[ends{from, to}], open[ends{to, from}]; kind == dissect.TCP && f.Flags&(decode.SYN|decode.ACK) == decode.SYN || kind != dissect.TCP && at == nil && back == nil {
				k := &talk{name: file + " " + from.String(), kind: kind, port: f.DstPort, group: to.Addr().IsMulticast() || to.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255})}
				open[ends{from, to}] = k
				list = append(list, k)
			}
			k, dir := open[ends{from, to}], dissect.ToServer
			if k == nil {
				k, dir = open[ends{to, from}], dissect.ToClient
			}
			if k != nil {
				k.segment(dir, &f)
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return list
}

// inDatagrams are the recordings of protocols of datagrams.
var inDatagrams = map[string]bool{"ntp": true, "dhcp": true, "syslog": true, "radius": true, "snmp": true, "sip": true, "rtp": true, "kerberos": true, "ssrp": true, "ssdp": true, "stun": true, "tftp": true, "openvpn": true, "wireguard": true, "sctp": true, "netbios": true}

// datagrams reads the conversations of UDP and SCTP in a recording.
func datagrams(t testing.TB, file string) []*talk {
	return slices.DeleteFunc(conversations(t, file), func(k *talk) bool { return k.kind != dissect.UDP && k.kind != dissect.SCTP })
}

// inClear is what a conversation of a protocol said before it continued in TLS.
func (k *talk) inClear(protocol string) []dissecttest.Chunk {
	for i, c := range k.chunks {
		if len(c.Data) > 5 && string(c.Data[:2]) == "\x16\x03" && protocol != "tls" {
			return k.chunks[:i]
		}
	}
	return k.chunks
}

func (k *talk) segment(dir dissect.Dir, f *decode.Frame) {
	if k.kind != dissect.TCP {
		k.chunks = append(k.chunks, dissecttest.Chunk{Dir: dir, Data: append([]byte(nil), f.Payload...)})
		return
	}
	if f.Flags&decode.SYN != 0 {
		k.next[dir] = f.Seq + 1
		return
	}
	if len(f.Payload) == 0 || f.Seq != k.next[dir] {
		return
	}
	k.next[dir] += uint32(len(f.Payload))
	k.chunks = append(k.chunks, dissecttest.Chunk{Dir: dir, Data: append([]byte(nil), f.Payload...)})
}
