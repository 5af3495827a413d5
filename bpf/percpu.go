//go:build linux

package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
)

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
