package recorder

import (
	"errors"
	"path"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/cooked"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// socketSeries is the series of packets of sockets.
const socketSeries = "sockets"

// output is a series of packets with its side files. A recording has one, and one more for each age
// of namespaces in the policy, so that packets that expire together are stored together.
type output struct {
	age  time.Duration // 0 for the first
	sink *sink
	tag  uint64 // of its series, for ids in ledgers
	held held

	owners  []byte // lines waiting for their file
	events  []byte
	segment ring.ID // the open segment, if there is one
	before  ring.ID // the previous segment, for lines that arrive while none is open
	file    uint64  // number of the current side file, unique in the recording

	endedSeen uint64 // segments that had ended when the side files were last changed
	mark      uint64 // and when they were last checked
}

// ages lists the retention times of a policy, shortest first.
func ages(p *policy.Policy) (list []time.Duration) {
	if p == nil {
		return nil
	}
	for _, a := range p.MaxAge {
		list = append(list, a.Age)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// outputFor returns the output for a namespace's packets. If the namespace may still become
// known, it is the one with the shortest time: nothing is kept longer than allowed.
func (r *recording) outputFor(namespace string, pending bool) *output {
	if len(r.outputs) == 1 {
		return r.outputs[0]
	}
	if pending {
		return r.outputs[1]
	}
	best := r.outputs[0]
	for _, a := range r.o.Policy.MaxAge {
		if ok, err := path.Match(a.Namespace, namespace); !ok || err != nil || namespace == "" || best.age != 0 && best.age <= a.Age {
			continue
		}
		for _, l := range r.outputs[1:] {
			if l.age == a.Age {
				best = l
			}
		}
	}
	return best
}

// openOutputs creates the outputs for namespaces with their own retention times.
func (r *recording) openOutputs(snap uint32) error {
	r.outputs = []*output{{sink: r.out, tag: seriesTag(socketSeries), file: 1, endedSeen: r.out.ended()}}
	r.sideFile = 1
	for _, age := range ages(r.o.Policy) { // checkPolicy rejects them unless the output is a ring
		l := &output{age: age}
		shared := r.o
		shared.writer = r.out.w
		out, err := newSink(&shared, r.here, ring.SeriesOptions{Name: ring.AgedSeries(socketSeries, age), LinkType: cooked.LinkType, SnapLen: snap, Sides: sideKinds, Header: r.header,
			Account: func(t ring.Totals) ring.Account { return r.accountOf(l, t) }})
		if err != nil {
			return err
		}
		r.sideFile++
		l.sink, l.tag, l.file, l.endedSeen = out, seriesTag(ring.AgedSeries(socketSeries, age)), r.sideFile, out.ended()
		r.outputs = append(r.outputs, l)
	}
	return nil
}

// closeOutputs closes all outputs. The first is closed last because it owns the ring.
func (r *recording) closeOutputs() error {
	var errs []error
	for _, l := range slices.Backward(r.outputs) {
		errs = append(errs, l.sink.close())
	}
	return errors.Join(errs...)
}
