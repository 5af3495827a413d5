package render

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxDifferences is the highest number of differences that are named.
const maxDifferences = 50

// token is a piece of a file that a reader sees, with its place in words.
type token struct{ place, text string }

// compare names the differences of two sequences.
func compare(want, got []token) (out []string) {
	for len(want) > 0 && len(got) > 0 && want[0] == got[0] {
		want, got = want[1:], got[1:]
	}
	for len(want) > 0 && len(got) > 0 && want[len(want)-1] == got[len(got)-1] {
		want, got = want[:len(want)-1], got[:len(got)-1]
	}
	if len(want) == len(got) {
		for i := range want {
			if want[i] != got[i] {
				a, b := got[i].text, want[i].text
				n := 0
				for n < len(a) && n < len(b) && a[n] == b[n] {
					n++
				}
				n = max(strings.LastIndexByte(a[:n], ' ')-30, 0)
				out = append(out, fmt.Sprintf("%s: the file has %s, its data gives %s", got[i].place, quoted(a[n:]), quoted(b[n:])))
			}
		}
		return limited(out)
	}
	count := map[token]int{}
	for _, t := range want {
		count[t]++
	}
	for _, t := range got {
		if count[t]--; count[t] < 0 {
			out = append(out, fmt.Sprintf("%s: the file has %s, which its data does not give", t.place, quoted(t.text)))
		}
	}
	for _, t := range want {
		if count[t] > 0 {
			count[t]--
			out = append(out, fmt.Sprintf("%s: %s is missing in the file", t.place, quoted(t.text)))
		}
	}
	if len(out) == 0 {
		out = []string{want[0].place + ": the order differs from what its data gives"}
	}
	return limited(out)
}

func limited(list []string) []string {
	if len(list) > maxDifferences {
		return append(list[:maxDifferences:maxDifferences], plural.Sprintf("and %d more {difference|differences}", len(list)-maxDifferences))
	}
	return list
}

// quoted writes text for a message: shortened, and with invisible characters escaped.
func quoted(s string) string {
	r := []rune(strings.TrimSpace(s))
	if len(r) > 100 {
		r = append(r[:100:100], '…')
	}
	return fmt.Sprintf("%q", string(r))
}

// linesDiff compares files of lines.
func linesDiff(want, got []byte) []string {
	return compare(lines(want), lines(got))
}

func lines(text []byte) (out []token) {
	heading := ""
	for i, l := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(l, "#") {
			heading = " (" + strings.TrimSpace(strings.TrimLeft(l, "#")) + ")"
		}
		out = append(out, token{fmt.Sprintf("line %d%s", i+1, heading), l})
	}
	return out
}

// htmlDiff compares elements, attributes and texts.
func htmlDiff(want, got []byte) []string {
	return compare(elements(want), elements(got))
}

// elements lists the elements of a page, with the nearest id before each.
func elements(page []byte) (out []token) {
	z := html.NewTokenizer(bytes.NewReader(page))
	near := "the head of the page"
	for {
		switch z.Next() {
		case html.ErrorToken:
			return out
		case html.TextToken:
			if text := string(z.Text()); strings.TrimSpace(text) != "" {
				out = append(out, token{near, text})
			}
		case html.CommentToken:
			out = append(out, token{near, "comment " + string(z.Text())})
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			var attrs []string
			for _, a := range t.Attr {
				if a.Key == "id" {
					near = "at #" + a.Val
				}
				attrs = append(attrs, a.Key+"="+a.Val)
			}
			slices.Sort(attrs)
			out = append(out, token{near, "<" + t.Data + " " + strings.Join(attrs, " ") + ">"})
		case html.EndTagToken:
			name, _ := z.TagName()
			out = append(out, token{near, "</" + string(name) + ">"})
		}
	}
}

// htmlData finds the data in a page.
func htmlData(page []byte) ([]byte, error) {
	const begin, end = `<script type="application/json" id="report-data">`, "</script>"
	_, rest, ok := bytes.Cut(page, []byte(begin))
	text, _, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed || bytes.Contains(rest, []byte(begin)) {
		return nil, ErrNoData
	}
	return text, nil
}

// csvDiff compares cells.
func csvDiff(want, got []byte) []string {
	a, err := cells(want)
	if err != nil {
		return []string{err.Error()}
	}
	b, err := cells(got)
	if err != nil {
		return []string{"the file is not CSV: " + err.Error()}
	}
	return compare(a, b)
}

func cells(text []byte) (out []token, err error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	for line := 1; ; line++ {
		row, err := r.Read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for i, cell := range row {
			where := fmt.Sprintf("record %d", line)
			if len(row) == len(csvHead) {
				where += fmt.Sprintf(" (%s)", strings.Join(slices.DeleteFunc([]string{row[0], row[1], row[3], row[4], csvHead[i]}, func(s string) bool { return s == "" }), ", "))
			}
			out = append(out, token{where, cell})
		}
	}
}
