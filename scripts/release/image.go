package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is the user of images that need no rights of the node.
const user = "65532:65532"

// image is the name of the file with a program's image.
func (t *target) image(r *release, p program) string {
	return fmt.Sprintf("%s_%s_%s_%s.image.tar", p.name, r.version, t.os, t.arch)
}

// makeImage writes the image of one static program in dir: an OCI image layout (image-spec 1.1) as a tar, with an
// additional manifest.json for docker load. Its SBOM and the provenance are beside it.
func makeImage(r *release, t *target, p program, dir, out string) error {
	file := t.image(r, p)
	step("packing %s", file)
	exe := filepath.Join(dir, t.file(p))
	b, err := inspect(exe)
	if err != nil {
		return err
	}
	if !b.static {
		return fmt.Errorf("%s needs %s: an image has no libraries; link it statically", exe, strings.Join(b.libraries, ", "))
	}
	one := *t
	one.programs = []program{p}
	sbom, err := one.sbom(r, dir)
	if err != nil {
		return err
	}
	files, err := one.imageFiles(dir, p)
	if err != nil {
		return err
	}
	img, err := t.packImage(r, p, files)
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	if err := writeImage(r, t, p, img, filepath.Join(out, file)); err != nil {
		return err
	}
	statement, err := provenance(r, t, p, digest)
	if err != nil {
		return err
	}
	for suffix, text := range map[string][]byte{".cdx.json": sbom, ".intoto.json": statement} {
		if err := os.WriteFile(filepath.Join(out, file+suffix), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// imageFiles are a program, and the licences of what is in it.
func (t *target) imageFiles(dir string, p program) ([]member, error) {
	exe, err := os.ReadFile(filepath.Join(dir, t.file(p)))
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	notices, err := t.licences(dir)
	if err != nil {
		return nil, err
	}
	return []member{{p.name, 0o755, exe}, {"LICENSE", 0o644, own}, {"THIRD-PARTY-LICENSES.txt", 0o644, notices}}, nil
}

// packImage makes an image of one layer.
func (t *target) packImage(r *release, p program, files []member) (v1.Image, error) {
	var layer bytes.Buffer
	if err := plainTar(&layer, r, files); err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	// Not compressed: what a compressor writes depends on its version.
	img, err := mutate.AppendLayers(base, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer))
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = t.os, t.arch, v1.Time{Time: r.time}
	config.Config = v1.Config{Entrypoint: []string{"/" + p.name}, WorkingDir: "/", User: p.user, Labels: map[string]string{
		"org.opencontainers.image.title": p.name, "org.opencontainers.image.version": r.version, "org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "Apache-2.0"}}
	return mutate.ConfigFile(img, config)
}

// writeImage writes an image to a tar.
func writeImage(r *release, t *target, p program, img v1.Image, path string) error {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	name := r.imageName(p)
	if err := l.AppendImage(img, layout.WithPlatform(v1.Platform{OS: t.os, Architecture: t.arch}),
		layout.WithAnnotations(map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": r.tag()})); err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	docker := struct {
		Config           string
		RepoTags, Layers []string
	}{Config: blobPath(m.Config.Digest), RepoTags: []string{strings.TrimPrefix(name, "docker.io/library/")}}
	for _, layer := range m.Layers {
		docker.Layers = append(docker.Layers, blobPath(layer.Digest))
	}
	text, err := json.Marshal([]any{docker})
	if err != nil {
		return err
	}
	files := []member{{"manifest.json", 0o644, text}}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		return err
	}
	for _, f := range append(blobs, filepath.Join(dir, "index.json"), filepath.Join(dir, "oci-layout")) {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return err
		}
		files = append(files, member{filepath.ToSlash(rel), 0o644, data})
	}
	return writeFile(path, func(w io.Writer) error { return plainTar(w, r, files) })
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// imageName is the reference of a program's image.
func (r *release) imageName(p program) string {
	repository := r.repository
	if repository == "" {
		repository = "docker.io/library"
	}
	return repository + "/" + p.name + ":" + r.tag()
}

// tag is the version as a tag, which must not contain a plus, unless another one was given.
func (r *release) tag() string {
	if r.imageTag != "" {
		return r.imageTag
	}
	return strings.ReplaceAll(r.version, "+", "-")
}

func plainTar(w io.Writer, r *release, files []member) error {
	t := tar.NewWriter(w)
	for _, m := range sorted(files) {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.name, Mode: m.mode, Size: int64(len(m.data)), ModTime: r.time, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := t.Write(m.data); err != nil {
			return err
		}
	}
	return t.Close()
}
