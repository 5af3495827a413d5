package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// capture is a separate recording in progress.
type capture struct {
	stop           context.CancelFunc
	packets, bytes atomic.Int64
}

// Capture implements store.Store. It records into a separate ring in the snapshot's folder,
// in addition to the machine's recorder.
func (s *Store) Capture(_ context.Context, r store.CaptureRequest) (store.Snapshot, error) {
	var none store.Snapshot
	if r.Duration <= 0 || r.Duration > maxCapture {
		return none, badRequest("duration %s: must be more than 0 and at most %s", r.Duration, maxCapture)
	}
	if r.Filter != "" {
		if _, err := filter.Compile(r.Filter, 276, 0); err != nil {
			return none, err
		}
	}
	var p *policy.Policy
	if len(r.Owners) > 0 {
		p = &policy.Policy{}
		for _, o := range r.Owners {
			field, value, ok := strings.Cut(o, "=")
			if !ok {
				return none, badRequest("owner %.100q: must be namespace=NAME, pod=NAME, label=NAME=VALUE, container=NAME or process=NAME", o)
			}
			if err := p.Only.Add(field, value); err != nil {
				return none, err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.captures) >= maxRunning {
		return none, fmt.Errorf("%d recordings are running: wait for one to end", len(s.captures))
	}
	dir, err := s.reserve(r.Name)
	if err != nil {
		return none, err
	}
	x := store.Snapshot{Name: r.Name, Status: recording, CreatedAt: ring.Time(time.Now().UnixNano()).String(), Filter: strings.TrimSpace(r.Filter + " " + strings.Join(r.Owners, " ")), DurationMs: r.Duration.Milliseconds()}
	if err := s.write(x); err != nil {
		return none, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, stop := context.WithTimeout(s.ctx, r.Duration)
	c := &capture{stop: stop}
	started, ended := make(chan struct{}), make(chan error, 1)
	o := recorder.Options{Ring: &ring.Options{Dir: filepath.Join(dir, heldName)}, Filter: r.Filter, Policy: p, Program: s.program, Mask: redact.Arguments,
		OnError: s.onError, OnStart: func(recorder.Started) { close(started) }, Every: time.Second,
		OnStats: func(st recorder.Stats) { c.packets.Store(int64(st.Delivered)); c.bytes.Store(int64(st.Bytes)) }}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer stop()
		_, err := recorder.Run(ctx, o)
		ended <- err
	}()
	select {
	case <-started:
	case err := <-ended:
		if err == nil {
			err = errors.New("the recording ended immediately")
		}
		return none, errors.Join(fmt.Errorf("recording: %w", err), os.RemoveAll(dir))
	}
	s.captures[r.Name] = c
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.captured(x, <-ended)
	}()
	x.Dissections = []string{}
	return x, nil
}

// captured stores the result of a recording.
func (s *Store) captured(x store.Snapshot, err error) {
	x.Status = completed
	var unbalanced *recorder.BalanceError
	switch {
	case errors.As(err, &unbalanced):
		x.Error = err.Error() // the packets were recorded
	case err != nil:
		x.Status, x.Error = failed, err.Error()
	}
	held := filepath.Join(s.dir, x.Name, heldName)
	if list, err := ring.Segments(held); err == nil {
		first, last := ring.Time(0), ring.Time(0)
		for _, g := range list {
			if g.Seal == nil || g.Missing {
				continue
			}
			x.Segments++
			x.Bytes += g.Seal.Size
			x.Packets += int64(g.Seal.Packets)
			if g.Seal.Packets > 0 && (first == 0 || g.Seal.First < first) {
				first = g.Seal.First
			}
			last = max(last, g.Seal.Last)
		}
		x.Nodes = min(1, x.Segments)
		if first > 0 {
			x.StartMs, x.EndMs, x.DurationMs = int64(first)/1e6, int64(last)/1e6, int64(last-first)/1e6
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.captures, x.Name)
	if _, gone := os.Stat(filepath.Join(s.dir, x.Name, infoName)); gone != nil {
		return // deleted in the meantime
	}
	if err := s.write(x); err != nil {
		s.onError(err)
	}
}
