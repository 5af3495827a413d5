package recorder

import (
	"errors"
	"strconv"
	"strings"

	shared "github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// reserve is a flag whose value is a size, or a part of the disk in percent.
type reserve ring.Reserve

// Set implements pflag.Value.
func (r *reserve) Set(text string) error {
	if digits, ok := strings.CutSuffix(text, "%"); ok {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > 90 {
			return errors.New("must be 0% to 90%")
		}
		*r = reserve{Percent: n}
		return nil
	}
	var s shared.Size
	if err := s.Set(text); err != nil {
		return err
	}
	*r = reserve{Bytes: int64(s)}
	return nil
}

// String implements pflag.Value.
func (r *reserve) String() string {
	if r.Percent > 0 {
		return strconv.Itoa(r.Percent) + "%"
	}
	s := shared.Size(r.Bytes)
	return s.String()
}

// Type implements pflag.Value.
func (r *reserve) Type() string { return "size" }
