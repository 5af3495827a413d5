package pdf

import "strings"

// breaks are characters after which a word may be broken if it is longer than a line.
const breaks = "/-_.,:;=&?|)]}"

// Width is the width of text in the current font.
func (d *Doc) Width(s string) (w float64) {
	for _, r := range s {
		w += d.width(r)
	}
	return w
}

// width is the width of one character in the current font.
func (d *Doc) width(r rune) float64 {
	size, _ := d.GetFontSize()
	key := glyph{d.GetFontFamily() + d.GetFontStyle(), r}
	w, ok := d.widths[key]
	if !ok {
		w = float64(d.GetStringSymbolWidth(string(r)))
		d.widths[key] = w
	}
	return w * size * pointMM / 1000
}

// pointMM is the length of a point in millimetres.
const pointMM = 25.4 / 72

// Wrap breaks text into lines of at most a width in the current font, after spaces if possible. A
// longer word is broken after a mark such as a slash, or anywhere. Characters that the fonts lack are
// code points.
func (d *Doc) Wrap(s string, width float64) (lines []string) {
	for _, paragraph := range strings.Split(s, "\n") {
		lines = append(lines, d.wrap([]rune(d.Glyphs(strings.TrimSpace(paragraph))), width)...)
	}
	return lines
}

func (d *Doc) wrap(text []rune, width float64) (lines []string) {
	begin, space, mark, used := 0, 0, 0, 0.0
	for i := 0; i < len(text); i++ {
		w := d.width(text[i])
		for used+w > width && i > begin && text[i] != ' ' {
			end := i
			if space > begin {
				end = space
			} else if mark > begin {
				end = mark
			}
			lines = append(lines, strings.TrimRight(string(text[begin:end]), " "))
			begin, used = end, d.Width(string(text[end:i]))
		}
		used += w
		switch {
		case text[i] == ' ':
			space = i + 1
		case strings.ContainsRune(breaks, text[i]):
			mark = i + 1
		}
	}
	return append(lines, string(text[begin:]))
}

// Longest is the width of the longest word of a text in the current font.
func (d *Doc) Longest(s string) (w float64) {
	for _, word := range strings.Fields(d.Glyphs(s)) {
		w = max(w, d.Width(word))
	}
	return w
}
