package hub

import (
	"context"
	"fmt"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// allow asks Kubernetes for the rights of a token's owner to some content. The right in the hub's namespace covers
// everything; one in another namespace covers the traffic of that namespace. Content in another namespace is of the
// traffic there, and only the right in it counts: a right to an object of the hub's namespace may name one.
func (h *hub) allow(ctx context.Context, token string, what download.Content, namespaces func() ([]string, error)) (g download.Grant, err error) {
	review, err := h.review.TokenReviews().Create(ctx, &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token}}, meta.CreateOptions{})
	if err != nil {
		return g, fmt.Errorf("reviewing a token: %w", err)
	}
	if !review.Status.Authenticated {
		return g, download.ErrUnknown
	}
	who := &review.Status.User
	g.User = who.Username
	if what.Namespace != "" {
		ok, err := h.may(ctx, who, what.Namespace, what)
		if err == nil && !ok {
			err = fmt.Errorf("%w: %s has no right to get %s/content %s in namespace %s", download.ErrDenied, g.User, what.Resource, what.Name, what.Namespace)
		}
		g.Namespaces = []string{what.Namespace}
		return g, err
	}
	if g.All, err = h.may(ctx, who, h.Namespace, what); err != nil || g.All {
		return g, err
	}
	list, err := namespaces()
	if err != nil {
		return g, err
	}
	for _, n := range list {
		if n == h.Namespace || !resource.NodeName(n) {
			continue
		}
		ok, err := h.may(ctx, who, n, what)
		if err != nil {
			return g, err
		}
		if ok {
			g.Namespaces = append(g.Namespaces, n)
		}
	}
	if len(g.Namespaces) == 0 {
		return g, fmt.Errorf("%w: %s has no right to get %s/content %s, neither in namespace %s nor in one whose traffic it has", download.ErrDenied, g.User, what.Resource, what.Name, h.Namespace)
	}
	return g, nil
}

// may asks Kubernetes for one right.
func (h *hub) may(ctx context.Context, who *authentication.UserInfo, namespace string, what download.Content) (bool, error) {
	extra := map[string]authorization.ExtraValue{}
	for k, v := range who.Extra {
		extra[k] = authorization.ExtraValue(v)
	}
	access, err := h.access.SubjectAccessReviews().Create(ctx, &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
		User: who.Username, UID: who.UID, Groups: who.Groups, Extra: extra,
		ResourceAttributes: &authorization.ResourceAttributes{Verb: "get", Group: resource.Group, Version: resource.Version, Resource: what.Resource,
			Subresource: "content", Namespace: namespace, Name: what.Name},
	}}, meta.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking who may get content: %w", err)
	}
	return access.Status.Allowed && !access.Status.Denied, nil
}
