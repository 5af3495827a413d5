package cli

import (
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
)

// byteSize writes a number of bytes for people, in powers of 1000.
func byteSize(n int64) string { return console.ByteSize(n) }

// parseSize reads 256MiB, 1GB, 500M or a plain number of bytes.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BbIiKkMmGgTt ")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" { // inf, signs, exponents
		return 0, fmt.Errorf("size %q: want a number with B, kB, MB, GB, KiB, MiB or GiB", s)
	}
	unit := strings.ToLower(strings.TrimSpace(s[len(digits):]))
	mult := map[string]float64{"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}[unit]
	if mult == 0 {
		return 0, fmt.Errorf("size %q: unknown unit %q", s, unit)
	}
	if n *= mult; n >= 1<<63 {
		return 0, fmt.Errorf("size %q: want less than 8 EiB", s)
	}
	return int64(n), nil
}

// minMemory is the smallest limit that --memory accepts, in bytes. The fixed parts of a run
// do not fit below it.
const minMemory = 64 << 20

// limitMemory reads --memory and makes the collector run more often near that limit. It
// returns the limit for exporter.Options, in bytes.
func limitMemory(s string) (int64, error) {
	n, err := parseSize(s)
	if err != nil {
		return 0, exit.With(fmt.Errorf("--memory: %w", err), exit.Usage, "")
	}
	if n < minMemory {
		return 0, exit.Usagef("--memory %s: want at least 64MiB", s)
	}
	debug.SetMemoryLimit(exporter.HeapLimit(n))
	return n, nil
}
