package tools

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

var toolOpenCase = Tool{Name: "open_case", set: "cases", title: "Open another bundle", writes: true, again: true, world: true,
	doc: "Open one more bundle, from a folder that the server may open from (--allow). Returns the list of open bundles."}

var toolCloseCase = Tool{Name: "close_case", set: "cases", title: "Close a bundle", writes: true, again: true,
	doc: "Close one of several open bundles. Its files do not change, and open_case opens it again."}

type openCaseIn struct {
	Path string `json:"path" jsonschema:"the bundle's folder or ZIP file, absolute or relative to an allowed folder"`
}

type closeCaseIn struct {
	Path string `json:"path" jsonschema:"the bundle's path in list_cases"`
}

// openCase reopens the open bundles with one more.
func (s *Invocation) openCase(ctx context.Context, in openCaseIn) (ListCasesOut, error) {
	path, err := s.Allowed(in.Path)
	if err != nil {
		return ListCasesOut{}, err
	}
	was, paths := s.bundles()
	for _, p := range paths {
		if same, err := filepath.EvalSymlinks(p); err == nil {
			if same, err = filepath.Abs(same); err == nil && same == path {
				return s.ListCases(ctx, NoIn{})
			}
		}
	}
	return s.reopen(ctx, was, append(paths, path))
}

func (s *Invocation) closeCase(ctx context.Context, in closeCaseIn) (ListCasesOut, error) {
	var left []string
	was, paths := s.bundles()
	for _, p := range paths {
		if p != in.Path {
			left = append(left, p)
		}
	}
	switch {
	case len(left) == len(paths):
		return ListCasesOut{}, fmt.Errorf("%s is not open; list_cases lists the open bundles", ask.Clip(in.Path, 200))
	case len(left) == 0:
		return ListCasesOut{}, errors.New("the only open bundle cannot be closed; call open_case for another first")
	}
	return s.reopen(ctx, was, left)
}

// bundles returns the case of the open bundles, nil if there is none, and their paths. The case of the question
// may be another: what is live, or a dissection of a ring.
func (s *Invocation) bundles() (c *forensics.Case, paths []string) {
	c, release, err := s.Cases.Acquire()
	if err != nil {
		return nil, nil
	}
	defer release()
	for _, b := range c.Bundles() {
		paths = append(paths, b.Path)
	}
	return c, paths
}

// reopen opens bundles as one case, which replaces the one that was open, if any.
func (s *Invocation) reopen(ctx context.Context, was *forensics.Case, paths []string) (ListCasesOut, error) {
	c, err := s.Open(ctx, paths)
	if err != nil {
		return ListCasesOut{}, err
	}
	if !s.Cases.Replace(was, c) {
		_ = c.Close() // read-only: nothing can be lost
		return ListCasesOut{}, errors.New("another client opened or closed a bundle at the same time; ask again")
	}
	s.Opened(c)
	return (&Invocation{Env: s.Env, Case: c, Max: s.Max}).ListCases(ctx, NoIn{})
}

// Allowed resolves a path from a client, which must be inside an allowed folder.
func (s *Env) Allowed(path string) (string, error) {
	refused := fmt.Errorf("%s does not exist or is not in a folder of --allow", ask.Clip(path, 200))
	var tries []string
	if filepath.IsAbs(path) {
		tries = []string{path}
	} else {
		for _, dir := range s.Allow {
			tries = append(tries, filepath.Join(dir, path))
		}
	}
	for _, p := range tries {
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue
		}
		for _, dir := range s.Allow {
			if strings.HasPrefix(real, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator)) {
				return real, nil
			}
		}
	}
	return "", refused
}
