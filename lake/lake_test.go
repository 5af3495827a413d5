package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/store"
)

var errKilled = errors.New("killed")

// place is a folder with a store and a lake's files.
type place struct {
	t      *testing.T
	dir    string
	config Config
}

func newPlace(t *testing.T) *place {
	dir := t.TempDir()
	return &place{t, dir, Config{Catalog: "sqlite://" + dir + "/lake.db", Warehouse: "file://" + dir + "/warehouse"}}
}

func (p *place) open() *Lake {
	p.t.Helper()
	l, err := Open(p.t.Context(), p.config)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { l.Close() })
	return l
}

// push makes a bundle of a sample and pushes it; the address is returned. make builds bin/pcapsule
// before it runs this.
func (p *place) push(name string) string {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), name+".pcapsule")
	if err := os.CopyFS(dir, os.DirFS(made(p.t, name))); err != nil {
		p.t.Fatal(err)
	}
	return p.pushed(dir)
}

func (p *place) pushed(dir string) string { return p.pushedTo("file://"+p.dir+"/store", dir) }

func (p *place) pushedTo(address, dir string) string {
	p.t.Helper()
	s, err := store.Create(p.t.Context(), address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Push(p.t.Context(), dir, nil); err != nil {
		p.t.Fatal(err)
	}
	return s.Address + "/" + filepath.Base(dir)
}

var (
	bundles   = map[string]string{}
	bundlesMu sync.Mutex
	scratch   string
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "lake"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// made makes a bundle of a sample, once.
func made(t *testing.T, name string) string {
	t.Helper()
	bundlesMu.Lock()
	defer bundlesMu.Unlock()
	if dir := bundles[name]; dir != "" {
		return dir
	}
	dir := filepath.Join(scratch, name+".pcapsule")
	found, err := filepath.Glob(filepath.Join("..", "samples", name+".pcap*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("sample %s: %v %v", name, found, err)
	}
	out, err := exec.Command(filepath.Join("..", "bin", "pcapsule"), "bundle", found[0], "-o", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("pcapsule bundle: %v\n%s(make build makes the program)", err, out)
	}
	bundles[name] = dir
	return dir
}

func add(t *testing.T, l *Lake, address string) Bundle {
	t.Helper()
	b, added, err := l.Add(t.Context(), address, "prod", nil)
	if err != nil || !added {
		t.Fatalf("adding %s: added %v, %v", address, added, err)
	}
	return b
}

// clean fails if the lake has problems.
func clean(t *testing.T, l *Lake) {
	t.Helper()
	list, err := l.Check(t.Context(), Options{Deep: true, Orphans: time.Hour})
	if err != nil || len(list) > 0 {
		t.Fatalf("check: %+v %v", list, err)
	}
}

// sums are the hashes of all files below a folder.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAddListExpire(t *testing.T) {
	p := newPlace(t)
	shop, redis := p.push("shop"), p.push("redis")
	before := sums(t, p.dir+"/store")
	l := p.open()
	a, b := add(t, l, shop), add(t, l, redis)
	if again, added, err := l.Add(t.Context(), shop, "other", nil); err != nil || added || again.ID != a.ID || again.Cluster != "prod" {
		t.Errorf("adding again: %+v %v %v", again, added, err)
	}
	clean(t, l)
	list, err := l.Bundles(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("bundles: %+v %v", list, err)
	}
	for _, x := range list {
		want := a
		if x.ID == b.ID {
			want = b
		}
		want.First, want.Last = want.First.Truncate(time.Microsecond), want.Last.Truncate(time.Microsecond)
		if !reflect.DeepEqual(x, want) {
			t.Errorf("listed %+v, added %+v", x, want)
		}
	}
	gone, kept, err := l.Expire(t.Context(), time.Now(), func(x Bundle) bool { return x.ID == a.ID })
	if err != nil || len(gone) != 1 || len(kept) != 0 {
		t.Fatalf("expire: %v %v %v", gone, kept, err)
	}
	clean(t, l)
	for _, table := range []string{"calls", "flows", "packets", "endpoints", bundlesTable} {
		files, _, err := l.Files(t.Context(), table, Selection{})
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 || slices.ContainsFunc(files, func(f File) bool { return f.Bundle != b.ID }) {
			t.Errorf("table %s after expire: %+v", table, files)
		}
		tab, err := l.load(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(tab.Metadata().Snapshots()); n != 1 {
			t.Errorf("table %s has %d snapshots, so what was taken out can still be read", table, n)
		}
	}
	if after := sums(t, p.dir+"/store"); !same(before, after) {
		t.Error("files of the store changed")
	}
	add(t, l, shop) // it may come back
	clean(t, l)
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestSelection(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	shop, redis := add(t, l, p.push("shop")), add(t, l, p.push("redis"))
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	tests := []struct {
		what string
		s    Selection
		want []string // bundles
	}{
		{"everything", Selection{}, []string{shop.ID, redis.ID}},
		{"one protocol of a small part", Selection{Protocols: []string{"grpc"}}, []string{shop.ID}},
		{"a protocol of both", Selection{Protocols: []string{"redis"}}, []string{shop.ID, redis.ID}},
		{"a protocol of none", Selection{Protocols: []string{"kafka"}}, nil},
		{"one bundle", Selection{Bundles: []string{redis.ID}}, []string{redis.ID}},
		{"another cluster", Selection{Clusters: []string{"test"}}, nil},
		{"from a time on", Selection{Since: shop.First.Add(-time.Second), Protocols: []string{"redis"}}, nil},
		{"after the last", Selection{Since: at("2099-01-01T00:00:00Z")}, nil},
		{"before the first", Selection{Until: at("2000-01-01T00:00:00Z")}, nil},
	}
	for _, x := range tests {
		if x.what == "from a time on" {
			x.want = slices.DeleteFunc([]string{shop.ID, redis.ID}, func(id string) bool { return id == redis.ID && redis.Last.Before(x.s.Since) })
		}
		got, err := l.Selected(t.Context(), x.s)
		ids := []string{}
		for _, b := range got {
			ids = append(ids, b.ID)
		}
		slices.Sort(ids)
		slices.Sort(x.want)
		if err != nil || !slices.Equal(ids, x.want) {
			t.Errorf("%s: %v %v, want %v", x.what, ids, err, x.want)
		}
	}
	files, total, err := l.Files(t.Context(), "calls", Selection{Protocols: []string{"grpc"}})
	if err != nil || len(files) != 1 || total < 7 {
		t.Errorf("files of grpc: %+v of %d, %v", files, total, err)
	}
}

// TestKilledWriters ends a writer at each of its steps: either nothing of the bundle is there or all of it.
func TestKilledWriters(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	first := add(t, l, p.push("redis"))
	address := p.push("dns")
	steps := 0
	for n := 0; ; n++ {
		at := 0
		l.step = func(string) error {
			if at++; at > n {
				return errKilled
			}
			return nil
		}
		_, _, err := l.Add(t.Context(), address, "prod", nil)
		l.step = func(string) error { return nil }
		list, err2 := l.Bundles(t.Context())
		if err2 != nil {
			t.Fatal(err2)
		}
		if err == nil {
			if len(list) != 2 {
				t.Fatalf("%d bundles", len(list))
			}
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		steps++
		if len(list) != 1 || list[0].ID != first.ID {
			t.Fatalf("killed at step %d: %+v", n, list)
		}
		have, _, err := l.listed(t.Context())
		if err != nil || len(have) != 1 {
			t.Fatalf("killed at step %d: the tables list files of %d bundles, %v", n, len(have), err)
		}
	}
	if steps < 20 {
		t.Errorf("%d steps", steps)
	}
	found, err := l.Check(t.Context(), Options{Repair: true})
	if err != nil || len(found) == 0 {
		t.Fatalf("nothing was left to repair: %v", err)
	}
	clean(t, l)
	if list, err := l.Check(t.Context(), Options{}); err != nil || len(list) > 0 {
		t.Errorf("after the repair: %+v %v", list, err)
	}
}

func TestTwoWriters(t *testing.T) {
	p := newPlace(t)
	addresses := []string{p.push("redis"), p.push("dns"), p.push("shop")}
	p.open() // so that both find it
	var all sync.WaitGroup
	added := make(chan string, 2*len(addresses))
	for w := range 2 {
		all.Go(func() {
			l, err := Open(t.Context(), p.config)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			for i := range addresses {
				at := addresses[(i+w)%len(addresses)]
				_, is, err := l.Add(t.Context(), at, fmt.Sprint(w), nil)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				if is {
					added <- at
				}
			}
		})
	}
	all.Wait()
	close(added)
	got := []string{}
	for a := range added {
		got = append(got, a)
	}
	slices.Sort(got)
	slices.Sort(addresses)
	if !slices.Equal(got, addresses) {
		t.Errorf("added %v, want each once", got)
	}
	l := p.open()
	clean(t, l)
	if list, err := l.Bundles(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("%d bundles, %v", len(list), err)
	}
}

// TestSameBundleAtOnce lets another writer add the same bundle in the middle of an addition.
func TestSameBundleAtOnce(t *testing.T) {
	for _, at := range []string{"listed ", "staged "} {
		p := newPlace(t)
		address := p.push("redis")
		other, l := p.open(), p.open()
		var first Bundle
		l.step = func(name string) error {
			if first.ID == "" && strings.HasPrefix(name, at) {
				first = add(t, other, address)
			}
			return nil
		}
		b, added, err := l.Add(t.Context(), address, "late", nil)
		if err != nil || added || b.ID != first.ID || b.Cluster != "prod" {
			t.Errorf("another writer at %q: %+v %v %v", at, b, added, err)
		}
		clean(t, l)
	}
}

func TestDamagedIsNotRegistered(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	address := p.push("redis")
	name := filepath.Join(p.dir, "store", "redis.pcapsule", "data", "tables", "flows", "part-000.parquet")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var damaged *bundle.DamagedError
	if _, _, err := l.Add(t.Context(), address, "", nil); !errors.As(err, &damaged) {
		t.Errorf("a flipped bit: %v", err)
	}
	if list, err := l.Bundles(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("bundles: %v %v", list, err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	add(t, l, address)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := l.Check(t.Context(), Options{Deep: true, Orphans: time.Hour})
	if err != nil || len(found) != 1 || !strings.Contains(found[0].What, "flows") {
		t.Errorf("a bit flipped later: %+v %v", found, err)
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "store", "redis.pcapsule")); err != nil {
		t.Fatal(err)
	}
	found, err = l.Check(t.Context(), Options{Orphans: time.Hour})
	if err != nil || len(found) != 1 || !strings.Contains(found[0].What, store.ErrNone.Error()) {
		t.Errorf("a bundle that is gone: %+v %v", found, err)
	}
}

// TestHolds keeps bundles that their custody log holds.
func TestHolds(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	dir := filepath.Join(t.TempDir(), "redis.pcapsule")
	if err := os.CopyFS(dir, os.DirFS(made(t, "redis"))); err != nil {
		t.Fatal(err)
	}
	note := func(e bundle.Entry) {
		b, err := bundle.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.AppendCustody(e); err != nil {
			t.Fatal(err)
		}
		p.pushed(dir)
	}
	expire := func(now time.Time) error {
		gone, kept, err := l.Expire(t.Context(), now, func(Bundle) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if len(gone)+len(kept) != 1 {
			t.Fatalf("%v %v", gone, kept)
		}
		if len(kept) == 1 {
			return kept[0].Err
		}
		return nil
	}
	day := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	b := add(t, l, p.pushed(dir))
	note(bundle.Entry{Event: bundle.EventLegalHold, Details: map[string]string{"authority": "court"}})
	if err := expire(day); !errors.Is(err, ErrHeld) {
		t.Errorf("under a legal hold: %v", err)
	}
	note(bundle.Entry{Event: bundle.EventHoldReleased})
	note(bundle.Entry{Event: bundle.EventRetention, Details: map[string]string{"until": "2030-06-01"}})
	if err := expire(day); !errors.Is(err, ErrHeld) {
		t.Errorf("before its retention ends: %v", err)
	}
	log := filepath.Join(p.dir, "store", "redis.pcapsule", "custody", "log.jsonl")
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := expire(day.AddDate(1, 0, 0)); err == nil {
		t.Error("a log that cannot be read holds nothing")
	}
	if err := os.WriteFile(log, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Find(t.Context(), b.ID); err != nil {
		t.Error(err)
	}
	if err := expire(day.AddDate(1, 0, 0)); err != nil {
		t.Errorf("after its retention: %v", err)
	}
	if _, err := l.Find(t.Context(), b.ID); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

// TestKilledRepairs ends a repair at each of its steps, and repairs a bundle of which a file is damaged: the
// lake has the bundle as before, and a later repair finds the same problem.
func TestKilledRepairs(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	redis := add(t, l, p.push("redis"))
	for _, name := range []string{"flows", "endpoints"} {
		tx, err := l.without(t.Context(), name, redis.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	before, _, err := l.listed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unchanged := func(what string) {
		t.Helper()
		list, err := l.Bundles(t.Context())
		if err != nil || len(list) != 1 || list[0].ID != redis.ID || list[0].Added != redis.Added {
			t.Fatalf("%s: %+v %v", what, list, err)
		}
		if now, _, err := l.listed(t.Context()); err != nil || !maps.Equal(now[redis.ID], before[redis.ID]) {
			t.Fatalf("%s: %d files are listed, %v", what, len(now[redis.ID]), err)
		}
	}
	name := filepath.Join(p.dir, "store", "redis.pcapsule", "data", "tables", "calls", "protocol=redis", "part-000.parquet")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Check(t.Context(), Options{Repair: true, Orphans: time.Hour}); err != nil || len(found) != 2 || found[1].Fixed != "" || !strings.Contains(found[1].What, "calls") {
		t.Errorf("a damaged file: %+v %v", found, err)
	}
	unchanged("a damaged file")
	data[len(data)/3] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		at := 0
		l.step = func(string) error {
			if at++; at > n {
				return errKilled
			}
			return nil
		}
		_, err := l.Check(t.Context(), Options{Repair: true, Orphans: time.Hour})
		l.step = func(string) error { return nil }
		if err == nil {
			if n < 10 {
				t.Errorf("%d steps", n)
			}
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		unchanged(fmt.Sprintf("killed at step %d", n))
	}
	clean(t, l)
}

// TestOtherPrograms takes a file of a bundle out of a table, and a bundle's row out of bundles, as
// another engine can.
func TestOtherPrograms(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	redis, dns := add(t, l, p.push("redis")), add(t, l, p.push("dns"))
	for table, id := range map[string]string{"flows": redis.ID, bundlesTable: dns.ID} {
		tx, err := l.without(t.Context(), table, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := l.Files(t.Context(), "calls", Selection{}); err == nil {
		t.Error("files of a bundle that is not in the lake are answered")
	}
	found, err := l.Check(t.Context(), Options{Repair: true, Orphans: time.Hour})
	if err != nil || len(found) != 2 || found[0].Fixed == "" || found[1].Fixed == "" {
		t.Fatalf("check: %+v %v", found, err)
	}
	clean(t, l)
	if list, err := l.Bundles(t.Context()); err != nil || len(list) != 1 || list[0].Added != redis.Added {
		t.Errorf("after the repair: %+v %v", list, err)
	}
}

func TestBadAddresses(t *testing.T) {
	p := newPlace(t)
	good := p.config
	configs := []struct {
		what   string
		change func(*Config)
		want   error
	}{
		{"no catalog", func(c *Config) { c.Catalog = "" }, ErrConfig},
		{"another scheme", func(c *Config) { c.Catalog = "mysql://host/db" }, ErrConfig},
		{"a password", func(c *Config) { c.Catalog = "postgres://lake:secret@127.0.0.1/lake" }, ErrConfig},
		{"a relative file", func(c *Config) { c.Catalog = "sqlite://lake.db" }, ErrConfig},
		{"no place", func(c *Config) { c.Warehouse = "" }, ErrConfig},
		{"a place with steps up", func(c *Config) { c.Warehouse = "file:///tmp/../etc" }, ErrConfig},
		{"a place that engines do not know", func(c *Config) { c.Warehouse = "azblob://box/lake" }, ErrScheme},
		{"a place with parameters", func(c *Config) { c.Warehouse = "s3://box/lake?endpoint=http://127.0.0.1" }, ErrConfig},
		{"a namespace with a path", func(c *Config) { c.Namespace = "../x" }, ErrConfig},
	}
	for _, x := range configs {
		c := good
		x.change(&c)
		l, err := Open(t.Context(), c)
		if err == nil {
			l.Close()
		}
		if !errors.Is(err, x.want) || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", x.what, err)
		}
	}
	l := p.open()
	for _, folder := range []string{"store", "warehouse/pcapsule/calls"} {
		if err := os.MkdirAll(filepath.Join(p.dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addresses := []struct {
		what, address string
		want          error
	}{
		{"no bundle of that name", "file://" + p.dir + "/store/none.pcapsule", store.ErrNone},
		{"no store", "file://" + p.dir + "/nowhere/none.pcapsule", fs.ErrNotExist},
		{"no bundle's name", "file://" + p.dir + "/store/none", store.ErrAddress},
		{"steps up", "file://" + p.dir + "/store/../store/x.pcapsule", ErrConfig},
		{"a store that engines do not know", "azblob://box/x.pcapsule", ErrScheme},
		{"a key in the address", "s3://key:secret@box/x.pcapsule", ErrConfig},
		{"the lake's own folder", "file://" + p.dir + "/warehouse/pcapsule/calls/x.pcapsule", ErrConfig},
	}
	for _, x := range addresses {
		if _, _, err := l.Add(t.Context(), x.address, "", nil); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", x.what, err)
		}
	}
	if _, _, err := l.Add(t.Context(), p.push("redis"), "a\nb", nil); !errors.Is(err, ErrConfig) {
		t.Errorf("a cluster of two lines: %v", err)
	}
	other := good
	other.Warehouse = "file://" + p.dir + "/elsewhere"
	if l, err := Open(t.Context(), other); !errors.Is(err, ErrConfig) {
		t.Errorf("a lake with another place: %v %v", l, err)
	}
}
