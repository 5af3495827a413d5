package acceptance

import (
	"encoding/json"
	"slices"
)

// seenAs maps protocols that are detected by content to tshark's names. Other protocols cannot be
// misdetected.
var seenAs = map[string][]string{
	"http1":      {"http", "ssdp"},
	"http2":      {"http2"},
	"grpc":       {"grpc", "http2"},
	"dns":        {"dns", "mdns", "llmnr"},
	"redis":      {"resp"},
	"postgresql": {"pgsql"},
	"mysql":      {"mysql"},
	"mongodb":    {"mongo"},
	"memcached":  {"memcache"},
	"mqtt":       {"mqtt"},
	"amqp":       {"amqp"},
	"amqp1":      {"amqp"},
	"cassandra":  {"cql"},
	"tls":        {"tls", "dtls"},
	"quic":       {"quic", "gquic"},
	"http3":      {"http3", "quic"},
	"ldap":       {"ldap", "cldap"},
	"smtp":       {"smtp"},
	"ssh":        {"ssh"},
	"ftp":        {"ftp"},
	"imap":       {"imap"},
	"pop3":       {"pop"},
	"ntp":        {"ntp"},
	"syslog":     {"syslog"},
	"socks":      {"socks"},
	"proxy":      {"proxy"},
	"thrift":     {"thrift"},
	"dhcp":       {"dhcp", "dhcpv6"},
	"radius":     {"radius"},
	"snmp":       {"snmp"},
	"sip":        {"sip"},
	"rtp":        {"rtp", "rtcp"},
	"diameter":   {"diameter"},
	"modbus":     {"modbus"},
	"bgp":        {"bgp"},
	"kerberos":   {"kerberos"},
	"tds":        {"tds"},
	"stomp":      {"stomp"},
	"smb":        {"smb", "smb2", "nbss"},
	"nfs":        {"rpc"},
	"ssdp":       {"ssdp"},
	"stun":       {"stun", "classicstun"},
	"tftp":       {"tftp"},
	"rdp":        {"rdp"},
	"openvpn":    {"openvpn"},
	"wireguard":  {"wg"},
}

// claims compares the protocols of rows with those that tshark saw anywhere in the capture: no
// dissector may claim a connection of another protocol.
func (c *comparison) claims(o outcome, got counts) (outcome, bool) {
	var frames map[string]int64
	if json.Unmarshal(c.tr.raw["frames_with"], &frames) != nil || len(frames) == 0 {
		return o, false
	}
	foreign := counts{}
	for protocol, n := range got {
		names, told := seenAs[protocol]
		if told && !slices.ContainsFunc(names, func(name string) bool { return frames[name] > 0 }) {
			foreign[protocol] = n
		}
	}
	o.agreed, o.want, o.got = len(foreign) == 0, "none that tshark did not see", foreign.String()
	return o, true
}
