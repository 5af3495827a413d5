package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// remake writes manifests and a custody log that fit the files, as somebody does who wants a change to pass.
func remake(t *testing.T, dir string) {
	t.Helper()
	var lines []line
	var size int64
	must(t, filepath.WalkDir(filepath.Join(dir, "data"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		must(t, err)
		rel, err := filepath.Rel(dir, p)
		lines, size = append(lines, line{filepath.ToSlash(rel), sha256.Sum256(data)}), size+int64(len(data))
		return err
	}))
	sortLines(lines)
	must(t, os.WriteFile(filepath.Join(dir, manifestName), writeLines(lines), 0o666))
	info, err := os.ReadFile(filepath.Join(dir, bagInfoName))
	must(t, err)
	before, after, _ := strings.Cut(string(info), "Payload-Oxum: ")
	_, after, _ = strings.Cut(after, "\n")
	must(t, os.WriteFile(filepath.Join(dir, bagInfoName), fmt.Appendf(nil, "%sPayload-Oxum: %d.%d\n%s", before, size, len(lines), after), 0o666))
	retag(t, dir)
}

// retag writes the tagmanifest and the custody log again.
func retag(t *testing.T, dir string) {
	t.Helper()
	var tags []line
	for _, name := range tagFiles {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		tags = append(tags, line{name, sha256.Sum256(data)})
	}
	list := writeLines(tags)
	must(t, os.WriteFile(filepath.Join(dir, tagManifestName), list, 0o666))
	sum := Digest(sha256.Sum256(list))
	first, err := encodeEntry(Entry{Event: EventMade, TagManifest: &sum})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, custodyName), first, 0o666))
}

// edit changes a file as text.
func edit(rel, old, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, rel))
		must(t, err)
		if !bytes.Contains(data, []byte(old)) {
			t.Fatalf("%s has no %q", rel, old)
		}
		must(t, os.WriteFile(filepath.Join(dir, rel), bytes.Replace(data, []byte(old), []byte(text), 1), 0o666))
	}
}

// TestNamesThatOtherSystemsReadDifferently adds files whose names are equal to others, or impossible, on some system,
// with manifests that list them.
func TestNamesThatOtherSystemsReadDifferently(t *testing.T) {
	for _, name := range []string{
		"data/open.SQL", "data/OPEN.sql", "data/Tables/flows/part-001.parquet", "data/tables/Flows/part-000.parquet", // case
		"data/\u017fql", "data/tables/\u212ax", // folds to s and k
		"data/caf\u00e9.sql", "data/cafe\u0301.sql", "data/\u1e9b\u0323", "data/\ufb01le", // normal forms
		"data/\u043epen.sql", "data/open\u200b.sql", "data/\u202elqs.nepo", "data/\uff4fpen.sql", // looks like another
		"data/aux", "data/con.sql", "data/nul.parquet", "data/open.sql.", // of Windows
		"data/a b", "data/open.sql;1", "data/$x", "data/-rf", "data/x~1", "data/`id`", "data/*", "data/a'b", "data/.hidden",
		"data/" + strings.Repeat("x", 150),
	} {
		dir := build(t, testOptions())
		p := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte("x"), 0o644))
		remake(t, dir)
		if r := verify(t, dir); r.OK() || !strings.Contains(fmt.Sprint(r.Problems), name) {
			t.Errorf("%q: problems %v", name, r.Problems)
		}
		zipped := filepath.Join(t.TempDir(), "a.zip")
		pack(t, dir, zipped)
		if r, err := Verify(context.Background(), zipped, nil); err == nil && r.OK() {
			t.Errorf("%q in a ZIP: nothing", name)
		}
	}
}

// TestTagFilesThatOthersReadDifferently changes the files of the bag, with a tagmanifest that fits.
func TestTagFilesThatOthersReadDifferently(t *testing.T) {
	oxum := func(text string) func(*testing.T, string) { return edit(bagInfoName, "Payload-Oxum:", text) }
	for _, tt := range []struct {
		name, file string
		do         func(*testing.T, string)
	}{
		{"two oxums, ours first", bagInfoName, extendBy(bagInfoName, "Payload-Oxum: 1.1\n")},
		{"two oxums, ours last", bagInfoName, oxum("Payload-Oxum: 1.1\nPayload-Oxum:")},
		{"an oxum in capitals too", bagInfoName, extendBy(bagInfoName, "PAYLOAD-OXUM: 1.1\n")},
		{"an oxum with a blank too", bagInfoName, extendBy(bagInfoName, "Payload-Oxum : 1.1\n")},
		{"an oxum with more text", bagInfoName, func(t *testing.T, dir string) {
			oxum("Contact-Phone: 1\nPayload-Oxum:")(t, dir)
			extendBy(bagInfoName, " 7\n")(t, dir)
		}},
		{"no oxum", bagInfoName, oxum("Other:")},
		{"another oxum", bagInfoName, oxum("Payload-Oxum: 7")},
		{"a line without a label", bagInfoName, extendBy(bagInfoName, "text\n")},
		{"bytes that are no UTF-8", bagInfoName, extendBy(bagInfoName, "Note: \xff\n")},
		{"a version of BagIt that does not exist", bagitName, edit(bagitName, "1.0", "7.0")},
		{"another encoding", bagitName, edit(bagitName, "UTF-8", "UTF-16")},
		{"more in the declaration", bagitName, extendBy(bagitName, "Tag-File-Character-Encoding: UTF-16\n")},
		{"a byte order mark", bagitName, edit(bagitName, "BagIt", "\ufeffBagIt")},
		{"keys of bundle.json twice", jsonName, edit(jsonName, `"tool":`, `"tool": {}, "tool":`)},
		{"keys of bundle.json in capitals", jsonName, edit(jsonName, `"drops":`, `"Drops": 7, "drops":`)},
	} {
		dir := build(t, testOptions())
		tt.do(t, dir)
		if strings.HasPrefix(tt.file, "data/") {
			remake(t, dir)
		} else {
			retag(t, dir)
		}
		if r := verify(t, dir); r.OK() || r.Problems[0].File != tt.file {
			t.Errorf("%s: problems %v", tt.name, r.Problems)
		}
	}
	dir := build(t, testOptions())
	remake(t, dir)
	must(t, verify(t, dir).Err()) // what the test writes is not blamed for itself
}

func extendBy(rel, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, rel), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, err)
		must(t, f.Close())
	}
}

// TestZipsThatOthersReadDifferently changes the one-file form in ways that other programs would unpack differently, or
// that hide bytes in it.
func TestZipsThatOthersReadDifferently(t *testing.T) {
	dir := build(t, testOptions())
	zipped := filepath.Join(t.TempDir(), "a.zip")
	pack(t, dir, zipped)
	good, err := os.ReadFile(zipped)
	must(t, err)
	b, err := Open(dir)
	must(t, err)
	var stored bytes.Buffer
	_, err = b.Pack(context.Background(), &stored, nil)
	must(t, err)
	for name, data := range map[string][]byte{"by archive/zip": good, "by Pack": stored.Bytes(), "by others": deflated(t, dir), "by Info-ZIP to a pipe": piped(deflated(t, dir))} {
		if text := zipProblem(t, data); text != "" {
			t.Errorf("an intact ZIP %s: %s", name, text)
		}
	}
	good = stored.Bytes()
	name := []byte("incident.pcapsule/" + openSQLName)
	local, central := bytes.Index(good, name)-30, bytes.LastIndex(good, name)-46
	directory := bytes.Index(good, []byte("PK\x01\x02"))
	end := bytes.LastIndex(good, []byte("PK\x05\x06"))
	change := func(f func(b []byte)) []byte { c := bytes.Clone(good); f(c); return c }
	insert := func(at int, text string) []byte { return []byte(string(good[:at]) + text + string(good[at:])) }
	moved := func(b []byte, at int) { // the directory is at another place
		binary.LittleEndian.PutUint32(b[len(b)-22+16:], uint32(at))
	}
	second, err := os.ReadFile(zipped)
	must(t, err)
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"bytes before", append([]byte("#!/bin/sh\nexit\n"), good...)},
		{"a page before", append([]byte("<html><script>1</script></html>"), good...)},
		{"another ZIP before", append(bytes.Clone(second), good...)},
		{"bytes after", append(bytes.Clone(good), "more"...)},
		{"a null after", append(bytes.Clone(good), 0)},
		{"another ZIP after", append(bytes.Clone(good), second...)},
		{"bytes before the directory", func() []byte { b := insert(directory, "hidden"); moved(b, directory+6); return b }()},
		{"bytes before the end of the directory", insert(end, "hidden")},
		{"a comment", change(func(b []byte) {})[:0]},
		{"a local name that differs", change(func(b []byte) { copy(b[local+30:], "incident.pcapsule/data/evil.sql") })},
		{"a local name in another folder", change(func(b []byte) { copy(b[local+30:], "../etc/") })},
		{"a local size that differs", change(func(b []byte) { b[local+22]++ })},
		{"a local packed size that differs", change(func(b []byte) { b[local+18]++ })},
		{"a local checksum that differs", change(func(b []byte) { b[local+14] ^= 1 })},
		{"a local method that differs", change(func(b []byte) { b[local+8] = 8 })},
		{"a local flag of encryption", change(func(b []byte) { b[local+6] |= 1 })},
		{"no local signature", change(func(b []byte) { b[local] = 'X' })},
		{"two entries for one file", change(func(b []byte) { copy(b[central+46:], "incident.pcapsule/"+jsonName) })},
		{"one place for two entries", change(func(b []byte) { binary.LittleEndian.PutUint32(b[central+42:], 0) })},
		{"an entry too few", change(func(b []byte) { b[end+10]--; b[end+8]-- })},
		{"entries of another disk", change(func(b []byte) { b[end+4] = 1 })},
	} {
		if tt.name == "a comment" {
			tt.data = append(change(func(b []byte) { b[len(b)-2] = 7 }), "read me"...)
		}
		if zipProblem(t, tt.data) == "" {
			t.Errorf("%s: nothing", tt.name)
		}
	}
	for i := 0; i < len(good); i += 1 + len(good)/997 { // also the bytes of headers that nobody reads
		bad := change(func(b []byte) { b[i] ^= 1 })
		if text := zipProblem(t, bad); text == "" && !unimportant(good, i) {
			t.Errorf("byte %d of %d changed, %q: nothing", i, len(good), good[max(0, i-8):i+8])
		}
	}
}

// unimportant reports whether a byte is a date, a version or a right in a header of a ZIP.
func unimportant(data []byte, i int) bool {
	for back := range 46 {
		at := i - back
		if at < 0 {
			break
		}
		switch {
		case bytes.HasPrefix(data[at:], []byte("PK\x03\x04")) && back < 30:
			return back == 4 || back == 5 || back >= 10 && back < 14
		case bytes.HasPrefix(data[at:], []byte("PK\x01\x02")):
			return back >= 4 && back < 8 || back >= 12 && back < 16 || back >= 36 && back < 42
		}
	}
	return false
}

// zipProblem verifies a ZIP.
func zipProblem(t *testing.T, data []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "a.zip")
	must(t, os.WriteFile(p, data, 0o666))
	r, err := Verify(context.Background(), p, nil)
	if err != nil {
		return err.Error()
	}
	if r.OK() {
		return ""
	}
	return fmt.Sprint(r.Problems)
}

// deflated is a ZIP as other programs write it: packed members, their sizes after them, folders, extra fields.
func deflated(t *testing.T, dir string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	must(t, w.AddFS(os.DirFS(filepath.Dir(dir))))
	must(t, w.Close())
	return buf.Bytes()
}

// piped puts the size of each member before it too, as Info-ZIP does when it cannot seek back.
func piped(data []byte) []byte {
	for at := bytes.Index(data, []byte("PK\x01\x02")); string(data[at:at+4]) == "PK\x01\x02"; {
		head := data[at : at+sizeEntry]
		copy(data[u32(head[42:])+22:], head[24:28])
		at += sizeEntry + int(u16(head[28:])) + int(u16(head[30:]))
	}
	return data
}

// TestCustodyLogsOfTwoCopies joins logs of copies that were made from one bundle.
func TestCustodyLogsOfTwoCopies(t *testing.T) {
	dir := build(t, testOptions())
	b, err := Open(dir)
	must(t, err)
	base, err := os.ReadFile(filepath.Join(dir, custodyName))
	must(t, err)
	grow := func(events ...string) [][]byte {
		must(t, os.WriteFile(filepath.Join(dir, custodyName), base, 0o666))
		for _, e := range events {
			_, _, err := b.AppendCustody(Entry{Event: e})
			must(t, err)
		}
		data, err := os.ReadFile(filepath.Join(dir, custodyName))
		must(t, err)
		return bytes.SplitAfter(data, []byte("\n"))
	}
	one, two := grow("copied", "opened", "exported"), grow("received", "opened", "exported")
	join := func(lines ...[]byte) string { return string(bytes.Join(lines, nil)) }
	renumbered := func(l []byte, seq int) []byte {
		var e Entry
		must(t, json.Unmarshal(l, &e))
		e.Seq = int64(seq)
		text, err := encodeEntry(e)
		must(t, err)
		return text
	}
	for name, log := range map[string]string{
		"the end of the other":                  join(one[0], one[1], two[2], two[3]),
		"the middle of the other":               join(one[0], two[1], one[2], one[3]),
		"the last of the other":                 join(one[0], one[1], one[2], two[3]),
		"both, one after the other":             join(one[0], one[1], one[2], one[3], two[1], two[2]),
		"both, numbered again":                  join(one[0], one[1], renumbered(two[1], 2)),
		"the fork with its number":              join(one[0], one[1], renumbered(two[1], 2), renumbered(two[2], 3)),
		"a line between":                        join(one[0], renumbered(two[1], 1), renumbered(one[1], 2)),
		"the first twice":                       join(one[0], one[0], one[1]),
		"in two, without its first":             join(one[1], one[2]),
		"Windows line ends":                     strings.ReplaceAll(join(one...), "\n", "\r\n"),
		"a byte order mark":                     "\ufeff" + join(one...),
		"a blank in a line":                     strings.Replace(join(one[:3]...), `{"seq":1,`, `{ "seq":1,`, 1) + string(one[3]),
		"another key in a line":                 strings.Replace(join(one[:3]...), `{"seq":1,`, `{"x":1,"seq":1,`, 1) + string(one[3]),
		"the end escaped in the last":           strings.TrimSuffix(join(one...), "\n"),
		"a null at the end":                     join(one...) + "\x00",
		"the entries in an array":               "[" + strings.ReplaceAll(strings.TrimSpace(join(one...)), "\n", ",") + "]\n",
		"an entry of the other in a value":      join(one[0], one[1]) + strings.Replace(string(two[2]), `"event":"opened"`, `"event":"opened","Event":"x"`, 1),
		"the hash of the line in capitals":      join(one[0]) + strings.Replace(string(one[1]), `"prev":"`, `"prev":"A`, 1),
		"an entry that is not UTF-8":            join(one[0]) + strings.Replace(string(one[1]), `"copied"`, "\"copied\",\"note\":\"\xff\"", 1),
		"a time without nanoseconds":            join(one[0]) + strings.Replace(string(one[1]), `"time":"`, `"time":"2026-01-02T03:04:05Z","x":"`, 1),
		"a number with a fraction in the order": strings.Replace(join(one...), `"seq":1,`, `"seq":1.0,`, 1),
	} {
		must(t, os.WriteFile(filepath.Join(dir, custodyName), []byte(log), 0o666))
		if r := verify(t, dir); r.OK() || r.Problems[0].File != custodyName {
			t.Errorf("%s: problems %v", name, r.Problems)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, custodyName), []byte(join(two...)), 0o666))
	must(t, verify(t, dir).Err())
}
