package recorder

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// clock turns the kernel's monotonic times into UTC. Both clocks run at one speed, so
// their distance changes only when somebody sets the clock.
type clock struct {
	now      ring.Clock
	distance int64 // UTC less monotonic
	booted   int64 // boot time's less monotonic
	taken    int64 // monotonic time of the last full reading
	steps    []clockStep
}

// clockStep is a moment when the clock was set.
type clockStep struct {
	At       ring.Time `json:"at"`
	By       int64     `json:"by_ns"`
	Within   int64     `json:"within_ns"` // it happened in so long a time before
	Monotone int64     `json:"monotonic_ns"`
}

const (
	readEvery = 1e9    // full readings
	stepFloor = 50_000 // ns; less is what reading two clocks after each other differs by
)

func readClock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

func monotonic() int64 { return readClock(unix.CLOCK_MONOTONIC) }

// distanceNow reads two clocks as close to each other as a few tries get them.
func distanceNow() (distance, width int64) {
	width = 1 << 62
	for range 3 {
		before := monotonic()
		real := readClock(unix.CLOCK_REALTIME)
		after := monotonic()
		if w := after - before; w < width {
			width, distance = w, real-(before+w/2)
		}
	}
	return distance, width
}

// tick looks at the clocks; it is called all the time and reads them fully each second.
func (c *clock) tick() (stepped bool) {
	at := monotonic()
	if c.taken != 0 {
		quick := readClock(unix.CLOCK_REALTIME) - at
		moved := quick - c.distance
		if moved > -stepFloor && moved < stepFloor && at-c.taken < readEvery {
			return false
		}
	}
	distance, width := distanceNow()
	at = monotonic()
	if c.taken != 0 && abs(distance-c.distance) > stepFloor {
		c.steps = append(c.steps, clockStep{At: ring.Time(at + distance), By: distance - c.distance, Within: at - c.now.Monotonic, Monotone: at})
		stepped = true
	}
	c.distance, c.taken = distance, at
	c.booted = readClock(unix.CLOCK_BOOTTIME) - at
	c.now = ring.Clock{Real: ring.Time(at + distance), Monotonic: at, Boot: at + c.booted, MaxError: width}
	var tx unix.Timex
	if state, err := unix.Adjtimex(&tx); err == nil {
		c.now.Synchronized = state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
		if c.now.Synchronized {
			c.now.MaxError = max(width, int64(tx.Maxerror)*1000)
		}
		c.now.Source = "kernel"
	}
	return stepped
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// utc is the time of a monotonic one.
func (c *clock) utc(monotonic uint64) int64 { return int64(monotonic) + c.distance }

// utcBoot is the time of one that counts suspended time too.
func (c *clock) utcBoot(boot uint64) int64 { return int64(boot) - c.booted + c.distance }

// machine is what a section header says of the machine.
type machine struct {
	node, bootID, kernel, hardware string
}

func thisMachine() machine {
	var m machine
	m.node, _ = os.Hostname()
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		m.bootID = strings.TrimSpace(string(b))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.kernel = fmt.Sprintf("Linux %s %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]))
		m.hardware = unix.ByteSliceToString(u.Machine[:])
	}
	return m
}
