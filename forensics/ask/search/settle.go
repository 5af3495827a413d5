package search

import (
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
)

// noteBodies stores the hashes of bodies that contain the needle.
func (f *textFinder) noteBodies(_ int, g *forensics.TextGroup) error {
	for _, h := range g.Hits {
		f.hashes[[32]byte(g.Fixed[0][32*h.Row:])] = true
	}
	if len(f.hashes) > maxHashes {
		return fmt.Errorf("more than %d bodies contain the text: %w", maxHashes, forensics.ErrMemory)
	}
	return nil
}

// noteCalls collects the calls of a row group that contain the needle.
func (f *textFinder) noteCalls(bundle int, g *forensics.TextGroup) error {
	f.rows = slices.Grow(f.rows[:0], g.Rows)[:g.Rows]
	clear(f.rows)
	for _, h := range g.Hits {
		f.rows[h.Row] |= uint32(h.Verdict)
	}
	for row, bits := range f.rows {
		if ts := g.Numbers[1][row]; bits != 0 && ts >= f.w.Since && ts <= f.w.Until {
			f.pending = append(f.pending, textHit{ts, int64(bundle), g.Numbers[0][row], bits})
		}
	}
	if len(f.pending) < f.most {
		return nil
	}
	return f.settle(false)
}

// settle counts the collected hits and keeps the first of them. If SQL selects the calls of the
// window, it gets the numbers of a few hits, but reads all calls of the window for many.
func (f *textFinder) settle(last bool) error {
	if f.asked && f.scope == nil && len(f.pending) > 0 {
		var numbers []int64
		if last && len(f.pending) <= maxSubset {
			for _, h := range f.pending {
				numbers = append(numbers, h.no)
			}
		}
		var err error
		if f.scope, err = readSet(f.ctx, f.c, f.w, numbers); err != nil {
			return err
		}
	}
	after := textHit{ts: f.after.TS, bundle: f.after.Bundle, no: f.after.No}
	for _, h := range f.pending {
		if f.scope != nil && !f.scope.has(h.bundle, h.no) {
			continue
		}
		f.total++
		for i := range f.counts {
			f.counts[i] += int64(h.bits >> i & 1)
		}
		if f.after.No >= 0 && inTimeOrder(h, after) <= 0 {
			continue
		}
		if f.first = append(f.first, h); len(f.first) > 4*(f.limit+1)+1000 {
			f.cut()
		}
	}
	f.cut()
	f.pending = f.pending[:0]
	return nil
}

// cut keeps the first hits, one more than the limit.
func (f *textFinder) cut() {
	slices.SortFunc(f.first, inTimeOrder)
	f.first = f.first[:min(len(f.first), f.limit+1)]
}
