package recorder

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/internal/plaintext"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	plainSeries    = "plaintext"
	reasonLibraryN = "unexpected library call"
)

// plainRecording writes the plaintext of processes next to the packets.
type plainRecording struct {
	tracker atomic.Pointer[keys.Tracker]
	writer  *plaintext.Writer
	close   func() error
	begin   int64
}

// plainPath returns the plaintext file for a capture file.
func plainPath(file string) string {
	dir, name := filepath.Split(file)
	return dir + plainSeries + "-" + strings.TrimSuffix(name, filepath.Ext(name)) + ".pcapng"
}

// startPlaintext starts to read plaintext. Its output is a series of the recording's ring,
// or a file next to the capture file.
func startPlaintext(o *Options, out *sink, rules *keyPolicy, now func() *ring.Clock, utc func(uint64) int64) (*plainRecording, error) {
	p := &plainRecording{}
	here := machine.This()
	if o.Node != "" {
		here.Node = o.Node
	}
	header := func(h *ring.Header) {
		h.Kernel, h.OS, h.Hardware = here.Kernel, "linux", here.Hardware
		if c := now(); c != nil {
			h.Clocks = []ring.Clock{*c}
		}
	}
	if c := now(); c != nil {
		p.begin = int64(c.Real)
	}
	account := func(taken ring.Totals) ring.Account { return p.account(taken, now()) }
	to := *o
	to.Keys, to.writer, to.opened = nil, out.w, nil
	name := plainSeries
	if list := ages(o.Policy); len(list) > 0 {
		name = ring.AgedSeries(name, list[0]) // nothing is kept longer than the policy allows
	}
	if o.File != "" {
		to.File, to.writer = plainPath(o.File), nil
	}
	s, err := newSink(&to, here, ring.SeriesOptions{Name: name, LinkType: plaintext.LinkType, SnapLen: plaintext.SnapLen, Header: header, Account: account, Private: true})
	if err != nil {
		return nil, err
	}
	ringName, _ := s.ids()
	p.close = s.close
	p.writer = plaintext.New(plaintext.Options{Out: s.series, Flush: s.series.Flush, OnError: o.OnError, Hides: rules.hides, Source: o.Source, Node: here.Node, Ring: ringName,
		EndsKnown: func() bool { t := p.tracker.Load(); return t != nil && t.EndsUnknown() == nil }})
	tracker, err := keys.Start(keys.Options{Select: selectorFor(o.Keys.Plaintext, o.Keys.PlaintextWorkloads, o.Source, rules), Plain: p.writer, UTC: utc})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.tracker.Store(tracker)
	return p, nil
}

// end writes the rest and closes the output.
func (p *plainRecording) end() error {
	err := p.tracker.Load().Close()
	p.writer.End()
	return errors.Join(err, p.close())
}

func (p *plainRecording) stats() (*PlainStats, error) {
	t := p.tracker.Load()
	c, err := t.PlainCounters()
	late := min(p.writer.Failed(), c.Written)
	c.Written, c.SinkErrors = c.Written-late, c.SinkErrors+late
	return &PlainStats{PlainCounters: c, Forbidden: p.writer.Forbidden(), EndsUnknown: t.EndsUnknown()}, err
}

// account balances the pieces that the kernel programs counted as lost with what became of
// the others.
func (p *plainRecording) account(taken ring.Totals, clock *ring.Clock) ring.Account {
	a := ring.Account{Clock: clock}
	t := p.tracker.Load()
	if t == nil {
		return a
	}
	k, err := t.PlainCounters()
	if err != nil {
		return a
	}
	for _, v := range p.writer.Interfaces() {
		i := ring.InterfaceAccount{ID: v, Start: p.begin}
		if clock != nil {
			i.At = int64(clock.Real)
		}
		a.Interfaces = append(a.Interfaces, i)
	}
	c := ring.Counters{Filtered: k.Unused + p.writer.Forbidden(), Policy: p.writer.Forbidden(), Delivered: taken.Kept, Dropped: taken.Dropped + k.Lost + k.Unread + k.Odd,
		Drops: []ring.Drop{{Reason: reasonBuffer, Packets: k.Lost}, {Reason: reasonUnread, Packets: k.Unread}, {Reason: reasonLibraryN, Packets: k.Odd}, {Reason: reasonWriter, Packets: taken.Dropped}}}
	c.Seen = c.Filtered + c.Delivered + c.Dropped
	a.Counters = &c
	return a
}
