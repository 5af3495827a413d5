package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Verify hashes every file of the bundle and compares it with the manifests, looks for missing
// and added files, and checks the chain of the custody log. The report lists the problems; the
// error is the reason why verification could not run. progress, if not nil, is called from
// several goroutines, but never concurrently.
//
// If the bundle was opened from a ZIP, both the ZIP and the folder to which it was unpacked are
// verified, because answers come from that folder.
func (b *Bundle) Verify(ctx context.Context, progress func(done, total int64)) (*Report, error) {
	r, err := verifyPath(ctx, b.Dir, progress)
	if err == nil && b.zip != "" {
		var z *Report
		if z, err = verifyPath(ctx, b.zip, progress); err == nil {
			z.merge(r)
			r = z
		}
	}
	if err != nil {
		return nil, err
	}
	if r.OK() {
		b.state.Store(int32(Verified))
	} else {
		b.state.Store(int32(Broken))
	}
	return r, nil
}

// Verify verifies the bundle at path, a directory or a transport ZIP, even if it is too damaged
// to be opened. A ZIP is read in place.
func Verify(ctx context.Context, path string, progress func(done, total int64)) (*Report, error) {
	return verifyPath(ctx, path, progress)
}

func verifyPath(ctx context.Context, path string, progress func(done, total int64)) (*Report, error) {
	return verifyBy(ctx, path, progress, (*verifier).run)
}

func verifyBy(ctx context.Context, path string, progress func(done, total int64), check func(*verifier) error) (*Report, error) {
	src, done, err := openSource(path)
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", path, err)
	}
	defer done()
	return verifySource(ctx, src, path, progress, check)
}

func verifySource(ctx context.Context, src source, path string, progress func(done, total int64), check func(*verifier) error) (*Report, error) {
	v := &verifier{ctx: ctx, src: src, report: &Report{Path: path, Problems: []Problem{}, Custody: []Entry{}}, progress: progress, seen: map[string]bool{}}
	if err := check(v); err != nil {
		return nil, fmt.Errorf("verifying %s: %w", path, err)
	}
	return v.report, nil
}

// openSource opens a directory or ZIP with at least one sign of a bundle.
func openSource(path string) (src source, done func() error, err error) {
	info, err := stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, nil, err
		}
		src, done = dirSource{root}, root.Close
	} else {
		z, err := newZipSource(path)
		if err != nil {
			return nil, nil, err
		}
		src, done = z, z.Close
	}
	for _, rel := range []string{bagitName, manifestName, jsonName} {
		if _, err := src.stat(rel); err == nil {
			return src, done, nil
		}
	}
	done()
	return nil, nil, fmt.Errorf("no %s: %w", bagitName, ErrNotBundle)
}

type verifier struct {
	ctx      context.Context
	src      source
	report   *Report
	progress func(done, total int64)
	seen     map[string]bool     // files that exist, but must not be hashed
	members  map[string]member32 // hashed files, filled in for a ZIP if not nil

	blockSums map[string][]Digest // of packet files, as they were hashed; nil: the bundle has no list

	mu    sync.Mutex
	done  int64
	total int64
}

// walk lists the plain files and their sizes.
func (v *verifier) walk() (there map[string]int64, err error) {
	there = map[string]int64{}
	err = v.src.walk(func(rel string, info fs.FileInfo) error {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if want, got := refuse(rel, info); want != "" {
			v.report.add(rel, Refused, want, got)
			v.seen[rel] = true
		} else if len(there) < maxFiles {
			there[rel] = info.Size()
		} else {
			v.report.add(rel, Refused, fmt.Sprintf("at most %d files", maxFiles), "")
		}
		return nil
	})
	return there, err
}

func (v *verifier) run() error {
	there, err := v.walk()
	if err != nil {
		return err
	}
	listed := v.lists(there)
	v.added(there, listed)
	v.sizes(there)
	if v.has(blocksName, there) {
		v.blockSums = map[string][]Digest{}
	}
	if err := v.hash(there, listed); err != nil {
		return err
	}
	v.oxum(there)
	v.blocks(there)
	v.content(listed)
	v.custody()
	if err := v.custodyFiles(there); err != nil {
		return err
	}
	slices.SortStableFunc(v.report.Problems, func(a, b Problem) int { return cmp.Compare(a.File, b.File) })
	return nil
}

// lists reads both manifests and returns their combined lines.
func (v *verifier) lists(there map[string]int64) []line {
	tags, ok := v.list(tagManifestName, there)
	if ok {
		want := map[string]bool{}
		for _, name := range tagFiles {
			want[name] = true
		}
		for _, l := range tags {
			if !want[l.path] {
				v.report.add(tagManifestName, Malformed, strings.Join(tagFiles[:], ", "), l.path)
			}
			delete(want, l.path)
		}
		for _, name := range tagFiles {
			if want[name] && name != readmeName {
				v.report.add(tagManifestName, Malformed, "a line for "+name, "none")
			}
		}
		tags = slices.DeleteFunc(tags, func(l line) bool { return !slices.Contains(tagFiles[:], l.path) })
	}
	payload, _ := v.list(manifestName, there)
	for _, l := range payload {
		if !strings.HasPrefix(l.path, "data/") {
			v.report.add(manifestName, Malformed, "only files below data/", l.path)
		} else if !portable(l.path) {
			v.report.add(manifestName, Malformed, fmt.Sprintf("names of [a-z0-9._=-], at most %d bytes", maxElement), l.path)
		}
	}
	payload = slices.DeleteFunc(payload, func(l line) bool { return !strings.HasPrefix(l.path, "data/") })
	return append(tags, payload...)
}

func (v *verifier) list(name string, there map[string]int64) ([]line, bool) {
	if v.seen[name] {
		return nil, false // already reported
	}
	if _, ok := there[name]; !ok {
		// If the tagmanifest lists it, hashing would report it a second time.
		if name != manifestName || !v.has(tagManifestName, there) {
			v.report.add(name, Missing, "", "")
		}
		return nil, false
	}
	data, err := readAll(v.src, name, maxListFile)
	var lines []line
	if err == nil {
		lines, err = parseLines(data)
	}
	if err != nil {
		v.report.add(name, Malformed, "", err.Error())
		return nil, false
	}
	if name == tagManifestName {
		v.report.TagManifest = sha256.Sum256(data)
	} else {
		v.report.Manifest = sha256.Sum256(data)
	}
	return lines, true
}

func (v *verifier) has(name string, there map[string]int64) bool {
	_, ok := there[name]
	return ok
}

// added finds unlisted files. Below custody/, later signatures and time stamps are allowed.
func (v *verifier) added(there map[string]int64, listed []line) {
	known := map[string]bool{tagManifestName: true}
	for _, name := range tagFiles {
		// Their absence from the tagmanifest was already reported.
		known[name] = name != readmeName
	}
	for _, l := range listed {
		known[l.path] = true
	}
	for rel := range there {
		if !known[rel] && !strings.HasPrefix(rel, custodyDir) {
			v.report.add(rel, Added, "", "")
		}
	}
}

// hash reads every listed file, the largest first so that all workers end at about the same
// time.
func (v *verifier) hash(there map[string]int64, listed []line) error {
	for _, l := range listed {
		v.total += there[l.path]
	}
	order := slices.Clone(listed)
	slices.SortStableFunc(order, func(a, b line) int { return cmp.Compare(there[b.path], there[a.path]) })
	got := make([]Digest, len(order))
	errs := make([]error, len(order))
	err := each(len(order), func(i int) error {
		if _, ok := there[order[i].path]; ok {
			got[i], errs[i] = v.sum(order[i].path)
		}
		return v.ctx.Err()
	})
	if err != nil {
		return err
	}
	for i, l := range order {
		_, ok := there[l.path]
		switch {
		case !ok && v.seen[l.path]:
		case !ok:
			v.report.add(l.path, Missing, l.sha256.String(), "")
		case errs[i] != nil:
			v.report.add(l.path, Malformed, l.sha256.String(), errs[i].Error())
		default:
			v.report.Files++
			if got[i] != l.sha256 {
				v.report.add(l.path, Changed, l.sha256.String(), got[i].String())
			}
		}
	}
	v.report.Bytes = v.done
	return nil
}

func (v *verifier) sum(rel string) (Digest, error) {
	f, err := v.src.open(rel)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	var r io.Reader = f
	if v.members != nil {
		var m member32
		r = io.TeeReader(f, &m)
		defer func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.members[rel] = m
		}()
	}
	h := hasherOf(rel)
	if blocks, ok := h.(*BlockHash); ok && v.blockSums != nil {
		defer func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.blockSums[rel] = blocks.Sums()
		}()
	}
	return hashReader(r, h, func(n int) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.done += int64(n)
		if v.progress != nil {
			v.progress(v.done, v.total)
		}
		return v.ctx.Err()
	})
}

// oxum compares the count and size of the payload with bag-info.txt.
func (v *verifier) oxum(there map[string]int64) {
	if !v.has(bagInfoName, there) {
		return // already reported
	}
	data, err := readAll(v.src, bagInfoName, maxTagFile)
	var size, files int64
	if err == nil {
		size, files, err = oxum(data)
	}
	if err != nil {
		v.report.add(bagInfoName, Malformed, "", err.Error())
		return
	}
	var gotSize, gotFiles int64
	for rel, n := range there {
		if strings.HasPrefix(rel, "data/") {
			gotSize, gotFiles = gotSize+n, gotFiles+1
		}
	}
	if size != gotSize || files != gotFiles {
		v.report.add(bagInfoName, Changed, fmt.Sprintf("Payload-Oxum %d.%d", size, files), fmt.Sprintf("%d.%d", gotSize, gotFiles))
	}
}

// declaration is what bagit.txt has. Other programs may write an earlier version.
var declaration = regexp.MustCompile(`^BagIt-Version: (0\.9[0-9]|1\.0)\r?\nTag-File-Character-Encoding: UTF-8(\r?\n)?$`)

// content compares bundle.json with the manifest: both contain the hashes of inputs and side
// inputs.
func (v *verifier) content(listed []line) {
	if text, err := readAll(v.src, bagitName, maxTagFile); err == nil && !declaration.Match(text) && !v.reported(bagitName) {
		v.report.add(bagitName, Malformed, strings.TrimSpace(bagitText), fmt.Sprintf("%.100q", text))
	}
	m, err := readManifest(v.src)
	if err == nil {
		err = v.spelling()
	}
	if err != nil {
		// A later schema is not damage: this checks the files.
		if !v.reported(jsonName) && !errors.Is(err, ErrNewerSchema) {
			v.report.add(jsonName, Malformed, "", err.Error())
		}
		return
	}
	v.report.Content = m
	sums := map[string]Digest{}
	for _, l := range listed {
		sums[l.path] = l.sha256
	}
	for i := range m.Inputs {
		if in := &m.Inputs[i]; sums[in.Path] != in.SHA256 {
			v.report.add(in.Path, Changed, in.SHA256.String()+" by bundle.json", sums[in.Path].String()+" by "+manifestName)
		}
	}
	for i := range m.SideInputs {
		s := &m.SideInputs[i]
		if s.Path == "" || s.SHA256 == nil {
			continue
		}
		if sum, ok := sums[s.Path]; !ok || sum != *s.SHA256 {
			v.report.add(s.Path, Changed, s.SHA256.String()+" by bundle.json", sum.String()+" by "+manifestName)
		}
	}
}

// spelling checks that every reader reads the same in bundle.json.
func (v *verifier) spelling() error {
	data, err := readAll(v.src, jsonName, MaxManifest)
	if err != nil {
		return err
	}
	return UniqueKeys(data)
}

func (v *verifier) reported(rel string) bool {
	return slices.ContainsFunc(v.report.Problems, func(p Problem) bool { return p.File == rel })
}
