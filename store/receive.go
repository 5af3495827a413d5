package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// receiving ends the name of the hidden folder of a bundle that is being received.
const receiving = ".receiving"

// Receive copies the files of a bundle from any source to the folder dir, which gets its name when
// everything in it was verified. Calling it again resumes an interrupted copy. progress may be
// nil. The report is that of bundle.Verify; it has problems if the source's copy was altered, and then
// there is no folder.
func Receive(ctx context.Context, from transfer.Source, list []transfer.File, dir string, progress func(done, total int64)) (*bundle.Report, error) {
	temp := hidden(dir)
	if err := receive(ctx, from, list, temp, progress); err != nil {
		return nil, err
	}
	r, err := bundle.Verify(ctx, temp, nil)
	switch {
	case err != nil: // such as an interrupt: the next call continues
		return nil, err
	case !r.OK():
		return r, os.RemoveAll(temp)
	}
	return r, os.Rename(temp, dir)
}

func hidden(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+receiving)
}

// receive copies files to a folder, which it creates.
func receive(ctx context.Context, from transfer.Source, list []transfer.File, dir string, progress func(done, total int64)) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	done, total := int64(0), transfer.Total(list)
	f := transfer.Fetcher{Progress: func(n int64) {
		if done += n; progress != nil {
			progress(done, total)
		}
	}}
	return f.Fetch(ctx, from, list, dir)
}
