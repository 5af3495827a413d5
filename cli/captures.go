package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/cache"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// captureFlags adds the flags of commands that also read captures.
func (e *env) captureFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVar(&e.captures.kube, "kube", nil, "for captures: output of kubectl get -A -o json; can be repeated")
	fl.StringArrayVar(&e.captures.hosts, "hosts", nil, "for captures: hosts file that names addresses; can be repeated")
	fl.StringArrayVar(&e.captures.alerts, "alerts", nil, "for captures: file with alerts, as in pcapsule bundle; can be repeated")
	fl.StringArrayVar(&e.captures.keys.Files, "keys", nil, "for captures: file with keys, as in pcapsule bundle; can be repeated")
	fl.StringArrayVar(&e.captures.keys.Identities, "identity", nil, "for captures: age or SSH private key that decrypts --keys; can be repeated")
}

// bundles returns the bundles that the arguments of a command name. All captures and
// folders of captures become one bundle in the cache, at the position of the first of
// them. A folder that contains bundles but no capture is replaced by those bundles.
func (e *env) bundles(ctx context.Context, paths []string) ([]string, error) {
	var out, captures []string
	at := 0
	for _, p := range paths {
		kind, nested := kindOf(p)
		switch kind {
		case aBundle:
			out = append(out, p)
		case aFolderOfBundles:
			out = append(out, nested...)
		case aCapture:
			if p == "-" {
				return nil, exit.With(errors.New("standard input can be read only once, and this command reads a capture twice"), exit.Usage, "make a bundle of it: pcapsule bundle - -o NAME.pcapsule")
			}
			if len(captures) == 0 {
				at = len(out)
			}
			captures = append(captures, p)
		}
	}
	f := &e.captures
	if len(captures) == 0 {
		if len(f.kube)+len(f.hosts)+len(f.alerts)+len(f.keys.Files)+len(f.keys.Identities) > 0 {
			return nil, exit.With(errors.New("--kube, --hosts, --alerts, --keys and --identity apply to captures, but only bundles were given"), exit.Usage, "make the bundle again from its capture: pcapsule bundle CAPTURE --keys FILE -o NAME.pcapsule")
		}
		return out, nil
	}
	made, err := e.cached(ctx, captures)
	if err != nil {
		return nil, err
	}
	e.captures = bundleFlags{} // only bundles remain to be opened
	return slices.Insert(out, at, made), nil
}

// cached returns the path of the captures' bundle in the cache. It makes the bundle if the
// cache does not have it.
func (e *env) cached(ctx context.Context, captures []string) (string, error) {
	o := exporter.Options{Kube: e.captures.kube, Hosts: e.captures.hosts, Alerts: e.captures.alerts, Release: version.Release, Custody: madeBy(false)}
	if err := applyKeys(&e.captures.keys, &o); err != nil {
		return "", err
	}
	dir, err := cache.Dir("captures")
	if err != nil {
		return "", exit.With(err, exit.Disk, "make a bundle where you can write: pcapsule bundle CAPTURE -o NAME.pcapsule")
	}
	v := version.Of(command.Pcapsule)
	key := cache.NewKey(v.Release, v.Commit, unreleased(), fmt.Sprint(bundle.SchemaVersion))
	for i, list := range [][]string{captures, o.Kube, o.Hosts, o.Keys, e.captures.keys.Identities, o.Alerts} {
		key.Word(fmt.Sprint(i))
		for _, p := range list {
			if err := addTo(key, p, ctx.Err); err != nil {
				return "", &exporter.InputError{Path: p, Err: err}
			}
		}
	}
	path := filepath.Join(dir, key.Name(strings.TrimSuffix(outputOf(captures[0]), ".pcapsule")))
	notice := "the bundle of " + strings.Join(captures[:min(len(captures), 3)], ", ")
	if n := len(captures) - 3; n > 0 {
		notice += plural.Sprintf(" and %d more {capture|captures}", n)
	}
	held, err := cache.Get(path, func() error {
		bar := e.Progress()
		o.Progress = drawn(bar)
		m, err := exporter.Run(ctx, captures, path, o)
		bar.Clear()
		if err != nil {
			return err
		}
		for _, w := range m.Warnings {
			e.Warn("%s", w)
		}
		return nil
	})
	if err != nil {
		return "", cacheError(e.bundleError(ctx, err, path), dir)
	}
	e.held = append(e.held, held)
	e.Remark("%s is %s", notice, path)
	return path, nil
}

// unreleased identifies a build that is not a release, because the next one may write other bundles.
func unreleased() string {
	if version.Commit != "" {
		return ""
	}
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// cacheError adds a workaround to the error of a cache that cannot be written.
func cacheError(err error, dir string) error {
	if at := (*fs.PathError)(nil); errors.As(err, &at) && strings.HasPrefix(at.Path, filepath.Dir(filepath.Dir(dir))) {
		return exit.With(err, exit.Disk, "make a bundle on a disk with free space: pcapsule bundle CAPTURE -o NAME.pcapsule, or set XDG_CACHE_HOME")
	}
	return err
}

// addTo adds a file to a key, with the side files of a segment: files in the same folder
// with the same name and another extension. For a folder it adds all files below it except
// those of bundles.
func addTo(key cache.Key, path string, stopped func() error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		stem := strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst")
		siblings, err := filepath.Glob(globQuote(strings.TrimSuffix(stem, filepath.Ext(stem))) + ".*")
		if err != nil {
			return err
		}
		for _, p := range append(siblings, path) {
			if side, err := os.Lstat(p); p != path && (err != nil || !side.Mode().IsRegular()) {
				continue
			}
			if err := key.Add(p, stopped); err != nil {
				return err
			}
		}
		return nil
	}
	key.Word("folder") // also if it is empty
	return filepath.WalkDir(path, func(p string, f fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case f.IsDir() && p != path && (bundle.IsPartial(f.Name()) || isBundleFolder(p)):
			return fs.SkipDir
		case !f.Type().IsRegular():
			return nil
		}
		return key.Add(p, stopped)
	})
}

// globQuote returns a pattern that matches only path.
func globQuote(path string) string {
	if filepath.Separator == '\\' { // LIMIT: Windows has no escape; side files of a name with [ are not found
		return path
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// argKind is the kind of a command's argument.
type argKind int

const (
	aBundle argKind = iota // also a path that does not exist or cannot be read: opening it reports why
	aCapture
	aFolderOfBundles
)

// kindOf returns the kind of an argument. nested are the bundles of a folder that contains
// no capture.
func kindOf(path string) (k argKind, nested []string) {
	if path == "-" {
		return aCapture, nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil || command.IsBundlePath(path) || !info.IsDir() && !info.Mode().IsRegular():
		return aBundle, nil
	case !info.IsDir():
		if isZIP(path) {
			return aBundle, nil
		}
		return aCapture, nil
	case isBundleFolder(path):
		return aBundle, nil
	}
	captures := 0
	_ = filepath.WalkDir(path, func(p string, f fs.DirEntry, err error) error {
		switch {
		case err != nil: // the command that reads the folder reports it
			captures++
			return fs.SkipAll
		case f.IsDir() && bundle.IsPartial(f.Name()):
			return fs.SkipDir
		case f.IsDir() && isBundleFolder(p):
			nested = append(nested, p)
			return fs.SkipDir
		case f.Type().IsRegular() && isCapture(p):
			captures++
			return fs.SkipAll
		}
		return nil
	})
	if captures == 0 && len(nested) > 0 {
		return aFolderOfBundles, nested
	}
	return aCapture, nil
}

// isBundleFolder reports whether a folder is a bundle.
func isBundleFolder(dir string) bool {
	for _, name := range []string{"bagit.txt", filepath.Join("data", "bundle.json")} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func isZIP(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [4]byte
	n, _ := io.ReadFull(f, head[:])
	return string(head[:n]) == "PK\x03\x04"
}

func isCapture(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // the command that reads it reports the error
	}
	defer f.Close()
	src, err := pcapng.Open(f, pcapng.Limits{})
	if err != nil {
		return false
	}
	defer src.Close()
	_, err = pcapng.NewReader(src, pcapng.Options{})
	return err == nil
}
