package section

import "testing"

func TestParts(t *testing.T) {
	row := func(time string) any { return map[string]any{"time": time} }
	for _, tt := range []struct {
		name string
		list []any
		want string
	}{
		{"between two moments", []any{row("1"), row("2"), row("3"), row("3")}, "make a report of each part, the first with --to 2, the next with --from 3"},
		{"one moment", []any{row("1"), row("1")}, "narrow it with --from, --to or --kfl, and make a report of each part"},
		{"no times", []any{"a", "b"}, "narrow it with --from, --to or --kfl, and make a report of each part"},
	} {
		if got := parts(tt.list); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
