package command

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// The highest values of flags without a limit of their own.
const (
	Most         = math.MaxInt32
	Longest      = 876_000 * time.Hour // 100 years
	Largest Size = 1 << 50
)

// Between limits the value of the flag name, which is at to, to low … high. Every flag with a number
// has such limits. NaN is outside of all.
func Between[T cmp.Ordered](fl *pflag.FlagSet, name string, to *T, low, high T) {
	f := fl.Lookup(name)
	if length, ok := any(to).(*time.Duration); ok && *length != 0 {
		f.DefValue = written(length) // instead of 10m0s
	}
	f.Value = &between[T]{f.Value, to, low, high}
}

type between[T cmp.Ordered] struct {
	pflag.Value
	to        *T
	low, high T
}

// aLength matches a length of time, which may be too long for one.
var aLength = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`)

// Set implements pflag.Value.
func (b *between[T]) Set(text string) error {
	err := b.Value.Set(text)
	tooLarge := errors.Is(err, strconv.ErrRange) || err != nil && b.Type() == "duration" && aLength.MatchString(text)
	if err != nil && !tooLarge {
		return err
	}
	if tooLarge || !(b.low <= *b.to && *b.to <= b.high) {
		return exit.RangeError(fmt.Sprintf("must be %s to %s", written(&b.low), written(&b.high)))
	}
	return nil
}

// written is a number as a flag accepts it.
func written(v any) string {
	switch v := v.(type) {
	case *Size:
		return v.String()
	case *time.Duration:
		text := v.String()
		switch *v {
		case 0:
			return "0"
		case Longest:
			return "876000h (100 years)"
		}
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	case *int:
		return strconv.Itoa(*v)
	case *int64:
		return strconv.FormatInt(*v, 10)
	case *uint32:
		return strconv.FormatUint(uint64(*v), 10)
	case *uint64:
		return strconv.FormatUint(*v, 10)
	case *float64:
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	panic(fmt.Sprintf("a flag of type %T", v))
}
