package main

import (
	"sort"
	"sync"
	"time"
)

// clock is the scenario's time. It runs at the speed of real time and leaps forward between steps, so
// durations in the shop are real.
type clock struct {
	mu    sync.Mutex
	marks []mark
}

// mark is a leap: a real time and the scenario's time from then on.
type mark struct{ real, then int64 }

func newClock(start time.Time) *clock {
	return &clock{marks: []mark{{time.Now().UnixNano(), start.UnixNano()}}}
}

// leap sets the time, but never back.
func (c *clock) leap(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixNano()
	c.marks = append(c.marks, mark{now, max(to.UnixNano(), c.at(now))})
}

// at converts a real time to the scenario's time, in nanoseconds.
func (c *clock) at(real int64) int64 {
	i := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].real > real })
	m := c.marks[max(i-1, 0)]
	return m.then + real - m.real
}

func (c *clock) of(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(0, c.at(t.UnixNano())).UTC()
}

func (c *clock) now() time.Time { return c.of(time.Now()) }
