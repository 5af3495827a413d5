package lake

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

var removalDay = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// shopInKube is the shop's bundle with the names of its cluster.
func shopInKube(t *testing.T) string {
	t.Helper()
	bundlesMu.Lock()
	defer bundlesMu.Unlock()
	dir := filepath.Join(scratch, "kube-shop.pcapsule")
	if bundles["kube"] == "" {
		out, err := exec.Command(filepath.Join("..", "bin", "pcapsule"), "bundle", "../samples/shop.pcapng", "--kube", "../samples/shop.kube.json", "-o", dir).CombinedOutput()
		if err != nil {
			t.Fatalf("pcapsule bundle: %v\n%s", err, out)
		}
		bundles["kube"] = dir
	}
	to := filepath.Join(t.TempDir(), "shop.pcapsule")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// lines are the rows of a table as text, with the columns that name people's traffic.
func lines(t *testing.T, l *Lake, name string) (list []string) {
	t.Helper()
	files, _, err := l.Files(t.Context(), name, Selection{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		err := l.eachBatch(t.Context(), f.Path, nil, func(b arrow.RecordBatch) error {
			for i := range int(b.NumRows()) {
				text := f.Bundle[:8]
				for c, field := range b.Schema().Fields() {
					text += fmt.Sprintf("|%s=%s", field.Name, b.Column(c).ValueStr(i))
				}
				list = append(list, text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(list)
	return list
}

func tableLines(t *testing.T, l *Lake) map[string][]string {
	t.Helper()
	names, err := l.names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, name := range names {
		if !isOwn(name) {
			all[name] = lines(t, l, name)
		}
	}
	return all
}

// TestRemoveNamespace removes namespaces one after another. What is left is exactly the rows before
// without those of the namespace, and no file of the store changes.
func TestRemoveNamespace(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	shop, dns := add(t, l, p.pushed(shopInKube(t))), add(t, l, p.push("dns"))
	store := sums(t, p.dir+"/store")
	before := tableLines(t, l)
	if done, kept, err := l.RemoveNamespace(t.Context(), "nowhere", "ann", "request 1", removalDay); err != nil || len(done)+len(kept) > 0 {
		t.Fatalf("a namespace without rows: %v %v %v", done, kept, err)
	}
	for n, namespace := range []string{"kube-system", "shop"} {
		done, kept, err := l.RemoveNamespace(t.Context(), namespace, "ann", "request 2", removalDay.AddDate(0, 0, n))
		if err != nil || len(done) != 1 || len(kept) > 0 || done[0].Bundle != shop.ID {
			t.Fatalf("%s: %+v %v %v", namespace, done, kept, err)
		}
		clean(t, l)
		after := tableLines(t, l)
		left := checkLeft(t, namespace, before, after)
		if left != done[0].Rows {
			t.Errorf("%s: %d rows are gone, and the record says %d", namespace, left, done[0].Rows)
		}
		before = after
	}
	if found := before["calls"]; !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, dns.ID[:8]) }) {
		t.Error("the other bundle's calls are gone")
	}
	if !same(store, sums(t, p.dir+"/store")) {
		t.Error("files of the store changed")
	}
	list, err := l.Removals(t.Context())
	if err != nil || len(list) != 2 || list[0].Namespace != "kube-system" || list[1].By != "ann" || list[1].Reason != "request 2" || list[1].Rows == 0 || !list[1].Time.Equal(removalDay.AddDate(0, 0, 1)) {
		t.Errorf("the record: %+v %v", list, err)
	}
	// Nothing of the lake's folder has the rows: also no file of the first removal.
	for path, data := range sums(t, p.dir+"/warehouse") {
		if strings.Contains(path, "/data/tables/endpoints/") && strings.Contains(data, "checkout") {
			t.Errorf("%s still names a workload of the namespace", path)
		}
	}
	again(t, l, shop)
}

// again: a bundle whose rows were removed does not come back by add, and repair keeps them away.
func again(t *testing.T, l *Lake, b Bundle) {
	t.Helper()
	before := tableLines(t, l)
	tx, err := l.without(t.Context(), "endpoints", b.ID) // a file of the lake's own
	if err == nil && tx != nil {
		_, err = tx.Commit(t.Context())
	}
	if err != nil || tx == nil {
		t.Fatalf("taking files out: %v %v", tx, err)
	}
	found, err := l.Check(t.Context(), Options{Repair: true, Orphans: time.Hour})
	if err != nil || len(found) != 1 || found[0].Fixed == "" {
		t.Fatalf("check: %+v %v", found, err)
	}
	if !maps.EqualFunc(before, tableLines(t, l), slices.Equal) {
		t.Error("repair changed what is shown")
	}
	if _, _, err := l.Expire(t.Context(), removalDay, func(x Bundle) bool { return x.ID == b.ID }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Add(t.Context(), b.Address, "", nil); !errors.Is(err, ErrRemoved) {
		t.Errorf("adding it again: %v", err)
	}
	if list, err := l.Removals(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("the record after expire: %+v %v", list, err)
	}
}

// checkLeft compares rows before and after with an attribution of its own, over connections, and returns
// how many are gone.
func checkLeft(t *testing.T, namespace string, before, after map[string][]string) (gone int64) {
	t.Helper()
	value := func(line, column string) string {
		_, rest, _ := strings.Cut(line, "|"+column+"=")
		v, _, _ := strings.Cut(rest, "|")
		return line[:8] + " " + v
	}
	ends, conns, flows, calls := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range before["endpoints"] {
		ends[value(s, "endpoint_id")] = strings.HasSuffix(value(s, "namespace"), " "+namespace)
	}
	for _, name := range []string{"connections", "flows", "calls"} {
		for _, s := range before[name] {
			if ends[value(s, "src_id")] || ends[value(s, "dst_id")] {
				conns[value(s, "conn_id")] = true
			}
		}
	}
	for _, s := range before["flows"] {
		flows[value(s, "flow_id")] = conns[value(s, "conn_id")]
	}
	for _, s := range before["calls"] {
		calls[value(s, "call_no")] = conns[value(s, "conn_id")]
	}
	for name, list := range before {
		want := slices.DeleteFunc(slices.Clone(list), func(s string) bool {
			switch name {
			case "connections", "calls", "flows":
				return conns[value(s, "conn_id")]
			case "packets", "tcp_events", "anomalies":
				return flows[value(s, "flow_id")]
			case "tls_handshakes", "objects", "receipts":
				return calls[value(s, "call_no")]
			case "endpoints", "workloads", "k8s_events":
				return strings.HasSuffix(value(s, "namespace"), " "+namespace)
			case "bodies":
				return calls[value(s, "first_call_no")]
			}
			return false
		})
		got := after[name]
		if name == "bodies" || name == "workloads" || name == "k8s_events" || name == "os_events" { // also those that only share something
			want = slices.DeleteFunc(want, func(s string) bool { return !slices.Contains(got, s) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: table %s has %d rows, want %d of %d", namespace, name, len(got), len(want), len(list))
		}
		gone += int64(len(list) - len(got))
	}
	return gone
}

// TestRemovalRefused: a bundle that must be kept, a damaged file and a killed writer leave everything as
// it was.
func TestRemovalRefused(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	dir := shopInKube(t)
	add(t, l, p.pushed(dir))
	before, _, err := l.listed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unchanged := func(what string) {
		t.Helper()
		if after, _, err := l.listed(t.Context()); err != nil || !maps.EqualFunc(before, after, maps.Equal) {
			t.Errorf("%s: the tables list other files: %v", what, err)
		}
		if list, err := l.Removals(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("%s: the record says %+v, %v", what, list, err)
		}
	}
	if _, _, err := l.RemoveNamespace(t.Context(), "shop", "", "x", removalDay); !errors.Is(err, ErrConfig) {
		t.Errorf("nobody: %v", err)
	}
	name := filepath.Join(p.dir, "store", "shop.pcapsule", "data", "tables", "flows", "part-000.parquet")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []bool{true, false} {
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *bundle.DamagedError
		if bad {
			if _, _, err := l.RemoveNamespace(t.Context(), "shop", "ann", "x", removalDay); !errors.As(err, &damaged) {
				t.Errorf("a flipped bit: %v", err)
			}
		}
	}
	unchanged("a flipped bit")
	for n := 0; ; n += 12 {
		at := 0
		l.step = func(string) error {
			if at++; at > n {
				return errKilled
			}
			return nil
		}
		held(t, p, dir, n == 0)
		_, kept, err := l.RemoveNamespace(t.Context(), "shop", "ann", "x", removalDay)
		l.step = func(string) error { return nil }
		if n == 0 {
			if err != nil || len(kept) != 1 || !errors.Is(kept[0].Err, ErrHeld) {
				t.Errorf("a legal hold: %+v %v", kept, err)
			}
		} else if err == nil {
			break
		} else if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		unchanged(fmt.Sprintf("ended at step %d", n))
	}
	if _, err := l.Check(t.Context(), Options{Repair: true}); err != nil { // what the killed ones left
		t.Fatal(err)
	}
	clean(t, l)
}

// held sets or releases a legal hold in the store.
func held(t *testing.T, p *place, dir string, hold bool) {
	t.Helper()
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := bundle.Entry{Event: bundle.EventHoldReleased}
	if hold {
		e = bundle.Entry{Event: bundle.EventLegalHold, Details: map[string]string{"authority": "court"}}
	}
	if _, _, err := b.AppendCustody(e); err != nil {
		t.Fatal(err)
	}
	p.pushed(dir)
}
