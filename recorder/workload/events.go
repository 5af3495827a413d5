package workload

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// event is one Event object of either API group.
type event struct {
	common
	first, last  int64
	kind, reason string // kind: Normal or Warning
	message      string
	object       ref
	count        int64
	reporter     string
	reporterNode string
}

func (c *converter) event(o *wireObject) *event {
	e := &event{common: c.common(&o.Metadata), kind: c.name(o.Type), reason: c.name(o.Reason)}
	e.labels = nil
	e.message = c.text(firstText(o.Message, o.Note), maxMessage)
	object := o.InvolvedObject
	if object == nil {
		object = o.Regarding
	}
	if object != nil {
		e.object = ref{c.name(object.Kind), c.name(object.Namespace), c.name(object.Name), c.name(object.UID)}
	}
	source := o.Source
	if source == nil || *source == (wireSource{}) {
		source = o.DeprecatedSource
	}
	if source != nil {
		e.reporter, e.reporterNode = c.name(source.Component), c.name(source.Host)
	}
	if e.reporter == "" {
		e.reporter = c.name(firstText(o.ReportingComponent, o.ReportingController))
	}
	if e.reporterNode == "" && e.reporter == "kubelet" {
		e.reporterNode = c.name(o.ReportingInstance)
	}
	at := c.time(o.EventTime)
	e.first = firstTime(c.time(o.FirstTimestamp), c.time(o.DeprecatedFirst), at, e.created)
	e.last = firstTime(c.time(o.LastTimestamp), c.time(o.DeprecatedLast), at, e.first)
	e.count = max(o.Count, o.DeprecatedCount, 1)
	if o.Series != nil {
		e.count = max(e.count, o.Series.Count)
		e.last = max(e.last, c.time(o.Series.Last))
	}
	return e
}

func firstText(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

func firstTime(times ...int64) int64 {
	for _, t := range times {
		if t != 0 {
			return t
		}
	}
	return 0
}

// Events returns the events of Kubernetes and those derived from pod statuses, by time.
func (x *Index) Events() []Event {
	var out []Event
	for _, e := range sorted(x.events, func(e *event) *common { return &e.common }) {
		out = append(out, Event{
			TsNs: e.last, FirstNs: e.first, Type: e.kind, Reason: e.reason, Message: e.message,
			Kind: e.object.kind, Namespace: e.object.namespace, Name: e.object.name, UID: e.object.uid,
			Count: e.count, Source: e.reporter, Node: e.reporterNode,
		})
	}
	for _, p := range sorted(x.pods, podCommon) {
		out = p.facts(out)
	}
	slices.SortStableFunc(out, compareEvents)
	return out
}

func compareEvents(a, b Event) int {
	return cmp.Or(
		cmp.Compare(a.TsNs, b.TsNs), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message),
		cmp.Compare(a.UID, b.UID), cmp.Compare(a.FirstNs, b.FirstNs), cmp.Compare(a.Count, b.Count), cmp.Compare(a.Source, b.Source),
	)
}

// facts appends the events that the pod's status implies.
func (p *pod) facts(out []Event) []Event {
	base := Event{
		Type: "Normal", Kind: "Pod", Namespace: p.namespace, Name: p.name, UID: p.uid, Count: 1,
		Source: "pod status", Node: p.node, Derived: true,
	}
	for _, t := range p.past {
		if t.finished == 0 {
			continue // the time is unknown
		}
		e := base
		e.TsNs, e.FirstNs, e.Reason = t.finished, t.started, t.reason
		if e.Reason == "" {
			e.Reason = "Terminated"
		}
		e.Message = fmt.Sprintf("container %s ended with exit code %d", t.container, t.exit)
		if t.signal != 0 {
			e.Message += fmt.Sprintf(", signal %d", t.signal)
		}
		if t.message != "" {
			e.Message += ": " + t.message
		}
		if t.exit != 0 || t.signal != 0 {
			e.Type = "Warning"
		}
		out = append(out, e)
	}
	for _, s := range p.statuses {
		if s.restarts == 0 || s.running == 0 {
			continue
		}
		e := base
		e.TsNs, e.Reason, e.Count, e.Type = s.running, "Restarted", s.restarts, "Warning"
		e.Message = "container " + s.name + " started again, restart " + strconv.FormatInt(s.restarts, 10)
		out = append(out, e)
	}
	if p.deleted > 0 {
		e := base
		e.Reason = "Deleted"
		// deletionTimestamp is the time of the request plus the grace period.
		e.TsNs = p.deleted
		if g := p.grace; g > 0 && g < 1<<31 {
			e.TsNs -= g * 1e9
		}
		e.Message = fmt.Sprintf("deletion requested, grace period %d s", p.grace)
		out = append(out, e)
	}
	if p.phase == "Failed" && p.reason != "" {
		e := base
		e.TsNs, e.Reason, e.Type = p.ended(), p.reason, "Warning"
		e.Message = firstText(p.message, "pod failed")
		out = append(out, e)
	}
	return out
}

func podCommon(p *pod) *common { return &p.common }
