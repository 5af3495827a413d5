package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// finder finds the recorders of nodes.
type finder struct {
	hub    *hub
	source mutual.Source

	mu      sync.Mutex
	clients map[string]*http.Client
}

// find returns a client of the recorder that runs on a node.
func (f *finder) find(ctx context.Context, node string) (*pins.Client, error) {
	list, err := f.hub.core.Pods(f.hub.Namespace).List(ctx, meta.ListOptions{LabelSelector: recorderLabel, FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, fmt.Errorf("finding the recorder of node %s: %w", node, err)
	}
	var pod *core.Pod
	for i := range list.Items {
		p := &list.Items[i]
		if p.Status.Phase == core.PodRunning && p.Status.PodIP != "" && p.DeletionTimestamp == nil {
			pod = p
		}
	}
	if pod == nil {
		_, err := f.hub.core.Nodes().Get(ctx, node, meta.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil, &collect.MissingError{Reason: collect.NotScheduled, Text: "the cluster has no such node", Final: true}
		case err != nil:
			return nil, fmt.Errorf("finding node %s: %w", node, err)
		}
		return nil, &collect.MissingError{Reason: collect.NotScheduled, Text: "no recorder runs there"}
	}
	return f.client(pod), nil
}

// client returns a client of the recorder in a pod.
func (f *finder) client(pod *core.Pod) *pins.Client {
	node := pod.Spec.NodeName
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clients[node] == nil {
		f.clients[node] = mutual.Client(f.source, mutual.Node(node))
	}
	return &pins.Client{URL: &url.URL{Scheme: "https", Host: net.JoinHostPort(pod.Status.PodIP, portOf(pod))}, HTTP: f.clients[node]}
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
