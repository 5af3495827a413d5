package forensics_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
)

var ctx = context.Background()

// bundles makes each bundle once for all tests.
var bundles struct {
	sync.Mutex
	dir  string
	made map[string]string
}

func TestMain(m *testing.M) {
	workertest.Main()
	dir, err := os.MkdirTemp("", "pcapsule-forensics-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bundles.dir, bundles.made = dir, map[string]string{}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// sample is a bundle of a capture in samples/.
func sample(t testing.TB, name string) string {
	t.Helper()
	bundles.Lock()
	defer bundles.Unlock()
	if p := bundles.made[name]; p != "" {
		return p
	}
	out := filepath.Join(bundles.dir, strings.ReplaceAll(name, "/", "-")+".pcapsule")
	o := exporter.Options{Release: "test", Repanic: true}
	if name == "shop.pcapng" {
		o.Kube = []string{filepath.Join("..", "samples", "shop.kube.json")}
	}
	if _, err := exporter.Run(ctx, []string{filepath.Join("..", "samples", name)}, out, o); err != nil {
		t.Fatal(err)
	}
	bundles.made[name] = out
	return out
}

func open(t testing.TB, paths ...string) *forensics.Case {
	t.Helper()
	c, err := forensics.Open(ctx, paths, forensics.Options{MemoryLimit: 512 << 20, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func query(t testing.TB, c *forensics.Case, q forensics.Query) *forensics.Result {
	t.Helper()
	r, err := c.Query(ctx, q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return r
}

func number(t testing.TB, c *forensics.Case, sql string) int64 {
	t.Helper()
	r := query(t, c, forensics.Query{SQL: sql})
	n, ok := r.Rows[0][0].(int64)
	if !ok {
		t.Fatalf("%s: %v", sql, r.Rows)
	}
	return n
}

func TestOpeningReadsOnly(t *testing.T) {
	dir := sample(t, "http1.pcapng")
	before := listing(t, dir)
	begin := time.Now()
	c := open(t, dir)
	t.Logf("opened in %v", time.Since(begin))
	query(t, c, forensics.Query{})
	if after := listing(t, dir); after != before {
		t.Errorf("the bundle changed:\n%s\nwas\n%s", after, before)
	}
	info := c.Bundles()
	if len(info) != 1 || info[0].Dir != dir || info[0].State != bundle.NotVerified || info[0].Unpacked {
		t.Errorf("%+v", info)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		fmt.Fprintln(&b, p, info.Size(), info.ModTime().UnixNano())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOpenRefuses(t *testing.T) {
	dir := sample(t, "http1.pcapng")
	for _, c := range []struct {
		name  string
		paths []string
		want  error
	}{
		{"nothing", nil, nil},
		{"what is not there", []string{filepath.Join(t.TempDir(), "x")}, fs.ErrNotExist},
		{"a folder", []string{t.TempDir()}, bundle.ErrNotBundle},
		{"the same bundle twice", []string{dir, dir}, nil},
	} {
		_, err := forensics.Open(ctx, c.paths, forensics.Options{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestADamagedTableIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.pcapsule")
	copyTree(t, sample(t, "http1.pcapng"), dir)
	part := filepath.Join(dir, "data", "tables", "flows", "part-000.parquet")
	if err := os.WriteFile(part, []byte("PAR1 no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := forensics.Open(ctx, []string{dir}, forensics.Options{})
	var damaged *bundle.DamagedError
	if !errors.As(err, &damaged) || !strings.Contains(err.Error(), "flows") {
		t.Errorf("%v, want damage in flows", err)
	}
}

// TestADamagedPageIsDamage overwrites what only a question reads: the bundle opens.
func TestADamagedPageIsDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.pcapsule")
	copyTree(t, sample(t, "shop.pcapng"), dir)
	part := filepath.Join(dir, "data", "tables", "calls", "protocol=http1", "part-000.parquet")
	data, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	footer := len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	for i := 4; i < footer; i++ {
		data[i] = 0xa5 ^ byte(i)
	}
	if err := os.Chmod(part, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{dir}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, q := range []forensics.Query{{KFL: `http1 && path contains "x"`}, {SQL: "SELECT max(path), max(host), max(call_id) FROM calls"}} {
		if _, err := c.Query(ctx, q); !errors.Is(err, forensics.ErrDamaged) {
			t.Errorf("%+v: %v, want damage in data/tables", q, err)
		}
	}
	for _, sql := range []string{"SELECT error('Parquet')", "SELECT CAST('Parquet file' AS INTEGER)", "SELECT nothing FROM calls"} {
		if _, err := c.Query(ctx, forensics.Query{SQL: sql}); err == nil || errors.Is(err, forensics.ErrDamaged) {
			t.Errorf("%s: %v, want an error of the question", sql, err)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderNameMayBeAPattern(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's [a]*?.pcapsule")
	copyTree(t, sample(t, "http1.pcapng"), dir)
	c := open(t, dir)
	if n := number(t, c, "select count(*) from calls"); n == 0 {
		t.Error("no calls")
	}
	if _, err := c.Tables(); err != nil {
		t.Error(err)
	}
	if _, err := c.Packets(ctx, forensics.Selection{}, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}

func TestATableMayBeMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "old.pcapsule")
	copyTree(t, sample(t, "http1.pcapng"), dir)
	manifest := filepath.Join(dir, "manifest-sha256.txt")
	data, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, line := range strings.SplitAfter(string(data), "\n") {
		if !strings.Contains(line, "tables/coverage/") && !strings.Contains(line, "tables/endpoints/") {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(manifest, []byte(strings.Join(kept, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	if r := query(t, c, forensics.Query{KFL: "http"}); len(r.Rows) == 0 || r.Coverage.State != forensics.Complete {
		t.Errorf("%d rows, coverage %v", len(r.Rows), r.Coverage)
	}
	if _, err := c.Query(ctx, forensics.Query{Table: "coverage"}); !errors.Is(err, forensics.ErrUsage) {
		t.Errorf("%v, want a refusal", err)
	}
	both := open(t, dir, sample(t, "redis.pcap"))
	if n := number(t, both, "select count(distinct bundle) from calls where src_name is null or true"); n != 2 {
		t.Errorf("calls of %d bundles, want 2", n)
	}
}

func TestEveryColumnHasWords(t *testing.T) {
	tables, err := open(t, sample(t, "tls.pcapng"), sample(t, "redis.pcap")).Tables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Doc == "" || len(table.Columns) == 0 {
			t.Errorf("table %s: no words or columns", table.Name)
		}
		for _, col := range table.Columns {
			if col.Doc == "" || col.Type == "" {
				t.Errorf("%s.%s: no words or type", table.Name, col.Name)
			}
		}
	}
}

func TestZipAndFolderAnswerAlike(t *testing.T) {
	dir := sample(t, "http1.pcapng")
	packed := filepath.Join(t.TempDir(), "a.pcapsule.zip")
	f, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(ctx, []string{packed}, forensics.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := forensics.Query{KFL: "http", Columns: []string{"call_id", "ts_ns", "path"}}
	if got, want := query(t, c, q).Rows, query(t, open(t, dir), q).Rows; !reflect.DeepEqual(got, want) {
		t.Error("the ZIP answers differently")
	}
	if !c.Bundles()[0].Unpacked {
		t.Error("nobody says that it was unpacked")
	}
}

func TestSeveralBundlesAreOneCase(t *testing.T) {
	a, b := sample(t, "http1.pcapng"), sample(t, "shop.pcapng")
	one, other, both := open(t, a), open(t, b), open(t, a, b)
	count := "select count(*) from calls"
	if got, want := number(t, both, count), number(t, one, count)+number(t, other, count); got != want {
		t.Errorf("%d calls, want %d", got, want)
	}
	// The joins keep to their bundle: each call finds exactly its own endpoints.
	for _, sql := range []string{
		"select count(*) from calls c join endpoints_raw e on e.bundle = c.bundle and e.endpoint_id = c.src_id where e.name is distinct from c.src_name",
		"select count(*) from flows f join endpoints_raw e on e.bundle = f.bundle and e.endpoint_id = f.dst_id where e.ip is distinct from f.dst_ip",
	} {
		if n := number(t, both, sql); n != 0 {
			t.Errorf("%s: %d", sql, n)
		}
	}
	r := query(t, both, forensics.Query{KFL: `dst.svc == "payment"`, Columns: []string{"bundle", "dst_service"}})
	if len(r.Rows) == 0 {
		t.Fatal("no calls to payment")
	}
	for i, row := range r.Rows {
		if row[0] != int64(1) || r.Citations[i].Bundle != 1 || len(r.Citations[i].Packets) == 0 {
			t.Errorf("row %d: %v, cites %v", i, row, r.Citations[i])
		}
	}
	flows := query(t, both, forensics.Query{KFL: `dst.svc == "payment"`, Table: "flows", Columns: []string{"bundle"}})
	for _, row := range flows.Rows {
		if row[0] != int64(1) {
			t.Errorf("a flow of bundle %v", row[0])
		}
	}
}
