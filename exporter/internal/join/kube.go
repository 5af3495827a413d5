package join

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// rowsAtOnce is the number of workloads that are kept before they are written.
const rowsAtOnce = 1000

// writeKube writes the workloads and events that the identity files held.
func (j *Joiner) writeKube() error {
	var list []table.Workload
	for w := range j.who.index.EachWorkload() {
		r := table.Workload{Kind: w.Kind, Name: w.Name, Addresses: w.Addresses, ValidFromNs: w.ValidFrom, Source: w.Source}
		r.Namespace = table.NonEmpty(w.Namespace)
		r.UID = table.NonEmpty(w.UID)
		r.Owner = table.NonEmpty(w.Owner)
		r.OwnerKind = table.NonEmpty(w.OwnerKind)
		r.Node = table.NonEmpty(w.Node)
		r.Spec = table.NonEmpty(w.Spec)
		r.SeenNs = w.Seen
		if w.Since != 0 {
			r.SinceNs = table.Some(w.Since)
		}
		if w.ValidTo != 0 {
			r.ValidToNs = table.Some(w.ValidTo)
		}
		for _, l := range w.Labels {
			r.Labels = append(r.Labels, table.Pair(l))
		}
		r.Services = w.Services
		for _, p := range w.Ports {
			port := table.Pair{Name: strings.ToLower(p.Protocol) + "/" + cmp.Or(p.Name, strconv.Itoa(int(p.Port)))}
			if p.Target != 0 {
				port.Value = strconv.Itoa(int(p.Target))
			}
			r.Ports = append(r.Ports, port)
		}
		if list = append(list, r); len(list) == rowsAtOnce {
			if err := write.Append(j.out, "workloads", list); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	if err := write.Append(j.out, "workloads", list); err != nil {
		return err
	}
	var events []table.K8sEvent
	for _, e := range j.who.index.Events() {
		events = append(events, k8sRow(&e))
	}
	return write.Append(j.out, "k8s_events", addK8s(events, j.events))
}

// k8sRow is an event as a row of k8s_events.
func k8sRow(e *workload.Event) table.K8sEvent {
	r := table.K8sEvent{TsNs: e.TsNs, Ts: table.MicrosOf(e.TsNs)}
	if e.FirstNs != 0 {
		r.FirstNs = table.Some(e.FirstNs)
	}
	if e.Count != 0 {
		r.Count = table.Some(e.Count)
	}
	for _, f := range []struct {
		to *table.Opt[string]
		s  string
	}{{&r.Type, e.Type}, {&r.Reason, e.Reason}, {&r.Message, e.Message}, {&r.Kind, e.Kind}, {&r.Namespace, e.Namespace},
		{&r.Name, e.Name}, {&r.UID, e.UID}, {&r.Source, e.Source}, {&r.Node, e.Node}} {
		*f.to = table.NonEmpty(f.s)
	}
	return r
}

// k8sEvent identifies an event: reports of two sources about one object at one time for one reason
// are one event.
type k8sEvent struct {
	ts                                     int64
	kind, namespace, name, reason, message string
}

func nameOf(r *table.K8sEvent) k8sEvent {
	return k8sEvent{r.TsNs, r.Kind.V, r.Namespace.V, r.Name.V, r.Reason.V, r.Message.V}
}

// addK8s adds the Kubernetes events of side files to those of dumps, which take precedence.
func addK8s(rows, side []table.K8sEvent) []table.K8sEvent {
	if len(side) == 0 {
		return rows
	}
	seen := map[k8sEvent]bool{}
	for i := range rows {
		seen[nameOf(&rows[i])] = true
	}
	for i := range side {
		if k := nameOf(&side[i]); !seen[k] {
			seen[k] = true
			rows = append(rows, side[i])
		}
	}
	slices.SortStableFunc(rows, func(a, b table.K8sEvent) int { return cmp.Compare(a.TsNs, b.TsNs) })
	return rows
}
