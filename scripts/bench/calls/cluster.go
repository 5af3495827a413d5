package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
)

// service is a set of pods with one name.
type service struct {
	name, namespace string
	port            int
	pods            [][4]byte
	next            []*service // services that it calls
	paths           []string
	slow            float64 // factor for its response time
}

type cluster struct {
	rnd      *rand.Rand
	gateway  *service
	services []*service // in levels below the gateway
	postgres []*service
	redis    *service
	dns      *service
	outside  []*service
}

var words = []string{"orders", "users", "items", "carts", "prices", "stock", "search", "reviews", "invoices", "shipments", "coupons", "sessions", "reports", "media", "events", "alerts"}

func newCluster(seed int64) *cluster {
	c := &cluster{rnd: rand.New(rand.NewSource(seed))}
	last := 10
	add := func(namespace, name string, port, pods int) *service {
		s := &service{name: name, namespace: namespace, port: port, slow: 0.5 + c.rnd.Float64()*2}
		for range pods {
			s.pods = append(s.pods, [4]byte{10, 244, byte(last >> 8), byte(last)})
			last++
		}
		for i := range 8 {
			s.paths = append(s.paths, "/api/"+words[(c.rnd.Intn(4)+i*2)%len(words)])
		}
		return s
	}
	c.gateway = add("edge", "gateway", 8080, 3)
	spaces := []string{"shop", "billing", "analytics", "ops"}
	for i := range 48 {
		c.services = append(c.services, add(spaces[i%len(spaces)], fmt.Sprintf("%s-%02d", words[i%len(words)], i), 8000+i, 2+i%3))
	}
	for i := range 4 {
		c.postgres = append(c.postgres, add("data", fmt.Sprintf("postgres-%d", i), 5432, 1))
	}
	c.redis = add("data", "redis-cache", 6379, 2)
	c.dns = add("kube-system", "dns", 53, 2)
	for i := range 12 {
		c.outside = append(c.outside, &service{name: fmt.Sprintf("api%d.partner%d-example.com", i, i%5), port: 80, pods: [][4]byte{{203, 0, 113, byte(10 + i)}}, paths: []string{"/v1/charge", "/v1/notify"}, slow: 6})
	}
	c.gateway.next = c.services[:8]
	for i, s := range c.services {
		for k := range 3 {
			if j := 8 + i*2 + k; j < len(c.services) {
				s.next = append(s.next, c.services[j])
			}
		}
	}
	return c
}

type object map[string]any

// kube is the cluster as kubectl get -o json prints it.
func (c *cluster) kube() []byte {
	var items []object
	all := append([]*service{c.gateway, c.redis, c.dns}, append(c.services, c.postgres...)...)
	for _, s := range all {
		items = append(items, object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": s.name, "namespace": s.namespace, "uid": "svc-" + s.name},
			"spec": object{"clusterIP": "None", "type": "ClusterIP", "selector": object{"app": s.name}, "ports": []object{{"port": s.port}}}})
		var ends []object
		for i, ip := range s.pods {
			addr := fmt.Sprintf("%d.%d.%d.%d", ip[0], ip[1], ip[2], ip[3])
			name := fmt.Sprintf("%s-5d8f7c9b4-%05d", s.name, i)
			items = append(items, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": s.namespace, "uid": "pod-" + name,
				"creationTimestamp": "2026-01-01T00:00:00Z", "labels": object{"app": s.name, "team": s.namespace},
				"ownerReferences": []object{{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": s.name, "controller": true, "uid": "set-" + s.name}}},
				"spec":   object{"nodeName": fmt.Sprintf("node-%d", i%2), "containers": []object{{"name": s.name, "image": s.name + ":1"}}},
				"status": object{"phase": "Running", "podIP": addr, "podIPs": []object{{"ip": addr}}, "startTime": "2026-01-01T00:00:00Z"}})
			ends = append(ends, object{"addresses": []string{addr}, "targetRef": object{"kind": "Pod", "name": name, "namespace": s.namespace, "uid": "pod-" + name}})
		}
		items = append(items, object{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": ends,
			"metadata": object{"name": s.name + "-x", "namespace": s.namespace, "uid": "slice-" + s.name, "labels": object{"kubernetes.io/service-name": s.name}},
			"ports":    []object{{"port": s.port}}})
	}
	text, _ := json.Marshal(object{"apiVersion": "v1", "kind": "List", "items": items}) // always marshals
	return text
}
