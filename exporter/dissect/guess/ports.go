package guess

// streamPorts are server ports of streams, with the protocol that usually runs there. Protocols
// with a dissector are not listed: their dissector has not recognized the content. Sources: IANA
// Service Name and Transport Protocol Port Number Registry, and the defaults of the programs.
var streamPorts = map[uint16]string{
	43: "whois", 102: "s7comm", 111: "sunrpc", 119: "nntp",
	554: "rtsp", 873: "rsync", 1521: "oracle", 1723: "pptp",
	2181: "zookeeper", 3260: "iscsi", 4150: "nsq", 5222: "xmpp",
	5269: "xmpp", 5900: "vnc", 6000: "x11", 6881: "bittorrent", 7687: "bolt", 8009: "ajp",
	9300: "elasticsearch", 9418: "git", 10050: "zabbix", 10051: "zabbix", 24224: "fluentd", 33060: "mysqlx",
	61616: "openwire",
}

// datagramPorts is streamPorts for datagrams.
var datagramPorts = map[uint16]string{
	111: "sunrpc", 500: "ike",
	520:  "rip",
	2055: "netflow", 4500: "ike", 4739: "ipfix", 5683: "coap", 6343: "sflow", 8125: "statsd", 47808: "bacnet",
}
