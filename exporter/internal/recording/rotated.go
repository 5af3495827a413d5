package recording

import (
	"slices"
	"strconv"
	"strings"
)

// Digits that a name must have to count as one of a rotated file. Hosts and interfaces have shorter numbers.
const (
	counterDigits = 4 // dumpcap has 5
	dateDigits    = 8
	unixDigits    = 10 // seconds since 1970
)

// rotated reports whether names are those of a file and of one that follows it, as capture programs name
// them: a counter of 4 digits or more goes up by 1 (dumpcap -b, editcap -c), a date or a time is later
// (tcpdump -G), or a number behind the extension goes up by 1 (tcpdump -C).
func rotated(before, after string) bool {
	if rest, ok := strings.CutPrefix(after, before); ok {
		return rest == "1" && strings.Contains(before, ".") && !digit(before[len(before)-1])
	}
	text, a := numbers(before)
	other, b := numbers(after)
	if !slices.Equal(text, other) {
		return false
	}
	k := 0
	for k < len(a) && a[k] == b[k] {
		k++
	}
	if k == len(a) {
		return false
	}
	if follows(a[k], b[k]) && (len(a[k]) >= counterDigits || k == len(a)-1 && behindExtension(text)) {
		return true
	}
	return inDate(text, a, k) && inDate(text, b, k) && later(a[k:], b[k:])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// numbers splits a name into its numbers and the texts around them.
func numbers(name string) (text, list []string) {
	for {
		i := 0
		for i < len(name) && !digit(name[i]) {
			i++
		}
		text = append(text, name[:i])
		if i == len(name) {
			return text, list
		}
		end := i
		for end < len(name) && digit(name[end]) {
			end++
		}
		list, name = append(list, name[i:end]), name[end:]
	}
}

// behindExtension reports whether the last number ends the name and follows an extension, as in x.pcap12.
func behindExtension(text []string) bool {
	last := len(text) - 1
	dot := strings.LastIndexByte(text[last-1], '.')
	return text[last] == "" && dot >= 0 && dot < len(text[last-1])-1
}

// follows reports whether a number is the next one.
func follows(a, b string) bool {
	x, err := strconv.ParseUint(a, 10, 63)
	y, err2 := strconv.ParseUint(b, 10, 63)
	return err == nil && err2 == nil && y == x+1
}

// inDate reports whether number k is part of a date with a year, or a time in seconds since 1970. One
// character may separate its numbers.
func inDate(text, list []string, k int) bool {
	for i, year := range list[:k+1] {
		if len(year) >= unixDigits && i == k {
			return true
		}
		if len(year) < 4 || !strings.HasPrefix(year, "19") && !strings.HasPrefix(year, "20") {
			continue
		}
		digits, whole := 0, true
		for j := i; j < len(list) && (j == i || len(text[j]) == 1); j++ {
			digits += len(list[j])
			whole = j >= k
		}
		if digits >= dateDigits && whole {
			return true
		}
	}
	return false
}

// later reports whether numbers of equal lengths are later ones.
func later(a, b []string) bool {
	for i := range a {
		if len(a[i]) != len(b[i]) {
			return false
		}
	}
	return strings.Join(a, "") < strings.Join(b, "")
}
