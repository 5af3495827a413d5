package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// buildImages makes images for this machine's processor, with its own compilers: of the programs with these names, of
// a folder's program, or of all.
func buildImages(r *release, names []string, out string) error {
	i := slices.IndexFunc(targets, func(t *target) bool { return t.os == "linux" && t.arch == runtime.GOARCH })
	if i < 0 {
		return fmt.Errorf("no images for %s: Linux on amd64 and arm64 only", runtime.GOARCH)
	}
	list, err := imagesOf(names)
	if err != nil {
		return err
	}
	for _, p := range list {
		if _, err := name.NewTag(r.imageName(p), name.StrictValidation); err != nil {
			return usagef("the name of an image: %v", err)
		}
	}
	t := *targets[i]
	t.tree, t.env, t.programs, t.images = nil, nil, nil, list
	t.link = "-Wl,--gc-sections"
	dir := filepath.Join(out, "bin", t.os+"-"+t.arch)
	if err := download(); err != nil {
		return err
	}
	if err := compile(r, &t, dir, ""); err != nil {
		return err
	}
	for _, p := range list {
		if err := makeImage(r, &t, p, dir, out); err != nil {
			return fmt.Errorf("making the image of %s: %w", p.name, err)
		}
	}
	if len(names) > 0 {
		return nil
	}
	return forClusters(r, out)
}

var programName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// imagesOf finds the programs with these names; a folder is a program that is in no release.
func imagesOf(names []string) ([]program, error) {
	if len(names) == 0 {
		return inImages, nil
	}
	var known []string
	for _, p := range inImages {
		known = append(known, p.name)
	}
	var list []program
	for _, n := range names {
		i := slices.Index(known, n)
		if i >= 0 {
			list = append(list, inImages[i])
			continue
		}
		folder := filepath.ToSlash(filepath.Clean(n))
		base := filepath.Base(folder)
		if s, err := os.Stat(folder); err != nil || !s.IsDir() || !filepath.IsLocal(folder) || !programName.MatchString(base) {
			return nil, usagef("unknown program %s; the programs are %s, or a folder of one", n, strings.Join(known, ", "))
		}
		list = append(list, program{name: base, folder: folder})
	}
	return list, nil
}
