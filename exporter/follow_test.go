package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// ringOf records a sample into a ring, with a key log beside each segment.
func ringOf(t *testing.T, sample, keys string, seal int) string {
	t.Helper()
	capture, err := os.ReadFile(filepath.Join("..", "samples", sample))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ring")
	ids, err := ringtest.Fill(dir, capture, 1, seal)
	if err != nil {
		t.Fatal(err)
	}
	if keys == "" {
		return dir
	}
	log, err := os.ReadFile(filepath.Join("..", "samples", keys))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ids[0].Side("keys")), log, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// follows runs over everything that a ring has, with a cut after each of so many packets.
func follows(t *testing.T, dir string, every int64) *Live {
	t.Helper()
	next := every
	l, err := Follow(t.Context(), dir, FollowOptions{Once: true, From: 1, Temp: t.TempDir(), repanic: true, cutAt: func(n int64) bool {
		if every == 0 || n < next {
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
	})
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	return l
}

// rowsOf reads the rows of each table of a bundle, as sorted texts. The numbers of calls are left out, or
// are the call's id: a row that was held back gets its number at the next cut, not in the order of packets.
func rowsOf(t *testing.T, b *bundle.Bundle) map[string][]string {
	t.Helper()
	out, ids := map[string][]string{}, map[any]any{}
	for _, s := range table.All() {
		byFolder := map[string][]string{}
		for _, p := range b.TableParts(s.Name) {
			byFolder[filepath.Base(filepath.Dir(p))] = append(byFolder[filepath.Base(filepath.Dir(p))], p)
		}
		for folder, paths := range byFolder {
			if s.Name == "calls" && folder == "calls" {
				continue // it has no rows
			}
			r, err := parts.ReadRows(paths, func(string, table.Kind) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			var list []string
			var row []any
			for row, err = r.Next(row); err == nil; row, err = r.Next(row) {
				var text strings.Builder
				for i, v := range row {
					switch {
					case s.Name == "bodies" && slices.Contains([]string{"first_call_no", "wire_size", "encoding"}, r.Columns[i]):
						continue // those of the first call, and each part has the bodies of its calls
					case r.Columns[i] != "call_no":
					case s.Name == "calls":
						ids[v] = row[slices.Index(r.Columns, "call_id")]
						continue
					default:
						v = ids[v]
					}
					fmt.Fprintf(&text, " %s=%v", r.Columns[i], v)
				}
				list = append(list, text.String())
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			r.Close()
			slices.Sort(list)
			out[s.Name+"/"+folder] = slices.Compact(list) // a body may stand in two parts
		}
	}
	return out
}

// TestALiveRunHasTheRowsOfABundle cuts a run at many places: in the middle of HTTP/2 connections with
// their header tables, of TLS with its keys, and of everything else.
func TestALiveRunHasTheRowsOfABundle(t *testing.T) {
	for _, tt := range []struct {
		sample, keys string
		seal         int
		every        []int64
	}{
		{"http2.pcap", "", 0, []int64{0, 2}},
		{"tls.pcapng", "tls.keylog", 0, []int64{0, 5}},
		{"shop.pcapng", "", 400, []int64{0, 97}},
		{"grpc.pcapng", "", 20, []int64{3}},
		{"http1.pcapng", "", 30, []int64{9}},
		{"dns.pcap", "", 10, []int64{3}},
		{"postgresql.pcapng", "", 0, []int64{19}},
		{"vantages.pcapng", "", 0, []int64{40}},
	} {
		dir := ringOf(t, tt.sample, tt.keys, tt.seal)
		path := filepath.Join(t.TempDir(), "x.pcapsule")
		if _, err := Run(context.Background(), []string{dir}, path, Options{Release: "test", Repanic: true}); err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want := rowsOf(t, b)
		for _, every := range tt.every {
			t.Run(fmt.Sprintf("%s cut after %d", tt.sample, every), func(t *testing.T) {
				v, err := follows(t, dir, every).View(t.Context(), 0, nil)
				if err != nil {
					t.Fatal(err)
				}
				got := rowsOf(t, v.Bundle)
				for _, name := range []string{"coverage/coverage"} { // a live run states its own
					delete(got, name)
					delete(want, name)
				}
				sameRows(t, got, want)
				sameColumns(t, v.Bundle.Manifest, b.Manifest)
			})
		}
	}
}

// sameColumns compares the columns of all tables, by which a case of several bundles makes its views.
func sameColumns(t *testing.T, got, want *bundle.Manifest) {
	t.Helper()
	columns := func(m *bundle.Manifest) map[string]string {
		all := map[string]string{}
		for _, x := range m.Tables {
			if x.Protocol != "" {
				continue
			}
			for _, c := range x.Columns {
				all[x.Name] += c.Name + " " + c.Type + "\n"
			}
		}
		return all
	}
	if a, b := columns(got), columns(want); !maps.Equal(a, b) {
		t.Errorf("columns %v\nwant %v", a, b)
	}
}

func sameRows(t *testing.T, got, want map[string][]string) {
	t.Helper()
	for name, rows := range want {
		if slices.Equal(got[name], rows) {
			continue
		}
		t.Errorf("%s: %d rows, want %d", name, len(got[name]), len(rows))
		shown := 0
		for i := range max(len(rows), len(got[name])) {
			a, b := "", ""
			if i < len(got[name]) {
				a = got[name][i]
			}
			if i < len(rows) {
				b = rows[i]
			}
			if a != b && shown < 2 {
				shown++
				t.Errorf("got  %.1500s\nwant %.1500s", a, b)
			}
		}
	}
	for name, rows := range got {
		if len(rows) > 0 && want[name] == nil {
			t.Errorf("%s: %d rows, want none", name, len(rows))
		}
	}
}
