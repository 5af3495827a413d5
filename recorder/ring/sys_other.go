//go:build !linux

package ring

import (
	"errors"
	"io/fs"
	"os"
)

// Rings are recorded on Linux only; on other systems they can be read, verified and pinned.
const canWrite = false

func lockFile(*os.File) (bool, error)      { return true, nil }
func locked(*os.File) (bool, error)        { return false, nil }
func reserve(*os.File, int64, int64) error { return errors.ErrUnsupported }
func syncData(f *os.File) error            { return f.Sync() }
func forget(*os.File)                      {}
func freeSpace(string) (int64, error)      { return 0, errors.ErrUnsupported }
func links(fs.FileInfo) uint64             { return 1 }
func renameNew(from, to string) error      { return os.Rename(from, to) }
func readOnly(error) bool                  { return false }
