//go:build !windows

package read

import (
	"errors"
	"os"
)

// unnamed makes a file in dir that disappears when it is closed, however the program ends.
func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".pcapsule-stdin-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
