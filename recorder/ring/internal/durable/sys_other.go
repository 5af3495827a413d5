//go:build !linux

package durable

import (
	"errors"
	"io/fs"
	"os"
)

// Rings are recorded on Linux only; on other systems they can be read, verified and pinned.
const Supported = false

func Lock(*os.File) (bool, error)          { return true, nil }
func Locked(*os.File) (bool, error)        { return false, nil }
func Reserve(*os.File, int64, int64) error { return errors.ErrUnsupported }
func SyncData(f *os.File) error            { return f.Sync() }
func Forget(*os.File)                      {}
func Space(string) (_, _ int64, _ error)   { return 0, 0, errors.ErrUnsupported }
func Links(fs.FileInfo) uint64             { return 1 }
func RenameNew(from, to string) error      { return os.Rename(from, to) }
func ReadOnly(error) bool                  { return false }
