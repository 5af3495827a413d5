package jobs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// indexes returns the state of each of n indexes of a Job.
func (r *Runner) indexes(ctx context.Context, job *batch.Job, n int) ([]Index, error) {
	all := make([]Index, n)
	for i := range all {
		all[i].Text = "Job " + job.Name + " has no pod for it yet"
		if job.DeletionTimestamp != nil {
			all[i].Text = "Job " + job.Name + " is being deleted"
		} else if job.Spec.Suspend != nil && *job.Spec.Suspend {
			all[i].Text = "Job " + job.Name + " is suspended"
		}
	}
	pods, err := r.Pods.List(ctx, meta.ListOptions{LabelSelector: batch.JobNameLabel + "=" + job.Name, FieldSelector: "status.phase!=Succeeded", ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of Job %s: %w", job.Name, err)
	}
	newest := map[int]*core.Pod{}
	for i := range pods.Items {
		p := &pods.Items[i]
		k, err := strconv.Atoi(p.Annotations[batch.JobCompletionIndexAnnotation])
		if err != nil || k < 0 || k >= n || !meta.IsControlledBy(p, job) {
			continue
		}
		if old := newest[k]; old == nil || old.CreationTimestamp.Before(&p.CreationTimestamp) || old.Status.Phase == core.PodFailed && p.Status.Phase != core.PodFailed {
			newest[k] = p
		}
	}
	for k, p := range newest {
		all[k] = of(p)
	}
	end := ""
	for _, c := range job.Status.Conditions {
		if (c.Type == batch.JobFailed || c.Type == batch.JobComplete) && c.Status == core.ConditionTrue {
			end = plainText(fmt.Sprintf("%s: %s", c.Reason, c.Message))
		}
	}
	done, failed := set(job.Status.CompletedIndexes, n), map[int]bool{}
	if job.Status.FailedIndexes != nil {
		failed = set(*job.Status.FailedIndexes, n)
	}
	for i := range all {
		switch {
		case done[i]:
			all[i] = Index{State: Done}
		case failed[i] && newest[i] == nil:
			all[i] = Index{State: Failed, Text: "its pods failed"}
		case failed[i]:
			all[i].State = Failed
		case end != "":
			all[i] = Index{State: Failed, Text: "Job " + job.Name + " ended: " + end}
		}
	}
	return all, nil
}

// of returns the state of a pod that has not succeeded.
func of(p *core.Pod) Index {
	where := "pod " + p.Name
	if p.Spec.NodeName != "" {
		where += " on node " + p.Spec.NodeName
	}
	if n, err := strconv.Atoi(p.Annotations[batch.JobIndexFailureCountAnnotation]); err == nil && n > 0 {
		where += fmt.Sprintf(" (try %d)", n+1)
	}
	switch p.Status.Phase {
	case core.PodRunning:
		return Index{Running, where}
	case core.PodFailed:
		return Index{Waiting, plainText(where + ": " + whyFailed(p))} // unless the Job counts it as failed
	}
	for _, c := range p.Status.Conditions {
		if c.Type == core.PodScheduled && c.Status == core.ConditionFalse {
			return Index{Waiting, plainText(where + ": " + c.Reason + ": " + c.Message)}
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" {
			return Index{Waiting, plainText(where + ": " + w.Reason + ": " + w.Message)}
		}
	}
	return Index{Waiting, where + " starts"}
}

// whyFailed returns why a pod failed: an eviction, or how its program ended, with the last line that it wrote.
func whyFailed(p *core.Pod) string {
	if p.Status.Reason != "" {
		return p.Status.Reason + ": " + p.Status.Message
	}
	for _, c := range p.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			lines := strings.Split(strings.TrimSpace(t.Message), "\n")
			return strings.TrimSuffix(fmt.Sprintf("%s, exit code %d: %s", t.Reason, t.ExitCode, lines[len(lines)-1]), ": ")
		}
	}
	return "failed"
}

// set reads a list of indexes such as 0,2-5. It leaves out those that are not below n.
func set(list string, n int) map[int]bool {
	out := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil {
			continue
		}
		for i := max(a, 0); i <= min(b, n-1); i++ {
			out[i] = true
		}
	}
	return out
}
