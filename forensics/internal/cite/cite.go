// Package cite writes citations as people read them: a file and the numbers that Wireshark gives its
// frames, "node.pcap frames 12-15,20". It reads them back, also as "node.pcap:12-15,20".
package cite

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// Frames are consecutive frames of one file, counted from 1.
type Frames struct {
	File        string
	First, Last int64

	// Hidden frames are behind the place where Wireshark stops reading the file: the numbers count
	// the packets of the file instead, from 1.
	Hidden bool
}

// Most is the highest number of ranges that Text writes.
const Most = 40

const hidden = " (not shown by Wireshark)"

// Text writes frames in the given order, with at most Most ranges.
func Text(list []Frames) string {
	var b strings.Builder
	for i := 0; i < len(list) && i < Most; {
		f := list[i]
		end := i + 1
		for end < min(len(list), Most) && list[end].File == f.File && list[end].Hidden == f.Hidden {
			end++
		}
		if i > 0 {
			b.WriteString("; ")
		}
		word := "frame"
		if f.Hidden {
			word = "packet"
		}
		if end > i+1 || f.First != f.Last {
			word += "s"
		}
		b.WriteString(f.File + " " + word + " ")
		for k, r := range list[i:end] {
			if k > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.FormatInt(r.First, 10))
			if r.Last != r.First {
				fmt.Fprintf(&b, "-%d", r.Last)
			}
		}
		if f.Hidden {
			b.WriteString(hidden)
		}
		i = end
	}
	if len(list) > Most {
		total := int64(0)
		for _, f := range list {
			total += f.Last - f.First + 1
		}
		b.WriteString(plural.Sprintf(", … %d {frame|frames} in all", total))
	}
	return b.String()
}

// Join sorts frames by file, in the order of their first ones, and joins ranges that overlap or touch.
func Join(list []Frames) []Frames {
	order := map[string]int{}
	for _, f := range list {
		if _, ok := order[f.File]; !ok {
			order[f.File] = len(order)
		}
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Frames) int {
		switch {
		case a.File != b.File:
			return order[a.File] - order[b.File]
		case a.Hidden != b.Hidden:
			if a.Hidden {
				return 1
			}
			return -1
		case a.First != b.First:
			return int(min(max(a.First-b.First, -1), 1))
		}
		return 0
	})
	var out []Frames
	for _, f := range list {
		if n := len(out); n > 0 && out[n-1].File == f.File && out[n-1].Hidden == f.Hidden && f.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, f.Last)
			continue
		}
		out = append(out, f)
	}
	return out
}

// Parse reads what Text writes, and "FILE:12-15,20". names are the files of the case; with one file its
// name may be absent. The error says what is wrong.
func Parse(text string, names []string) ([]Frames, error) {
	var out []Frames
	for rest := strings.TrimSpace(text); rest != ""; {
		file := ""
		for _, name := range names { // names may contain anything, so the longest counts
			if len(name) > len(file) && strings.HasPrefix(rest, name) && separated(rest[len(name):]) {
				file = name
			}
		}
		rest = rest[len(file):]
		if file == "" {
			if len(names) != 1 || strings.IndexAny(rest, "0123456789") != 0 && !separated(" "+rest) {
				return nil, fmt.Errorf("%q does not begin with a file of the case: %s", rest, some(names))
			}
			file, rest = names[0], " "+rest
		}
		f := Frames{File: file}
		rest = strings.TrimLeft(strings.TrimPrefix(rest, ":"), " ")
		for _, word := range []string{"frames ", "frame ", "packets ", "packet "} {
			if after, ok := strings.CutPrefix(rest, word); ok {
				rest, f.Hidden = after, word[0] == 'p'
				break
			}
		}
		end := strings.IndexByte(rest, ';')
		if end < 0 {
			end = len(rest)
		}
		list := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest[:end]), strings.TrimSpace(hidden)))
		if strings.Contains(list, "…") {
			return nil, fmt.Errorf("%q is shortened; select the packets by their call instead", text)
		}
		for part := range strings.SplitSeq(list, ",") {
			a, b, isRange := strings.Cut(strings.TrimSpace(part), "-")
			first, err := strconv.ParseInt(a, 10, 64)
			last := first
			if isRange && err == nil {
				last, err = strconv.ParseInt(b, 10, 64)
			}
			if err != nil || first < 1 || last < first {
				return nil, fmt.Errorf("%q is not a number of a frame from 1, or a range such as 12-15", part)
			}
			f.First, f.Last = first, last
			out = append(out, f)
		}
		rest = strings.TrimLeft(strings.TrimPrefix(rest[end:], ";"), " ")
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no frames: write a file and numbers, such as %s:12-15", some(names))
	}
	return out, nil
}

// separated reports whether numbers of frames follow the name of a file.
func separated(rest string) bool {
	if strings.HasPrefix(rest, ":") {
		return true
	}
	for _, word := range []string{" frame ", " frames ", " packet ", " packets "} {
		if strings.HasPrefix(rest, word) {
			return true
		}
	}
	return false
}

func some(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + plural.Sprintf(" and %d {other|others}", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Run is packets with consecutive numbers that are consecutive frames of one file.
type Run struct {
	First, Last int64 // packet_no
	File        int64
	Frame       int64 // of the first one
	Hidden      bool
}

// Extend adds a packet behind all others to runs.
func Extend(runs []Run, no, file, frame int64, hidden bool) []Run {
	if n := len(runs); n > 0 {
		if r := &runs[n-1]; r.Last+1 == no && r.File == file && r.Hidden == hidden && r.Frame+no-r.First == frame {
			r.Last = no
			return runs
		}
	}
	return append(runs, Run{no, no, file, frame, hidden})
}

// Of are the frames of packets first to last. Files have labels.
func Of(runs []Run, first, last int64, labels map[int64]string) (out []Frames) {
	at, _ := slices.BinarySearchFunc(runs, first, func(r Run, no int64) int { return cmp.Compare(r.Last, no) })
	for ; at < len(runs) && runs[at].First <= last; at++ {
		r := runs[at]
		from, to := max(first, r.First), min(last, r.Last)
		label, ok := labels[r.File]
		if !ok {
			label = fmt.Sprintf("file %d", r.File)
		}
		out = append(out, Frames{File: label, First: r.Frame + from - r.First, Last: r.Frame + to - r.First, Hidden: r.Hidden})
	}
	return out
}
