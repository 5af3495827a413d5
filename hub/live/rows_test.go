package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// sent is a folder of rows.
type sent struct {
	t   *testing.T
	dir string
	cut rows.Cut
}

// put writes sets, each with its name as its bytes many times, and makes them the newest cut.
func (s *sent) put(run string, no int64, names ...string) {
	s.t.Helper()
	s.cut = rows.Cut{Run: run, No: no, At: time.Now().UnixNano(), State: json.RawMessage(`{"small":[]}`)}
	for _, name := range names {
		data := bytes.Repeat([]byte(run+name), 1000)
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
			s.t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		s.cut.Files = append(s.cut.Files, transfer.File{Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
	}
	if err := rows.Write(s.dir, &s.cut); err != nil {
		s.t.Fatal(err)
	}
}

// followRows follows the rows of a node, and returns the folder of the copy.
func followRows(t *testing.T, c *pins.Client, most int64) (f *Follower, dir func() string) {
	t.Helper()
	return followAs(t, c, most, Choice{Name: "n", Rows: true})
}

// isCopied waits until the copy has the newest cut, and exactly some sets.
func isCopied(t *testing.T, s *sent, dir func() string, names ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c, err := rows.Read(dir())
		if err != nil || c.Run != s.cut.Run || c.No != s.cut.No {
			continue
		}
		if got = nil; string(c.State) != string(s.cut.State) {
			t.Fatalf("state %s", c.State)
		}
		for _, f := range c.Files {
			a, err := os.ReadFile(filepath.Join(dir(), f.Name))
			b, err2 := os.ReadFile(filepath.Join(s.dir, f.Name))
			if err == nil && err2 == nil && bytes.Equal(a, b) {
				got = append(got, f.Name)
			}
		}
		if slices.Equal(got, names) {
			return
		}
	}
	t.Fatalf("the copy has %q, want %q", got, names)
}

// TestCopyOfRows: also over connections that are cut after every few bytes, and after another run has begun.
func TestCopyOfRows(t *testing.T) {
	for name, most := range map[string]int{"whole answers": 0, "cut connections": 3000} {
		t.Run(name, func(t *testing.T) {
			s := &sent{t: t, dir: t.TempDir()}
			store := pins.Open(filled(t), "n")
			store.ServeRows(s.dir)
			h := store.Handler(slog.New(slog.DiscardHandler))
			var asked atomic.Int64
			f, dir := followRows(t, clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".tar") {
					asked.Add(1)
					if most > 0 {
						w = &cutter{w, most}
					}
				}
				h.ServeHTTP(w, r)
			})), 64<<20)
			state(t, f, offer.Unreachable, "no rows are there yet")
			if !rows.Wanted(s.dir) {
				t.Error("the folder does not say that its rows are wanted")
			}
			s.put("r1", 1, "o000001.tar", "s000001.tar")
			isCopied(t, s, dir, "o000001.tar", "s000001.tar")
			state(t, f, offer.Following, "")
			if n := asked.Load(); most == 0 && n != 2 {
				t.Errorf("%d requests for 2 sets", n)
			}
			s.put("r1", 2, "o000002.tar", "s000002.tar", "s000001.tar")
			isCopied(t, s, dir, "o000002.tar", "s000002.tar", "s000001.tar")
			time.Sleep(200 * time.Millisecond) // until the poll has ended
			if _, err := os.Stat(filepath.Join(dir(), "o000001.tar")); err != nil {
				t.Errorf("a set of the cut before, which somebody may read: %v", err)
			}
			s.put("r1", 3, "o000003.tar", "s000002.tar")
			isCopied(t, s, dir, "o000003.tar", "s000002.tar")
			s.put("r1", 4, "o000004.tar", "s000002.tar")
			isCopied(t, s, dir, "o000004.tar", "s000002.tar")
			if _, err := os.Stat(filepath.Join(dir(), "o000001.tar")); !os.IsNotExist(err) {
				t.Errorf("a set that no cut needs is there: %v", err)
			}
			old := dir()
			s.put("r2", 1, "o000001.tar")
			isCopied(t, s, dir, "o000001.tar")
			if _, err := os.Stat(old); !os.IsNotExist(err) || dir() == old {
				t.Errorf("%s of the run before is left: %v", old, err)
			}
		})
	}
}

// TestRowsAreLate: a program that no longer makes cuts is behind, by its node's clock.
func TestRowsAreLate(t *testing.T) {
	s := &sent{t: t, dir: t.TempDir()}
	store := pins.Open(filled(t), "n")
	store.ServeRows(s.dir)
	f, dir := followRows(t, clientOf(t, store.Handler(slog.New(slog.DiscardHandler))), 64<<20)
	s.put("r", 1, "o000001.tar")
	s.cut.At, s.cut.No = time.Now().Add(-time.Minute).UnixNano(), 2
	if err := rows.Write(s.dir, &s.cut); err != nil {
		t.Fatal(err)
	}
	isCopied(t, s, dir, "o000001.tar")
	state(t, f, offer.Following, "")
	n := f.Status().Nodes[0]
	if gaps := n.Gaps(time.Now()); len(gaps) != 1 || gaps[0].Reason != "not_read" || !strings.Contains(gaps[0].Detail, "copy of its rows is behind") || time.Since(time.Unix(0, gaps[0].From)) < 50*time.Second {
		t.Errorf("gaps: %+v", gaps)
	}
}

// TestCopyOfRowsIsBounded: what does not fit is left out from the end of the list.
func TestCopyOfRowsIsBounded(t *testing.T) {
	file := func(size int64) transfer.File { return transfer.File{Size: size} }
	for _, tt := range []struct {
		sizes []int64
		want  int
	}{{[]int64{10, 20, 30}, 3}, {[]int64{10, 20, 71}, 2}, {[]int64{100, 1}, 1}, {[]int64{101}, -1}, {nil, 0}, {[]int64{1, 1 << 62, 1 << 62}, 1}} {
		var list []transfer.File
		for _, n := range tt.sizes {
			list = append(list, file(n))
		}
		got, err := fitting(list, 100)
		if len(got) != max(tt.want, 0) || (err != nil) != (tt.want < 0) {
			t.Errorf("%v: %d, %v, want %d", tt.sizes, len(got), err, tt.want)
		}
	}
}

// TestNodesThatLieAboutRows: nothing of them leaves its folder, and an altered set is not taken.
func TestNodesThatLieAboutRows(t *testing.T) {
	hash := strings.Repeat("0", 64)
	one := func(name string, size int64) string {
		return fmt.Sprintf(`{"name":%q,"size":%d,"sha256":%q}`, name, size, hash)
	}
	for _, tt := range []struct{ name, cut, want string }{
		{"a path", `"version":1,"run":"r","no":1,"files":[` + one("../../x.tar", 1) + `]`, "cannot be the name of a set"},
		{"the listing as a set", `"version":1,"run":"r","no":1,"files":[` + one("rows.json", 1) + `]`, "cannot be the name of a set"},
		{"another file", `"version":1,"run":"r","no":1,"files":[` + one("live.json.new", 1) + `]`, "cannot be the name of a set"},
		{"a folder", `"version":1,"run":"r","no":1,"files":[` + one("a/b.tar", 1) + `]`, "cannot be the name of a set"},
		{"a hidden name", `"version":1,"run":"r","no":1,"files":[` + one(".part", 1) + `]`, "cannot be the name of a set"},
		{"a negative size", `"version":1,"run":"r","no":1,"files":[` + one("s1.tar", -1) + `]`, "has size -1"},
		{"a set that is too large", `"version":1,"run":"r","no":1,"files":[` + one("s1.tar", 1<<40) + `]`, "a copy may have"},
		{"a name twice", `"version":1,"run":"r","no":1,"files":[` + one("s1.tar", 1) + `,` + one("s1.tar", 1) + `]`, "occurs twice"},
		{"no hash", `"version":1,"run":"r","no":1,"files":[{"name":"s1.tar","size":1}]`, "has hash"},
		{"an altered set", `"version":1,"run":"r","no":1,"files":[` + one("s1.tar", 1) + `]`, "was altered"},
		{"another release", `"version":2,"run":"r","no":1`, "upgrade recorders and hub"},
		{"no run", `"version":1,"run":"","no":1`, "a cut of run"},
		{"a long run", `"version":1,"run":"` + strings.Repeat("r", 100) + `","no":1`, "a cut of run"},
		{"no number", `"version":1,"run":"r","no":0`, "a cut of run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, dir := followRows(t, clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/rows" {
					_, _ = io.WriteString(w, `{"node":"n","now":"2026-11-23T00:00:00Z","cut":{`+tt.cut+`,"state":{}}}`)
					return
				}
				w.Header().Set("ETag", `"`+hash+`"`)
				_, _ = io.WriteString(w, "x")
			})), 1<<20)
			state(t, f, offer.Unreachable, tt.want)
			if at := dir(); at != "" {
				if list, err := os.ReadDir(at); err != nil || slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() != ".part" }) {
					t.Errorf("the copy has %v, %v", list, err)
				}
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		f, _ := followRows(t, clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{}`) })), 1<<20)
		state(t, f, offer.Unreachable, "without a cut")
	})
	t.Run("a recorder without rows", func(t *testing.T) {
		f, _ := followRows(t, clientOf(t, pins.Open(filled(t), "n").Handler(slog.New(slog.DiscardHandler))), 1<<20)
		state(t, f, offer.Unreachable, "started without --rows")
	})
}

// TestAnotherKind: a node that is to send rows instead of packets gets another copy.
func TestAnotherKind(t *testing.T) {
	from := filled(t)
	s := &sent{t: t, dir: t.TempDir()}
	s.put("r", 1, "o000001.tar")
	store := pins.Open(from, "n")
	store.ServeRows(s.dir)
	c := clientOf(t, store.Handler(slog.New(slog.DiscardHandler)))
	var rowsOnly atomic.Bool
	f, dir := followWanted(t, c, 64<<20, func(context.Context) ([]Choice, error) { return []Choice{{Name: "n", Rows: rowsOnly.Load()}}, nil })
	same(t, f, dir, from)
	rowsOnly.Store(true)
	isCopied(t, s, dir, "o000001.tar")
	if n := f.Status().Nodes; len(n) != 1 || !n[0].Rows {
		t.Errorf("%+v", n)
	}
	rowsOnly.Store(false)
	same(t, f, dir, from)
	if list, err := os.ReadDir(filepath.Dir(dir())); err != nil || len(list) != 1 {
		t.Errorf("copies: %v, %v", list, err)
	}
}
