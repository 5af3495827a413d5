package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// ParseSize reads 256MiB, 256Mi as in Kubernetes, 1GB, 500M or a plain number of bytes. A single m
// is refused: in Kubernetes it means a thousandth.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BbIiKkMmGgTt ")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" { // inf, signs, exponents
		return 0, fmt.Errorf("size %q: must be a number with B, kB, MB, GB, KiB, MiB or GiB", s)
	}
	unit := strings.ToLower(strings.TrimSpace(s[len(digits):]))
	mult := map[string]float64{"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}[unit]
	if mult == 0 || strings.HasSuffix(s, "m") {
		return 0, fmt.Errorf("size %q: unknown unit %q", s, unit)
	}
	if n *= mult; n >= 1<<63 {
		return 0, fmt.Errorf("size %q: must be less than 8 EiB", s)
	}
	return int64(n), nil
}

// SizeVar defines a flag with a size from low to high. A default of 0 is not shown.
func SizeVar(fl *pflag.FlagSet, to *Size, name, short string, value, low, high Size, usage string) {
	*to = value
	fl.VarP(to, name, short, usage)
	if value == 0 {
		fl.Lookup(name).DefValue = ""
	}
	Between(fl, name, to, low, high)
}

// BufferVar defines the flag for the ring buffer between kernel and recorder.
func BufferVar(fl *pflag.FlagSet, to *Size) {
	SizeVar(fl, to, "buffer-size", "B", 32<<20, 4<<10, 2<<30, "ring buffer between kernel and recorder, a power of two")
}

// CheckBuffer refuses a size of a ring buffer that the kernel does not accept.
func CheckBuffer(size Size) error {
	if size&(size-1) != 0 {
		return exit.Usagef("--buffer-size %s: must be a power of two", &size)
	}
	return nil
}

// Size is a flag whose value is a number of bytes: 256MiB.
type Size int64

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	n, err := ParseSize(text)
	*s = Size(n)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("size %q: ", text))) // the flag's error has the text
	}
	return nil
}

// String implements pflag.Value, in the largest binary unit without a fraction.
func (s *Size) String() string {
	n, unit := int64(*s), "B"
	for _, larger := range [...]string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return strconv.FormatInt(n, 10) + unit
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }
