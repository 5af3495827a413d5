package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle/internal/disk"
)

// Limits that are checked before anything is hashed. A file can claim terabytes that use no disk
// space but take hours to hash.
const (
	maxOpenSQL    = 16 << 20 // bytes of open.sql
	maxSignature  = 1 << 20  // bytes of a file in custody/ other than the log
	maxSignatures = 256      // number of such files
	sparseFrom    = 1 << 30  // bytes of a file from which holes in it are looked for
	sparseRatio   = 100      // bytes over bytes on the disk
)

// refuse returns the reason why a file is not allowed in a bundle, regardless of its content; empty
// if it is allowed.
func refuse(rel string, info fs.FileInfo) (want, got string) {
	if info.IsDir() {
		return "a folder with files", "an empty folder"
	}
	if !info.Mode().IsRegular() {
		return "a plain file", kindOf(info.Mode())
	}
	limit := int64(0)
	switch {
	case rel == bagitName || rel == bagInfoName || rel == readmeName || rel == tagManifestName:
		limit = maxTagFile
	case rel == manifestName:
		limit = maxListFile
	case rel == jsonName:
		limit = MaxManifest
	case rel == blocksName:
		limit = maxBlocks
	case rel == openSQLName:
		limit = maxOpenSQL
	case rel == custodyName:
		limit = maxCustody
	case strings.HasPrefix(rel, custodyDir):
		limit = maxSignature
	}
	if limit > 0 && info.Size() > limit {
		return fmt.Sprintf("at most %d bytes", limit), fmt.Sprintf("%d bytes", info.Size())
	}
	names, bytes := disk.OnDisk(info)
	if names > 1 {
		return "a file of its own", fmt.Sprintf("a hard link: the file has %d names", names)
	}
	if bytes >= 0 && info.Size() >= sparseFrom && info.Size()/sparseRatio > bytes {
		return "a file that is on the disk", fmt.Sprintf("%d bytes, of which %d are on the disk", info.Size(), bytes)
	}
	return "", ""
}

// sizes compares the sizes of files with the recorded ones before the files are hashed: those of
// inputs and side inputs are in bundle.json, the others must fit into Payload-Oxum. A file of
// another size is reported and not hashed.
func (v *verifier) sizes(there map[string]int64) {
	wrong := func(rel, want string, got int64) {
		v.report.add(rel, Changed, want, fmt.Sprintf("%d bytes", got))
		delete(there, rel)
		v.seen[rel] = true
	}
	known := map[string]bool{}
	if m, err := readManifest(v.src); err == nil {
		check := func(rel string, size int64) {
			known[rel] = true
			if got, ok := there[rel]; ok && got != size {
				wrong(rel, fmt.Sprintf("%d bytes", size), got)
			}
		}
		for i := range m.Inputs {
			check(m.Inputs[i].Path, m.Inputs[i].Size)
		}
		for i := range m.SideInputs {
			if s := &m.SideInputs[i]; s.Path != "" {
				check(s.Path, s.Size)
			}
		}
	}
	data, err := readAll(v.src, bagInfoName, maxTagFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if total, _, err := oxum(data); err == nil {
		for rel, n := range there {
			if strings.HasPrefix(rel, "data/") && !known[rel] && n > total {
				wrong(rel, fmt.Sprintf("at most the %d bytes of the whole payload", total), n)
			}
		}
	}
}

// kindOf names what a path is if it is not a plain file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}
