package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// inProject runs the test in the project's folder, as the program does.
func inProject(t *testing.T) {
	t.Helper()
	t.Chdir(filepath.Join("..", ".."))
}

// TestImagesHaveTheSameBytes builds an image twice, reads it as Docker does, and compares the SBOM and the provenance
// with it.
func TestImagesHaveTheSameBytes(t *testing.T) {
	inProject(t)
	r := *testRelease
	r.repository, r.imageTag = "registry.example/team", "7"
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		must(t, buildImages(&r, []string{"./scripts/e2e/talk"}, dir))
	}
	files, err := filepath.Glob(filepath.Join(dirs[0], "*.*"))
	must(t, err)
	if len(files) != 3 {
		t.Fatalf("files %v, want an image, its SBOM and its provenance", files)
	}
	for _, f := range files {
		if err := sameTree(f, filepath.Join(dirs[1], filepath.Base(f))); err != nil {
			t.Error(err)
		}
	}
	image := files[slices.IndexFunc(files, func(f string) bool { return strings.HasSuffix(f, ".image.tar") })]
	tag, err := name.NewTag("registry.example/team/talk:7")
	must(t, err)
	img, err := tarball.ImageFromPath(image, &tag)
	must(t, err)
	config, err := img.ConfigFile()
	must(t, err)
	if !slices.Equal(config.Config.Entrypoint, []string{"/talk"}) || config.OS != "linux" || !config.Created.Time.Equal(r.time) {
		t.Errorf("configuration %+v", config)
	}
	checkBeside(t, image)
}

// checkBeside reads what is beside an image.
func checkBeside(t *testing.T, image string) {
	var s statement
	text, err := os.ReadFile(image + ".intoto.json")
	must(t, err)
	must(t, json.Unmarshal(text, &s))
	layout := members(t, image)
	if len(s.Subject) != 1 || layout["blobs/sha256/"+s.Subject[0].Digest["sha256"]] == nil || !strings.Contains(string(layout["index.json"]), s.Subject[0].Digest["sha256"]) {
		t.Errorf("subject %+v is not the image's manifest", s.Subject)
	}
	if d := s.Predicate.BuildDefinition.ResolvedDependencies; len(d) == 0 || d[0].Digest["gitCommit"] != testRelease.commit {
		t.Errorf("dependencies %+v", d)
	}
	text, err = os.ReadFile(image + ".cdx.json")
	must(t, err)
	b := cdx.NewBOM()
	must(t, cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(b))
	if b.Components == nil || len(*b.Components) == 0 {
		t.Error("an SBOM without components")
	}
}

// members are the files of a tar.
func members(t *testing.T, path string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	all := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all[h.Name], err = io.ReadAll(r)
		must(t, err)
	}
}

func TestImageNeedsAStaticProgram(t *testing.T) {
	inProject(t)
	exe, err := exec.LookPath("sh") // it has libraries, which a test need not have
	must(t, err)
	dir := t.TempDir()
	data, err := os.ReadFile(exe)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, recorder.name), data, 0o755))
	if err := makeImage(testRelease, targets[0], recorder, dir, dir); err == nil || !strings.Contains(err.Error(), "link it statically") {
		t.Errorf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.image.tar*")); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestImagesOfUnknownProgramsAreRefused(t *testing.T) {
	inProject(t)
	for _, names := range [][]string{{"pcapsule-hubb"}, {"../main"}, {"/tmp"}, {"docs/README.md"}, {"pcapsule", ""}} {
		var u usageError
		if _, err := imagesOf(names); !errors.As(err, &u) {
			t.Errorf("%q: %v", names, err)
		}
	}
	for _, r := range []release{{version: "1", repository: "Bad Name"}, {version: "1", imageTag: "a/b"}} {
		if err := buildImages(&r, []string{"pcapsule"}, t.TempDir()); err == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}
