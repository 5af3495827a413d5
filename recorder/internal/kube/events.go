package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Events that arrive before their pod are kept briefly: the scheduler reports on a pod when it
// assigns it to this node.
const (
	maxEarly  = 1024
	earlyKeep = 10 * time.Second
)

type earlyEvents []earlyEvent

type earlyEvent struct {
	workload.Event
	at int64
}

func (x *earlyEvents) expire(now int64) {
	*x = slices.DeleteFunc(*x, func(e earlyEvent) bool { return now-e.at > int64(earlyKeep) })
}

// release reports the events that arrived before their pod was known.
func (x *earlyEvents) release(s *Source, e *entry) {
	if len(*x) == 0 {
		return
	}
	*x = slices.DeleteFunc(*x, func(early earlyEvent) bool {
		if early.UID != e.uid {
			return false
		}
		s.reportEvent(early.Event)
		return true
	})
}

// followEvents watches events from now on. It does not list the past: a cluster keeps the events
// of all nodes for an hour, and the API cannot select events by node. Events of other nodes are
// dropped here.
func (s *Source) followEvents(ctx context.Context, name string, of fields.Selector) {
	const most = 30 * time.Second
	first := s.o.backoff
	if first == 0 {
		first = 800 * time.Millisecond
	}
	pause, from, broken := first, "", int64(0)
	for ctx.Err() == nil {
		began := s.o.now()
		last, err := s.watchEvents(ctx, name, of, from, &broken)
		if from = last; err == nil && s.o.now().Sub(began) > time.Second {
			pause = first
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, most)
	}
}

// watchEvents watches from a version on until the watch ends, or from now if version is empty. It
// returns the version at which to continue, empty if there is none. broken is the time since
// which events may have been missed, 0 if none were.
func (s *Source) watchEvents(ctx context.Context, name string, of fields.Selector, version string, broken *int64) (string, error) {
	o := metav1.ListOptions{FieldSelector: of.String()}
	if version == "" {
		o.Limit = 1 // for the version only
		list, err := s.api.Core.Events("").List(ctx, o)
		s.feeds.record(ctx, name, err)
		if err != nil {
			return "", err
		}
		version = list.ResourceVersion
		o.Limit = 0
		if *broken != 0 {
			s.mu.Lock()
			s.reportEvent(workload.Event{TsNs: s.now(), FirstNs: *broken, Type: "Warning", Reason: "EventsMissed", Kind: "Node", Name: s.o.Node, Count: 1,
				Source: "recorder", Node: s.o.Node, Message: clean("the API could not resume "+name, maxMessage)})
			s.mu.Unlock()
			*broken = 0
		}
	}
	s.feeds.listed(name)
	wait := int64(300 + s.now()%300) // seconds; random, so that not all nodes reconnect at the same time
	o.ResourceVersion, o.AllowWatchBookmarks, o.TimeoutSeconds = version, true, &wait
	w, err := s.api.Core.Events("").Watch(ctx, o)
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		*broken = s.now()
		return "", err
	}
	s.feeds.record(ctx, name, err)
	if err != nil {
		return version, err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return version, ctx.Err()
		case e, ok := <-w.ResultChan():
			switch {
			case !ok:
				return version, nil
			case e.Type == watch.Error:
				err := apierrors.FromObject(e.Object)
				if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
					*broken, version = s.now(), ""
				}
				return version, fmt.Errorf("watching %s: %w", name, err)
			}
			said, ok := e.Object.(*corev1.Event)
			if !ok {
				return version, errors.New("not an event")
			}
			version = said.ResourceVersion
			if e.Type == watch.Added || e.Type == watch.Modified {
				s.event(said)
			}
		}
	}
}

// event reports an event if it concerns this node.
func (s *Source) event(v *corev1.Event) {
	e := eventOf(v, s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Kind == "Node" && e.Name == s.o.Node, s.pods[e.UID] != nil && e.UID != "":
		s.reportEvent(e)
	case e.Kind == "Pod" && e.Node == s.o.Node:
		s.reportEvent(e) // from the kubelet, for a pod that is not known yet or was removed
	case e.Kind == "Pod" && e.Node == "" && e.UID != "":
		s.early.expire(s.now())
		if len(s.early) >= maxEarly {
			s.early = slices.Delete(s.early, 0, 1)
		}
		s.early = append(s.early, earlyEvent{e, s.now()})
	}
}

// eventOf converts an event of either form.
func eventOf(v *corev1.Event, now int64) workload.Event {
	first := func(times ...int64) int64 {
		for _, t := range times {
			if t > 0 {
				return t
			}
		}
		return 0
	}
	o := &v.InvolvedObject
	e := workload.Event{
		Type: clean(v.Type, maxText), Reason: clean(v.Reason, maxText), Message: clean(v.Message, maxMessage),
		Kind: cleanName(o.Kind), Namespace: cleanName(o.Namespace), Name: cleanName(o.Name), UID: cleanName(string(o.UID)),
		Count: max(int64(v.Count), 1), Source: clean(v.Source.Component, maxText), Node: cleanName(v.Source.Host),
	}
	if e.Source == "" {
		e.Source = clean(v.ReportingController, maxText)
	}
	if e.Node == "" && e.Source == "kubelet" {
		e.Node = cleanName(v.ReportingInstance)
	}
	at := ns(v.EventTime.Time)
	e.FirstNs = first(ns(v.FirstTimestamp.Time), at, ns(v.CreationTimestamp.Time))
	e.TsNs = first(ns(v.LastTimestamp.Time), at, e.FirstNs)
	if v.Series != nil {
		e.Count = max(e.Count, int64(v.Series.Count))
		e.TsNs = max(e.TsNs, ns(v.Series.LastObservedTime.Time))
	}
	if e.TsNs == 0 {
		e.TsNs = now // it has no time
	}
	return e
}
