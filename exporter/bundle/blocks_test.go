package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listOf is blocks-sha256.txt for a file, made with a SHA-256 of our own.
func listOf(rel string, data []byte) string {
	out := "block 262144\nfile " + rel + "\n"
	state := [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
	for block := range slices.Chunk(data, BlockSize) {
		if len(block) < BlockSize {
			return out + fmt.Sprintf("%x\n", sha256.Sum256(data))
		}
		for piece := range slices.Chunk(block, 64) {
			compress(&state, piece)
		}
		for _, word := range state {
			out += fmt.Sprintf("%08x", word)
		}
		out += "\n"
	}
	return out
}

// compress is the compression function of SHA-256 (FIPS 180-4 section 6.2.2).
func compress(state *[8]uint32, block []byte) {
	var w [64]uint32
	for t := range w {
		if t < 16 {
			w[t] = binary.BigEndian.Uint32(block[4*t:])
			continue
		}
		x, y := w[t-15], w[t-2]
		w[t] = (bits.RotateLeft32(y, -17) ^ bits.RotateLeft32(y, -19) ^ y>>10) + w[t-7] + (bits.RotateLeft32(x, -7) ^ bits.RotateLeft32(x, -18) ^ x>>3) + w[t-16]
	}
	v := *state
	for t := range w {
		a, e := v[0], v[4]
		t1 := v[7] + (bits.RotateLeft32(e, -6) ^ bits.RotateLeft32(e, -11) ^ bits.RotateLeft32(e, -25)) + (e&v[5] ^ ^e&v[6]) + cubeRoots[t] + w[t]
		t2 := (bits.RotateLeft32(a, -2) ^ bits.RotateLeft32(a, -13) ^ bits.RotateLeft32(a, -22)) + (a&v[1] ^ a&v[2] ^ v[1]&v[2])
		v = [8]uint32{t1 + t2, v[0], v[1], v[2], v[3] + t1, v[4], v[5], v[6]}
	}
	for i := range state {
		state[i] += v[i]
	}
}

// cubeRoots are the first 32 bits of the fractional parts of the cube roots of the first 64 primes
// (FIPS 180-4 section 4.2.2).
var cubeRoots = func() (k [64]uint32) {
	n := 0
	for p := int64(2); n < len(k); p++ {
		if !big.NewInt(p).ProbablyPrime(0) {
			continue
		}
		root := new(big.Float).SetPrec(200).SetInt64(p) // Newton's iteration for x³ = p
		x := new(big.Float).SetPrec(200).SetFloat64(math.Cbrt(float64(p)))
		for range 5 {
			square := new(big.Float).Mul(x, x)
			over := new(big.Float).Quo(root, square)
			x.Quo(x.Add(x.Add(x, x), over), big.NewFloat(3))
		}
		whole, _ := x.Int(nil)
		x.Sub(x, new(big.Float).SetInt(whole))
		bits32, _ := x.Mul(x, big.NewFloat(1<<32)).Int64()
		k[n], n = uint32(bits32), n+1
	}
	return k
}()

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
