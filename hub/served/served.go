// Package served has what the hub does for all its resources: it lists them, creates a snapshot once, and writes a
// status if it has changed, with an event for each condition that did.
package served

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/pcapsule/pcapsule/hub/resource"
)

// List lists the objects of a kind in a namespace, or in all if it is empty. A cluster without the kind has none.
func List(ctx context.Context, client dynamic.Interface, kind schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, error) {
	list, err := client.Resource(kind).Namespace(namespace).List(ctx, v1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return list.Items, nil
}

// Create creates a snapshot, unless there is one of its name.
func Create(ctx context.Context, client dynamic.Interface, s *resource.Snapshot) error {
	x := *s
	x.CreationTimestamp = v1.Time{}
	u, err := x.Object()
	if err == nil {
		_, err = client.Resource(resource.Snapshots).Namespace(s.Namespace).Create(ctx, u, v1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating snapshot %s: %w", s.Name, err)
	}
	return nil
}

// Status writes the status of an object if it has changed. It leaves changes in the meantime to the next round.
func Status(ctx context.Context, client dynamic.Interface, kind schema.GroupVersionResource, u *unstructured.Unstructured, before, now any) error {
	if equality.Semantic.DeepEqual(before, now) {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	var status map[string]any
	if err := json.Unmarshal(text, &status); err != nil {
		return err
	}
	old := Conditions(u)
	u.Object["status"] = status
	_, err = client.Resource(kind).Namespace(u.GetNamespace()).UpdateStatus(ctx, u, v1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		Announce(ctx, client, u, old)
	}
	return err
}

// Condition sets a condition.
func Condition(list *[]v1.Condition, kind string, is bool, reason, message string, generation int64) {
	status := v1.ConditionFalse
	if is {
		status = v1.ConditionTrue
	}
	meta.SetStatusCondition(list, v1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: generation})
}

// Reason is the reason of a condition about a request that cannot be served.
func Reason(err error) string {
	if errors.Is(err, resource.ErrFilter) {
		return "InvalidFilter"
	}
	return "Invalid"
}
