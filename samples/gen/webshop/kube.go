package webshop

import (
	"crypto/sha256"
	"fmt"
	"time"
)

const nodeName = "node-1"

// shopPod is one pod of the shop; its host in the lab is called short.
type shopPod struct {
	name, ip, namespace, image, team string
	hash, tail                       string // of the ReplicaSet and of the pod; none for a StatefulSet
	port                             int
}

func (p shopPod) ns() string {
	if p.namespace != "" {
		return p.namespace
	}
	return "shop"
}

func (p shopPod) short() string {
	if p.name == "frontend" {
		return p.name + "-" + p.tail
	}
	return p.name
}

func (p shopPod) full() string {
	if p.hash == "" {
		return p.name + "-0"
	}
	return p.set() + "-" + p.tail
}

func (p shopPod) set() string { return p.name + "-" + p.hash }

func (p shopPod) labels() object {
	l := object{"app": p.name, "team": p.team}
	if p.hash != "" {
		l["pod-template-hash"] = p.hash
	}
	return l
}

type object = map[string]any

// uid derives an id from a name, in the format of the API server.
func uid(kind, ns, name string) string {
	h := sha256.Sum256([]byte(kind + "/" + ns + "/" + name))
	h[6], h[8] = h[6]&0x0f|0x40, h[8]&0x3f|0x80 // version and variant, RFC 9562 section 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func meta(kind, ns, name string, created time.Time) object {
	m := object{"name": name, "uid": uid(kind, ns, name), "creationTimestamp": stamp(created)}
	if ns != "" {
		m["namespace"] = ns
	}
	return m
}

func owned(m object, api, kind, ns, name string) object {
	m["ownerReferences"] = []object{{"apiVersion": api, "kind": kind, "name": name, "uid": uid(kind, ns, name), "controller": true, "blockOwnerDeletion": true}}
	return m
}

// shopDump returns the output of kubectl get pods,services,endpointslices,deployments,replicasets,
// nodes,events -A -o json for the shop after the capture that began at the given time.
func shopDump(began time.Time, failed []probeFailure) object {
	created := began.Add(-3 * time.Hour)
	var items []object
	seen := map[string]bool{}
	for _, p := range shopPods() {
		items = append(items, p.pod(created))
		if seen[p.name] {
			continue
		}
		seen[p.name] = true
		items = append(items, p.service(created), p.slice(created))
		if p.hash != "" {
			items = append(items, p.deployment(created), p.replicaSet(created))
		}
	}
	items = append(items, object{"apiVersion": "v1", "kind": "Node", "metadata": meta("Node", "", nodeName, created.Add(-24*time.Hour)),
		"spec": object{"podCIDR": "10.244.0.0/24", "podCIDRs": []string{"10.244.0.0/24"}},
		"status": object{"addresses": []object{{"type": "InternalIP", "address": nodeIP}, {"type": "Hostname", "address": nodeName}},
			"nodeInfo": object{"operatingSystem": "linux", "architecture": "amd64"}}})
	items = append(items, shopEvents(created, began, failed)...)
	return object{"apiVersion": "v1", "kind": "List", "metadata": object{"resourceVersion": ""}, "items": items}
}

func (p shopPod) pod(created time.Time) object {
	m := meta("Pod", p.ns(), p.full(), created)
	m["labels"] = p.labels()
	if p.hash != "" {
		m["generateName"] = p.set() + "-"
		owned(m, "apps/v1", "ReplicaSet", p.ns(), p.set())
	} else {
		owned(m, "apps/v1", "StatefulSet", p.ns(), p.name)
	}
	started := stamp(created.Add(4 * time.Second))
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": m,
		"spec": object{"nodeName": nodeName, "containers": []object{{"name": p.name, "image": p.image, "ports": []object{{"containerPort": p.port, "protocol": p.protocol()}}}}},
		"status": object{"phase": "Running", "hostIP": nodeIP, "podIP": p.ip, "podIPs": []object{{"ip": p.ip}}, "startTime": stamp(created.Add(time.Second)),
			"containerStatuses": []object{{"name": p.name, "image": p.image, "ready": true, "restartCount": 0, "containerID": "containerd://" + containerID(p),
				"state": object{"running": object{"startedAt": started}}}}}}
}

func containerID(p shopPod) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(p.full()))) }

func (p shopPod) protocol() string {
	if p.port == 53 {
		return "UDP"
	}
	return "TCP"
}

// service is headless: its name leads to the pods themselves.
func (p shopPod) service(created time.Time) object {
	m := meta("Service", p.ns(), p.name, created)
	m["labels"] = object{"app": p.name}
	return object{"apiVersion": "v1", "kind": "Service", "metadata": m, "spec": object{"type": "ClusterIP", "clusterIP": "None", "clusterIPs": []string{"None"},
		"selector": object{"app": p.name}, "ports": []object{{"port": p.port, "targetPort": p.port, "protocol": p.protocol()}}}, "status": object{"loadBalancer": object{}}}
}

func (p shopPod) slice(created time.Time) object {
	m := owned(meta("EndpointSlice", p.ns(), p.name+"-k2x8p", created), "v1", "Service", p.ns(), p.name)
	m["labels"] = object{"kubernetes.io/service-name": p.name}
	var ends []object
	for _, q := range shopPods() {
		if q.name == p.name {
			ends = append(ends, object{"addresses": []string{q.ip}, "nodeName": nodeName, "conditions": object{"ready": true, "serving": true, "terminating": false},
				"targetRef": object{"kind": "Pod", "namespace": q.ns(), "name": q.full(), "uid": uid("Pod", q.ns(), q.full())}})
		}
	}
	return object{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": m, "addressType": "IPv4", "endpoints": ends,
		"ports": []object{{"name": "", "port": p.port, "protocol": p.protocol()}}}
}

func (p shopPod) replicas() int {
	n := 0
	for _, q := range shopPods() {
		if q.name == p.name {
			n++
		}
	}
	return n
}

func (p shopPod) deployment(created time.Time) object {
	m := meta("Deployment", p.ns(), p.name, created)
	m["labels"] = object{"app": p.name, "team": p.team}
	return object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": m,
		"spec":   object{"replicas": p.replicas(), "selector": object{"matchLabels": object{"app": p.name}}},
		"status": object{"replicas": p.replicas(), "readyReplicas": p.replicas()}}
}

func (p shopPod) replicaSet(created time.Time) object {
	m := owned(meta("ReplicaSet", p.ns(), p.set(), created), "apps/v1", "Deployment", p.ns(), p.name)
	m["labels"] = p.labels()
	return object{"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": m, "spec": object{"replicas": p.replicas(), "selector": object{"matchLabels": p.labels()}},
		"status": object{"replicas": p.replicas(), "readyReplicas": p.replicas()}}
}

func shopEvents(created, began time.Time, failed []probeFailure) (out []object) {
	add := func(kind, ns, name, typ, reason, message string, first, last time.Time, count int) {
		e := fmt.Sprintf("%s.%016x", name, uint64(first.UnixNano()))
		out = append(out, object{"apiVersion": "v1", "kind": "Event", "metadata": meta("Event", ns, e, first), "type": typ, "reason": reason, "message": message,
			"count": count, "firstTimestamp": stamp(first), "lastTimestamp": stamp(last), "source": object{"component": "kubelet", "host": nodeName},
			"involvedObject": object{"apiVersion": "v1", "kind": kind, "namespace": ns, "name": name, "uid": uid(kind, ns, name)}})
	}
	for _, p := range shopPods() {
		add("Pod", p.ns(), p.full(), "Normal", "Started", "Started container "+p.name, created.Add(4*time.Second), created.Add(4*time.Second), 1)
	}
	hour := began.Add(-time.Hour)
	add("Deployment", "shop", "frontend", "Normal", "ScalingReplicaSet", "Scaled up replica set frontend-5d8f7c9b66 from 1 to 2", hour, hour, 1)
	last := map[string]int{}
	var order []string
	first := map[string]time.Time{}
	for _, f := range failed {
		if last[f.Pod] == 0 {
			order = append(order, f.Pod)
			first[f.Pod] = f.At
		}
		last[f.Pod]++
	}
	for _, pod := range order {
		var end time.Time
		for _, f := range failed {
			if f.Pod == pod {
				end = f.At
			}
		}
		add("Pod", "shop", pod, "Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", first[pod], end, last[pod])
	}
	return out
}
