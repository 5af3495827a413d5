package network

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// StartDnsmasq starts a resolver on a host with the given records.
func StartDnsmasq(l *lab.Lab, on string, records ...string) error {
	argv := append([]string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
		"--bind-interfaces", "--interface=eth0", "--except-interface=lo", "--log-facility=-", "--pid-file=" + filepath.Join(l.Tmp, "dnsmasq.pid")}, records...)
	_, err := l.Start(on, "started", argv...)
	return err
}

func makeDNS(ctx context.Context, out string) error {
	l, err := lab.New("dns", "", lab.Host{Name: "client", IP: "10.1.4.5", IP6: "fd00:4::5"}, lab.Host{Name: "dns", IP: "10.1.4.53", IP6: "fd00:4::53"}, lab.At("deaf", "10.1.4.99"))
	if err != nil {
		return err
	}
	defer l.Close()
	records := []string{"--local=/example.net/", "--host-record=www.example.net,203.0.113.10,2001:db8::10", "--host-record=mail.example.net,203.0.113.25",
		"--cname=shop.example.net,store.example.net,www.example.net", "--cname=alias.example.net,shop.example.net",
		"--mx-host=example.net,mail.example.net,10", "--txt-record=example.net,v=spf1 -all",
		"--srv-host=_sip._tcp.example.net,mail.example.net,5060,1,2", "--ptr-record=10.113.0.203.in-addr.arpa,www.example.net",
		"--caa-record=example.net,0,issue,ca.example.net", "--local-ttl=60"}
	var long []string
	for i := range 12 {
		long = append(long, strings.Repeat(string(rune('a'+i)), 200))
	}
	records = append(records, "--txt-record=long.example.net,"+strings.Join(long, ","))
	if err := StartDnsmasq(l, "dns", records...); err != nil {
		return err
	}
	if err := l.Serve("deaf", "deaf", "10.1.4.99:53"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "dns.pcap"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "dns-client", "10.1.4.53:53", "[fd00:4::53]:53"); err != nil {
		return err
	}
	return r.Stop()
}

func dnsClient(_ context.Context, servers []string) error {
	udp := &dns.Client{Timeout: 2 * time.Second}
	tcp := &dns.Client{Net: "tcp", Timeout: 2 * time.Second}
	for _, q := range []struct {
		name string
		kind uint16
		edns uint16 // UDP size offered; 0 is none
	}{
		{"www.example.net.", dns.TypeA, 0},
		{"www.example.net.", dns.TypeAAAA, 1232},
		{"WWW.Example.NET.", dns.TypeA, 1232},
		{"alias.example.net.", dns.TypeA, 1232},
		{"shop.example.net.", dns.TypeA, 0},
		{"mail.example.net.", dns.TypeAAAA, 0}, // the name exists, but not the type
		{"example.net.", dns.TypeMX, 0},
		{"example.net.", dns.TypeTXT, 0},
		{"example.net.", dns.TypeCAA, 1232},
		{"_sip._tcp.example.net.", dns.TypeSRV, 0},
		{"10.113.0.203.in-addr.arpa.", dns.TypePTR, 0},
		{"missing.example.net.", dns.TypeA, 0},
		{"elsewhere.example.org.", dns.TypeA, 0}, // no upstream: refused
		{"www.example.net.", dns.TypeHTTPS, 1232},
		{"long.example.net.", dns.TypeTXT, 0},
	} {
		m := new(dns.Msg).SetQuestion(q.name, q.kind)
		if q.edns > 0 {
			m.SetEdns0(q.edns, true)
		}
		res, _, err := udp.Exchange(m, servers[0])
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		if res.Truncated {
			if _, _, err := tcp.Exchange(m, servers[0]); err != nil {
				return fmt.Errorf("%s over TCP: %w", q.name, err)
			}
		}
	}
	m := new(dns.Msg).SetQuestion("www.example.net.", dns.TypeAAAA)
	if _, _, err := udp.Exchange(m, servers[1]); err != nil {
		return err
	}
	// Two questions on one TCP connection, the second sent before the first is answered.
	pipe, err := tcp.Dial(servers[0])
	if err != nil {
		return err
	}
	defer pipe.Close()
	for _, name := range []string{"www.example.net.", "mail.example.net."} {
		if err := pipe.WriteMsg(new(dns.Msg).SetQuestion(name, dns.TypeA)); err != nil {
			return err
		}
	}
	for range 2 {
		if _, err := pipe.ReadMsg(); err != nil {
			return err
		}
	}
	return askDeaf(new(dns.Msg).SetQuestion("lost.example.net.", dns.TypeA))
}

// deaf receives datagrams without answering.
func deaf(ctx context.Context, args []string) error {
	c, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// askDeaf sends two questions to a server that does not answer.
func askDeaf(m *dns.Msg) error {
	c := &dns.Client{Timeout: 150 * time.Millisecond}
	for range 2 {
		if _, _, err := c.Exchange(m, "10.1.4.99:53"); err == nil {
			return fmt.Errorf("10.1.4.99 answered")
		}
	}
	return nil
}
