package offer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/internal/whole"
)

// write writes a value as JSON into a file of a folder.
func write(dir, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return whole.Replace(filepath.Join(dir, name), 0o600, whole.Text(text))
}

// read reads it, at most so many bytes; what it has, for errors. Without the file, the value stays as it is.
func read(dir, name, what string, most int64, v any) error {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Size() > most {
		err = fmt.Errorf("%s has %d bytes, the limit is %d", path, info.Size(), most)
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}
