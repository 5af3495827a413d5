// Package network records protocols of networks and telephones.
package network

import "github.com/pcapsule/pcapsule/samples/gen/lab"

// Scenarios are the captures of this package.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{
		{Name: "dns", Make: makeDNS},
		{Name: "icmp", Make: makeICMP},
		{Name: "ntp", Make: makeNTP},
		{Name: "dhcp", Make: makeDHCP},
		{Name: "syslog", Make: makeSyslog},
		{Name: "sip", Make: makeSIP},
		{Name: "rtp", Make: makeRTP},
		{Name: "diameter", Make: makeDiameter},
		{Name: "modbus", Make: makeModbus},
		{Name: "telnet", Make: makeTelnet},
		{Name: "tacacs", Make: makeTACACS},
		{Name: "netbios", Make: makeNetBIOS},
		{Name: "irc", Make: makeIRC},
		{Name: "dnp3", Make: makeDNP3},
		{Name: "sctp", Make: makeSCTP},
		{Name: "bgp", Make: makeBGP},
		{Name: "radius", Make: makeRADIUS},
		{Name: "snmp", Make: makeSNMP},
		{Name: "ssdp", Make: makeSSDP},
		{Name: "stun", Make: makeSTUN},
		{Name: "tftp", Make: makeTFTP},
		{Name: "tftp-ports", Make: makeTFTPPorts},
		{Name: "rdp", Make: makeRDP},
		{Name: "openvpn", Make: makeOpenVPN},
		{Name: "wireguard", Make: makeWireGuard},
		{Name: "vantages", Make: makeVantages},
	}
}

// Parts are the servers and clients of this package, by the role that a process plays.
func Parts() map[string]lab.Part {
	return map[string]lab.Part{
		"dns-client":  dnsClient,
		"deaf":        deaf,
		"icmp-client": icmpClient,
		"sctp-server": sctpServerPart,
		"sctp-client": sctpClientPart,
	}
}
