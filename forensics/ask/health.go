package ask

import (
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/internal/stats"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// The states of health.
const (
	Healthy  = "ok"
	Slow     = "slow"
	Degraded = "degraded"
	Failing  = "failing"
	Unknown  = "unknown"
)

// Thresholds of health.
const (
	failingShare  = 0.5
	degradedShare = 0.05
	slowMs        = 1000
)

// Ill returns Failing or Degraded if so many of n failed, otherwise "".
func Ill(bad, n int64) string {
	switch share := Share(bad, n); {
	case share >= failingShare:
		return Failing
	case share >= degradedShare:
		return Degraded
	}
	return ""
}

// sureOf says whether so many of n show that a share reaches a threshold: the lower end of its 95 % interval does.
func sureOf(bad, n int64, threshold float64) string {
	if stats.Share(float64(bad), float64(n)).Low < threshold {
		return ": too few calls to be sure"
	}
	return ""
}

// Health rates calls by the failures that their caller did not cause, then by how long the slowest took. It says why they
// are not healthy, and if they are too few to be sure. Without calls it is unknown.
func Health(calls, faults int64, p99Ms *float64) (health, why string) {
	switch ill := Ill(faults, calls); {
	case calls == 0:
		return Unknown, ""
	case ill != "":
		return ill, plural.Sprintf("%d of %d {call|calls} ", faults, calls) + Were(faults) + " refused, not answered or failed on the server's side" + sureOf(faults, calls, map[string]float64{Failing: failingShare, Degraded: degradedShare}[ill])
	case p99Ms != nil && *p99Ms >= slowMs:
		if calls < 100 { // the p99 is the slowest call
			return Slow, plural.Sprintf("the slowest of %d {call|calls} took %.0f ms: too few calls to be sure of a 99th percentile", calls, *p99Ms)
		}
		return Slow, fmt.Sprintf("the 99th percentile is %.0f ms", *p99Ms)
	}
	return Healthy, ""
}

// Were is the verb for n of several things: 1 of 5 calls was refused.
func Were(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
