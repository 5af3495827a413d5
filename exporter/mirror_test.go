package exporter

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// shares follows a ring to its end, with a cut after each of so many packets, and leaves the rows in a folder.
func shares(t *testing.T, ring string, every int64) (l *Live, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "rows")
	next := every
	l, err := Follow(t.Context(), ring, FollowOptions{Once: true, From: 1, Temp: t.TempDir(), Share: dir, repanic: true, cutAt: func(n int64) bool {
		if n < next {
			return false
		}
		next = n + every
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := rows.Read(dir); !errors.Is(err, rows.ErrNone) {
			t.Errorf("after the run: %v", err)
		}
	})
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return l, dir
}

// copyOf copies a folder of rows, as the hub does.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// mirrors shows a copy of rows.
func mirrors(t *testing.T, dir string) *Live {
	t.Helper()
	m, err := Mirror(t.Context(), dir, FollowOptions{Temp: t.TempDir(), OnError: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := m.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return m
}

func everything(t *testing.T, l *Live, within []string) *bundle.Bundle {
	t.Helper()
	v, err := l.View(t.Context(), 0, limited(within))
	if err != nil {
		t.Fatal(err)
	}
	return v.Bundle
}

// TestMirrorHasTheRows: what another machine shows is what the one that dissects shows.
func TestMirrorHasTheRows(t *testing.T) {
	for _, sample := range []struct{ capture, keys string }{{"http1.pcapng", ""}, {"tls.pcapng", "tls.keylog"}, {"http2.pcap", ""}} {
		t.Run(sample.capture, func(t *testing.T) {
			l, dir := shares(t, ringOf(t, sample.capture, sample.keys, 20), 3)
			m := mirrors(t, copyOf(t, dir))
			for _, within := range [][]string{nil, {"shop"}} {
				want, got := rowsOf(t, everything(t, l, within)), rowsOf(t, everything(t, m, within))
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("within %q they differ:\n%.2000v\nwant\n%.2000v", within, got, want)
				}
				if within == nil && len(want["calls"])+len(want["calls/http1"]) == 0 && len(fmt.Sprint(want)) < 1000 {
					t.Errorf("there are no rows: %v", want)
				}
			}
			a, b := everything(t, l, nil).Manifest, everything(t, m, nil).Manifest
			a.Tables, b.Tables = nil, nil // their sets are in another order
			want, err := a.Encode()
			got, err2 := b.Encode()
			if err := errors.Join(err, err2); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the manifest differs: %v, %s, want %s", err, got, want)
			}
			if m.Last().No != l.Last().No || m.Last().Now != l.Last().Now || !m.Last().Idle {
				t.Errorf("cut %+v, want %+v", m.Last(), l.Last())
			}
			_, err = noPackets{}.Size("data/packets/x")
			if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "snapshot") {
				t.Errorf("packets: %v", err)
			}
		})
	}
}

// TestSharedSetsStayForAWhile: a receiver that is slow can finish, and the folder does not grow.
func TestSharedSetsStayForAWhile(t *testing.T) {
	_, dir := shares(t, ringOf(t, "http1.pcapng", "", 20), 3)
	c, err := rows.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Earlier) == 0 {
		t.Error("no set of an earlier cut is there")
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if _, ok := c.Find(e.Name()); !ok && e.Name() != "rows.json" {
			t.Errorf("%s is there, but not listed", e.Name())
		}
	}
	for _, f := range append(c.Files, c.Earlier...) {
		if info, err := os.Stat(filepath.Join(dir, f.Name)); err != nil || info.Size() != f.Size {
			t.Errorf("%s: %v, %v", f.Name, info, err)
		}
	}
}

// member is a file of a set.
type member struct {
	name string
	data []byte
}

// repack changes the files of a set.
func repack(t *testing.T, path string, change func([]member) []member) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []member
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, member{h.Name, data})
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range change(list) {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o600, Size: int64(len(m.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(path, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestSetsThatAreRefused: whatever another machine sends is either shown or a stated gap.
func TestSetsThatAreRefused(t *testing.T) {
	_, dir := shares(t, ringOf(t, "http1.pcapng", "", 20), 3)
	known, err := rows.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	set := "" // with calls
	for _, f := range known.Files {
		if raw, err := os.ReadFile(filepath.Join(dir, f.Name)); err == nil && strings.HasPrefix(f.Name, "s") && bytes.Contains(raw, []byte(`"protocol":"http1"`)) {
			set = f.Name
		}
	}
	describe := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			repack(t, filepath.Join(dir, set), func(list []member) []member {
				if !bytes.Contains(list[0].data, []byte(old)) {
					t.Fatalf("%s has no %s", list[0].data, old)
				}
				list[0].data = bytes.Replace(list[0].data, []byte(old), []byte(new), 1)
				return list
			})
		}
	}
	cut := func(change func(c *rows.Cut)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			c, err := rows.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			change(c)
			if err := rows.Write(dir, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	part := func(change func(data []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			repack(t, filepath.Join(dir, set), func(list []member) []member {
				list[1].data = change(list[1].data)
				return list
			})
		}
	}
	for _, tt := range []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
	}{
		{"a set that is cut short", "set ", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, set), 5000); err != nil {
				t.Fatal(err)
			}
		}},
		{"a set that is no tar", "does not begin with set.json", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, set), bytes.Repeat([]byte{7}, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a path out of the folder", "has its parts in", describe(`"path":"data/tables/`, `"path":"../../data/tables/`)},
		{"a path up inside the folder of the table", "has its parts in", describe(`part-000.parquet`, `../../x/part-000.parquet`)},
		{"another table", "is known here", describe(`"table":"calls"`, `"table":"passwords"`)},
		{"another protocol", "is known here", describe(`"protocol":"http1"`, `"protocol":"../http1"`)},
		{"rows that are not there", "it does not have", describe(`"rows":`, `"rows":9`)},
		{"fewer rows than there are", "it does not have", func(t *testing.T, dir string) {
			repack(t, filepath.Join(dir, set), func(list []member) []member {
				var x map[string]any
				if err := json.Unmarshal(list[0].data, &x); err != nil {
					t.Fatal(err)
				}
				x["parts"].([]any)[0].(map[string]any)["rows"] = 0
				list[0].data, _ = json.Marshal(x)
				return list
			})
		}},
		{"a size that is too large", "of a set with", describe(`"bytes":`, `"bytes":999999999`)},
		{"one more file", "after its parts", func(t *testing.T, dir string) {
			repack(t, filepath.Join(dir, set), func(list []member) []member { return append(list, member{"x", nil}) })
		}},
		{"one file less", "of a set with", func(t *testing.T, dir string) {
			repack(t, filepath.Join(dir, set), func(list []member) []member { return list[:len(list)-1] })
		}},
		{"a part that is no Parquet", "does not end as a Parquet file does", part(func(d []byte) []byte { return make([]byte, len(d)) })},
		{"columns of another table", "in this release", func(t *testing.T, dir string) {
			repack(t, filepath.Join(dir, set), func(list []member) []member {
				var x struct{ Parts []map[string]any }
				if err := json.Unmarshal(list[0].data, &x); err != nil {
					t.Fatal(err)
				}
				n := len(list) - 1
				list[n].data = list[1].data
				x.Parts[n-1]["bytes"], x.Parts[n-1]["rows"] = len(list[1].data), x.Parts[0]["rows"]
				list[0].data, _ = json.Marshal(x)
				return list
			})
		}},
		{"a damaged page", "column", part(func(d []byte) []byte {
			for i := 4; i < min(len(d)-2000, 300); i++ {
				d[i] ^= 0xff
			}
			return d
		})},
		{"a set that is listed twice", "occurs twice", cut(func(c *rows.Cut) {
			c.State = bytes.Replace(c.State, []byte(`"small":[`), []byte(`"small":[{"file":"`+set+`","cut":1,"to":1},`), 1)
		})},
		{"a set with the name of our own empty one", "does not begin with", func(t *testing.T, dir string) {
			cut(func(c *rows.Cut) {
				c.Files = append(c.Files, transfer.File{Name: "empty.tar", SHA256: strings.Repeat("0", 64)})
				c.State = bytes.Replace(c.State, []byte(`"small":[`), []byte(`"small":[{"file":"empty.tar","cut":1,"to":1},`), 1)
			})(t, dir)
			if err := os.WriteFile(filepath.Join(dir, "empty.tar"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"another version", "format version 9", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "rows.json")
			text, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, bytes.Replace(text, []byte(`"version":1`), []byte(`"version":9`), 1), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"a state that is no state", "reading the state", cut(func(c *rows.Cut) { c.State = []byte(`[1]`) })},
		{"an input that is not there", "input", cut(func(c *rows.Cut) {
			c.State = bytes.Replace(c.State, []byte(`"inputs":["i`), []byte(`"inputs":["i99`), 1)
		})},
		{"an input out of the folder", "cannot be the name of a set", cut(func(c *rows.Cut) {
			c.State = bytes.Replace(c.State, []byte(`"inputs":["i`), []byte(`"inputs":["../i`), 1)
		})},
		{"packets out of the bundle", "not in data/packets", func(t *testing.T, dir string) {
			for _, f := range known.Files {
				if strings.HasPrefix(f.Name, "i") {
					if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(`{"path":"data/packets/../../../etc/passwd"}`), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
		{"a listed path out of the folder", "cannot be the name of a set", cut(func(c *rows.Cut) { c.Files[0].Name = "../x.tar" })},
		{"no run", "a cut of run", cut(func(c *rows.Cut) { c.Run = "" })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyOf(t, dir)
			tt.spoil(t, dir)
			m := mirrors(t, dir)
			if text := refusal(t, m); !strings.Contains(text, tt.want) {
				t.Errorf("it says %q, want %q", text, tt.want)
			}
			if n := everything(t, m, nil).Manifest.Calls; len(n) > 0 {
				t.Errorf("it shows %v", n)
			}
		})
	}
}

// refusal is the gap that a view states, empty if there is none.
func refusal(t *testing.T, m *Live) string {
	t.Helper()
	const begins = "rows of the node are refused: "
	text := fmt.Sprint(rowsOf(t, everything(t, m, nil)))
	i := strings.Index(text, begins)
	if i < 0 {
		return ""
	}
	return text[i+len(begins):]
}

// TestRefusalEnds: a node whose rows were refused is shown again when they are right, and until then as it was.
func TestRefusalEnds(t *testing.T) {
	_, from := shares(t, ringOf(t, "http1.pcapng", "", 20), 3)
	dir := copyOf(t, from)
	m := mirrors(t, dir)
	calls := fmt.Sprint(everything(t, m, nil).Manifest.Calls)
	c, err := rows.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	state := c.State
	next := func(state []byte) {
		t.Helper()
		c.No, c.State = c.No+1, state
		if err := rows.Write(dir, c); err != nil {
			t.Fatal(err)
		}
	}
	await := func(refused bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); (refusal(t, m) != "") != refused; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("refused: %q", refusal(t, m))
			}
		}
		if got := fmt.Sprint(everything(t, m, nil).Manifest.Calls); got != calls {
			t.Errorf("calls %s, want %s", got, calls)
		}
	}
	await(false)
	next([]byte("[]"))
	await(true)
	next(state)
	await(false)
}

// TestDamagedSets: no byte of a set that is changed ends the program.
func TestDamagedSets(t *testing.T) {
	_, from := shares(t, ringOf(t, "http1.pcapng", "", 20), 30)
	c, err := rows.Read(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Files {
		whole, err := os.ReadFile(filepath.Join(from, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(f.Name, "i") || len(whole) < 10_000 {
			continue
		}
		step := max(len(whole)/nightly.Of(3, 10), 1)
		for at := 0; at < len(whole); at += step {
			dir := copyOf(t, from)
			data := bytes.Clone(whole)
			for i := at; i < min(at+7, len(data)); i++ {
				data[i] ^= 0x5a
			}
			if err := os.WriteFile(filepath.Join(dir, f.Name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			m := mirrors(t, dir)
			everything(t, m, nil)
			everything(t, m, []string{"shop"})
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestMirrorOfANodeThatIsBehind: a node that has too little of the processor is a gap.
func TestMirrorOfANodeThatIsBehind(t *testing.T) {
	_, from := shares(t, ringOf(t, "http1.pcapng", "", 20), 30)
	dir := copyOf(t, from)
	c, err := rows.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	behind := bytes.Replace(c.State, []byte(`"idle":true`), []byte(`"idle":false`), 1)
	if bytes.Equal(behind, c.State) {
		t.Fatalf("the state is %s", c.State)
	}
	for name, state := range map[string][]byte{"": c.State, "behind the recorder": behind} {
		c.State = state
		if err := rows.Write(dir, c); err != nil {
			t.Fatal(err)
		}
		m := mirrors(t, dir)
		if text := fmt.Sprint(rowsOf(t, everything(t, m, nil))); strings.Contains(text, "behind the recorder") != (name != "") {
			t.Errorf("%q: %.500s", name, text)
		}
	}
}

// TestMirrorWithoutRoom: what the hub left out is a gap.
func TestMirrorWithoutRoom(t *testing.T) {
	_, from := shares(t, ringOf(t, "http1.pcapng", "", 20), 3)
	for _, left := range []int{0, 1} {
		dir := copyOf(t, from)
		c, err := rows.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.Files = c.Files[:len(c.Files)-left]
		if err := rows.Write(dir, c); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(rowsOf(t, everything(t, mirrors(t, dir), nil)))
		if strings.Contains(text, "the hub has no room") != (left > 0) {
			t.Errorf("without %d sets: %.1000s", left, text)
		}
	}
}
