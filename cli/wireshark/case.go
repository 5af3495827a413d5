package wireshark

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

const (
	maxHosts = 50_000 // addresses with names
	maxPorts = 1000   // entries of decode-as
)

// protocols are the names of protocols as Wireshark's list of ports has them: the name in filters and the short name,
// which files have, and whether the list of protocols inside TLS has it too.
var protocols = map[string]struct {
	name, short string
	inTLS       bool
}{
	"http1": {"http", "HTTP", true}, "http2": {"http2", "HTTP2", false}, "dns": {"dns", "DNS", true}, "tls": {"tls", "TLS", false}, "quic": {"quic", "QUIC", false},
	"redis": {"resp", "RESP", false}, "postgresql": {"pgsql", "PGSQL", false}, "mysql": {"mysql", "MySQL", false}, "kafka": {"kafka", "Kafka", true},
	"mongodb": {"mongo", "MONGO", true}, "mqtt": {"mqtt", "MQTT", true}, "amqp": {"amqp", "AMQP", true}, "amqp1": {"amqp", "AMQP", true},
	"memcached": {"memcache", "MEMCACHE", false}, "ldap": {"ldap", "LDAP", true}, "smtp": {"smtp", "SMTP", true}, "ssh": {"ssh", "SSH", false}, "ftp": {"ftp", "FTP", false},
	"cassandra": {"cql", "CQL", false}, "imap": {"imap", "IMAP", true}, "pop3": {"pop", "POP", true}, "ntp": {"ntp", "NTP", false}, "dhcp": {"dhcp", "DHCP/BOOTP", false},
	"syslog": {"syslog", "Syslog", false}, "socks": {"socks", "Socks", true}, "thrift": {"thrift", "Thrift", true}, "radius": {"radius", "RADIUS", false},
	"snmp": {"snmp", "SNMP", false}, "sip": {"sip", "SIP", true}, "rtp": {"rtp", "RTP", false}, "diameter": {"diameter", "Diameter", true}, "modbus": {"mbtcp", "Modbus/TCP", true},
	"bgp": {"bgp", "BGP", false}, "kerberos": {"kerberos", "KRB5", false}, "tds": {"tds", "TDS", false}, "openvpn": {"openvpn", "OpenVPN", false}, "wireguard": {"wg", "WireGuard", false},
	"ssdp": {"ssdp", "SSDP", false}, "stun": {"stun", "STUN", false}, "tftp": {"tftp", "TFTP", false}, "smb": {"nbss", "NBSS", false}, "dcerpc": {"dcerpc", "DCERPC", false},
	"nfs": {"rpc", "RPC", false},
}

// Of collects the names and the ports of a case.
func Of(ctx context.Context, c *forensics.Case) (*Profile, error) {
	p := &Profile{Label: c.PacketLabel()}
	r, err := c.Query(ctx, forensics.Query{SQL: fmt.Sprintf(`SELECT DISTINCT ip, who FROM endpoints WHERE kind <> 'unknown' AND who <> ip ORDER BY ip, who LIMIT %d`, maxHosts), Limit: maxHosts, MaxBytes: 64 << 20})
	if err != nil {
		return nil, fmt.Errorf("reading the names of addresses: %w", err)
	}
	var hosts []Host
	for _, row := range r.Rows {
		ip, _ := row[0].(string)
		who, _ := row[1].(string)
		if a, err := netip.ParseAddr(ip); err == nil && a.Zone() == "" {
			hosts = append(hosts, Host{a, who})
		}
	}
	p.Hosts = mergeHosts(hosts)
	r, err = c.Query(ctx, forensics.Query{SQL: `WITH f AS (SELECT transport, dst_port, protocols[1] AS outer_one, CASE WHEN protocols[1] = 'tls' THEN protocols[2] END AS inner_one FROM flows
		WHERE transport IN ('tcp', 'udp', 'sctp') AND dst_port > 0 AND len(protocols) > 0)
		SELECT transport, dst_port, outer_one, inner_one, count(*) AS n FROM f GROUP BY ALL ORDER BY n DESC, transport, dst_port, outer_one, inner_one LIMIT 20000`, Limit: 20_000})
	if err != nil {
		return nil, fmt.Errorf("reading the protocols of ports: %w", err)
	}
	for _, row := range r.Rows {
		transport, _ := row[0].(string)
		port, _ := row[1].(int64)
		outer, _ := row[2].(string)
		inner, _ := row[3].(string)
		p.decode(transport+".port", port, outer)
		if x := protocols[inner]; transport == "tcp" && x.inTLS {
			p.decode("tls.port", port, inner)
		}
	}
	slices.SortFunc(p.Ports, func(a, b Port) int {
		return slices.Compare([]int64{index(a.Table), a.Port}, []int64{index(b.Table), b.Port})
	})
	return p, nil
}

// tables are Wireshark's lists of ports, in the order in which they are written.
var tables = []string{"tcp.port", "udp.port", "sctp.port", "tls.port"}

func index(list string) int64 { return int64(slices.Index(tables, list)) }

// decode adds a port, whose first protocol is that of most flows.
func (p *Profile) decode(list string, port int64, protocol string) {
	x, ok := protocols[protocol]
	if !ok || len(p.Ports) >= maxPorts || slices.ContainsFunc(p.Ports, func(o Port) bool { return o.Table == list && o.Port == port }) {
		return
	}
	if protocol == "tls" && list == "udp.port" {
		x.short = "DTLS"
	}
	p.Ports = append(p.Ports, Port{list, port, x.short})
}

// Translate adds the display filter for a KFL filter. If there is none, the result says why.
func (p *Profile) Translate(ctx context.Context, c *forensics.Case, filter string) (why string, err error) {
	q, bad := kfl.Compile(filter, kfl.Env{})
	if bad != nil {
		return "it has names that only this case has", nil
	}
	d, why := q.Display()
	if why != "" {
		return why, nil
	}
	if d.Reverse != "" {
		r, err := c.Query(ctx, forensics.Query{KFL: "!(" + filter + "\n) && (" + d.Reverse + ")", Count: true})
		if err != nil {
			return "", err
		}
		if n, _ := r.Rows[0][0].(int64); n > 0 {
			return fmt.Sprintf("it would also show calls in which client and server are exchanged (%d of this case)", n), nil
		}
	}
	p.Filters = append(p.Filters, Filter{"KFL: " + filter, d.Filter})
	return "", nil
}
