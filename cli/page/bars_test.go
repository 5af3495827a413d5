package page

import (
	"strings"
	"testing"
)

// TestBarsOfRates draws rates: the longest bar has most calls, any call shows, and neither failed nor other calls hide
// the others.
func TestBarsOfRates(t *testing.T) {
	answer := `{"rate":[{"time":"2026-11-20T09:24:48Z","in":100,"out":0,"failed":50},{"time":"2026-11-20T09:24:49Z","in":0,"out":0,"failed":0},
		{"time":"2026-11-20T09:24:50Z","in":1,"out":0,"failed":1},{"time":"2026-11-20T09:24:51Z","in":0,"out":60,"failed":59},{"time":"2026-11-20T09:24:52Z","in":60,"out":0,"failed":1}]}`
	for width, want := range map[int][]string{
		80:  {strings.Repeat("█", 8) + strings.Repeat("▒", 8), "", "█", strings.Repeat("█", 9) + "▒", "█" + strings.Repeat("▒", 9)},
		120: {strings.Repeat("█", 15) + strings.Repeat("▒", 15), "", "█", strings.Repeat("█", 17) + "▒", "█" + strings.Repeat("▒", 17)},
	} {
		text, err := Text([]byte(answer), width, false)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if len(lines) != 7 || !strings.HasSuffix(lines[1], barHeader) {
			t.Fatalf("%d columns: %q", width, lines)
		}
		for i, bar := range want {
			line := strings.TrimRight(lines[2+i], " ")
			if got := line[len(strings.TrimRight(line, "█▒")):]; got != bar {
				t.Errorf("%d columns: bar %q, want %q in %q", width, got, bar, line)
			}
		}
	}
	if text, err := Text([]byte(`{"rate":[{"time":"2026-11-20T09:24:48Z","in":0,"out":0,"failed":0}]}`), 80, false); err != nil || strings.Contains(text, "other") {
		t.Errorf("without calls: %q, %v", text, err)
	}
}
