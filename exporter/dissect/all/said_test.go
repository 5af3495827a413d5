package all

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/kafka"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestRowsAreWhatTheClientSaid compares the rows of recordings with what their clients noted while
// they were made: an action, its object and its result.
func TestRowsAreWhatTheClientSaid(t *testing.T) {
	for file, did := range map[string]func(table.CallRow) []string{
		"amqp":                   amqpDid,
		"amqp1":                  amqp1Did,
		"apis":                   apisDid,
		"cassandra":              cqlDid,
		"etcd":                   etcdDid,
		"kafka":                  kafkaDid,
		"jsonrpc":                jsonrpcDid,
		"ldap":                   ldapDid,
		"mcp":                    mcpDid,
		"memcached":              memcDid,
		"mongodb":                mongoDid,
		"mqtt":                   mqttDid,
		"mqtt-ws":                mqttWebDid,
		"nats":                   natsDid,
		"stomp":                  stompDid,
		"rabbitstream":           rabbitStreamDid,
		"postgresql-replication": replicationDid,
		"web":                    webDid,
		"socketio":               socketioDid,
		"redis-cluster":          redisDid,
		"ftp":                    ftpDid,
		"smtp":                   smtpDid,
		"ssh":                    sshDid,
		"imap":                   imapDid,
		"pop3":                   pop3Did,
		"ntp":                    ntpDid,
		"dhcp":                   dhcpDid,
		"syslog":                 syslogDid,
		"socks":                  socksDid,
		"proxy":                  proxyDid,
		"thrift":                 thriftDid,
		"thrift-header":          thriftHeaderDid,
		"radius":                 radiusDid,
		"snmp":                   snmpDid,
		"sip":                    sipDid,
		"rtp":                    rtpDid,
		"diameter":               diameterDid,
		"sctp":                   sctpDid,
		"modbus":                 modbusDid,
		"bgp":                    bgpDid,
		"kerberos":               kerberosDid,
		"tds":                    tdsDid,
		"ssrp":                   ssrpDid,
		"clickhouse":             clickhouseDid,
		"wireguard":              wireguardDid,
		"openvpn":                openvpnDid,
		"rdp":                    rdpDid,
		"ssdp":                   ssdpDid,
		"stun":                   stunDid,
		"tftp":                   tftpDid,
		"smb":                    smbDid,
		"dcerpc":                 dcerpcDid,
		"nfs":                    nfsDid,
		"telnet":                 telnetDid,
		"tacacs":                 tacacsDid,
		"netbios":                netbiosDid,
		"irc":                    ircDid,
		"fastcgi":                fastCGIDid,
		"dnp3":                   dnp3Did,
		"dubbo":                  dubboDid,
		"pulsar":                 pulsarDid,
	} {
		t.Run(file, func(t *testing.T) {
			raw, err := os.ReadFile("../../../samples/" + file + ".said.tsv")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			names := dissect.NewIDNames(dissect.MaxIDNames)
			list := talks(t, file+".pcapng")
			if inDatagrams[file] {
				list = append(list, datagrams(t, file+".pcapng")...)
			}
			for _, k := range list {
				r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), Transport: k.kind, ServerPort: k.port, Roles: k.kind == dissect.TCP, Multicast: k.group, End: dissect.EndFin}, k.chunks...)
				for _, a := range r.Anomalies {
					if file == "cassandra" && a.Kind == "known_password" { // it begins with the user and password cassandra
						continue
					}
					t.Errorf("%s: anomaly %s: %s", k.name, a.Kind, a.Detail)
				}
				for _, row := range r.Rows() {
					if n, ok := row.(dissect.IDNamer); ok {
						n.NameIDs(names)
					}
					got = append(got, did(row)...)
				}
			}
			said := 0
			for line := range strings.Lines(string(raw)) {
				if line = strings.TrimRight(line, "\n"); line[0] == '#' {
					continue
				}
				said++
				i := slices.Index(got, line)
				if i < 0 {
					t.Errorf("the client said %q, and no row does", line)
					continue
				}
				got = slices.Delete(got, i, i+1)
			}
			for _, line := range got {
				t.Errorf("a row says %q, and the client did not", line)
			}
			if said == 0 {
				t.Error("the client said nothing")
			}
		})
	}
}

// kafkaDid is what a row says in the client's terms: each record, and the calls that it noted.
func kafkaDid(row table.CallRow) (list []string) {
	r, ok := row.(*kafka.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := r.StatusText.V
	if result == "" {
		result = "ok"
	}
	object := ""
	switch r.Method.V {
	case "Produce", "Fetch":
		at := 0
		for _, o := range r.Offsets {
			part, offsets, _ := strings.Cut(o, ":")
			first, last := 0, 0
			if n, _ := fmt.Sscanf(offsets, "%d-%d", &first, &last); n == 1 {
				last = first
			}
			for n := first; n <= last && at < len(r.Values); n++ {
				word, _, _ := strings.Cut(r.Values[at], " ")
				list = append(list, fmt.Sprintf("%s\t%s:%d\t%s", r.Method.V, part, n, word))
				at++
			}
		}
		return list
	case "CreateTopics":
		object = strings.Join(r.Topics, ",")
	case "OffsetCommit", "LeaveGroup":
		object = r.Group.V
	case "Metadata":
		if len(r.Topics) != 1 || r.Client.V != "orders-service" {
			return nil
		}
		object = r.Topics[0]
	case "Heartbeat":
		if r.Client.V != "orders-service" {
			return nil
		}
		object = r.Group.V
	case "SaslAuthenticate":
		object = r.User.V
	default:
		return nil
	}
	return []string{r.Method.V + "\t" + object + "\t" + result}
}
