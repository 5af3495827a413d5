package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// capture replaces packets in the bundles of these tests.
var capture = bytes.Repeat([]byte("not really packets\n"), 20_000)

func testOptions() CreateOptions {
	return CreateOptions{Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), User: "ann", Host: "desk"}
}

// fill adds a capture and some table parts to b and returns the manifest for them.
func fill(t testing.TB, b *Builder) *Manifest {
	t.Helper()
	f, err := b.Create("data/packets/import/000-" + SafeName("/tmp/first half.pcapng"))
	must(t, err)
	_, err = io.Copy(f, bytes.NewReader(capture))
	must(t, err)
	must(t, f.Close())
	for _, rel := range []string{"calls/part-000", "calls/protocol=dns/part-000", "endpoints/part-000", "flows/part-000", "packets/part-000"} {
		must(t, os.WriteFile(b.Path("data/tables/"+rel+".parquet"), []byte("PAR1 "+rel), 0o666))
	}
	m := &Manifest{
		Tool:     Tool{"pcapsule", "0.1.0", "linux/amd64"},
		Options:  map[string]string{"decode-as": "tcp/9000=redis"},
		Window:   Window{At(0), At(1_700_000_000_123_456_789)},
		Accounts: Accounts{Packets: 3, Counters: map[string]map[string]int64{"ip": {"fragments": 1, "bad_length": 2}}},
		Calls:    map[string]int64{"dns": 1},
		Tables: []Table{
			{Name: "flows", Rows: 1, Parts: 1, Columns: []Column{{Name: "flow_id", Type: "BIGINT"}}},
			{Name: "calls", Protocol: "dns", Rows: 1, Parts: 1},
		},
	}
	in := Input{
		FileID: 0, Path: "data/packets/import/000-first_half.pcapng", Name: "first half.pcapng", SHA256: f.Sum(), Size: f.Size(),
		Format: "pcapng", Sections: 1, Packets: 3, FirstNs: At(0), LastNs: At(1_700_000_000_123_456_789),
	}
	in.AddInterface(Interface{Name: "eth0", LinkType: 1, SnapLen: 262144, TsResol: 9, Comments: []string{"<b>\x00\xff"}})
	in.AddDamage(Damage{Offset: 8, Length: 4, Kind: "bad_length", Detail: "block length 7, want a multiple of 4"})
	m.Inputs = []Input{in}
	return m
}

// build makes a bundle in a new folder.
func build(t testing.TB, o CreateOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "incident.pcapsule")
	b, err := Create(path, o)
	must(t, err)
	defer b.Abort()
	must(t, b.Finish(fill(t, b)))
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, path string) *Report {
	t.Helper()
	r, err := Verify(context.Background(), path, nil)
	must(t, err)
	return r
}

// names lists the contents of a folder, including hidden ones.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestBundleOpensAndVerifies(t *testing.T) {
	path := build(t, testOptions())
	b, err := Open(path)
	must(t, err)
	if b.Verified() != NotVerified {
		t.Errorf("opened bundle is %s, want not verified", b.Verified())
	}
	if got := b.Manifest.Input(0).Interfaces[0].Comments[0]; got != "<b>\x00�" {
		t.Errorf("comment %q", got)
	}
	if got := *b.Manifest.Window.LastNs; got != 1_700_000_000_123_456_789 {
		t.Errorf("window ends %d", got)
	}
	want := []string{b.Path("data/tables/calls/part-000.parquet"), b.Path("data/tables/calls/protocol=dns/part-000.parquet")}
	if diff := cmp.Diff(want, b.TableParts("calls")); diff != "" {
		t.Error(diff)
	}
	var done, total int64
	r, err := b.Verify(context.Background(), func(d, n int64) { done, total = d, n })
	must(t, err)
	must(t, r.Err())
	if b.Verified() != Verified || done != total || r.Bytes != total || r.Files != 13 {
		t.Errorf("%s, %d of %d bytes, %d files", b.Verified(), done, total, r.Files)
	}
	if len(r.Custody) != 1 || r.Custody[0].User != "ann" || r.Custody[0].Time.String() != "2026-01-02T03:04:05.000000006Z" {
		t.Errorf("custody %+v", r.Custody)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("beside the bundle: %q", got)
	}
}

// TestBundleOfAnOlderReleaseOpens uses a bundle.json of older releases, which named the system
// there.
func TestBundleOfAnOlderReleaseOpens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "old.pcapsule")
	b, err := Create(dir, CreateOptions{})
	must(t, err)
	must(t, b.Finish(&Manifest{Tool: Tool{Name: "pcapsule", Release: "0.1.0-dev", Platform: "linux/amd64"}}))
	text, err := os.ReadFile(filepath.Join(dir, "data", "bundle.json"))
	must(t, err)
	if !strings.Contains(string(text), `"platform": "linux/amd64"`) {
		t.Fatalf("no bundle of an older release: %s", text)
	}
	old, err := Open(dir)
	must(t, err)
	if old.Manifest.Tool.Platform != "linux/amd64" {
		t.Errorf("platform %q, want what the bundle says", old.Manifest.Tool.Platform)
	}
	r, err := old.Verify(t.Context(), nil)
	must(t, err)
	if !r.OK() {
		t.Errorf("problems: %v", r.Problems)
	}
}

func TestSha256sumReadsBothManifests(t *testing.T) {
	tool, err := exec.LookPath("sha256sum")
	if err != nil {
		t.Skip("needs sha256sum")
	}
	path := build(t, testOptions())
	for name, files := range map[string]int{manifestName: 9, tagManifestName: 4} {
		cmd := exec.Command(tool, "-c", "--strict", name)
		cmd.Dir = path
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), ": OK\n") != files {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestSameInputGivesSameBytes(t *testing.T) {
	one := build(t, testOptions())
	two := build(t, CreateOptions{Time: time.Now(), User: "bob", Host: "lap", Organization: "Example\r\nInjected: yes"})
	for _, rel := range []string{manifestName, jsonName, openSQLName} {
		a, err := os.ReadFile(filepath.Join(one, rel))
		must(t, err)
		b, err := os.ReadFile(filepath.Join(two, rel))
		must(t, err)
		if diff := cmp.Diff(string(a), string(b)); diff != "" {
			t.Errorf("%s: %s", rel, diff)
		}
	}
	info, err := os.ReadFile(filepath.Join(two, bagInfoName))
	must(t, err)
	if strings.Contains(string(info), "\nInjected") {
		t.Errorf("a value made a line of its own: %s", info)
	}
}

func TestVerifyReportsProblems(t *testing.T) {
	const input = "data/packets/import/000-first_half.pcapng"
	tests := []struct {
		name   string
		break_ func(t *testing.T, dir string)
		file   string // what must be blamed
		kind   string
		opens  bool
	}{
		{"missing table part", remove("data/tables/flows/part-000.parquet"), "data/tables/flows/part-000.parquet", Missing, false},
		{"missing bundle.json", remove(jsonName), jsonName, Missing, false},
		{"missing manifest", remove(manifestName), manifestName, Missing, false},
		{"missing tagmanifest", remove(tagManifestName), tagManifestName, Missing, true},
		{"missing bag-info", remove(bagInfoName), bagInfoName, Missing, true},
		{"missing custody log", remove(custodyName), custodyName, Missing, true},
		{"added beside the payload", write("data/tables/flows/part-001.parquet", "x"), "data/tables/flows/part-001.parquet", Added, true},
		{"added tag file", write("fetch.txt", "x"), "fetch.txt", Added, true},
		{"added signature is allowed", write("custody/seal.dsse.json", "{}"), "", "", true},
		{"changed byte of the packets", flip(input), input, Changed, true},
		{"packets one byte longer", extend(input), input, Changed, false},
		{"changed bundle.json", extend(jsonName), jsonName, Changed, true},
		{"changed bag-info", extend(bagInfoName), bagInfoName, Changed, true},
		{"changed manifest", func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, manifestName))
			must(t, err)
			data[0] = '0' + (data[0]+1)%10
			must(t, os.WriteFile(filepath.Join(dir, manifestName), data, 0o666))
		}, manifestName, Changed, true},
		{"link in place of a file", func(t *testing.T, dir string) {
			p := filepath.Join(dir, openSQLName)
			must(t, os.Rename(p, filepath.Join(filepath.Dir(dir), "elsewhere.sql")))
			must(t, os.Symlink("../../elsewhere.sql", p))
		}, openSQLName, Refused, false},
		{"linked folder", func(t *testing.T, dir string) {
			p := filepath.Join(dir, "data/tables/flows")
			must(t, os.Rename(p, filepath.Join(filepath.Dir(dir), "flows")))
			must(t, os.Symlink("../../../flows", p))
		}, "data/tables/flows", Refused, false},
		{"named pipe in custody", func(t *testing.T, dir string) {
			makePipe(t, filepath.Join(dir, "custody/pipe"))
		}, "custody/pipe", Refused, true},
		{"tagmanifest replaced with everything under it", func(t *testing.T, dir string) {
			other := build(t, CreateOptions{Time: time.Unix(1, 0)})
			for _, rel := range []string{tagManifestName, bagInfoName} {
				data, err := os.ReadFile(filepath.Join(other, rel))
				must(t, err)
				must(t, os.WriteFile(filepath.Join(dir, rel), data, 0o666))
			}
		}, tagManifestName, Changed, true},
		{"tagmanifest that lists too little", func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, tagManifestName))
			must(t, err)
			first, rest, _ := bytes.Cut(data, []byte("\n"))
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
			must(t, os.WriteFile(filepath.Join(dir, tagManifestName), append(append(first, '\n'), rest...), 0o666))
		}, tagManifestName, Malformed, true},
		{"README.html that the tagmanifest does not list", func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, tagManifestName))
			must(t, err)
			_, rest, _ := bytes.Cut(data, []byte("\n"))
			must(t, os.WriteFile(filepath.Join(dir, tagManifestName), rest, 0o666))
		}, readmeName, Added, true},
		{"manifest that leads out", write(manifestName, strings.Repeat("0", 64)+"  data/../../x\n"), manifestName, Malformed, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := build(t, testOptions())
			tt.break_(t, dir)
			r := verify(t, dir)
			found := tt.file == ""
			for _, p := range r.Problems {
				found = found || p.File == tt.file && p.Kind == tt.kind
			}
			if !found || r.OK() != (tt.file == "") || errors.Is(r.Err(), ErrVerification) == r.OK() {
				t.Errorf("problems %v, want %s: %s", r.Problems, tt.file, tt.kind)
			}
			b, err := Open(dir)
			if (err == nil) != tt.opens {
				t.Errorf("opening: %v, want opens %v", err, tt.opens)
			}
			var damaged *DamagedError
			if err != nil && !errors.As(err, &damaged) {
				t.Errorf("opening: %v, want a DamagedError", err)
			}
			if err == nil && tt.file != "" {
				if _, err := b.Verify(context.Background(), nil); err != nil || b.Verified() != Broken {
					t.Errorf("verify: %v, bundle is %s", err, b.Verified())
				}
			}
		})
	}
}

func remove(rel string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, rel))) }
}

func write(rel, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		must(t, os.WriteFile(filepath.Join(dir, rel), []byte(text), 0o666))
	}
}

func flip(rel string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		data, err := os.ReadFile(filepath.Join(dir, rel))
		must(t, err)
		data[len(data)/2] ^= 1
		must(t, os.WriteFile(filepath.Join(dir, rel), data, 0o666))
	}
}

func extend(rel string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		f, err := os.OpenFile(filepath.Join(dir, rel), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.Write([]byte("\n"))
		must(t, err)
		must(t, f.Close())
	}
}

func TestOpenRefuses(t *testing.T) {
	newer := func(t *testing.T, dir string) {
		must(t, os.WriteFile(filepath.Join(dir, jsonName), []byte(`{"schema_version":7,"tool":{"name":"pcapsule","release":"9.1"},"inputs":"other"}`), 0o666))
	}
	tests := []struct {
		name string
		make func(t *testing.T) string
		want error
	}{
		{"nothing there", func(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }, fs.ErrNotExist},
		{"empty folder", func(t *testing.T) string { return t.TempDir() }, ErrNotBundle},
		{"text file", func(t *testing.T) string {
			p := filepath.Join(t.TempDir(), "a.txt")
			must(t, os.WriteFile(p, []byte("hello"), 0o666))
			return p
		}, ErrNotBundle},
		{"bag of somebody else", func(t *testing.T) string {
			dir := t.TempDir()
			write(bagitName, bagitText)(t, dir)
			write(manifestName, "")(t, dir)
			return dir
		}, ErrNotBundle},
		{"device", func(t *testing.T) string { return "/dev/null" }, ErrNotBundle},
		{"newer schema", func(t *testing.T) string {
			dir := build(t, testOptions())
			newer(t, dir)
			return dir
		}, ErrNewerSchema},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Open(tt.make(t))
			if !errors.Is(err, tt.want) || b != nil {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			var n *NewerSchemaError
			if tt.want == ErrNewerSchema && (!errors.As(err, &n) || n.Found != 7 || n.Known != SchemaVersion || n.Tool.Release != "9.1") {
				t.Errorf("%v does not tell the versions", err)
			}
		})
	}
}

func TestOpeningWritesNothingAndNeedsNoWriting(t *testing.T) {
	dir := build(t, testOptions())
	before := snapshot(t, dir)
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		must(t, err)
		if e.IsDir() {
			t.Cleanup(func() { os.Chmod(p, 0o755) })
			return os.Chmod(p, 0o555)
		}
		return os.Chmod(p, 0o444)
	}))
	if os.Getuid() == 0 {
		makeReadOnly(t, dir) // modes do not hold root back
	}
	b, err := Open(dir)
	must(t, err)
	r, err := b.Verify(context.Background(), nil)
	must(t, err)
	must(t, r.Err())
	if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		info, _ := e.Info()
		all[p] = info.ModTime().String() + " " + string(data[:min(len(data), 4096)])
		return err
	}))
	return all
}

func TestVerifyStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := Verify(ctx, build(t, testOptions()), nil); !errors.Is(err, context.Canceled) || r != nil {
		t.Errorf("got %v, %v", r, err)
	}
}
