package http3

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// readTalk reads testdata/talk.txt; see testdata/talk.c.
func readTalk(t testing.TB) (steps []dissecttest.Step, want map[int64]string) {
	t.Helper()
	f, err := os.Open("testdata/talk.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want = map[int64]string{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		kind, rest, _ := strings.Cut(sc.Text(), " ")
		var id int64
		if kind == "r" {
			id, rest := cutID(t, rest)
			want[id] = rest
			continue
		}
		id, rest = cutID(t, rest)
		fin, data, _ := strings.Cut(rest, " ")
		b, err := hex.DecodeString(strings.TrimSuffix(data, "-"))
		if err != nil {
			t.Fatal(err)
		}
		s := dissecttest.Step{Stream: id, Data: b, Fin: fin == "1"}
		if kind == "s" {
			s.Dir = down
		}
		steps = append(steps, s)
	}
	return steps, want
}

func cutID(t testing.TB, s string) (id int64, rest string) {
	t.Helper()
	first, rest, _ := strings.Cut(s, " ")
	if _, err := fmt.Sscan(first, &id); err != nil {
		t.Fatal(err)
	}
	return id, rest
}

// rowText renders a row like talk.txt does; an unknown value is "(unknown)".
func rowText(row *Row) string {
	c := &row.Call
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	token := header(c, "x-token", "request")
	if got := header(c, "x-token", "response"); got != token && row.UnknownHeaders == 0 {
		token += " and " + got
	}
	return fmt.Sprintf("%s %d %d %d %s %s", c.Path.V, c.StatusCode.V, c.RequestBodySize.V, c.ResponseBodySize.V, token, or(header(c, "x-trailer", "response_trailer"), "-"))
}

// TestTalk reads a conversation of nghttp3 with itself, in its order and in others that begin
// with the settings, because the table must not be used before its size is agreed.
func TestTalk(t *testing.T) {
	steps, want := readTalk(t)
	for seed := range int64(20) {
		list := steps
		if seed > 0 {
			var first, rest []dissecttest.Step
			for _, s := range steps {
				if s.Stream == 2 || s.Stream == 3 {
					first = append(first, s)
				} else {
					rest = append(rest, s)
				}
			}
			list = append(first, interleave(rand.New(rand.NewSource(seed)), rest)...)
		}
		r := play(t, dissect.EndFin, noError, list...)
		if len(r.Emissions) != len(want) || len(r.Anomalies) > 0 {
			t.Fatalf("order %d: %d rows, want %d, %v", seed, len(r.Emissions), len(want), r.Anomalies)
		}
		for _, row := range requests(r) {
			if got := rowText(row); got != want[row.StreamID.V] || !row.Complete || row.UserAgent.V != "nghttp3/talk" || row.AuthKind.V != "apikey" {
				t.Errorf("order %d, stream %d: %s, want %s (%v)", seed, row.StreamID.V, got, want[row.StreamID.V], row.Headers)
			}
		}
	}
}

// TestTalkDamaged drops bytes of any stream: a header that is shown must be one that was sent.
func TestTalkDamaged(t *testing.T) {
	steps, want := readTalk(t)
	unknown, whole := 0, 0
	for seed := range int64(80) {
		rnd := rand.New(rand.NewSource(seed))
		var list []dissecttest.Step
		for _, s := range interleave(rnd, steps) {
			if len(s.Data) > 0 && rnd.Intn(100) == 0 {
				s.Gap, s.Data = int64(len(s.Data)), nil
			}
			list = append(list, s)
		}
		for _, row := range requests(play(t, dissect.EndFin, -1, list...)) {
			f := strings.Fields(want[row.StreamID.V])
			for _, x := range row.Headers {
				ok := x.Name == "(unknown)"
				switch x.Name {
				case "x-token":
					ok = x.Value == f[4]
				case "x-trailer":
					ok = x.Value == f[5]
				case "cookie", "set-cookie":
					ok = strings.HasPrefix(x.Value, "session=0123456789abcdef")
				case "user-agent":
					ok = x.Value == "nghttp3/talk"
				case "server":
					ok = x.Value == "peer"
				case "link", "content-type":
					ok = true
				}
				if !ok {
					t.Errorf("seed %d, stream %d: %s %s: %s", seed, row.StreamID.V, x.Kind, x.Name, x.Value)
				}
			}
			if row.Path.OK && row.Path.V != f[0] || row.StatusCode.OK && fmt.Sprint(row.StatusCode.V) != f[1] {
				t.Errorf("seed %d, stream %d: %s", seed, row.StreamID.V, row.Summary)
			}
			if row.UnknownHeaders > 0 {
				unknown++
			}
			if row.Complete {
				whole++
				if got := rowText(row); got != want[row.StreamID.V] && row.UnknownHeaders == 0 {
					t.Errorf("seed %d, stream %d: %s, want %s", seed, row.StreamID.V, got, want[row.StreamID.V])
				}
			}
		}
	}
	if unknown == 0 || whole == 0 {
		t.Errorf("%d rows with unknown headers, %d whole", unknown, whole)
	}
}
