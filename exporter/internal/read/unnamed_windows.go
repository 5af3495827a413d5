package read

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// unnamed makes a file that disappears when it is closed, however the program ends. Windows
// removes no open file except on closing, so the file has a name until then. It is therefore not
// in the folder used on Unix, which is part of an unfinished bundle.
func unnamed(string) (*os.File, error) {
	path, err := filepath.Abs(filepath.Join(os.TempDir(), ".pcapsule-stdin-"+rand.Text()))
	if err != nil {
		return nil, err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE|windows.DELETE, windows.FILE_SHARE_DELETE, nil,
		windows.CREATE_NEW, windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
