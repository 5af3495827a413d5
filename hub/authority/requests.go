package authority

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	certificatesclient "k8s.io/client-go/kubernetes/typed/certificates/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/pcapsule/pcapsule/recorder/mutual"
)

// Keys of the API server's information about the pod of a token.
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

const (
	recorderAccount = "pcapsule-recorder"
	nodeValid       = 24 * time.Hour
)

// errDenied is a request that is not signed, now or later.
var errDenied = errors.New("not signed")

func denied(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errDenied}, args...)...)
}

// Serve signs requests of recorders until ctx ends.
func (a *Authority) Serve(ctx context.Context, requests certificatesclient.CertificateSigningRequestInterface, log *slog.Logger) error {
	only := func(o *meta.ListOptions) { o.FieldSelector = "spec.signerName=" + mutual.Signer }
	list := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o meta.ListOptions) (runtime.Object, error) {
			only(&o)
			return requests.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o meta.ListOptions) (watch.Interface, error) {
			only(&o)
			return requests.Watch(ctx, o)
		},
	}
	handle := func(obj any) {
		r, ok := obj.(*certificates.CertificateSigningRequest)
		if !ok || r.Spec.SignerName != mutual.Signer || len(r.Status.Certificate) > 0 || len(r.Status.Conditions) > 0 && !approved(r) {
			return
		}
		node, err := a.answer(ctx, requests, r)
		if err != nil && ctx.Err() == nil {
			log.Warn("a recorder's request for a certificate", "request", r.Name, "user", r.Spec.Username, "error", err)
		} else if err == nil {
			log.Info("signed a recorder's certificate", "request", r.Name, "node", node)
		}
	}
	// The resync repeats what failed while the API was away.
	informer := cache.NewSharedInformer(list, &certificates.CertificateSigningRequest{}, 15*time.Second)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, obj any) { handle(obj) }}); err != nil {
		return err
	}
	informer.RunWithContext(ctx)
	return nil
}

func approved(r *certificates.CertificateSigningRequest) bool {
	return slices.ContainsFunc(r.Status.Conditions, func(c certificates.CertificateSigningRequestCondition) bool {
		return c.Type == certificates.CertificateApproved
	}) && !slices.ContainsFunc(r.Status.Conditions, func(c certificates.CertificateSigningRequestCondition) bool {
		return c.Type == certificates.CertificateDenied || c.Type == certificates.CertificateFailed
	})
}

// answer approves and signs a request, or denies it.
func (a *Authority) answer(ctx context.Context, requests certificatesclient.CertificateSigningRequestInterface, r *certificates.CertificateSigningRequest) (node string, err error) {
	r = r.DeepCopy()
	node, err = a.check(ctx, r)
	if err != nil && !errors.Is(err, errDenied) {
		return "", err // the API is away
	}
	kind, reason, message := certificates.CertificateApproved, "RecorderOfNode", "the request comes from the recorder of node "+node
	if err != nil {
		kind, reason, message = certificates.CertificateDenied, "NotARecorder", err.Error()
	}
	if !approved(r) || err != nil {
		r.Status.Conditions = append(r.Status.Conditions, certificates.CertificateSigningRequestCondition{Type: kind, Status: core.ConditionTrue, Reason: reason, Message: message})
		changed, updateErr := requests.UpdateApproval(ctx, r.Name, r, meta.UpdateOptions{})
		if err != nil || updateErr != nil {
			return "", errors.Join(err, updateErr)
		}
		r = changed
	}
	valid := nodeValid
	if s := r.Spec.ExpirationSeconds; s != nil && time.Duration(*s)*time.Second < valid {
		valid = time.Duration(*s) * time.Second
	}
	if r.Status.Certificate, err = a.sign(r.Spec.Request, node, valid); err != nil {
		return "", err
	}
	_, err = requests.UpdateStatus(ctx, r, meta.UpdateOptions{})
	return node, err
}

// check returns the node of the recorder that made a request. Its error wraps errDenied, or is
// that of the API.
func (a *Authority) check(ctx context.Context, r *certificates.CertificateSigningRequest) (string, error) {
	if want := "system:serviceaccount:" + a.namespace + ":" + recorderAccount; r.Spec.Username != want {
		return "", denied("user %s instead of %s", r.Spec.Username, want)
	}
	for _, u := range r.Spec.Usages {
		if u != certificates.UsageDigitalSignature && u != certificates.UsageServerAuth {
			return "", denied("usage %q: a recorder's certificate is for servers", u)
		}
	}
	name, uid := r.Spec.Extra[extraPodName], r.Spec.Extra[extraPodUID]
	if len(name) != 1 || len(uid) != 1 {
		return "", denied("the API server does not say which pod asks; the token must be bound to a pod")
	}
	pod, err := a.core.Pods(a.namespace).Get(ctx, name[0], meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", denied("pod %s does not exist", name[0])
	}
	if err != nil {
		return "", err
	}
	switch {
	case pod.UID != types.UID(uid[0]):
		return "", denied("pod %s has the UID %s, but the token was made for %s", pod.Name, pod.UID, uid[0])
	case pod.Spec.ServiceAccountName != recorderAccount:
		return "", denied("pod %s has the service account %s", pod.Name, pod.Spec.ServiceAccountName)
	case pod.Spec.NodeName == "":
		return "", denied("pod %s runs on no node", pod.Name)
	}
	q, err := readRequest(r.Spec.Request)
	if err != nil {
		return "", denied("%v", err)
	}
	if want := mutual.Node(pod.Spec.NodeName); len(q.DNSNames) != 1 || q.DNSNames[0] != want || len(q.IPAddresses)+len(q.URIs)+len(q.EmailAddresses) > 0 {
		return "", denied("it names %v instead of %s, but the pod runs on that node", q.DNSNames, want)
	}
	return pod.Spec.NodeName, nil
}
