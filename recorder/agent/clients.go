package agent

import (
	"fmt"
	"net/http"

	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"

	"github.com/pcapsule/pcapsule/recorder/internal/kube"
)

// clients returns clients of the four API groups that are used, on one connection. The whole
// client set would double the size of the program.
func clients(c *rest.Config) (kube.API, error) {
	var api kube.API
	h, err := rest.HTTPClientFor(c)
	for _, make := range []func(*rest.Config, *http.Client) error{
		func(c *rest.Config, h *http.Client) (err error) {
			api.Core, err = coreclient.NewForConfigAndClient(c, h)
			return
		},
		func(c *rest.Config, h *http.Client) (err error) {
			api.Apps, err = appsclient.NewForConfigAndClient(c, h)
			return
		},
		func(c *rest.Config, h *http.Client) (err error) {
			api.Batch, err = batchclient.NewForConfigAndClient(c, h)
			return
		},
		func(c *rest.Config, h *http.Client) (err error) {
			api.Discovery, err = discoveryclient.NewForConfigAndClient(c, h)
			return
		},
	} {
		if err == nil {
			err = make(c, h)
		}
	}
	if err != nil {
		return kube.API{}, fmt.Errorf("creating Kubernetes clients: %w", err)
	}
	return api, nil
}
