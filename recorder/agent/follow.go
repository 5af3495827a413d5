package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// recorderConfigs is the resource.
var recorderConfigs = schema.GroupVersionResource{Group: "pcapsule.dev", Version: "v1beta1", Resource: "recorderconfigs"}

// follow watches the RecorderConfig until ctx ends.
func (a *agent) follow(ctx context.Context) error {
	if a.o.Cluster == nil {
		return errors.New("a RecorderConfig needs a Kubernetes API")
	}
	namespace, err := podNamespace(a.o.Config.Namespace)
	if err != nil {
		return fmt.Errorf("finding the namespace of the RecorderConfig: %w", err)
	}
	client, err := dynamic.NewForConfig(dynamic.ConfigFor(a.o.Cluster))
	if err != nil {
		return fmt.Errorf("creating Kubernetes clients: %w", err)
	}
	objects := client.Resource(recorderConfigs).Namespace(namespace)
	only := fields.OneTermEqualSelector("metadata.name", a.o.Config.Name).String()
	failing := false
	note := func(err error) {
		switch {
		case ctx.Err() != nil:
		case err == nil:
			failing = false
		case apierrors.IsNotFound(err): // the cluster does not have the resource
			a.config.offer(known{})
		case !failing:
			failing = true
			a.o.Log.Warn("cannot read the RecorderConfig; the last one stays in force", "error", err)
		}
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			list, err := objects.List(ctx, o)
			note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			w, err := objects.Watch(ctx, o)
			note(err)
			return w, err
		},
	}
	r := cache.NewReflectorWithOptions(noStreams{lw}, &unstructured.Unstructured{}, versions{a}, cache.ReflectorOptions{Name: "recorderconfig"})
	go r.RunWithContext(ctx)
	return nil
}

// noStreams requests plain lists: there is one object.
type noStreams struct{ *cache.ListWatch }

func (noStreams) IsWatchListSemanticsUnSupported() bool { return true }

// versions passes a reflector's objects to the configuration.
type versions struct{ a *agent }

// Add implements cache.ReflectorStore.
func (v versions) Add(obj any) error {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok || u.GetName() != v.a.o.Config.Name {
		return nil
	}
	text, err := json.Marshal(u.Object["spec"])
	if err != nil {
		return err
	}
	v.a.config.offer(known{UID: string(u.GetUID()), Generation: u.GetGeneration(), Spec: text})
	return nil
}

// Update implements cache.ReflectorStore.
func (v versions) Update(obj any) error { return v.Add(obj) }

// Delete implements cache.ReflectorStore.
func (v versions) Delete(any) error {
	v.a.config.offer(known{})
	return nil
}

// Replace implements cache.ReflectorStore.
func (v versions) Replace(list []any, _ string) error {
	if len(list) == 0 {
		return v.Delete(nil)
	}
	return v.Add(list[0])
}

// Resync implements cache.ReflectorStore.
func (v versions) Resync() error { return nil }
