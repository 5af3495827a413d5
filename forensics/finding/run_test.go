package finding

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
)

// looksOf makes Looks from functions.
func looksOf(does ...func(ctx context.Context, l *Look) error) (list []*Look) {
	for i, do := range does {
		name := fmt.Sprintf("a%d", i)
		list = append(list, &Look{name: name, of: Analyzer{Name: name, Steps: []Step{{Find: do}}}})
	}
	return list
}

func quick(_ context.Context, l *Look) error {
	l.Note("done")
	return nil
}

// slow runs until its deadline.
func slow(ctx context.Context, _ *Look) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestSlowAnalyzersLeaveTimeForOthers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	looks := looksOf(slow, quick, slow, quick)
	if err := findAll(ctx, looks, false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range looks {
		note, _, _ := strings.Cut(strings.Join(l.notes, "; "), ",")
		got = append(got, fmt.Sprint(l.cut, " ", note))
	}
	if want := []string{"true a0: this analyzer ran out of time", "false a1: done", "true a2: this analyzer ran out of time", "false a3: done"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestErrorsOfAnalyzers(t *testing.T) {
	broken := errors.New("broken")
	fails := func(context.Context, *Look) error { return broken }
	full := func(_ context.Context, l *Look) error {
		l.Add(Row{}, Finding{})
		if l.all {
			return nil
		}
		l.all = true
		return fmt.Errorf("asking: %w", forensics.ErrMemory)
	}
	always := func(context.Context, *Look) error { return forensics.ErrMemory }
	for _, tt := range []struct {
		name  string
		does  []func(context.Context, *Look) error
		whole bool
		want  error
	}{
		{"none", []func(context.Context, *Look) error{quick, quick, quick}, false, nil},
		{"one analyzer that is late", []func(context.Context, *Look) error{slow}, false, context.DeadlineExceeded},
		{"one of several that is late, but required", []func(context.Context, *Look) error{quick, slow}, true, context.DeadlineExceeded},
		{"one that fails, and stops the others", []func(context.Context, *Look) error{func(ctx context.Context, _ *Look) error {
			<-ctx.Done()
			return context.Canceled
		}, fails, quick}, false, broken},
		{"one that needs all the memory", []func(context.Context, *Look) error{full, quick}, false, nil},
		{"one without enough memory", []func(context.Context, *Look) error{quick, always}, false, nil},
		{"one without enough memory, but required", []func(context.Context, *Look) error{quick, always}, true, forensics.ErrMemory},
		{"the only one, without enough memory", []func(context.Context, *Look) error{always}, false, forensics.ErrMemory},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		if errors.Is(tt.want, context.DeadlineExceeded) {
			ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
		}
		looks := looksOf(tt.does...)
		if err := findAll(ctx, looks, tt.whole); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		for _, l := range looks {
			if len(l.found) > 1 {
				t.Errorf("%s: %d findings, want those of the second run", tt.name, len(l.found))
			}
		}
		cancel()
	}
}
