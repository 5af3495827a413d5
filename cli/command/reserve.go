package command

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Reserve is a flag whose value is a size, or a part of the disk in percent.
type Reserve struct {
	Bytes   int64
	Percent int
}

// ReserveVar defines the flag for the disk space that a ring leaves free.
func ReserveVar(fl *pflag.FlagSet, to *Reserve, value int64, prefix string) {
	to.Bytes = value
	fl.Var(to, "reserve", prefix+"disk space to leave free, such as 1GiB or 15%; 0: none")
}

// Set implements pflag.Value.
func (r *Reserve) Set(text string) error {
	if digits, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > 90 {
			return errors.New("must be 0% to 90%")
		}
		*r = Reserve{Percent: n}
		return nil
	}
	var s Size
	if err := s.Set(text); err != nil {
		return err
	}
	*r = Reserve{Bytes: int64(s)}
	return nil
}

// String implements pflag.Value.
func (r *Reserve) String() string {
	if r.Percent > 0 {
		return strconv.Itoa(r.Percent) + "%"
	}
	s := Size(r.Bytes)
	return s.String()
}

// Type implements pflag.Value.
func (r *Reserve) Type() string { return "size" }
