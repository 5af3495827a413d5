// Package nearest finds the name that a person most likely meant. The caller supplies the names.
package nearest

import "strings"

// The costs of a difference. An edit is an added, left out, replaced or swapped letter.
const (
	edit     = 3
	replaced = edit + 1 // people leave letters out more often than they write a wrong one
	looks    = 1        // another case, or a dot instead of an underscore
	ending   = 1        // each letter after a complete word: postgres of postgresql
	first    = 1        // another first letter
	part     = 4        // a word of a name that has several: failures of find-failures
	maxCost  = 3 * replaced
	maxLen   = 64
)

// Name returns the name that s most likely means, or "" if none is near: about one letter in three
// may differ, or s is the beginning or a word of the name. Of equally near names it returns the first.
func Name(s string, among []string) string {
	if len(s) > maxLen {
		return ""
	}
	best, bestCost := "", maxCost+1
	for _, n := range among {
		limit := min(max(looks, min(replaced*(max(len(s), len(n))/3), 2*len(s))), bestCost-1)
		if c := cost(s, n, limit); c <= limit {
			best, bestCost = n, c
		}
	}
	return best
}

// Hint returns "did you mean x?", or "" if no name is near.
func Hint(s string, among []string) string {
	if n := Name(s, among); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}

// cost returns what it costs to make b, or one of its words, from a, or more than limit.
func cost(a, b string, limit int) int {
	c := whole(a, b, limit)
	if len(a) >= 3 && !strings.ContainsFunc(a, joins) {
		for w := range strings.FieldsFuncSeq(b, joins) {
			if len(w) >= 3 && len(w) < len(b) {
				c = min(c, part+whole(a, w, min(c-1, limit)-part))
			}
		}
	}
	return c
}

// whole returns what it costs to make b from a, or more than limit.
func whole(a, b string, limit int) int {
	if d := len(b) - len(a); d*ending > limit || -d*edit > limit {
		return limit + 1
	}
	end := edit
	if len(a) >= 3 {
		end = ending
	}
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[1] {
		rows[1][j] = edit * j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, before := rows[2], rows[1], rows[0]
		cur[0] = edit * i
		added := edit
		if i == len(a) {
			added = end
		}
		for j := 1; j <= len(b); j++ {
			cur[j] = min(prev[j]+edit, cur[j-1]+added, prev[j-1]+swap(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+edit)
			}
		}
		rows[0], rows[1], rows[2] = prev, cur, before
	}
	d := rows[1][len(b)]
	if a != "" && b != "" && swap(a[0], b[0]) > looks {
		d += first
	}
	return d
}

func swap(x, y byte) int {
	switch {
	case x == y:
		return 0
	case isLetter(x) && isLetter(y) && x|0x20 == y|0x20, joins(rune(x)) && joins(rune(y)):
		return looks
	}
	return replaced
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// joins reports whether c joins the words of a name.
func joins(c rune) bool { return c == '.' || c == '_' || c == '-' }
