// Package all lists the protocols for dissecting bundles. A new protocol is one folder next to
// this one and one line here. Detection tries the protocols in this order if no port gives a
// hint.
package all

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/amqp"
	"github.com/pcapsule/pcapsule/exporter/dissect/amqp1"
	"github.com/pcapsule/pcapsule/exporter/dissect/bgp"
	"github.com/pcapsule/pcapsule/exporter/dissect/cassandra"
	"github.com/pcapsule/pcapsule/exporter/dissect/clickhouse"
	"github.com/pcapsule/pcapsule/exporter/dissect/dhcp"
	"github.com/pcapsule/pcapsule/exporter/dissect/diameter"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/ftp"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/dissect/http2"
	"github.com/pcapsule/pcapsule/exporter/dissect/http3"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp"
	"github.com/pcapsule/pcapsule/exporter/dissect/imap"
	"github.com/pcapsule/pcapsule/exporter/dissect/kafka"
	"github.com/pcapsule/pcapsule/exporter/dissect/kerberos"
	"github.com/pcapsule/pcapsule/exporter/dissect/ldap"
	"github.com/pcapsule/pcapsule/exporter/dissect/memcached"
	"github.com/pcapsule/pcapsule/exporter/dissect/modbus"
	"github.com/pcapsule/pcapsule/exporter/dissect/mongodb"
	"github.com/pcapsule/pcapsule/exporter/dissect/mqtt"
	"github.com/pcapsule/pcapsule/exporter/dissect/mysql"
	"github.com/pcapsule/pcapsule/exporter/dissect/nats"
	"github.com/pcapsule/pcapsule/exporter/dissect/nfs"
	"github.com/pcapsule/pcapsule/exporter/dissect/ntp"
	"github.com/pcapsule/pcapsule/exporter/dissect/openvpn"
	"github.com/pcapsule/pcapsule/exporter/dissect/pop3"
	"github.com/pcapsule/pcapsule/exporter/dissect/postgresql"
	"github.com/pcapsule/pcapsule/exporter/dissect/proxy"
	"github.com/pcapsule/pcapsule/exporter/dissect/quic"
	"github.com/pcapsule/pcapsule/exporter/dissect/radius"
	"github.com/pcapsule/pcapsule/exporter/dissect/rdp"
	"github.com/pcapsule/pcapsule/exporter/dissect/redis"
	"github.com/pcapsule/pcapsule/exporter/dissect/rtp"
	"github.com/pcapsule/pcapsule/exporter/dissect/sctp"
	"github.com/pcapsule/pcapsule/exporter/dissect/sip"
	"github.com/pcapsule/pcapsule/exporter/dissect/smb"
	"github.com/pcapsule/pcapsule/exporter/dissect/smtp"
	"github.com/pcapsule/pcapsule/exporter/dissect/snmp"
	"github.com/pcapsule/pcapsule/exporter/dissect/socks"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssdp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssh"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssrp"
	"github.com/pcapsule/pcapsule/exporter/dissect/stomp"
	"github.com/pcapsule/pcapsule/exporter/dissect/syslog"
	"github.com/pcapsule/pcapsule/exporter/dissect/tds"
	"github.com/pcapsule/pcapsule/exporter/dissect/thrift"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/exporter/dissect/wireguard"
	"github.com/pcapsule/pcapsule/exporter/dissect/ws"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Protocols returns the protocols in the order of detection. Keys are for decryption; nil if
// there are none.
func Protocols(keys *secrets.Store) []*dissect.Protocol {
	return []*dissect.Protocol{
		http1.Protocol(),
		dns.Protocol(),
		icmp.Protocol(),
		sctp.Protocol(),
		http2.Protocol(),
		grpc.Protocol(),
		redis.Protocol(),
		postgresql.Protocol(),
		kafka.Protocol(),
		mysql.Protocol(),
		nats.Protocol(),
		mongodb.Protocol(),
		mqtt.Protocol(),
		amqp.Protocol(),
		amqp1.Protocol(),
		stomp.Protocol(),
		memcached.Protocol(),
		ldap.Protocol(),
		smtp.Protocol(),
		ssh.Protocol(),
		ftp.Protocol(),
		cassandra.Protocol(),
		imap.Protocol(),
		pop3.Protocol(),
		ntp.Protocol(),
		dhcp.Protocol(),
		syslog.Protocol(),
		proxy.Protocol(),
		socks.Protocol(),
		thrift.Protocol(),
		radius.Protocol(),
		snmp.Protocol(),
		sip.Protocol(),
		rtp.Protocol(),
		diameter.Protocol(),
		modbus.Protocol(),
		bgp.Protocol(),
		kerberos.Protocol(),
		tds.Protocol(),
		rdp.Protocol(),
		openvpn.Protocol(),
		wireguard.Protocol(),
		ssrp.Protocol(),
		ssdp.Protocol(),
		clickhouse.Protocol(),
		smb.Protocol(),
		nfs.Protocol(),
		tls.Protocol(keys),
		quic.Protocol(keys),
		http3.Protocol(),
		ws.Protocol(),
	}
}
