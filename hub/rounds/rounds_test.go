package rounds

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestFailuresInARowAreLoggedOnce: a failure after a success is logged again, and the end of ctx is none.
func TestFailuresInARowAreLoggedOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var said bytes.Buffer
	results := []error{errors.New("a"), errors.New("b"), nil, errors.New("c"), context.Canceled}
	n := 0
	Every(ctx, time.Millisecond, slog.New(slog.NewTextHandler(&said, nil)), "trying again", func(context.Context) error {
		err := results[n]
		if n++; n == len(results) {
			cancel()
		}
		return err
	})
	if got := strings.Count(said.String(), "trying again"); n != len(results) || got != 2 || !strings.Contains(said.String(), "error=a") || !strings.Contains(said.String(), "error=c") {
		t.Errorf("%d rounds, %d messages: %s", n, got, &said)
	}
}
