//go:build linux

package bpf

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

var comment = regexp.MustCompile(`(?s)/\*.*?\*/`)

// TestLedgerVersion: a recorder reads what another release wrote only if it has the same form.
func TestLedgerVersion(t *testing.T) {
	const version, sum = 1, "b79be123e98d5fc1"
	text, err := os.ReadFile("src/packets.h")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(comment.ReplaceAll(text, nil)))[:16]; got != sum || LedgerVersion != version {
		t.Errorf("src/packets.h (%s) or LedgerVersion (%d) changed: raise the version with each change of what records look like, and note both here", got, LedgerVersion)
	}
}

// TestLedgerTellsWhatIsWritten records packets as a reader does, and looks again as the next one.
func TestLedgerTellsWhatIsWritten(t *testing.T) {
	m, err := ebpf.NewMap(ledgerSpec(4096))
	if errors.Is(err, os.ErrPermission) {
		t.Skip("needs CAP_BPF: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Clone()
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLedger(m)
	if err != nil {
		t.Fatal(err)
	}
	l.Begin(7, 8, 9)
	for id := range uint64(5) {
		l.Note(id+100, (id+1)*264)
	}
	l.Release(264, 1)
	l.Release(528, 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = openLedger(again); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if at, n := l.Released(); at != 528 || n != 2 || l.Ring() != 7 || l.Settings() != 8 || l.Start() != 9 {
		t.Errorf("%d packets up to %d", n, at)
	}
	for range 2 { // what is not kept is struck out, the rest stays for whoever comes next
		var kept []uint64
		l.Noted(528, func(id, end uint64) bool {
			if id <= 103 {
				kept = append(kept, end)
			}
			return id <= 103
		})
		if !slices.Equal(kept, []uint64{3 * 264, 4 * 264}) {
			t.Errorf("%v are written", kept)
		}
	}
}
