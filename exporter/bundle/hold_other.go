//go:build !unix

package bundle

import "os"

// heldByFolder reports whether Hold keeps other programs from removing a folder. LIMIT: not here,
// so the files of a killed run must be removed by hand.
const heldByFolder = false

// Held is a folder that is in use.
type Held struct{}

// Hold holds a folder; see RemoveUnheld.
func Hold(string) (*Held, error) { return &Held{}, nil }

// Release lets others remove the folder.
func (h *Held) Release() {}

// RemoveUnheld removes a folder of which no file is open, and reports whether it did: a
// folder with an open file cannot be renamed here.
func RemoveUnheld(dir string) bool {
	gone := hiddenName(dir)
	return os.Rename(dir, gone) == nil && os.RemoveAll(gone) == nil
}
