package command

import (
	"time"

	"github.com/pcapsule/pcapsule/internal/cli/exit"
)

// ParseTime reads the time of a flag in ns since 1970 UTC; 0 if it is not set.
func ParseTime(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, exit.Usagef("--%s %q: must be a time such as 2026-01-31T14:15:00Z", flag, s)
	}
	ns := t.UnixNano() // wraps around if it does not fit
	if ns <= 0 || !time.Unix(0, ns).Equal(t) {
		return 0, exit.Usagef("--%s %q: must be a time after 1970-01-01T00:00:00Z and before 2262-04-11", flag, s)
	}
	return ns, nil
}
