package kfl

import (
	"strings"
	"unicode/utf8"
)

// Layout breaks SQL into lines of at most width columns where it can: at AND, OR, clauses, commas, and inside
// parentheses. It changes white space only, and none inside quotes. With a width of 0 it changes nothing.
func Layout(sql string, width int) string {
	if width <= 0 {
		return sql
	}
	var b strings.Builder
	layout(&b, sql, 0, width)
	return strings.TrimSuffix(b.String(), "\n")
}

// clauses are the places at which a line may begin, the loosest first.
var clauses = [][]string{
	{" FROM ", " WHERE ", " GROUP BY ", " HAVING ", " ORDER BY ", " LIMIT "},
	{", "}, {" OR "}, {" AND "}, {" WHEN ", " THEN ", " ELSE ", " END"},
}

// layout writes text, each line after indent spaces.
func layout(b *strings.Builder, text string, indent, width int) {
	line := func(s string) {
		b.WriteString(strings.Repeat(" ", indent))
		b.WriteString(s)
		b.WriteByte('\n')
	}
	if indent+utf8.RuneCountInString(text) <= width {
		line(text)
		return
	}
	depths := depthsOf(text)
	for _, words := range clauses {
		parts := splitAt(text, depths, words)
		if len(parts) < 2 {
			continue
		}
		if words[0] == ", " {
			parts = fillLines(parts, width-indent)
		}
		for _, p := range parts {
			layout(b, p, indent, width)
		}
		return
	}
	from, to := widest(text, depths)
	if to-from < 2 {
		line(text)
		return
	}
	line(text[:from+1])
	layout(b, text[from+1:to], min(indent+2, width/2), width)
	layout(b, text[to:], indent, width)
}

// depthsOf returns how many parentheses and brackets are around each byte; -1 is inside quotes.
func depthsOf(text string) []int {
	depths, depth, quote := make([]int, len(text)), 0, byte(0)
	for i := range len(text) {
		c := text[i]
		switch {
		case quote != 0:
			depths[i] = -1
			if c == quote {
				quote = 0
			}
			continue
		case c == '\'' || c == '"' || c == '`':
			quote, depths[i] = c, -1
			continue
		case (c == ')' || c == ']') && depth > 0:
			depth--
		}
		depths[i] = depth
		if c == '(' || c == '[' {
			depth++
		}
	}
	return depths
}

// splitAt splits text before each of the words that is outside parentheses, after each comma.
func splitAt(text string, depths []int, words []string) (parts []string) {
	begin := 0
	for i := 1; i < len(text); i++ {
		for _, w := range words {
			if depths[i] != 0 || !strings.HasPrefix(text[i:], w) {
				continue
			}
			cut := i
			if w[0] == ',' {
				cut++
			}
			parts = append(parts, text[begin:cut])
			begin = cut + 1
		}
	}
	return append(parts, text[begin:])
}

// fillLines joins the items of a list as long as they fit on a line.
func fillLines(parts []string, width int) (lines []string) {
	for i, p := range parts {
		if last := len(lines) - 1; i > 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(p) <= width {
			lines[last] += " " + p
			continue
		}
		lines = append(lines, p)
	}
	return lines
}

// widest returns the places of the outermost parentheses that have the most text between them.
func widest(text string, depths []int) (from, to int) {
	open := -1
	for i, d := range depths {
		switch {
		case d != 0:
		case text[i] == '(' || text[i] == '[':
			open = i
		case (text[i] == ')' || text[i] == ']') && open >= 0:
			if i-open > to-from {
				from, to = open, i
			}
			open = -1
		}
	}
	return from, to
}
