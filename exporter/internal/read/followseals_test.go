package read

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// TestGapsOfRecords reads records while they are written: each gap once, whatever surrounds it.
func TestGapsOfRecords(t *testing.T) {
	dir := t.TempDir()
	r, err := New(&Inputs{}, nil, round.Pool{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.cur = &round.Round{}
	var s sealTail
	path, size := filepath.Join(dir, sealsFile), 0
	write := func(text string) []string {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		size += len(text)
		if err := s.read(dir, 1_700_000_000_000_000_000, r); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range r.cur.Facts.Coverage {
			got = append(got, fmt.Sprintf("%s %s %d", row.Source, row.Reason, row.Packets))
		}
		r.cur.Facts.Coverage = nil
		return got
	}
	if err := s.read(dir, 1, r); err != nil {
		t.Fatalf("without records: %v", err)
	}
	record := func(kind, at string, packets int) string {
		return fmt.Sprintf(`{"record":{"n":1,"kind":%q,"ring":"a",%[1]q:{"series":"eth","node":"n","sequence":7,"holes":[{"reason":"restart","series":"eth","from":%q,"to":%[2]q,"packets":%d}]}}}`, kind, at, packets) + "\n"
	}
	const old, late = "2020-01-01T00:00:00Z", "2026-03-02T09:00:00Z"
	first := record("start", late, 1)
	for _, tt := range []struct{ text, want string }{
		{record("start", old, 1), ""},
		{first[:20], ""},
		{first[20:], "ring restart 1"},
		{first, ""}, // repeated
		{record("stop", late, 2) + record("segment", late, 3), "ring restart 2, eth-n-000000007.pcapng restart 3"},
		{"no record\n{}\n" + record("stop", late, 4), "ring restart 4"},
		{strings.Repeat("x", 5<<20) + "\n" + record("stop", late, 5), "ring restart 5"},
		{strings.Repeat(strings.Repeat("x", 1<<20)+"\n", 20) + record("stop", late, 6), "ring restart 6"},
	} {
		if got := strings.Join(write(tt.text), ", "); got != tt.want {
			t.Errorf("%.60q: gaps %q, want %q", tt.text, got, tt.want)
		}
	}
	s = sealTail{}
	if got := write(""); s.at != int64(size) || strings.Join(got, "") != "ring restart 6" {
		t.Errorf("the last 16 MiB of %d bytes: at %d, gaps %v", size, s.at, got)
	}
}
