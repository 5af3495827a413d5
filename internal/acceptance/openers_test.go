package acceptance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
)

// TestOpensWithoutUs opens a bundle with only DuckDB's Node binding and data/open.sql, and compares
// its answers with ours.
func TestOpensWithoutUs(t *testing.T) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range []string{"package.json", "package-lock.json", "check.mjs"} {
		data, err := os.ReadFile(filepath.Join(root, "exporter", "bundle", "nodecheck", f))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("needs npm packages: %v\n%s", err, out)
	}
	path := filepath.Join(t.TempDir(), "shop.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{filepath.Join(root, "samples", "shop.pcapng")}, path,
		exporter.Options{Release: "test", Kube: []string{filepath.Join(root, "samples", "shop.kube.json")}}); err != nil {
		t.Fatal(err)
	}
	questions := []string{
		"select count(*)::varchar from calls",
		"select count(*)::varchar from calls where dst_service = 'payment' and status_code >= 500",
		"select string_agg(distinct src_pod, ',' order by src_pod) from calls",
		"select max(ts_exact)::varchar from calls",
		"select sum(src_bytes + dst_bytes)::varchar from flows",
		"select sum(length(cites))::varchar from calls",
		"select count(*)::varchar from redis where redis_key is not null",
	}
	peer := exec.Command("node", append([]string{filepath.Join(dir, "check.mjs")}, questions...)...)
	peer.Dir = filepath.Join(path, "data")
	out, err := peer.CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	theirs := strings.Split(strings.TrimSpace(string(out)), "\n")
	c, err := forensics.Open(context.Background(), []string{path}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, q := range questions {
		r, err := c.Query(context.Background(), forensics.Query{SQL: q})
		if err != nil {
			t.Fatal(err)
		}
		if ours, _ := r.Rows[0][0].(string); ours != theirs[i] {
			t.Errorf("%s: Node's DuckDB says %s, ours %s", q, theirs[i], ours)
		}
	}
}
