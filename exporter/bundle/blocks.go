package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
)

// BlockSize is the number of bytes of a packet file that can be verified without reading the whole
// file. The last block of a file may be shorter.
const BlockSize = 256 << 10

const (
	blocksName  = "data/blocks-sha256.txt"
	packetsDir  = "data/packets/"
	maxBlocks   = 256 << 20 // bytes of blocks-sha256.txt: 1 TiB of packets
	blocksFirst = "block 262144\n"
	blocksFile  = "file " // before the path of a file
)

// Blocks has the state of SHA-256 (FIPS 180-4 section 6.2.2, H(i)) at the end of each block of a
// bundle's packet files, by path. After a last block that is shorter, it is the hash of the file.
// So the file's hash needs no second computation, and other bytes with the same state would be a
// SHA-256 collision.
type Blocks map[string][]Digest

// Check compares block no of a packet file with the list. It returns a *DamagedError if they differ.
func (b Blocks) Check(rel string, no int64, data []byte) error {
	sums := b[rel]
	if no < 0 || no >= int64(len(sums)) {
		return &DamagedError{File: rel, What: fmt.Sprintf("%s has no block %d of it", blocksName, no)}
	}
	h := NewBlockHash()
	if no > 0 {
		sha.Resume(h.hash, sha.State(sums[no-1]), uint64(no*BlockSize))
	}
	h.Write(data)
	if got := h.Sums(); len(got) != 1 || got[0] != sums[no] {
		return &DamagedError{File: rel, What: fmt.Sprintf("block %d, %d bytes at %d, does not match %s", no, len(data), no*BlockSize, blocksName)}
	}
	return nil
}

// encode writes blocks-sha256.txt (docs/format/bundle.md), or nothing if it would be too large.
func (b Blocks) encode() []byte {
	out := bytes.NewBufferString(blocksFirst)
	for _, rel := range slices.Sorted(maps.Keys(b)) {
		if out.Len()+len(b[rel])*(2*sha256.Size+1) > maxBlocks {
			return nil // LIMIT: more than 1 TiB of packets; in a store they are read without a check
		}
		fmt.Fprintf(out, "%s%s\n", blocksFile, rel)
		for _, sum := range b[rel] {
			fmt.Fprintf(out, "%s\n", sum)
		}
	}
	return out.Bytes()
}

// parseBlocks reads blocks-sha256.txt. It accepts only what encode writes.
func parseBlocks(data []byte) (Blocks, error) {
	b := Blocks{}
	text, ok := strings.CutPrefix(string(data), blocksFirst)
	if !ok || text != "" && !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("it does not begin with %q, or ends within a line", strings.TrimSpace(blocksFirst))
	}
	rel, no := "", 1
	for l := range strings.Lines(text) {
		l, no = strings.TrimSuffix(l, "\n"), no+1
		if path, ok := strings.CutPrefix(l, blocksFile); ok {
			if !validRel(path) || !strings.HasPrefix(path, packetsDir) || path <= rel {
				return nil, fmt.Errorf("line %d: %q is not the path of the next packet file", no, path)
			}
			rel, b[path] = path, []Digest{}
			continue
		}
		var sum Digest
		if err := sum.UnmarshalText([]byte(l)); err != nil || sum.String() != l || rel == "" {
			return nil, fmt.Errorf("line %d is not a SHA-256 in 64 lower-case hexadecimal digits after the path of a file", no)
		}
		b[rel] = append(b[rel], sum)
	}
	return b, nil
}

// Blocks reads and verifies the list of blocks. It is nil if the bundle has none, such as a bundle
// of an older release.
func (b *Bundle) Blocks() (Blocks, error) {
	at, ok := slices.BinarySearchFunc(b.files, blocksName, func(l line, rel string) int { return strings.Compare(l.path, rel) })
	if !ok {
		return nil, nil
	}
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", blocksName, err)
	}
	defer root.Close()
	data, err := readAll(dirSource{root}, blocksName, maxBlocks)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != b.files[at].sha256 {
		return nil, &DamagedError{File: blocksName, What: "it does not match " + manifestName}
	}
	list, err := parseBlocks(data)
	if err != nil {
		return nil, &DamagedError{File: blocksName, What: err.Error(), Err: err}
	}
	for i := range b.Manifest.Inputs {
		in := &b.Manifest.Inputs[i]
		if n := (in.Size + BlockSize - 1) / BlockSize; n != int64(len(list[in.Path])) {
			return nil, &DamagedError{File: blocksName, What: fmt.Sprintf("%d blocks of %s instead of %d", len(list[in.Path]), in.Path, n)}
		}
	}
	return list, nil
}

// BlockHash is the SHA-256 of a packet file, which also lists its state after each block.
type BlockHash struct {
	hash hash.Hash
	n    int // bytes of the current block
	sums []Digest
}

// NewBlockHash returns a BlockHash of no bytes.
func NewBlockHash() *BlockHash { return &BlockHash{hash: sha.New(), sums: []Digest{}} }

// Write implements io.Writer.
func (h *BlockHash) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), BlockSize-h.n)
		h.hash.Write(p[:n])
		if h.n, p = h.n+n, p[n:]; h.n == BlockSize {
			h.sums, h.n = append(h.sums, h.state()), 0
		}
	}
	return total, nil
}

// Sum appends the SHA-256 of everything that was written.
func (h *BlockHash) Sum(b []byte) []byte { return h.hash.Sum(b) }

// Sums lists the state after each block and, if bytes follow, the SHA-256.
func (h *BlockHash) Sums() []Digest {
	if h.n > 0 {
		return append(slices.Clip(h.sums), Digest(h.hash.Sum(nil)))
	}
	return h.sums
}

func (h *BlockHash) state() Digest {
	s, _ := sha.StateOf(h.hash)
	return Digest(s)
}

// writeBlocks writes the hashes of the blocks of all packet files. It reads only files that others wrote.
func (b *Builder) writeBlocks() error {
	list := Blocks{}
	b.mu.Lock()
	_, there := b.known[blocksName]
	for rel, k := range b.known {
		if k.blocks != nil {
			list[rel] = k.blocks
		}
	}
	b.mu.Unlock()
	err := fs.WalkDir(os.DirFS(b.dir), path.Clean(packetsDir), func(rel string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() || list[rel] != nil {
			return err
		}
		h := NewBlockHash()
		sum, err := hashFile(filepath.Join(b.dir, filepath.FromSlash(rel)), h)
		list[rel] = h.Sums()
		if info, statErr := e.Info(); err == nil && statErr == nil {
			b.Add(rel, info.Size(), sum)
		}
		return err
	})
	if data := list.encode(); err == nil && !there && len(list) > 0 && data != nil {
		err = b.writeTag(blocksName, data)
	}
	return err
}

// blocks compares the list of block hashes with the packet files, as they were hashed.
func (v *verifier) blocks(there map[string]int64) {
	if !v.has(blocksName, there) || v.reported(blocksName) {
		return
	}
	data, err := readAll(v.src, blocksName, maxBlocks)
	var list Blocks
	if err == nil {
		list, err = parseBlocks(data)
	}
	if err != nil {
		v.report.add(blocksName, Malformed, "", err.Error())
		return
	}
	for _, rel := range slices.Sorted(maps.Keys(list)) {
		if _, ok := v.blockSums[rel]; !ok && !v.reported(rel) {
			v.report.add(blocksName, Malformed, "only packet files", rel)
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(v.blockSums)) {
		if sums := v.blockSums[rel]; !slices.Equal(sums, list[rel]) && !v.reported(rel) {
			v.report.add(blocksName, Changed, fmt.Sprintf("the %d blocks of %s", len(sums), rel), fmt.Sprintf("%d blocks, the first that differs is %d", len(list[rel]), firstDifference(sums, list[rel])))
		}
	}
}

func firstDifference(a, b []Digest) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
