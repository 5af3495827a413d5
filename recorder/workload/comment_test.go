package workload

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestInterfaceCommentRoundTrip(t *testing.T) {
	c := InterfaceComment{
		Ring: "ring-1", Cgroup: "9223372036854775809", How: "cgroup",
		Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("fd00::5")},
		Identity: Identity{
			Namespace: "shop", Pod: "web-1", PodUID: "u-1", Container: "web", Image: "registry.example/web:1.4", Node: "node-a",
			Workload: "web", WorkloadKind: "Deployment", Services: []string{"metrics", "web"}, Fronts: []Front{{"metrics", 53, 17}, {"metrics", 9090, 6}, {"web", 80, 132}}, Labels: []Label{{"app", "web"}, {"x", "<&>\"\\"}},
			ValidFrom: 1772442000123456789,
		},
	}
	text := FormatInterfaceComment(c)
	got, ok := ParseInterfaceComment(text)
	want := c
	want.Identity.Kind, want.Identity.Name, want.Identity.HowKnown, want.Identity.Source = "pod", "web-1", "segment", "ring-1"
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%s\ngot  %+v\nwant %+v", text, got, want)
	}
}

func TestInterfaceCommentStaysWithinLimit(t *testing.T) {
	long := strings.Repeat(`"`, 1000) + "\x00\x1b"
	c := InterfaceComment{Ring: long, Cgroup: long, How: long}
	id := &c.Identity
	for _, f := range []*string{&id.Namespace, &id.Pod, &id.PodUID, &id.Container, &id.Image, &id.Node, &id.Workload, &id.WorkloadKind, &id.Process} {
		*f = long
	}
	for i := range 500 {
		id.Labels = append(id.Labels, Label{"label-" + string(rune('a'+i%26)) + strings.Repeat("x", i), long})
		id.Services = append(id.Services, long)
		id.Fronts = append(id.Fronts, Front{long, uint16(i), 6})
		c.Addresses = append(c.Addresses, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	text := FormatInterfaceComment(c)
	if len(text) > maxComment || !json.Valid([]byte(text)) || strings.ContainsAny(text, "\x00\x1b") {
		t.Errorf("%d bytes: %.200s", len(text), text)
	}
	if got, ok := ParseInterfaceComment(text); !ok || !got.Cut {
		t.Errorf("%+v, %v", got, ok)
	}
}

func TestOtherCommentsAreRefused(t *testing.T) {
	for _, s := range []string{"", "eth0 of the lab", "{", `{"a":1}`, `{"ring":""}`, `{"ring":7}`, `{"ring":"r"`, `{"ring":"r","pad":"` + strings.Repeat("x", maxComment) + `"}`} {
		if c, ok := ParseInterfaceComment(s); ok {
			t.Errorf("%.40q: %+v", s, c)
		}
	}
}

func TestSegmentPrecedesKube(t *testing.T) {
	x := both(t)
	c, ok := ParseInterfaceComment(`{"ring":"r","pod_uid":"00000000-0000-4000-8000-000000000020","namespace":"shop","pod":"web-7d4b9c6f5d-aaaaa","container":"web","addresses":["10.244.1.5"],"valid_from":"2026-03-02T09:00:01Z"}`)
	if !ok {
		t.Fatal("the comment was refused")
	}
	x.AddInterface(c)
	c.HostNetwork, c.Addresses = true, []netip.Addr{netip.MustParseAddr("192.168.10.1")}
	x.AddInterface(c)
	id, _ := x.Lookup(netip.MustParseAddr("10.244.1.5"), 40000, tcp, at(t, "10:00:00"))
	if id.HowKnown != "segment" || id.Container != "web" || id.Workload != "web" || len(id.Services) != 2 || id.Source != "r" {
		t.Errorf("the dump does not complete the same pod: %+v", id)
	}
	if id, _ := x.Lookup(netip.MustParseAddr("192.168.10.1"), 40000, tcp, at(t, "10:00:00")); id.Kind != "node" {
		t.Errorf("a node's address must remain the node's: %+v", id)
	}
	c.HostNetwork, c.Identity.PodUID, c.Identity.Pod, c.Addresses = false, "other", "other", []netip.Addr{netip.MustParseAddr("10.244.1.5")}
	c.Identity.ValidFrom = at(t, "11:00:00")
	x.AddInterface(c)
	if id, _ := x.Lookup(netip.MustParseAddr("10.244.1.5"), 0, 0, at(t, "11:30:00")); id.Pod != "other" || id.Workload != "" {
		t.Errorf("the dump completes a different pod: %+v", id)
	}
}

func TestParsePtcpdump(t *testing.T) {
	const pod = "PodName: web-1\nPodNamespace: shop\nPodUID: u-1\nPodLabels: {\"b\":\"2\",\"a\":\"1\"}\nPodAnnotations: {\"k\":\"secret\"}"
	for _, c := range []struct {
		name     string
		comments []string
		want     string // kind name ns uid process pid parent thread container image; empty: refused
	}{
		{"a process with its parent, as ptcpdump writes it", []string{"PID: 122868\nCmd: /usr/bin/curl\nArgs: curl kernel.com", "ThreadId: 122868\nThreadName: curl", "ParentPID: 53229\nParentCmd: /usr/bin/bash\nParentArgs: -bash"},
			"process curl - - curl 122868 bash curl - -"},
		{"the older key Command", []string{"PID: 7\nCommand: /bin/nc\nArgs: nc"}, "process nc - - nc 7 - - - -"},
		{"container and pod", []string{"PID: 7\nCmd: /bin/app\nArgs: app --password=x", "ContainerName: /k8s_web\nContainerId: abc\nContainerImage: img:1\nContainerLabels: {\"io.kubernetes.container.name\":\"web\"}", pod},
			"pod web-1 shop u-1 app 7 - - web img:1"},
		{"the pod from the container's labels only", []string{"ContainerName: x\nContainerId: abc\nContainerImage: img:1\nContainerLabels: {\"io.kubernetes.pod.name\":\"web-2\",\"io.kubernetes.pod.namespace\":\"shop\"}"},
			"pod web-2 shop - - 0 - - x img:1"},
		{"a command line that imitates a pod", []string{"PID: 7\nCmd: /bin/sh\nArgs: sh -c x\nPodName: victim\nPodNamespace: bank"}, "process sh - - sh 7 - - - -"},
		{"a thread name that imitates a process", []string{"PID: 7\nCmd: /bin/sh\nArgs: sh", "ThreadId: 8\nThreadName: a\nPID: 1"}, "process sh - - sh 7 - a - -"},
		{"rustnet's form", []string{"rustnet process=nginx pid=42 ppid=1 uid=0 pod=nginx-1 ns=demo pod_uid=c3b4 container=nginx container_id=c16c direction=incoming app=HTTP"}, "pod nginx-1 demo c3b4 nginx 42 - - nginx -"},
		{"the same pairs without the tool's name", []string{"pod=nginx-1 ns=demo pod_uid=c3b4 container=nginx"}, "pod nginx-1 demo c3b4 - 0 - - nginx -"},
		{"a later pair does not replace an earlier one", []string{"rustnet pod=a ns=b sni=x pod=c"}, "pod a b - - 0 - - - -"},
		{"prose", []string{"the packet with pod=web in it"}, ""},
		{"nothing", nil, ""},
		{"a user only", []string{"UserId: 1000"}, ""},
		{"an invalid process id", []string{"PID: 99999999999999\nCmd: \nArgs: "}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, ok := ParsePtcpdump(c.comments...)
			id := o.Identity
			got := ""
			if ok {
				words := []string{id.Kind, id.Name, id.Namespace, id.PodUID, id.Process, "", o.Parent, o.Thread, id.Container, id.Image}
				for i := range words {
					if words[i] == "" {
						words[i] = "-"
					}
				}
				n, _ := json.Marshal(id.PID)
				words[5] = string(n)
				got = strings.Join(words, " ")
				if id.HowKnown != "ptcpdump" || id.Source == "" {
					t.Errorf("how %q, source %q", id.HowKnown, id.Source)
				}
			}
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	o, _ := ParsePtcpdump(pod)
	if want := []Label{{"a", "1"}, {"b", "2"}}; !reflect.DeepEqual(o.Identity.Labels, want) {
		t.Errorf("labels %v", o.Identity.Labels)
	}
}

func TestFormatPageExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/format/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, _ = strings.Cut(example, "\n```")
	c, ok := ParseInterfaceComment(example)
	if !ok || FormatInterfaceComment(c) != example {
		t.Errorf("page:    %s\nwritten: %s", example, FormatInterfaceComment(c))
	}
}
