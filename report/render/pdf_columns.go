package render

// columnWidths has the numbers that decide the width of a column.
type columnWidths struct {
	least float64 // for the words of its name, and for numbers, which are not broken
	most  float64 // for its longest text
	rows  []textWidths
}

// textWidths is the width of a text, and of its longest word.
type textWidths struct{ all, word float64 }

// lines estimates the lines of a text in a column.
func (t textWidths) lines(width float64) int {
	const waste = 1.08 // most lines are not full
	if t.all <= width {
		return 1
	}
	return 1 + int(t.all*waste/width)
}

// divide divides a width among columns. Each begins with what it needs at least. Then the column that
// saves most for its room gets more, until none saves anything.
func divide(list []columnWidths, width float64) []float64 {
	out := make([]float64, len(list))
	left := width
	for i, c := range list {
		out[i] = c.least
		left -= c.least
	}
	if left <= 0 {
		for i := range out {
			out[i] *= width / (width - left)
		}
		return out
	}
	for {
		best, more, rate := -1, 0.0, 0.0
		highest := highestCells(list, out)
		for i, c := range list {
			for _, step := range [...]float64{1, 2, 4, 8, 16, 32} {
				step = min(step, c.most-out[i], left)
				if step <= 0 {
					continue
				}
				if r := float64(saved(c, i, out[i], out[i]+step, highest)) / step; r > rate {
					best, more, rate = i, step, r
				}
			}
		}
		if best < 0 {
			return out
		}
		out[best] += more
		left -= more
	}
}

// highestCell is the number of lines of the highest cell of a row, its column, and the number of lines
// of the next highest.
type highestCell struct{ lines, column, second int }

func highestCells(list []columnWidths, widths []float64) []highestCell {
	var out []highestCell
	for i, c := range list {
		for row, t := range c.rows {
			if i == 0 {
				out = append(out, highestCell{})
			}
			switch n := t.lines(widths[i]); {
			case n > out[row].lines:
				out[row] = highestCell{n, i, out[row].lines}
			case n > out[row].second:
				out[row].second = n
			}
		}
	}
	return out
}

// saved is the saving of a table if a column becomes wider, in units of which a line of the table
// has 8, a broken word 12 and a line of a cell 1.
func saved(c columnWidths, column int, now, then float64, highest []highestCell) (units int) {
	for row, t := range c.rows {
		if h := highest[row]; h.column == column {
			units += 8 * (h.lines - max(h.second, t.lines(then)))
		}
		if t.word > now && t.word <= then {
			units += 12
		}
		units += t.lines(now) - t.lines(then)
	}
	return units
}
