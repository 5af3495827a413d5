// Package jobs bundles the parts of a large snapshot by an Indexed Job of Kubernetes, one pod for
// each part.
//
// The Job is named for the snapshot's UID, so a restarted hub finds it, and two hubs cannot create two. The Job
// contains only the snapshot's UID and, as an annotation, its name. A file (collect.Plan) states which node each index
// is.
package jobs

import (
	"context"
	"fmt"
	"maps"
	"strings"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	batchclient "k8s.io/client-go/kubernetes/typed/batch/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	prefix = "pcapsule-"
	// Annotation of a Job: the name of its snapshot.
	Annotation = resource.Group + "/snapshot"
	maxIndex   = 5 // characters of -INDEX, which Kubernetes adds for the pods' host names
)

// Runner runs Jobs in one namespace.
type Runner struct {
	Jobs     batchclient.JobInterface
	Pods     coreclient.PodInterface
	Template *batch.Job // as Read returns it
}

// States of an index.
const (
	Waiting = iota
	Running
	Done
	Failed // will not be tried again
)

// Index is one index of a Job.
type Index struct {
	State int
	Text  string // what it waits for, where it runs, or why it failed
}

// Name is the name of a snapshot's Job.
func Name(uid types.UID) (string, error) {
	name := prefix + string(uid)
	if len(validation.IsDNS1123Label(name)) > 0 || len(name)+maxIndex > validation.DNS1123LabelMaxLength {
		return "", fmt.Errorf("the snapshot has the UID %.80q, which cannot name a Job", uid)
	}
	return name, nil
}

// Look returns the state of each of n indexes of the snapshot's Job. It creates the Job if there is
// none.
func (r *Runner) Look(ctx context.Context, s *resource.Snapshot, n int) ([]Index, error) {
	name, err := Name(s.UID)
	if err != nil {
		return nil, err
	}
	job, err := r.Jobs.Get(ctx, name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		if job, err = r.Jobs.Create(ctx, r.job(s, name, n), meta.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			job, err = r.Jobs.Get(ctx, name, meta.GetOptions{}) // another hub was first
		}
	}
	if err != nil {
		return nil, fmt.Errorf("running Job %s: %w", name, err)
	}
	if !owned(job, s.UID) {
		return nil, fmt.Errorf("there is a Job %s that does not belong to the snapshot; delete it", name)
	}
	if job.Spec.Completions == nil || int(*job.Spec.Completions) != n {
		return nil, fmt.Errorf("there is a Job %s without %d indexes; delete it, and the hub makes another", name, n)
	}
	return r.indexes(ctx, job, n)
}

// owned reports whether a Job belongs to the snapshot with a UID.
func owned(job *batch.Job, uid types.UID) bool {
	o := meta.GetControllerOf(job)
	return o != nil && o.Kind == resource.Kind && o.UID == uid
}

// job is the Job of a snapshot.
func (r *Runner) job(s *resource.Snapshot, name string, n int) *batch.Job {
	job := r.Template.DeepCopy()
	yes, indexed, count := true, batch.IndexedCompletion, int32(n)
	job.ObjectMeta = meta.ObjectMeta{Name: name, Namespace: s.Namespace, Labels: job.Labels, Annotations: maps.Clone(job.Annotations),
		OwnerReferences: []meta.OwnerReference{{APIVersion: resource.Group + "/" + resource.Version, Kind: resource.Kind, Name: s.Name, UID: s.UID, Controller: &yes}}}
	if job.Annotations == nil {
		job.Annotations = map[string]string{}
	}
	job.Annotations[Annotation] = s.Name
	job.Spec.CompletionMode, job.Spec.Completions = &indexed, &count
	if p := job.Spec.Parallelism; p == nil || *p > count {
		job.Spec.Parallelism = &count
	}
	part := &job.Spec.Template.Spec.Containers[0]
	part.Args = append(part.Args, "--snapshot="+string(s.UID))
	return job
}

// Remove ends and removes a snapshot's Job with its pods. It reports whether no pod is left that can write; if not,
// call it again.
func (r *Runner) Remove(ctx context.Context, uid types.UID) (gone bool, err error) {
	name, err := Name(uid)
	if err != nil {
		return true, nil // it never had one
	}
	job, err := r.Jobs.Get(ctx, name, meta.GetOptions{})
	switch {
	case err == nil && !owned(job, uid):
		return true, nil
	case err == nil:
		if job.DeletionTimestamp == nil {
			foreground := meta.DeletePropagationForeground
			err = r.Jobs.Delete(ctx, name, meta.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &meta.Preconditions{UID: &job.UID}})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("deleting Job %s: %w", name, err)
		}
		return false, nil
	case !apierrors.IsNotFound(err):
		return false, fmt.Errorf("finding Job %s: %w", name, err)
	}
	// Somebody may have deleted the Job before its pods had ended.
	list, err := r.Pods.List(ctx, meta.ListOptions{LabelSelector: batch.JobNameLabel + "=" + name})
	if err != nil {
		return false, fmt.Errorf("listing the pods of Job %s: %w", name, err)
	}
	for i := range list.Items {
		if p := list.Items[i].Status.Phase; p != core.PodSucceeded && p != core.PodFailed {
			return false, nil
		}
	}
	return true, nil
}

// plainText is a text of a pod as one line without control characters, cut after limit bytes.
func plainText(s string) string {
	const limit = 300
	return clip.Text(strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), " "), limit)
}
