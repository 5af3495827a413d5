package kube

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// status is the state of a pod that was last reported.
type status struct {
	phase      string
	ready      string // of the condition Ready
	deleting   bool
	containers []containerStatus
}

type containerStatus struct {
	name     string
	restarts int32
	running  int64 // start time
	ended    int64 // latest end, of this or an earlier run
	waiting  string
}

func statusOf(p *corev1.Pod) status {
	x := status{phase: string(p.Status.Phase), deleting: p.DeletionTimestamp != nil}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			x.ready = string(c.Status)
		}
	}
	for _, list := range [...][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range min(len(list), maxContainers) {
			c := &list[i]
			one := containerStatus{name: c.Name, restarts: c.RestartCount}
			if t := c.LastTerminationState.Terminated; t != nil {
				one.ended = ns(t.FinishedAt.Time)
			}
			switch {
			case c.State.Running != nil:
				one.running = ns(c.State.Running.StartedAt.Time)
			case c.State.Terminated != nil:
				one.ended = max(one.ended, ns(c.State.Terminated.FinishedAt.Time))
			case c.State.Waiting != nil:
				one.waiting = c.State.Waiting.Reason
			}
			x.containers = append(x.containers, one)
		}
	}
	return x
}

func (s *Source) podEvent(e *entry, at int64, reason, kind, message string) workload.Event {
	return workload.Event{
		TsNs: at, Type: kind, Reason: clean(reason, maxText), Message: clean(message, maxMessage), Kind: "Pod",
		Namespace: e.namespace, Name: e.name, UID: e.uid, Count: 1, Source: "pod status", Node: e.node,
	}
}

// lifecycle reports the changes of a pod's status. Reasons and messages are the same as those that
// workload.Index reads from a dump, so that one event is one row.
func (s *Source) lifecycle(e *entry, p *corev1.Pod, old, now *status) {
	report := func(at int64, reason, kind, format string, args ...any) {
		if at <= 0 {
			at = s.now()
		}
		s.reportEvent(s.podEvent(e, at, reason, kind, fmt.Sprintf(format, args...)))
	}
	for _, list := range [...][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range min(len(list), maxContainers) {
			s.containerLife(e, &list[i], old)
		}
	}
	if now.deleting && !old.deleting {
		grace := int64(0)
		if g := p.DeletionGracePeriodSeconds; g != nil && *g > 0 && *g < 1<<31 {
			grace = *g
		}
		report(ns(p.DeletionTimestamp.Time)-grace*1e9, "Deleted", "Normal", "deletion requested, grace period %d s", grace)
	}
	if now.phase != old.phase && now.phase != "" {
		switch now.phase {
		case string(corev1.PodFailed):
			reason := p.Status.Reason
			if reason == "" {
				reason = now.phase
			}
			message := p.Status.Message
			if message == "" {
				message = "pod failed"
			}
			report(ended(p), reason, "Warning", "%s", message)
		case string(corev1.PodSucceeded):
			report(ended(p), now.phase, "Normal", "phase was %s", was(old.phase))
		default:
			report(0, now.phase, "Normal", "phase was %s", was(old.phase))
		}
	}
	if now.ready != old.ready && (old.ready != "" || now.ready == string(corev1.ConditionTrue)) {
		for i := range p.Status.Conditions {
			switch c := &p.Status.Conditions[i]; {
			case c.Type != corev1.PodReady:
			case c.Status == corev1.ConditionTrue:
				report(ns(c.LastTransitionTime.Time), "Ready", "Normal", "pod is ready")
			default:
				report(ns(c.LastTransitionTime.Time), "NotReady", "Warning", "pod is not ready: %s %s", c.Reason, c.Message)
			}
		}
	}
}

func was(phase string) string {
	if phase == "" {
		return "none"
	}
	return phase
}

// containerLife reports how a container ended, was restarted, or fails to start.
func (s *Source) containerLife(e *entry, c *corev1.ContainerStatus, old *status) {
	var before containerStatus
	if i := slices.IndexFunc(old.containers, func(x containerStatus) bool { return x.name == c.Name }); i >= 0 {
		before = old.containers[i]
	}
	for _, t := range [...]*corev1.ContainerStateTerminated{c.LastTerminationState.Terminated, c.State.Terminated} {
		if t == nil || ns(t.FinishedAt.Time) <= before.ended {
			continue
		}
		before.ended = ns(t.FinishedAt.Time)
		x := s.podEvent(e, before.ended, t.Reason, "Normal", "container "+c.Name+" ended with exit code "+strconv.Itoa(int(t.ExitCode)))
		if x.Reason == "" {
			x.Reason = "Terminated"
		}
		if t.Signal != 0 {
			x.Message += ", signal " + strconv.Itoa(int(t.Signal))
		}
		if t.Message != "" {
			x.Message = clean(x.Message+": "+t.Message, maxMessage)
		}
		if t.ExitCode != 0 || t.Signal != 0 {
			x.Type = "Warning"
		}
		x.FirstNs = ns(t.StartedAt.Time)
		s.reportEvent(x)
	}
	if r := c.State.Running; r != nil && c.RestartCount > 0 && ns(r.StartedAt.Time) != 0 && ns(r.StartedAt.Time) != before.running {
		x := s.podEvent(e, ns(r.StartedAt.Time), "Restarted", "Warning", "container "+c.Name+" started again, restart "+strconv.Itoa(int(c.RestartCount)))
		x.Count = int64(c.RestartCount)
		s.reportEvent(x)
	}
	if w := c.State.Waiting; w != nil && w.Reason != before.waiting && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
		s.reportEvent(s.podEvent(e, s.now(), w.Reason, "Warning", "container "+c.Name+" waits: "+w.Message))
	}
}
