package lines

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name string
		free bool
		in   string
		want string // of each line: text, f if first, l if last; then the text, or the error
	}{
		{"one line", false, "250 ok\r\n", "ok fl: 250 ok"},
		{"several lines", false, "250-a\r\n250-b\r\n250 c\r\n", "a f|b |c l: 250 a\nb"},
		{"text that is too long", false, "250 0123456789abcdef\r\n", "0123456789abcdef fl: 250 0123456789a"},
		{"a line that is not complete", false, "250-a\r\n250", "a f: 250 a"},
		{"another code", false, "250-a\r\n251 b\r\n", `a f: reading a reply: a line of 5 bytes is not one`},
		{"free text", true, "220-a\r\n 999 b\r\n220x\r\n220 c\r\n", "a f| 999 b |220x |c l: 220 a\n 999 b"},
		{"free text with another code", true, "220-a\r\n221 b\r\n220 c\r\n", "a f|221 b |c l: 220 a\n221 b"},
		{"no reply", true, "hello\r\n", `: reading a reply: a line of 5 bytes is not one`},
		{"a control character", true, "220-a\r\n\x01\r\n", `a f: reading a reply: a line of 1 bytes is not one`},
		{"a line that is too long", false, "250 " + strings.Repeat("x", 30) + "\r\n", ": reading a reply: a line of more than 24 bytes"},
		{"a line that is too long and not complete", false, "250 " + strings.Repeat("x", 30), ": reading a reply: a line of more than 24 bytes"},
	} {
		r := Replies{Limit: 24, Keep: 2, Show: 10, Free: c.free}
		var got []string
		end := ""
		for in := []byte(c.in); len(in) > 0; {
			l, err := r.Read(in)
			if err != nil {
				end = err.Error()
			}
			if l.N == 0 {
				break
			}
			mark := ""
			if l.First {
				mark = "f"
			}
			if l.Last {
				mark += "l"
			}
			got = append(got, string(l.Text)+" "+mark)
			in = in[l.N:]
		}
		if end == "" {
			end = fmt.Sprintf("%d %s", r.Code, r.Text)
		}
		if s := strings.Join(got, "|") + ": " + end; s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
}

func TestResume(t *testing.T) {
	g := Grammar{Limit: 20, Command: func(line []byte) bool { return string(line) == "NOOP" }, Reply: BeginsReply}
	for _, c := range []struct {
		dir  dissect.Dir
		head string
		want dissect.Verdict
	}{
		{dissect.ToServer, "NOOP\r\n", dissect.Likely}, {dissect.ToServer, "NOOP", dissect.No}, {dissect.ToServer, "NO\r\n", dissect.No}, {dissect.ToServer, "250 ok\r\n", dissect.No},
		{dissect.ToClient, "250 ok\r\n", dissect.Likely}, {dissect.ToClient, "250 o", dissect.More}, {dissect.ToClient, "250 o\r", dissect.More}, {dissect.ToClient, "hello", dissect.No},
		{dissect.ToClient, "250 \x01", dissect.No}, {dissect.ToClient, "250 012345678901234567890", dissect.No}, {dissect.ToClient, "NOOP\r\n", dissect.No},
	} {
		if got := g.Resume(c.dir, []byte(c.head)); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.dir, c.head, got, c.want)
		}
	}
}

func TestOnPort(t *testing.T) {
	g := Grammar{Limit: 4 << 10, Command: func(line []byte) bool { return strings.HasPrefix(string(line), "NOOP") }, Reply: BeginsReply}
	for _, c := range []struct {
		dir  dissect.Dir
		head string
		want dissect.Verdict
	}{
		{dissect.ToServer, "NOOP\r\n", dissect.Yes}, {dissect.ToServer, "NOOP", dissect.No}, {dissect.ToServer, "x\r\n", dissect.No}, {dissect.ToServer, "250 ok\r\n", dissect.No},
		{dissect.ToServer, "NOOP " + strings.Repeat("x", MaxWait), dissect.Yes}, {dissect.ToServer, "NOOP \x01\r\n", dissect.No},
		{dissect.ToClient, "250 ok\r\n", dissect.Yes}, {dissect.ToClient, "250 o", dissect.No}, {dissect.ToClient, "NOOP\r\n", dissect.No},
	} {
		if got := g.OnPort(c.dir, []byte(c.head)); got != c.want {
			t.Errorf("%s %.20q: %v, want %v", c.dir, c.head, got, c.want)
		}
	}
}

// TestSession reads lines of both sides until TLS begins, which the server must have accepted.
func TestSession(t *testing.T) {
	var read []string
	side := func(name string) Side {
		return func(in *dissect.Input, at int) (int, error) {
			line, n, err := Bounded(in.Data[at:], 20, "line")
			if n > 0 {
				read = append(read, name+string(line))
			}
			return n, err
		}
	}
	s := NewSession(nil, side("c:"), side("s:"))
	for _, in := range []dissect.Input{{Dir: dissect.ToServer, Data: []byte("a\r\nb\r\nc")}, {Dir: dissect.ToClient, Data: []byte("\x16x\r\n")}} {
		n, err := s.Read(&in)
		if want := map[dissect.Dir]int{dissect.ToServer: 6, dissect.ToClient: 4}[in.Dir]; n != want || err != nil {
			t.Errorf("%s: %d bytes, %v, want %d", in.Dir, n, err, want)
		}
	}
	if n, err := s.Read(&dissect.Input{Data: []byte("a\r\n" + strings.Repeat("b", 21))}); n != 3 || err == nil {
		t.Errorf("%d bytes, %v, want 3 and an error", n, err)
	}
	if got := strings.Join(read, " "); got != "c:a c:b s:\x16x c:a" {
		t.Errorf("%q", got)
	}
}
