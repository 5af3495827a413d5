package truth

import (
	"fmt"
	"slices"
)

// scene is what processes do while they are recorded, and what the bundle must contain.
type scene struct {
	name  string
	net   []string // commands; "@pod" before one is its network
	roles []string
	dst   string   // as dialled
	flows int      // number that saw a connection; 0: any
	guess []string // sides of calls whose writer cannot be known, unless the machine is too slow for a queue
}

// addresses of a machine with a service, as on a node.
var addresses = []string{"ip addr add 10.1.1.1/32 dev lo", "ip addr add 10.1.1.2/32 dev lo", "ip route add 10.96.0.0/16 dev lo src 10.1.1.1"}

func nat(rules ...string) []string {
	list := append([]string(nil), addresses...)
	list = append(list, "nft add table ip nat", "nft add chain ip nat output { type nat hook output priority -100 ; }",
		"nft add chain ip nat postrouting { type nat hook postrouting priority 100 ; }")
	return append(list, rules...)
}

func nat6(rules ...string) []string {
	return append([]string{"ip addr add fd00::1/128 dev lo nodad", "ip addr add fd00::2/128 dev lo nodad", "ip route add fd96::/16 dev lo src fd00::1",
		"nft add table ip6 nat", "nft add chain ip6 nat output { type nat hook output priority -100 ; }"}, rules...)
}

// pods sets up the networks of two pods behind a node's, as in a cluster.
func pods(rules ...string) []string {
	list := []string{"sysctl -qw net.ipv4.ip_forward=1", "nft add table ip nat", "nft add chain ip nat prerouting { type nat hook prerouting priority -100 ; }",
		"nft add chain ip nat output { type nat hook output priority -100 ; }", "nft add chain ip nat postrouting { type nat hook postrouting priority 100 ; }"}
	for i, pod := range []string{"pod", "other"} {
		list = append(list, "ip link add "+pod+" type veth peer name eth0 netns {"+pod+"}", fmt.Sprintf("ip addr add 10.1.%d.1/24 dev %s", i+1, pod),
			"ip link set "+pod+" up", fmt.Sprintf("@%s ip addr add 10.1.%d.2/24 dev eth0", pod, i+1), "@"+pod+" ip link set eth0 up",
			fmt.Sprintf("@%s ip route add default via 10.1.%d.1", pod, i+1))
	}
	list = append(list, "ip route add 10.96.0.0/16 via 10.1.2.2") // any route that leads out
	return append(list, rules...)
}

func scenes() []scene {
	return slices.Concat(translated(), processes(), queues(), namespaces(), unusualScenes())
}

// translated are simple parts with address translation on their own machine.
func translated() []scene {
	return []scene{
		{"one server, one client", nil, []string{"serve tcp 127.0.0.1:8080 3", "ask tcp 127.0.0.1:8080 3 a"}, "127.0.0.1:8080", 0, nil},
		{"datagrams, connected", nil, []string{"serve udp 127.0.0.1:5353 3", "ask udp 127.0.0.1:5353 3 a connected"}, "127.0.0.1:5353", 0, nil},
		{"datagrams, not connected", nil, []string{"serve udp 127.0.0.1:5353 3", "ask udp 127.0.0.1:5353 3 a -"}, "127.0.0.1:5353", 0, nil},
		{"IPv6 datagrams", nil, []string{"serve udp [::1]:5353 3", "ask udp [::1]:5353 3 a -"}, "::1:5353", 0, nil},
		{"responses of several processes on one connection", nil, []string{"workers tcp 127.0.0.1:8080 3", "ask tcp 127.0.0.1:8080 3 a"}, "127.0.0.1:8080", 0, nil},
		{"requests of several processes on one connection", nil, []string{"serve tcp 127.0.0.1:8080 3", "askers tcp 127.0.0.1:8080 3"}, "127.0.0.1:8080", 0, nil},
		{"requests of several processes on one UDP socket", nil, []string{"serve udp 127.0.0.1:5353 3", "askers udp 127.0.0.1:5353 3"}, "127.0.0.1:5353", 0, nil},
		{"a sidecar receives requests to a service", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 redirect to :15001"),
			[]string{"serve tcp 127.0.0.1:15001 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2, nil},
		{"a service's address is translated to a pod's", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.2:8080"),
			[]string{"serve tcp 10.1.1.2:8080 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2, nil},
		{"the same with masquerading", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.2:8080",
			"nft add rule ip nat postrouting ip daddr 10.1.1.2 snat to 10.1.1.2"),
			[]string{"serve tcp 10.1.1.2:8080 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2, nil},
		{"only masquerading", nat("nft add rule ip nat postrouting ip daddr 10.1.1.2 tcp dport 8080 snat to 10.1.1.2:6000-6100"),
			[]string{"serve tcp 10.1.1.2:8080 3", "ask tcp 10.1.1.2:8080 3 a"}, "10.1.1.2:8080", 2, nil},
		{"datagrams to a service, connected", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.2:5353"),
			[]string{"serve udp 10.1.1.2:5353 3", "ask udp 10.96.0.10:53 3 a connected"}, "10.96.0.10:53", 2, nil},
		{"datagrams to a service, not connected", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.2:5353"),
			[]string{"serve udp 10.1.1.2:5353 3", "ask udp 10.96.0.10:53 3 a -"}, "10.96.0.10:53", 2, nil},
		{"datagrams to a service, a server on all addresses", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.1:5353"),
			[]string{"serve udp 0.0.0.0:5353 3", "ask udp 10.96.0.10:53 3 a -"}, "10.96.0.10:53", 2, nil},
		{"a sidecar receives datagrams", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 53 redirect to :15053"),
			[]string{"serve udp 127.0.0.1:15053 3", "ask udp 10.96.0.10:53 3 a -"}, "10.96.0.10:53", 2, nil},
		{"a sidecar receives QUIC", nat("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 443 redirect to :15443"),
			[]string{"serve quic 127.0.0.1:15443 3", "ask quic 10.96.0.10:443 3 a"}, "10.96.0.10:443", 2, nil},
		{"masquerading of QUIC", nat("nft add rule ip nat postrouting ip daddr 10.1.1.2 udp dport 8443 snat to 10.1.1.2:6000-6100"),
			[]string{"serve quic 10.1.1.2:8443 3", "ask quic 10.1.1.2:8443 3 a"}, "10.1.1.2:8443", 2, nil},
		{"masquerading of datagrams", nat("nft add rule ip nat postrouting ip daddr 10.1.1.2 udp dport 5353 snat to 10.1.1.2:6000-6100"),
			[]string{"serve udp 10.1.1.2:5353 3", "ask udp 10.1.1.2:5353 3 a -"}, "10.1.1.2:5353", 2, nil},
		{"a sidecar on all addresses of both versions", nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 redirect to :15001"),
			[]string{"serve tcp [::]:15001 3", "ask tcp 10.96.0.10:80 3 a"}, "10.96.0.10:80", 2, nil},
		{"IPv6, a service's address is translated to a pod's", nat6("nft add rule ip6 nat output ip6 daddr fd96::10 tcp dport 80 dnat to [fd00::2]:8080"),
			[]string{"serve tcp [fd00::2]:8080 3", "ask tcp [fd96::10]:80 3 a"}, "fd96::10:80", 2, nil},
		{"IPv6, a sidecar receives datagrams", nat6("nft add rule ip6 nat output ip6 daddr fd96::10 udp dport 53 redirect to :15053"),
			[]string{"serve udp [::1]:15053 3", "ask udp [fd96::10]:53 3 a -"}, "fd96::10:53", 2, nil},
	}
}

// processes are parts in which several processes share or pass a socket.
func processes() []scene {
	const one, to = "ask tcp 127.0.0.1:8080 3 a", "127.0.0.1:8080"
	const each, datagrams = "each tcp 127.0.0.1:8080 6 a", "127.0.0.1:5353"
	list := []scene{
		{name: "prefork", roles: []string{"prefork tcp 127.0.0.1:8080 6 3", each}, dst: to},
		{name: "accepted in a worker", roles: []string{"prefork tcp 127.0.0.1:8080 3 1", one}, dst: to},
		{name: "accepted by one, served by another", roles: []string{"accept tcp 127.0.0.1:8080 6", each}, dst: to},
		{name: "several listeners on one port", roles: []string{"reuse tcp 127.0.0.1:8080 6 3", each}, dst: to},
		{name: "inetd", roles: []string{"inetd tcp 127.0.0.1:8080 6", each}, dst: to},
		{name: "parent and child share a connection", roles: []string{"both tcp 127.0.0.1:8080 4", "ask tcp 127.0.0.1:8080 4 a"}, dst: to},
		{name: "a connection passed back and forth", roles: []string{"serve tcp 127.0.0.1:8080 6", "handover tcp 127.0.0.1:8080 6"}, dst: to},
		{name: "workers on one UDP socket", roles: []string{"workers udp 127.0.0.1:5353 6 3", "ask udp 127.0.0.1:5353 6 a -"}, dst: datagrams},
		{name: "workers on one UDP socket on all addresses", roles: []string{"workers udp [::]:5353 6 3", "ask udp 127.0.0.1:5353 6 a connected"}, dst: datagrams},
		{name: "older sockets", roles: []string{"serve tcp 127.0.0.1:8080 3", "ask tcp 127.0.0.1:8080 3 a - later"}, dst: to},
		{name: "older sockets in turn", roles: []string{"workers tcp 127.0.0.1:8080 3", "ask tcp 127.0.0.1:8080 3 a - later"}, dst: to},
		{name: "IPv4 in an IPv6 socket", roles: []string{"serve tcp [::]:8080 3", "mapped tcp 127.0.0.1:8080 3 a"}, dst: to},
		{name: "IPv4 datagrams in an IPv6 socket", roles: []string{"serve udp [::]:5353 3", "mapped udp 127.0.0.1:5353 3 a"}, dst: datagrams},
		{name: "IPv6", roles: []string{"serve tcp [::1]:8080 3", "ask tcp [::1]:8080 3 a"}, dst: "::1:8080"},
	}
	list = append(list,
		scene{name: "QUIC", roles: []string{"serve quic 127.0.0.1:8443 3", "ask quic 127.0.0.1:8443 3 a"}, dst: "127.0.0.1:8443"},
		scene{name: "QUIC, IPv6", roles: []string{"serve quic [::1]:8443 3", "ask quic [::1]:8443 3 a"}, dst: "::1:8443"})
	for way := range ways {
		list = append(list, scene{name: "sent by " + way, roles: []string{"by:" + way + " serve tcp 127.0.0.1:8080 3", "by:" + way + " " + one}, dst: to})
	}
	return list
}

// queues are parts whose data are sent when other processes write, or none does.
func queues() []scene {
	const to = "127.0.0.1:8080"
	return []scene{
		{name: "the server ends before its response is sent", roles: []string{"leave tcp 127.0.0.1:8080", "read tcp 127.0.0.1:8080 1 a"}, dst: to},
		{name: "a response queued behind that of another process", roles: []string{"answers tcp 127.0.0.1:8080 a", "read tcp 127.0.0.1:8080 2 a"}, dst: to, guess: []string{"dst /a-1"}},
		{name: "a request queued behind that of another process", roles: []string{"late tcp 127.0.0.1:8080", "requests tcp 127.0.0.1:8080"}, dst: to, guess: []string{"src /a-1"}},
	}
}

// namespaces are parts in their own networks.
func namespaces() []scene {
	const dnat = "ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.2.2:8080"
	const dnatUDP = "ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.2.2:5353"
	const serve, serveUDP = "@other serve tcp 10.1.2.2:8080 3", "@other serve udp 10.1.2.2:5353 3"
	const service, serviceUDP = "10.96.0.10:80", "10.96.0.10:53"
	return []scene{
		{name: "pod to pod", net: pods(), roles: []string{serve, "@pod ask tcp 10.1.2.2:8080 3 a"}, dst: "10.1.2.2:8080", flows: 2},
		{name: "pod to pod, datagrams", net: pods(), roles: []string{serveUDP, "@pod ask udp 10.1.2.2:5353 3 a -"}, dst: "10.1.2.2:5353", flows: 2},
		{name: "pod to service", net: pods("nft add rule ip nat prerouting " + dnat), roles: []string{serve, "@pod ask tcp 10.96.0.10:80 3 a"}, dst: service, flows: 2},
		{name: "pod to service, datagrams", net: pods("nft add rule ip nat prerouting " + dnatUDP), roles: []string{serveUDP, "@pod ask udp 10.96.0.10:53 3 a -"}, dst: serviceUDP, flows: 2},
		{name: "pod to service, masquerade", net: pods("nft add rule ip nat prerouting "+dnat, "nft add rule ip nat postrouting ip daddr 10.1.2.2 masquerade"),
			roles: []string{serve, "@pod ask tcp 10.96.0.10:80 3 a"}, dst: service, flows: 2},
		{name: "pod to service, QUIC", net: pods("nft add rule ip nat prerouting ip daddr 10.96.0.10 udp dport 443 dnat to 10.1.2.2:8443"),
			roles: []string{"@other serve quic 10.1.2.2:8443 3", "@pod ask quic 10.96.0.10:443 3 a"}, dst: "10.96.0.10:443", flows: 2},
		{name: "host to service, QUIC", net: pods("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 443 dnat to 10.1.2.2:8443"),
			roles: []string{"@other serve quic 10.1.2.2:8443 3", "ask quic 10.96.0.10:443 3 a"}, dst: "10.96.0.10:443", flows: 3},
		{name: "host to service, QUIC, masquerade", net: pods("nft add rule ip nat output ip daddr 10.96.0.10 udp dport 443 dnat to 10.1.2.2:8443", "nft add rule ip nat postrouting ip daddr 10.1.2.2 masquerade"),
			roles: []string{"@other serve quic 10.1.2.2:8443 3", "ask quic 10.96.0.10:443 3 a"}, dst: "10.96.0.10:443", flows: 3},
		{name: "host to service", net: pods("nft add rule ip nat output " + dnat), roles: []string{serve, "ask tcp 10.96.0.10:80 3 a"}, dst: service, flows: 3},
		{name: "host to service, datagrams", net: pods("nft add rule ip nat output " + dnatUDP), roles: []string{serveUDP, "ask udp 10.96.0.10:53 3 a -"}, dst: serviceUDP, flows: 3},
		{name: "host to service, masquerade", net: pods("nft add rule ip nat output "+dnat, "nft add rule ip nat postrouting ip daddr 10.1.2.2 masquerade"),
			roles: []string{serve, "ask tcp 10.96.0.10:80 3 a"}, dst: service, flows: 3},
		{name: "pod to the node's own port", net: pods("nft add rule ip nat prerouting ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.1:8080"),
			roles: []string{"serve tcp 0.0.0.0:8080 3", "@pod ask tcp 10.96.0.10:80 3 a"}, dst: service, flows: 3},
		{name: "pod to the node's own port, datagrams", net: pods("nft add rule ip nat prerouting ip daddr 10.96.0.10 udp dport 53 dnat to 10.1.1.1:5353"),
			roles: []string{"serve udp 10.1.1.1:5353 3", "@pod ask udp 10.96.0.10:53 3 a -"}, dst: serviceUDP, flows: 3},
	}
}
