//go:build linux

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Counts returns the counters of incoming and outgoing packets, summed over all CPUs.
func (p *Programs) Counts() (in, out Counters, err error) {
	return sumCounts(p.coll.Maps[recorderMapCounts])
}

// EventCounters are the counters of one kind of event.
type EventCounters struct {
	Seen    uint64
	Limited uint64 // over EventsPerSecond
	Failed  uint64 // no room in the ring buffer
}

// EventCounts returns the counters of events by kind.
func (p *Programs) EventCounts() (map[EventKind]EventCounters, error) {
	all := map[EventKind]EventCounters{}
	for k := EventKind(1); k < EventKinds; k++ {
		var each []EventCounters
		if err := p.coll.Maps[recorderMapEventCounts].Lookup(uint32(k), &each); err != nil {
			return nil, fmt.Errorf("reading counters of events: %w", err)
		}
		var sum EventCounters
		for _, c := range each {
			sum.Seen += c.Seen
			sum.Limited += c.Limited
			sum.Failed += c.Failed
		}
		all[k] = sum
	}
	return all, nil
}

// Losses returns the number of packets lost since the start, by cgroup.
func (p *Programs) Losses() (map[uint64]uint64, error) {
	m := map[uint64]uint64{}
	var cgroup, n uint64
	it := p.coll.Maps[recorderMapLosses].Iterate()
	for it.Next(&cgroup, &n) {
		if n > 0 {
			m[cgroup] = n
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("reading losses: %w", err)
	}
	return m, nil
}

func sumCounts(m *ebpf.Map) (in, out Counters, err error) {
	for direction, sum := range map[uint32]*Counters{0: &in, 1: &out} {
		var each []Counters
		if err := m.Lookup(direction, &each); err != nil {
			return in, out, fmt.Errorf("reading counters: %w", err)
		}
		for _, c := range each {
			sum.Add(c)
		}
	}
	return in, out, nil
}

// CountsByCPU returns the counters of each CPU, both directions together.
func (p *Programs) CountsByCPU() ([]Counters, error) {
	var all []Counters
	for direction := range uint32(2) {
		var each []Counters
		if err := p.coll.Maps[recorderMapCounts].Lookup(direction, &each); err != nil {
			return nil, fmt.Errorf("reading counters: %w", err)
		}
		if all == nil {
			all = make([]Counters, len(each))
		}
		for i := range min(len(all), len(each)) {
			all[i].Add(each[i])
		}
	}
	return all, nil
}
