package bundle

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"unicode/utf8"
)

// partialName matches the names that hiddenName makes.
var partialName = regexp.MustCompile(`^\..+\.partial-[0-9a-f]{12}$`)

// IsPartial reports whether a folder of this base name is an unfinished bundle.
func IsPartial(name string) bool { return partialName.MatchString(name) }

// hiddenName is a name beside final for an unfinished bundle.
func hiddenName(final string) string {
	var r [6]byte
	rand.Read(r[:])
	name := filepath.Base(final)
	for len(name) > 220 { // the whole name must fit in 255 bytes
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return filepath.Join(filepath.Dir(final), "."+name+".partial-"+hex.EncodeToString(r[:]))
}

// makeHidden makes a held folder beside final, after it removed what killed runs left in
// that folder.
func makeHidden(final string) (dir string, held *Held, err error) {
	removeLeftovers(filepath.Dir(final))
	for range 3 { // another run may take a folder for a leftover before it is held
		dir = hiddenName(final)
		if err = os.Mkdir(dir, 0o777); err != nil {
			return "", nil, err
		}
		if held, err = Hold(dir); err == nil {
			return dir, held, nil
		}
	}
	return "", nil, fmt.Errorf("holding %s: %w", dir, err)
}

// removeLeftovers removes the unfinished bundles in dir that no running program holds. What
// cannot be removed stays: the run that looks does not depend on it.
func removeLeftovers(dir string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, f := range list {
		if f.IsDir() && IsPartial(f.Name()) && heldByFolder {
			RemoveUnheld(filepath.Join(dir, f.Name()))
		}
	}
}
