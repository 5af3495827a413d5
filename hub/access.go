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

// allow asks Kubernetes whether the owner of a token may get the content of a snapshot.
func (h *hub) allow(ctx context.Context, token, snapshot string) (user string, err error) {
	review, err := h.review.TokenReviews().Create(ctx, &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token}}, meta.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("reviewing a token: %w", err)
	}
	if !review.Status.Authenticated {
		return "", download.ErrUnknown
	}
	who := review.Status.User
	extra := map[string]authorization.ExtraValue{}
	for k, v := range who.Extra {
		extra[k] = authorization.ExtraValue(v)
	}
	access, err := h.access.SubjectAccessReviews().Create(ctx, &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
		User: who.Username, UID: who.UID, Groups: who.Groups, Extra: extra,
		ResourceAttributes: &authorization.ResourceAttributes{Verb: "get", Group: resource.Group, Version: resource.Version, Resource: resource.Snapshots.Resource,
			Subresource: "content", Namespace: h.Namespace, Name: snapshot},
	}}, meta.CreateOptions{})
	if err != nil {
		return who.Username, fmt.Errorf("asking who may get a snapshot: %w", err)
	}
	if !access.Status.Allowed || access.Status.Denied {
		return who.Username, fmt.Errorf("%w: %s has no right to get snapshots/content %s in namespace %s", download.ErrDenied, who.Username, snapshot, h.Namespace)
	}
	return who.Username, nil
}
