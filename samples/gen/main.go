// Command gen remakes the captures in samples/: real servers and clients communicate in separate
// network namespaces, and tcpdump or dumpcap records them.
//
// It needs root, ip, tcpdump, dumpcap, dnsmasq, nginx, redis-server, PostgreSQL, MariaDB, mosquitto,
// rabbitmq-server, clickhouse-server, memcached, libmemcached-tools, slapd, Postfix, Dovecot, vsftpd, OpenSSH, chrony, udhcpc,
// dhclient, rsyslog, dante-server, HAProxy, curl, SIPp, freeDiameter, minidlna, xrdp, FreeRDP with Xvfb, OpenVPN, wireguard-go,
// wireguard-tools, Python, Node, and Java with Maven. No traffic leaves
// the machine: every address is private or from a range for documentation, and the namespaces have no
// route to other networks. It ends only processes that it started, and removes its files.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// scenario is one capture, or a group of files that are made together.
type scenario struct {
	name string
	make func(context.Context, string) error // the argument is the folder for the files
}

func scenarios() []scenario {
	return []scenario{
		{"http1", makeHTTP1},
		{"http2", makeHTTP2},
		{"grpc", makeGRPC},
		{"etcd", makeEtcd},
		{"dns", makeDNS},
		{"tls", makeTLS},
		{"redis", makeRedis},
		{"redis-cluster", makeRedisCluster},
		{"postgresql", makePostgres},
		{"postgresql-replication", makeReplication},
		{"mysql", makeMySQL},
		{"icmp", makeICMP},
		{"kafka", makeKafka},
		{"web", makeWeb},
		{"socketio", makeSocketIO},
		{"nats", makeNATS},
		{"mongodb", makeMongoDB},
		{"mcp", makeMCP},
		{"apis", makeAPIs},
		{"mqtt", makeMQTT},
		{"mqtt-ws", makeMQTTWeb},
		{"amqp", makeAMQP},
		{"amqp1", makeAMQP1},
		{"stomp", makeSTOMP},
		{"clickhouse", makeClickHouse},
		{"memcached", makeMemcached},
		{"ldap", makeLDAP},
		{"smtp", makeSMTP},
		{"ftp", makeFTP},
		{"files", makeFiles},
		{"ssh", makeSSH},
		{"cassandra", makeCassandra},
		{"imap", makeIMAP},
		{"pop3", makePOP3},
		{"ntp", makeNTP},
		{"dhcp", makeDHCP},
		{"syslog", makeSyslog},
		{"socks", makeSOCKS},
		{"proxy", makeProxy},
		{"thrift", makeThrift},
		{"thrift-header", makeThriftHeader},
		{"sip", makeSIP},
		{"rtp", makeRTP},
		{"diameter", makeDiameter},
		{"modbus", makeModbus},
		{"sctp", makeSCTP},
		{"bgp", makeBGP},
		{"radius", makeRADIUS},
		{"snmp", makeSNMP},
		{"kerberos", makeKerberos},
		{"tds", makeTDS},
		{"ssrp", makeSSRP},
		{"ssdp", makeSSDP},
		{"stun", makeSTUN},
		{"tftp", makeTFTP},
		{"tftp-ports", makeTFTPPorts},
		{"rdp", makeRDP},
		{"openvpn", makeOpenVPN},
		{"wireguard", makeWireGuard},
		{"smb", makeSMB},
		{"nfs", makeNFS},
		{"vantages", makeVantages},
		{"shop", makeShop},
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	out := flag.String("o", ".", "folder for the captures")
	only := flag.String("only", "", "names of the captures to make, with commas; empty means all")
	role := flag.String("role", "", "the part that this process plays inside a namespace; gen sets it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *role != "" {
		if err := play(ctx, *role, flag.Args()); err != nil {
			log.Fatalf("%s: %v", *role, err)
		}
		return
	}
	if err := run(ctx, *out, *only); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out, only string) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("making network namespaces needs root; hint: run with sudo")
	}
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	known := ""
	for _, s := range scenarios() {
		known += s.name + " "
		if only != "" && !strings.Contains(","+only+",", ","+s.name+",") {
			continue
		}
		log.Printf("making %s", s.name)
		if err := s.make(ctx, out); err != nil {
			return fmt.Errorf("making %s: %w", s.name, err)
		}
	}
	for name := range strings.SplitSeq(only, ",") {
		if name != "" && !strings.Contains(known, name+" ") {
			return fmt.Errorf("no capture %q; there are: %s", name, known)
		}
	}
	return nil
}

// play runs one role until it is done or stopped.
func play(ctx context.Context, role string, args []string) error {
	parts := map[string]func(context.Context, []string) error{
		"http1-server":         http1Server,
		"http1-client":         http1Client,
		"http2-server":         http2Server,
		"http2-client":         http2Client,
		"grpc-server":          grpcServer,
		"grpc-client":          grpcClient,
		"etcd-server":          etcdServer,
		"etcd-client":          etcdClient,
		"dns-client":           dnsClient,
		"deaf":                 deaf,
		"tls-server":           tlsServer,
		"tls-client":           tlsClient,
		"redis-client":         redisClient,
		"redis-cluster-client": redisClusterClient,
		"pg-client":            pgClient,
		"pgrepl-client":        pgReplClient,
		"mysql-client":         mysqlClient,
		"icmp-client":          icmpClient,
		"kafka-client":         kafkaClient,
		"mqtt-client":          mqttClient,
		"mqtt-ws-client":       mqttWebClient,
		"amqp-client":          amqpClient,
		"amqp1-client":         amqp1Client,
		"nats-server":          natsServer,
		"nats-worker":          natsWorker,
		"nats-client":          natsClient,
		"mongo-client":         mongoClient,
		"mcp-server":           mcpServer,
		"mcp-client":           mcpClient,
		"apis-server":          apisServer,
		"apis-client":          apisClient,
		"memc-client":          memcClient,
		"ldap-client":          ldapClient,
		"cql-client":           cqlClient,
		"wait":                 waitFor,
		"sctp-server":          sctpServerPart,
		"sctp-client":          sctpClientPart,
		"gateway":              shopGateway,
		"frontend":             shopFrontend,
		"catalogue":            shopCatalogue,
		"payment":              shopPayment,
		"inventory":            shopInventory,
		"auth":                 shopAuth,
		"notification":         shopNotification,
		"cards":                shopCards,
		"mail":                 shopMail,
		"kubelet":              shopKubelet,
		"shop-customer":        shopCustomer,
	}
	part, ok := parts[role]
	if !ok {
		return fmt.Errorf("no such part")
	}
	return part(ctx, args)
}
