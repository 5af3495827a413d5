package recorder

import (
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/bpf"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// TestPodsBeforeTheirAddressIsKnown covers packets that a pod sends to a service: they have
// other addresses at the other end, and Kubernetes reports the pod's address a second later.
// Until then, the packets may be forbidden at the other end too.
func TestPodsBeforeTheirAddressIsKnown(t *testing.T) {
	p := &policy.Policy{Never: []policy.Rule{{Owner: workload.Selector{Namespaces: []string{"payments"}}}}}
	w, err := newEnforcer(p, &pods{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := func(id uint64, pod, namespace string) *iface {
		x := &iface{group: machine.Cgroup{ID: id, Path: "/g", Pod: pod}}
		x.subject = workload.Subject{Namespace: namespace, PodUID: pod, Unnamed: pod != "" && namespace == "", Pod: namespace}
		w.setMarks(x)
		return x
	}
	names := func(x *iface, namespace string) {
		x.subject.Namespace, x.subject.Pod, x.subject.Unnamed = namespace, "p", false
		w.setMarks(x)
	}
	pod, dns, host, daemon := made(1, "uid-1", ""), made(2, "uid-2", "kube-system"), made(3, "", ""), made(4, "uid-4", "payments")
	at := int64(1e18)
	send := func(x *iface, outgoing bool, src, dst string) policy.Fate {
		at += 1e6
		ip := make([]byte, 28)
		ip[0], ip[3], ip[8], ip[9], ip[21], ip[23], ip[25] = 0x45, 28, 64, 17, 99, 53, 8
		copy(ip[12:], netip.MustParseAddr(src).AsSlice())
		copy(ip[16:], netip.MustParseAddr(dst).AsSlice())
		return w.fate(&bpf.Packet{Outgoing: outgoing, Cgroup: x.group.ID, Transport: 17}, ip, x, at)
	}
	const podIP, dnsIP, service, nodeIP = "10.88.1.10", "10.88.1.2", "10.96.0.10", "172.30.0.1"
	is := func(what string, got, want policy.Fate) {
		t.Helper()
		if got != want {
			t.Errorf("%s: fate %d, want %d", what, got, want)
		}
	}
	is("from an unused address", send(dns, false, podIP, dnsIP), policy.Kept)
	is("from a pod without a name", send(pod, true, podIP, service), policy.Forbidden)
	is("the same at the other end", send(dns, false, podIP, dnsIP), policy.Forbidden)
	is("its response", send(dns, true, dnsIP, podIP), policy.Forbidden)
	names(pod, "shop")
	is("from an allowed pod", send(pod, true, podIP, service), policy.Kept)
	is("the same at the other end", send(dns, false, podIP, dnsIP), policy.Kept)
	names(pod, "payments")
	is("the other end of a forbidden pod", send(dns, false, podIP, dnsIP), policy.Forbidden)
	at += 2 * podAddrTTL
	is("the address, long after", send(dns, false, podIP, dnsIP), policy.Kept)

	is("from the machine", send(host, true, nodeIP, service), policy.Kept)
	is("from a forbidden pod in its network", send(daemon, true, nodeIP, service), policy.Forbidden)
	is("the machine's address at the other end", send(dns, false, nodeIP, dnsIP), policy.Kept)
	for i := range maxPodAddrs + 10 {
		w.podAddrs.note(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), pod, at)
	}
	if len(w.podAddrs) > maxPodAddrs {
		t.Errorf("%d addresses are kept", len(w.podAddrs))
	}
}
