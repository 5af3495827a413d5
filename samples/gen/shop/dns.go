package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	clusterZone = ".svc.cluster.local."
	keepNames   = 30 * time.Second // of the scenario's time
	answerTTL   = 30
)

// resolver queries the cluster's DNS like a pod.
type resolver struct {
	p  *pod
	mu sync.Mutex
	c  map[string]cached
}

type cached struct {
	ips []string
	end time.Time
}

func newResolver(p *pod) *resolver { return &resolver{p: p, c: map[string]cached{}} }

// full is the queried name: a service and its namespace are in the cluster's zone.
func (r *resolver) full(name string) string {
	labels := strings.Split(name, ".")
	if len(labels) == 2 {
		for _, ns := range r.p.shop.sc.Namespaces {
			if labels[1] == ns {
				return name + clusterZone
			}
		}
	}
	if len(labels) == 1 {
		return name + "." + r.p.ns + clusterZone
	}
	return name + "."
}

func (r *resolver) lookup(ctx context.Context, name string) ([]string, error) {
	if !r.p.inside() { // outside hosts do not use the cluster's DNS
		for _, q := range r.p.shop.all {
			if q.name == name || q.svc != nil && strings.HasPrefix(name, q.svc.Name+".") {
				return []string{q.ip}, nil
			}
		}
		return nil, fmt.Errorf("no such name %s", name)
	}
	now := r.p.shop.clock.now()
	r.mu.Lock()
	c, ok := r.c[name]
	r.mu.Unlock()
	if ok && now.Before(c.end) {
		return c.ips, nil
	}
	m, err := r.ask(ctx, r.full(name), dns.TypeA)
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("looking up %s: %s", name, dns.RcodeToString[m.Rcode])
	}
	var ips []string
	for _, a := range m.Answer {
		if a, ok := a.(*dns.A); ok {
			ips = append(ips, a.A.String())
		}
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("looking up %s: no address", name)
	}
	r.mu.Lock()
	r.c[name] = cached{ips, now.Add(keepNames)}
	r.mu.Unlock()
	return ips, nil
}

// ask sends one DNS question and logs it.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	s := r.p.shop
	conn, err := r.p.dial(ctx, "udp4", "", net.JoinHostPort(s.pod("kube-dns").ip, "53"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	e := s.log.begin(r.p, "dns")
	e.Method, e.Path, e.Host = dns.TypeToString[kind], strings.TrimSuffix(name, "."), strings.TrimSuffix(name, ".")
	e.ClientAddr, e.ServerAddr = conn.LocalAddr().String(), conn.RemoteAddr().String()
	c := &dns.Client{Timeout: 10 * time.Second}
	in, _, err := c.ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: conn})
	if err != nil {
		e.Error = fault(err)
		s.log.end(s, e)
		return nil, err
	}
	e.Status = in.Rcode
	for _, a := range in.Answer {
		e.reply += a.String() + "\n"
	}
	s.log.end(s, e)
	return in, nil
}

// serveDNS answers for the cluster's zone and for the external names of the shop.
func (s *shop) serveDNS() error {
	zone := map[string][]string{}
	for _, p := range s.all {
		if p.svc != nil && p.svc.Port != 0 {
			name := strings.ToLower(p.svc.Name + "." + p.ns + clusterZone)
			zone[name] = append(zone[name], p.ip)
		}
	}
	for _, e := range s.sc.Externals {
		if e.Domain != "" {
			zone[strings.ToLower(e.Domain)+"."] = []string{e.IP}
		}
	}
	tunnel := "." + s.sc.name("tunnel") + "."
	broken := s.sc.text("broken_domain") + "."
	answer := func(w dns.ResponseWriter, q *dns.Msg) {
		s.log.served1("kube-dns")
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		name := strings.ToLower(q.Question[0].Name)
		head := func(kind uint16) dns.RR_Header {
			return dns.RR_Header{Name: q.Question[0].Name, Rrtype: kind, Class: dns.ClassINET, Ttl: answerTTL}
		}
		switch ips := zone[name]; {
		case strings.HasSuffix(name, tunnel):
			m.Answer = []dns.RR{&dns.TXT{Hdr: head(dns.TypeTXT), Txt: []string{random(24)}}}
		case name == broken:
			m.Rcode = dns.RcodeServerFailure
		case ips == nil:
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			for _, ip := range ips {
				m.Answer = append(m.Answer, &dns.A{Hdr: head(dns.TypeA), A: net.ParseIP(ip)})
			}
		}
		w.WriteMsg(m)
	}
	for _, p := range s.pods["kube-dns"] {
		pc, err := p.packets(p.ip + ":53")
		if err != nil {
			return err
		}
		go (&dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(answer)}).ActivateAndServe()
	}
	return nil
}
