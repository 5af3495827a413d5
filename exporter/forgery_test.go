package exporter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// forger changes a bundle and rewrites all its manifests, like an attacker who wants the change
// to pass.
type forger struct {
	t   *testing.T
	dir string

	ownPage bool // README.html is part of the forgery
}

// forge copies a bundle, lets change change it, and seals the copy.
func forge(t *testing.T, from string, change func(f *forger)) string {
	t.Helper()
	f := &forger{t: t, dir: filepath.Join(t.TempDir(), "forged.pcapsule")}
	if err := os.CopyFS(f.dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	change(f)
	f.seal()
	return f.dir
}

func (f *forger) read(rel string) []byte {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, rel))
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

func (f *forger) write(rel string, data []byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, rel)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// page makes README.html suit bundle.json, if that can be read.
func (f *forger) page() {
	f.t.Helper()
	b, err := bundle.Open(f.dir)
	if err != nil || f.ownPage {
		return
	}
	page, err := b.Manifest.Readme()
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(readmePath, page)
}

// seal rewrites README.html, the manifests and the custody log.
func (f *forger) seal() {
	f.t.Helper()
	f.page()
	var lines []string
	var size, files int64
	err := filepath.WalkDir(filepath.Join(f.dir, "data"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(f.dir, p)
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(data), filepath.ToSlash(rel)))
		size, files = size+int64(len(data)), files+1
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	f.write("manifest-sha256.txt", []byte(strings.Join(lines, "")))
	info := string(f.read("bag-info.txt"))
	before, _, _ := strings.Cut(info, "Payload-Oxum:")
	f.write("bag-info.txt", fmt.Appendf(nil, "%sPayload-Oxum: %d.%d\n", before, size, files))
	var tags []byte
	for _, name := range []string{"README.html", "bag-info.txt", "bagit.txt", "manifest-sha256.txt"} {
		tags = fmt.Appendf(tags, "%x  %s\n", sha256.Sum256(f.read(name)), name)
	}
	f.write("tagmanifest-sha256.txt", tags)
	log := bytes.SplitAfter(f.read("custody/log.jsonl"), []byte("\n"))
	var first map[string]any
	if err := json.Unmarshal(log[0], &first); err != nil {
		f.t.Fatal(err)
	}
	first["tagmanifest_sha256"] = fmt.Sprintf("%x", sha256.Sum256(tags))
	line, err := json.Marshal(first)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write("custody/log.jsonl", append(line, '\n'))
}

// judged verifies and rederives a forged bundle and returns the findings as text. An error from
// opening or rederiving it also counts as a finding.
func judged(t *testing.T, path string) string {
	t.Helper()
	rep, err := bundle.Verify(context.Background(), path, nil)
	if err != nil {
		return err.Error()
	}
	if !rep.OK() {
		return fmt.Sprint(rep.Problems)
	}
	b, err := bundle.Open(path)
	if err != nil {
		return err.Error()
	}
	r, err := Rederive(context.Background(), b, Options{Release: "test", Repanic: true, Jobs: 1})
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, d := range r.Differences {
		all = append(all, d.String())
	}
	return strings.Join(all, "\n")
}

// forgeable is a bundle with many tables, side inputs, damage and warnings.
func forgeable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	plain, err := os.ReadFile("../samples/shop.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.pcapng")
	if err := os.WriteFile(cut, plain[:len(plain)-37], 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "x.pcapsule")
	_, err = Run(context.Background(), []string{cut, "../samples/redis.pcap", "../samples/dns.pcap"}, out,
		Options{Release: "test", Repanic: true, Kube: []string{"../samples/shop.kube.json"}, ToNs: 1 << 61})
	if err != nil {
		t.Fatal(err)
	}
	if found := judged(t, out); found != "" {
		t.Fatalf("before it is forged: %s", found)
	}
	return out
}

// leaves returns every value of a JSON tree with its path; set changes it.
func leaves(at string, v any, each func(at string, v any, set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			leaf(at+"."+k, x, func(y any) { v[k] = y }, each)
		}
	case []any:
		for i, x := range v {
			leaf(fmt.Sprintf("%s[%d]", at, i), x, func(y any) { v[i] = y }, each)
		}
	}
}

func leaf(at string, v any, set func(any), each func(at string, v any, set func(any))) {
	switch v.(type) {
	case map[string]any, []any:
		leaves(at, v, each)
	default:
		each(strings.TrimPrefix(at, "."), v, set)
	}
}

// other is a value near v of the same kind.
func other(v any) any {
	switch v := v.(type) {
	case json.Number:
		return json.Number("1" + v.String())
	case bool:
		return !v
	case string:
		if len(v) == 64 && strings.Trim(v, "0123456789abcdef") == "" {
			if v[0] == '0' {
				return "1" + v[1:]
			}
			return "0" + v[1:]
		}
		if len(v) == 30 && strings.HasSuffix(v, "Z") {
			if v[28] == '0' {
				return v[:28] + "1Z"
			}
			return v[:28] + "0Z"
		}
		return v + "x"
	}
	return "x"
}

// compared is like judged for a bundle with the packets and options that x was made from, which
// saves time for many forgeries.
func compared(t *testing.T, x *remade, path string) string {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		return err.Error()
	}
	r, err := x.compare(context.Background(), b)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, d := range r.Differences {
		all = append(all, d.String())
	}
	return strings.Join(all, "\n")
}

func madeAgain(t *testing.T, path string) *remade {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := makeAgain(context.Background(), b, Options{Release: "test", Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.remove)
	return x
}

// TestEveryFieldOfTheManifestIsProven changes every value in bundle.json, one at a time. A
// change that is not detected must be in a field that packets cannot prove.
func TestEveryFieldOfTheManifestIsProven(t *testing.T) {
	dir := forgeable(t)
	x := madeAgain(t, dir)
	f := &forger{t: t, dir: dir}
	var m any
	if err := decodeNumbers(f.read("data/bundle.json"), &m); err != nil {
		t.Fatal(err)
	}
	unproven := regexp.MustCompile(`^(inputs\[\d\]\.name|side_inputs\[\d\]\.(name|kind|sha256_original|size_original)|filters\.to)$`)
	options := regexp.MustCompile(`^(inputs|side_inputs|filters|options|tool)\b`)
	n := 0
	tried := map[string]int{}
	try := func(at, what string) {
		// Items of one list have the same fields, so a few of each are enough.
		kind := regexp.MustCompile(`\[\d+\]`).ReplaceAllString(at, "[]") + what[:5]
		if tried[kind]++; tried[kind] > nightly.Of(1, 2) {
			return
		}
		n++
		text, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		f.write("data/bundle.json", append(text, '\n'))
		var found string
		if options.MatchString(at) {
			f.seal()
			found = judged(t, dir)
		} else {
			f.page()
			found = compared(t, x, dir)
		}
		if (found == "" || strings.HasPrefix(found, "data/bundle.json: is not written as")) && !unproven.MatchString(at) {
			t.Errorf("%s %s: %q", at, what, found)
		}
	}
	leaves("", m, func(at string, v any, set func(any)) {
		set(other(v))
		try(at, fmt.Sprintf("changed from %v to %v", v, other(v)))
		set(v)
	})
	keys("", m, func(at string, in map[string]any, k string) {
		v := in[k]
		delete(in, k)
		try(at, "removed")
		in[k+"_x"] = "1"
		in[k] = v
		try(at+"_x", "added")
		delete(in, k+"_x")
	})
	t.Logf("%d forgeries", n)
}

// keys returns every key of the objects in the top three levels; deeper ones have fields of the
// same structs.
func keys(at string, v any, each func(at string, in map[string]any, k string)) {
	m, ok := v.(map[string]any)
	if !ok || strings.Count(at, ".") > 2 {
		return
	}
	for k, x := range maps.Clone(m) {
		each(strings.TrimPrefix(at+"."+k, "."), m, k)
		keys(at+"."+k, x, each)
	}
}
