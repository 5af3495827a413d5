package bundle

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listOf is blocks-sha256.txt for a file, made by simpler code.
func listOf(rel string, data []byte) string {
	out := "block 262144\nfile " + rel + "\n"
	for block := range slices.Chunk(data, BlockSize) {
		out += fmt.Sprintf("%x\n", sha256.Sum256(block))
	}
	return out
}

// TestBlocksOfEveryWayOfWriting writes a packet file in each way that Builder has, in pieces that end
// within blocks, at their ends and not at all.
func TestBlocksOfEveryWayOfWriting(t *testing.T) {
	const rel = "data/packets/import/000-x"
	for _, size := range []int{0, 1, BlockSize - 1, BlockSize, BlockSize + 1, 3 * BlockSize} {
		data := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
		for _, way := range []string{"create", "discard", "adopt", "path"} {
			b, err := Create(filepath.Join(t.TempDir(), "x.pcapsule"), testOptions())
			must(t, err)
			defer b.Abort()
			from := filepath.Join(filepath.Dir(b.dir), "from")
			var f *File
			switch way {
			case "create":
				f, err = b.Create(rel)
			case "discard":
				f, err = b.Discard(rel)
			case "adopt":
				must(t, os.WriteFile(from, data, 0o600))
				f, err = b.Adopt(rel, from)
			case "path":
				must(t, os.WriteFile(b.Path(rel), data, 0o600))
			}
			must(t, err)
			if f != nil {
				for piece := range slices.Chunk(data, 100_000) {
					_, err := f.Write(piece)
					must(t, err)
				}
				must(t, f.Close())
			}
			_, err = b.Draft()
			must(t, err)
			got, err := os.ReadFile(filepath.Join(b.dir, blocksName))
			must(t, err)
			if want := listOf(rel, data); string(got) != want {
				t.Errorf("%s, %d bytes: %s, want %s", way, size, got, want)
			}
		}
	}
}

// TestBlockListsThatLie alters the list of block hashes of a bundle and makes the manifests again, as its
// sender could: verifying names the list, and it is not used unless it is possible for these files.
func TestBlockListsThatLie(t *testing.T) {
	const rel = "data/packets/import/000-first_half.pcapng"
	good := listOf(rel, capture)
	lines := strings.SplitAfter(good, "\n")
	for what, list := range map[string]string{
		"a wrong hash":        lines[0] + lines[1] + lines[3] + lines[3],
		"hashes exchanged":    lines[0] + lines[1] + lines[3] + lines[2],
		"a hash more":         good + lines[3],
		"a hash less":         strings.TrimSuffix(good, lines[3]),
		"no file":             lines[0],
		"another file":        strings.Replace(good, "000", "001", 1),
		"one file more":       good + "file data/packets/import/001-x\n",
		"a file twice":        good + lines[1],
		"not a packet file":   strings.Replace(good, "data/packets", "data/tables", 1),
		"a path outside":      strings.Replace(good, "import/000", "../../../000", 1),
		"another block size":  strings.Replace(good, "262144", "262145", 1),
		"upper case":          lines[0] + lines[1] + strings.ToUpper(lines[2]) + lines[3],
		"an incomplete line":  good[:len(good)-1],
		"an empty line":       good + "\n",
		"nothing":             "",
		"a hash without file": lines[0] + lines[2],
	} {
		dir := build(t, testOptions())
		was, err := os.ReadFile(filepath.Join(dir, blocksName))
		must(t, err)
		if string(was) != good {
			t.Fatalf("%s, want %s", was, good)
		}
		must(t, os.WriteFile(filepath.Join(dir, blocksName), []byte(list), 0o600))
		sum := func(data []byte) string { return Digest(sha256.Sum256(data)).String() }
		old := was
		for _, in := range []struct{ rel, of string }{{manifestName, blocksName}, {tagManifestName, manifestName}} {
			data, err := os.ReadFile(filepath.Join(dir, in.rel))
			must(t, err)
			now, err := os.ReadFile(filepath.Join(dir, in.of))
			must(t, err)
			again := bytes.Replace(data, []byte(sum(old)), []byte(sum(now)), 1)
			must(t, os.WriteFile(filepath.Join(dir, in.rel), again, 0o600))
			old = data
		}
		if r := verify(t, dir); !r.OK() && !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.File == blocksName }) || r.OK() {
			t.Errorf("%s: %v", what, r.Problems)
		}
		b, err := Open(dir)
		must(t, err)
		sums, err := b.Blocks()
		if err == nil && sums.Check(rel, 0, capture[:BlockSize]) == nil && sums.Check(rel, 1, capture[BlockSize:]) == nil && what != "one file more" {
			t.Errorf("%s: it is used", what)
		}
	}
}
