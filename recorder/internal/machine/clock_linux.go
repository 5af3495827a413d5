// Package machine describes a Linux machine while packets are recorded: its clocks and name, its
// control groups and its processes. Its results are safe to write: text has no control characters,
// and secrets in command lines are masked.
package machine

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Clock converts the kernel's monotonic times to UTC. Both clocks run at the same speed, so their
// difference changes only when UTC is set.
type Clock struct {
	Now      ring.Clock
	Distance int64 // UTC minus monotonic
	booted   int64 // boot time minus monotonic
	readAt   int64 // monotonic time of the last full reading
	seen     int64 // time of the last Tick
	Steps    []ClockStep

	origin time.Time // a moment of Go's clock,
	base   int64     // and the same moment of the kernel's
}

// ClockStep is a moment when the clock was set.
type ClockStep struct {
	At       ring.Time `json:"at"`
	By       int64     `json:"by_ns"`
	Within   int64     `json:"within_ns"` // it happened within this time before At
	Monotone int64     `json:"monotonic_ns"`
}

const (
	readEvery = 1e9     // full readings
	stepFloor = 100_000 // ns; smaller differences result from reading two clocks one after another
)

func readClock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// Monotonic returns CLOCK_MONOTONIC. Go's own reading of it needs no system call, but has
// another origin.
func (c *Clock) Monotonic() int64 { return c.base + int64(time.Since(c.origin)) }

// Calibrate finds the origin of Go's monotonic time.
func (c *Clock) Calibrate() {
	width := int64(1 << 62)
	for range 16 {
		before := readClock(unix.CLOCK_MONOTONIC)
		at := time.Now()
		after := readClock(unix.CLOCK_MONOTONIC)
		if w := after - before; w < width {
			width, c.origin, c.base = w, at, before+w/2
		}
	}
}

// distanceNow reads both clocks several times and returns the closest pair.
func distanceNow() (distance, width int64) {
	width = 1 << 62
	for range 3 {
		before := readClock(unix.CLOCK_MONOTONIC)
		real := readClock(unix.CLOCK_REALTIME)
		after := readClock(unix.CLOCK_MONOTONIC)
		if w := after - before; w < width {
			width, distance = w, real-(before+w/2)
		}
	}
	return distance, width
}

// Tick checks the clocks. It is called frequently, and reads them fully once a second, or if
// UTC has moved relative to the monotonic clock.
func (c *Clock) Tick() (read, stepped bool) {
	now := time.Now()
	at := c.base + int64(now.Sub(c.origin))
	if c.readAt != 0 {
		moved := now.UnixNano() - at - c.Distance
		if moved > -stepFloor && moved < stepFloor && at-c.readAt < readEvery {
			c.seen = at
			return false, false
		}
	}
	distance, width := distanceNow()
	if c.readAt != 0 && abs(distance-c.Distance) > stepFloor {
		c.Steps = append(c.Steps, ClockStep{At: ring.Time(at + distance), By: distance - c.Distance, Within: at - c.seen, Monotone: at})
		stepped = true
	}
	c.Distance, c.readAt, c.seen = distance, at, at
	c.booted = readClock(unix.CLOCK_BOOTTIME) - readClock(unix.CLOCK_MONOTONIC)
	c.Now = ring.Clock{Real: ring.Time(at + distance), Monotonic: at, Boot: at + c.booted, MaxError: width}
	var tx unix.Timex
	if state, err := unix.Adjtimex(&tx); err == nil {
		c.Now.Synchronized = state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
		if c.Now.Synchronized {
			c.Now.MaxError = max(width, int64(tx.Maxerror)*1000)
		}
		c.Now.Source = "kernel"
	}
	return true, stepped
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// UTC converts a monotonic time.
func (c *Clock) UTC(monotonic uint64) int64 { return int64(monotonic) + c.Distance }

// utcBoot converts a time that includes suspended time.
func (c *Clock) utcBoot(boot uint64) int64 { return int64(boot) - c.booted + c.Distance }

// Host has the fields of the machine in a section header.
type Host struct {
	Node, BootID, Kernel, Hardware string
}

func This() Host {
	var m Host
	m.Node, _ = os.Hostname()
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		m.BootID = strings.TrimSpace(string(b))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = fmt.Sprintf("Linux %s %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]))
		m.Hardware = unix.ByteSliceToString(u.Machine[:])
	}
	return m
}
