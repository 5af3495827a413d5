package filter

import (
	_ "embed"
	"strconv"
	"strings"
)

// The tables are data files: a name, a number, and for ports the transports.
//
//go:embed ports.txt
var portTable string

//go:embed protocols.txt
var protocolTable string

// find returns the row of a table that starts with name.
func find(table, name string) (fields []string, ok bool) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return f[1:], true
		}
	}
	return nil, false
}

// portOf finds a service. A service with one transport matches that transport only.
func portOf(name string) (port uint32, transport string, ok bool) {
	f, ok := find(portTable, name)
	if !ok {
		return 0, "", false
	}
	n, _ := strconv.ParseUint(f[0], 10, 16)
	if len(f) == 2 {
		transport = f[1]
	}
	return uint32(n), transport, true
}

// protocolOf finds an IP protocol by name.
func protocolOf(name string) (uint32, bool) {
	f, ok := find(protocolTable, strings.ToLower(name))
	if !ok {
		return 0, false
	}
	n, _ := strconv.ParseUint(f[0], 10, 8)
	return uint32(n), true
}

// etherTypeOf finds an Ethernet type or an 802.2 SAP by name.
func etherTypeOf(name string) (uint32, bool) {
	switch name {
	case "ip":
		return etherIPv4, true
	case "ip6":
		return etherIPv6, true
	case "arp":
		return etherARP, true
	case "rarp":
		return etherRARP, true
	case "atalk":
		return etherAppleTalk, true
	case "aarp":
		return etherAARP, true
	case "decnet":
		return etherDECnet, true
	case "lat":
		return etherLAT, true
	case "sca":
		return etherSCA, true
	case "mopdl":
		return etherMOPDL, true
	case "moprc":
		return etherMOPRC, true
	case "loopback":
		return etherLoopback, true
	case "iso":
		return sapOSI, true
	case "stp":
		return sapSTP, true
	case "ipx":
		return sapIPX, true
	case "netbeui":
		return sapNetBEUI, true
	}
	return 0, false
}

// constant returns the value of a named offset, flag or ICMP type.
func constant(name string) (uint32, bool) {
	switch name {
	case "tcpflags":
		return 13, true
	case "icmptype", "icmp6type":
		return 0, true
	case "icmpcode", "icmp6code":
		return 1, true
	}
	if flag, ok := strings.CutPrefix(name, "tcp-"); ok {
		for i, f := range []string{"fin", "syn", "rst", "push", "ack", "urg", "ece", "cwr"} {
			if f == flag {
				return 1 << i, true
			}
		}
	}
	if t, ok := strings.CutPrefix(name, "icmp-"); ok {
		return icmpType(t)
	}
	if t, ok := strings.CutPrefix(name, "icmp6-"); ok {
		return icmp6Type(t)
	}
	return 0, false
}

func icmpType(name string) (uint32, bool) {
	switch name {
	case "echoreply":
		return 0, true
	case "unreach":
		return 3, true
	case "sourcequench":
		return 4, true
	case "redirect":
		return 5, true
	}
	for i, n := range []string{"echo", "routeradvert", "routersolicit", "timxceed", "paramprob", "tstamp", "tstampreply", "ireq", "ireqreply", "maskreq", "maskreply"} {
		if n == name {
			return 8 + uint32(i), true
		}
	}
	return 0, false
}

func icmp6Type(name string) (uint32, bool) {
	for i, n := range []string{"destinationunreach", "packettoobig", "timeexceeded", "parameterproblem"} {
		if n == name {
			return 1 + uint32(i), true
		}
	}
	for i, n := range []string{
		"echo", "echoreply", "multicastlistenerquery", "multicastlistenerreportv1", "multicastlistenerdone",
		"routersolicit", "routeradvert", "neighborsolicit", "neighboradvert", "redirect", "routerrenum",
		"nodeinformationquery", "nodeinformationresponse", "ineighbordiscoverysolicit", "ineighbordiscoveryadvert",
		"multicastlistenerreportv2", "homeagentdiscoveryrequest", "homeagentdiscoveryreply", "mobileprefixsolicit",
		"mobileprefixadvert", "certpathsolicit", "certpathadvert", "", "multicastrouteradvert",
		"multicastroutersolicit", "multicastrouterterm",
	} {
		if n == name && n != "" {
			return 128 + uint32(i), true
		}
	}
	return 0, false
}

// Words of the language, by their role.
const (
	wordsProtocol = " ether ip arp rarp sctp tcp udp icmp igmp igrp pim vrrp carp ip6 icmp6 ah esp atalk aarp decnet lat sca" +
		" moprc mopdl iso esis isis l1 l2 iih lsp snp csnp psnp clnp stp ipx netbeui "
	wordsAlias = " link ppp slip fddi tr wlan es-is is-is length and or not "
	wordsOther = " src dst host net mask port portrange proto less greater broadcast multicast len inbound outbound ifindex vlan mpls pppoed pppoes "
	// Known to tcpdump but not supported here.
	wordsRefused = " radio gateway protochain type subtype direction dir address1 addr1 address2 addr2 address3 addr3 address4 addr4 ra ta" +
		" byte geneve lane llc metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect on ifname rset ruleset" +
		" rnr rulenum srnr subrulenum reason action fisu lssu lsu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls "
)

func among(words, w string) bool { return strings.Contains(words, " "+w+" ") }

// IsWord reports whether a word belongs to the language, even if Compile refuses it.
func IsWord(w string) bool {
	_, is := constant(w)
	return is || isKeyword(w)
}

func isKeyword(w string) bool {
	return among(wordsProtocol, w) || among(wordsAlias, w) || among(wordsOther, w) || among(wordsRefused, w)
}

// supported ends the message about a refused primitive.
const supported = "supported are host, net, port and portrange with src and dst; ether, ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6, igmp and other protocols;" +
	" proto NUMBER; vlan, mpls, pppoed, pppoes; broadcast, multicast; less, greater, len; bytes such as tcp[13]; and, or, not"
