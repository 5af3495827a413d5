package networkpolicy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/forensics/netpol"
)

// verdict is the policies' verdict on a connection.
type verdict struct {
	refused  netpol.Answer
	policies []string // that select the pod at the end that refuses
	note     string
	likely   bool
}

// moment is a time, and the last change that the dumps show before it.
type moment struct{ at, change int64 }

// decide evaluates the policies of a time for a group.
func (k *cluster) decide(g *group, src, seen, dst *end, m moment) verdict {
	list := k.policiesAt(m.change)
	var out verdict
	for i, to := range k.targets(g, dst, m.at) {
		c := netpol.Conn{Src: k.endOf(src, m.at), Dst: to.End, Transport: g.Transport, Port: to.port}
		refused, names := netpol.Answer{}, []string(nil)
		if to.Addr != src.addr { // a pod can always reach itself
			refused, names = c.Refused(list, netpol.Egress)
		}
		if !k.atNode(seen) && to.Addr != src.addr {
			switch {
			case c.Src.Pod != nil:
			case dst.Pod == "" && dst.Kind == "service":
				c.Src = netpol.End{Unknown: "the address of " + src.IP + " may be translated on the way to the service"}
			default:
				c.Src = k.endOf(seen, m.at)
			}
			if in, of := c.Refused(list, netpol.Ingress); in.Truth > refused.Truth {
				refused, names = in, of
			}
		}
		switch {
		case i == 0:
			out.refused, out.policies = refused, names
		case refused.Truth != out.refused.Truth:
			out.refused = netpol.Answer{Truth: netpol.Maybe, Why: "it is unknown which pod behind the service received them"}
		default:
			out.policies = slices.Compact(slices.Sorted(slices.Values(append(out.policies, names...))))
		}
	}
	out.note, out.likely = k.age(out.policies, m.change)
	return out
}

// target is a pod that may have received a connection.
type target struct {
	netpol.End
	port int64
}

// targets returns the possible servers of a group: if it is to a service, the pods behind it.
func (k *cluster) targets(g *group, dst *end, at int64) []target {
	if dst.Pod != "" || dst.Kind != "service" {
		return []target{{k.endOf(dst, at), g.Port}}
	}
	service := dst.Namespace + "/" + dst.Service
	var ports []int64
	if o := k.services[service]; o != nil {
		for _, p := range o.Ports {
			if p.Name == fmt.Sprintf("%s/%d", g.Transport, g.Port) {
				n, _ := strconv.ParseInt(p.Value, 10, 64)
				ports = append(ports, n)
			}
		}
	}
	if len(ports) == 0 {
		ports = []int64{0} // unknown
	}
	var out []target
	for _, o := range k.behind[service] {
		if o.From != 0 && at < o.From || o.To != 0 && at >= o.To {
			continue
		}
		for _, a := range o.Addresses {
			if addr, err := netip.ParseAddr(a); err == nil && addr.Is4() == dst.addr.Is4() {
				pod := k.podOf(o, at)
				for _, port := range netpol.Listening(ports, slices.Collect(maps.Values(pod.Ports))) {
					out = append(out, target{netpol.End{Addr: addr, Pod: pod}, port})
				}
				break
			}
		}
	}
	if len(out) == 0 {
		out = []target{{netpol.End{Unknown: "no Kubernetes dump has the pods behind service " + service}, ports[0]}}
	}
	return out
}

// endOf returns an end as policies see it.
func (k *cluster) endOf(e *end, at int64) netpol.End {
	out := netpol.End{Addr: e.addr}
	switch {
	case e.Pod != "" && e.Namespace != "":
		out.Pod = k.podAt(e, at)
	case !e.External:
		out.Unknown = "the owner of " + e.IP + " is unknown"
	}
	return out
}
