package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

const (
	maxLive  = 10 * time.Minute
	freshFor = 2 * time.Second // how long a bundle of the last seconds is reused
	keptLive = 3               // bundles, so that answers that still read one can finish
)

// live keeps bundles of the last seconds, in a folder that is removed with the store.
type live struct {
	mu    sync.Mutex
	dir   string
	n     int
	paths []string // the newest last
	last  time.Duration
	at    time.Time
}

func (l *live) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dir != "" {
		_ = os.RemoveAll(l.dir) // temporary files
	}
	l.dir, l.paths = "", nil
}

// Live implements store.Store. The bundle is never sealed: it is a view of the running
// recording, and is rebuilt when it is older than 2 seconds.
func (s *Store) Live(ctx context.Context, last time.Duration) (string, error) {
	if last <= 0 || last > maxLive {
		return "", badRequest("the last %s: want up to %s; make a snapshot for more", last, maxLive)
	}
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	if n := len(s.live.paths); n > 0 && s.live.last == last && time.Since(s.live.at) < freshFor {
		return s.live.paths[n-1], nil
	}
	if s.live.dir == "" {
		dir, err := os.MkdirTemp("", "pcapsule-live-")
		if err != nil {
			return "", err
		}
		s.live.dir = dir
	}
	if err := s.seal(ctx); err != nil {
		s.onError(err)
	}
	s.live.n++
	name := strconv.Itoa(s.live.n)
	now := time.Now()
	from := now.Add(-last).UnixNano()
	held := filepath.Join(s.live.dir, "held"+name)
	p, err := ring.Pin(ctx, s.ring, from, now.UnixNano(), held, ring.PinOptions{Keys: true})
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(held)
	if len(p.Segments) == 0 {
		return "", badRequest("nothing was recorded in the last %s", last)
	}
	path := filepath.Join(s.live.dir, name+bundled)
	if _, err := s.export(ctx, held, path, from, now.UnixNano(), nil); err != nil {
		return "", err
	}
	s.live.paths, s.live.last, s.live.at = append(s.live.paths, path), last, time.Now()
	var old error
	for len(s.live.paths) > keptLive {
		old = errors.Join(old, os.RemoveAll(s.live.paths[0]))
		s.live.paths = s.live.paths[1:]
	}
	if old != nil {
		s.onError(old)
	}
	return path, nil
}
