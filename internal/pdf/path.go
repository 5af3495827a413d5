package pdf

import (
	"fmt"
	"strconv"
	"strings"

	"codeberg.org/go-pdf/fpdf"
)

// step is one step of a path: M, L, C or Z, with its points.
type step struct {
	kind byte
	at   []fpdf.PointType
}

// parsePath reads the commands M, L, H, V, C and Z of a path (SVG 1.1, section 8.3), absolute or
// relative.
func parsePath(text string) (steps []step, err error) {
	var at, start fpdf.PointType
	for text = strings.TrimSpace(text); text != ""; {
		kind := text[0]
		var n []float64
		if n, text, err = numbers(text[1:]); err != nil {
			return nil, err
		}
		base := at
		if kind >= 'A' && kind <= 'Z' {
			base = fpdf.PointType{}
		}
		switch kind {
		case 'Z', 'z':
			at, steps = start, append(steps, step{kind: 'Z'})
		case 'H', 'h':
			for _, x := range n {
				at.X = base.X + x
				steps = append(steps, step{'L', []fpdf.PointType{at}})
			}
		case 'V', 'v':
			for _, y := range n {
				at.Y = base.Y + y
				steps = append(steps, step{'L', []fpdf.PointType{at}})
			}
		case 'M', 'm', 'L', 'l', 'C', 'c':
			points := 1
			if kind|0x20 == 'c' {
				points = 3
			}
			if len(n) != 2*points {
				return nil, fmt.Errorf("%d numbers after %c in a path, expected %d", len(n), kind, 2*points)
			}
			s := step{kind: kind &^ 0x20}
			for ; len(n) > 0; n = n[2:] {
				at = fpdf.PointType{X: base.X + n[0], Y: base.Y + n[1]}
				s.at = append(s.at, at)
			}
			if s.kind == 'M' {
				start = at
			}
			steps = append(steps, s)
		default:
			return nil, fmt.Errorf("unknown command %q in a path", string(kind))
		}
	}
	return steps, nil
}

// numbers reads numbers up to the next command.
func numbers(text string) (out []float64, rest string, err error) {
	for {
		text = strings.TrimLeft(text, " ,")
		end := 0
		for end < len(text) && (strings.IndexByte("0123456789.", text[end]) >= 0 || text[end] == '-' && end == 0) {
			end++
		}
		if end == 0 {
			return out, text, nil
		}
		v, err := strconv.ParseFloat(text[:end], 64)
		if err != nil {
			return nil, "", fmt.Errorf("number %q in a path", text[:end])
		}
		out, text = append(out, v), text[end:]
	}
}
