package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/pins"
)

const (
	recorderLabel = "app.kubernetes.io/name=pcapsule-recorder"
	recorderPort  = "9465" // if the pod names no port
	portName      = "transfer"
)

// nodes lists the cluster's nodes.
func (h *hub) nodes(ctx context.Context) (names []string, err error) {
	o := meta.ListOptions{Limit: 500}
	for {
		list, err := h.core.Nodes().List(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("listing nodes: %w", err)
		}
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return names, nil
		}
	}
}

// listAge is how long a listing of the API is used: a snapshot asks for each node several times.
const listAge = 2 * time.Second

// listing is a list that was read a moment ago.
type listing[T any] struct {
	mu   sync.Mutex
	at   time.Time
	list T
}

// get returns the list. Callers wait for one that reads it.
func (l *listing[T]) get(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < listAge {
		return l.list, nil
	}
	list, err := read(ctx)
	if err == nil {
		l.list, l.at = list, time.Now()
	}
	return list, err
}

// finder finds the recorders of nodes.
type finder struct {
	hub    *hub
	source mutual.Source

	pods  listing[map[string]pod]
	names listing[[]string]

	mu      sync.Mutex
	clients map[string]*http.Client
}

// pod is that of a recorder.
type pod struct {
	node, address string
	runs          bool
}

// list lists the recorders by node. Of several, such as during an update, it has the one that runs.
func (f *finder) list(ctx context.Context) (map[string]pod, error) {
	return f.pods.get(ctx, func(ctx context.Context) (map[string]pod, error) {
		all := map[string]pod{}
		o := meta.ListOptions{LabelSelector: recorderLabel, Limit: 500}
		for {
			list, err := f.hub.core.Pods(f.hub.Namespace).List(ctx, o)
			if err != nil {
				return nil, fmt.Errorf("listing recorders: %w", err)
			}
			for i := range list.Items {
				p := &list.Items[i]
				x := pod{node: p.Spec.NodeName, address: net.JoinHostPort(p.Status.PodIP, portOf(p)), runs: p.Status.Phase == core.PodRunning && p.Status.PodIP != ""}
				if x.node != "" && p.DeletionTimestamp == nil && (x.runs || !all[x.node].runs) {
					all[x.node] = x
				}
			}
			if o.Continue = list.Continue; o.Continue == "" {
				return all, nil
			}
		}
	})
}

// find returns a client of the recorder that runs on a node.
func (f *finder) find(ctx context.Context, node string) (*pins.Client, error) {
	all, err := f.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding the recorder of node %s: %w", node, err)
	}
	if p := all[node]; p.runs {
		return f.client(p), nil
	}
	names, err := f.names.get(ctx, f.hub.nodes)
	if err != nil {
		return nil, fmt.Errorf("finding node %s: %w", node, err)
	}
	if !slices.Contains(names, node) {
		return nil, &collect.MissingError{Reason: collect.NotScheduled, Text: "the cluster has no such node", Final: true}
	}
	return nil, &collect.MissingError{Reason: collect.NotScheduled, Text: "no recorder runs there"}
}

// client returns a client of the recorder in a pod.
func (f *finder) client(p pod) *pins.Client {
	node := p.node
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clients[node] == nil {
		f.clients[node] = mutual.Client(f.source, mutual.Node(node))
	}
	return &pins.Client{URL: &url.URL{Scheme: "https", Host: p.address}, HTTP: f.clients[node]}
}

func portOf(pod *core.Pod) string {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == portName {
				return fmt.Sprint(p.ContainerPort)
			}
		}
	}
	return recorderPort
}

// Cluster returns the connection to the API: that of a kubeconfig or, without one, that of the
// pod's service account.
func Cluster(kubeconfig, program string) (*rest.Config, error) {
	var c *rest.Config
	var err error
	if kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	} else {
		c, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("reaching Kubernetes: %w", err)
	}
	c.UserAgent = strings.ReplaceAll(program, " ", "/")
	c.QPS, c.Burst = 50, 100
	return c, nil
}
