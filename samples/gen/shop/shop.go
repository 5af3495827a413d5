package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"slices"
	"strings"
	"time"
)

// shop is the running shop.
type shop struct {
	sc    *Scenario
	lab   *lab
	clock *clock
	log   *journal
	pods  map[string][]*pod // by role
	all   []*pod            // in a fixed order
	ca    *authority
	keys  *keyring
	ready time.Time // real time at which recording began
	story *story

	gatewayToken token // what the token service hands out
}

// pod is one workload: a pod of the cluster, the node's kubelet, or an outside host.
type pod struct {
	*host
	shop *shop
	role string
	name string
	ns   string // Kubernetes namespace; empty outside
	node string
	ip   string
	svc  *Service

	web   *webClient
	names *resolver
	dbs   map[string]*database
	cache *redisConn
	rec   *recording
}

const (
	kubeletRole  = "kubelet"
	customerRole = "customer"
	podNet       = "10.244."
)

// kubeletIPs and customerIPs are not in the scenario, because no question names them.
func kubeletIP(node int) string { return fmt.Sprintf("192.168.49.%d", node+2) }

func customerIPs() []string {
	return []string{"198.51.100.7", "198.51.100.23", "198.51.100.31", "198.51.100.44"}
}

// build makes the network namespaces of all pods, and one for all outside hosts.
func (s *shop) build() error {
	s.pods = map[string][]*pod{}
	n := 0
	for i := range s.sc.Services {
		svc := &s.sc.Services[i]
		for _, name := range svc.Pods {
			node := n % len(s.sc.Nodes)
			ip := fmt.Sprintf("%s%d.%d", podNet, node+1, 10+n)
			n++
			if err := s.addPod(&pod{role: svc.Role, name: name, ns: s.sc.ns(svc.Namespace), node: s.sc.Nodes[node], ip: ip, svc: svc}); err != nil {
				return err
			}
		}
	}
	for i := range s.sc.Nodes {
		if err := s.addPod(&pod{role: kubeletRole, name: kubeletRole + "/" + s.sc.Nodes[i], ip: kubeletIP(i)}); err != nil {
			return err
		}
	}
	var outside []*pod
	for _, ip := range customerIPs() {
		outside = append(outside, &pod{role: customerRole, name: customerRole, ip: ip})
	}
	for _, e := range s.sc.Externals {
		outside = append(outside, &pod{role: e.Role, name: s.sc.name(e.Role), ip: e.IP})
	}
	var ips []string
	for _, p := range outside {
		ips = append(ips, p.ip)
	}
	h, err := s.lab.add(ips...)
	if err != nil {
		return err
	}
	for _, p := range outside {
		p.host = h
		s.join(p)
	}
	return nil
}

func (s *shop) addPod(p *pod) (err error) {
	if p.host, err = s.lab.add(p.ip); err != nil {
		return err
	}
	s.join(p)
	return nil
}

func (s *shop) join(p *pod) {
	p.shop = s
	p.dbs = map[string]*database{}
	p.names = newResolver(p)
	p.web = newWebClient(p)
	s.pods[p.role] = append(s.pods[p.role], p)
	s.all = append(s.all, p)
}

func (s *shop) pod(role string) *pod {
	if len(s.pods[role]) == 0 {
		panic("nobody plays " + role)
	}
	return s.pods[role][0]
}

func (s *shop) podAt(addr string) *pod {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	for _, p := range s.all {
		if p.ip == host {
			return p
		}
	}
	return nil
}

// inside reports whether a workload is a pod, which is recorded.
func (p *pod) inside() bool { return p.svc != nil }

// url is the URL of a service with the name that its clients use.
func (s *shop) url(role, path string) string {
	if svc := s.sc.service(role); svc != nil {
		return fmt.Sprintf("http://%s.%s:%d%s", svc.Name, s.sc.ns(svc.Namespace), svc.Port, path)
	}
	return "http://" + s.sc.name(role) + path
}

// begin starts recording in every pod.
func (s *shop) begin() error {
	for _, p := range s.all {
		if !p.inside() {
			continue
		}
		var err error
		if p.rec, err = p.record(); err != nil {
			return err
		}
	}
	s.ready = time.Now()
	return nil
}

// quiet closes idle connections, so that none outlives a leap of the clock for long.
func (s *shop) quiet(databases bool) {
	if databases {
		s.story.disconnect()
	}
	for _, p := range s.all {
		p.web.closeIdle()
		if databases {
			p.closeData()
		}
	}
}

const settle = 50 * time.Millisecond // longer than a delayed acknowledgement

// run starts all servers, runs the story and finishes the recordings.
func (s *shop) run(ctx context.Context) error {
	if err := s.build(); err != nil {
		return err
	}
	if err := s.serveAll(ctx); err != nil {
		return err
	}
	s.story = &story{s: s}
	s.tell()
	list := s.story.steps
	slices.SortStableFunc(list, func(a, b step) int { return a.at.Compare(b.at) })
	s.clock = newClock(list[0].at.Add(-time.Minute))
	if err := s.begin(); err != nil {
		return err
	}
	began := time.Now()
	for i, st := range list {
		gap := st.at.Sub(s.clock.now())
		if gap > 20*time.Second {
			s.quiet(gap > 10*time.Minute)
			time.Sleep(settle)
		}
		s.clock.leap(st.at)
		s.log.enter(st.plant)
		if err := st.do(ctx); err != nil {
			return fmt.Errorf("step %d (%s at %s): %w", i, st.plant, st.at.Format(time.DateTime), err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if late := s.clock.now().Sub(st.at); i+1 < len(list) && st.at.Add(late).After(list[i+1].at.Add(20*time.Second)) {
			log.Printf("%s at %s took %s, into the next step", st.plant, st.at.Format(time.DateTime), late.Round(time.Millisecond))
		}
	}
	s.quiet(true)
	time.Sleep(4 * settle)
	log.Printf("%s: %d steps in %s", s.sc.Name, len(list), time.Since(began).Round(time.Second))
	return nil
}

// endpointOf replaces the ids in a path.
func endpointOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.ContainsAny(p, "0123456789") && !(len(p) == 2 && p[0] == 'v') {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}
