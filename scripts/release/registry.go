package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.yaml.in/yaml/v4"
)

// Media types of a chart in a registry, which Helm defines.
const (
	chartConfig  = types.MediaType("application/vnd.cncf.helm.config.v1+json")
	chartContent = types.MediaType("application/vnd.cncf.helm.chart.content.v1.tar+gzip")
)

// cluster is the name of the archive with the images of all processors and the chart.
func (r *release) cluster() string { return "pcapsule_" + r.version + ".cluster.tar" }

// indexes returns one index for each program, of the images in out, whose layers it unpacks to a temporary folder.
func indexes(r *release, temp, out string) ([]v1.ImageIndex, error) {
	var list []v1.ImageIndex
	for _, p := range inImages {
		idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		n := 0
		for _, t := range targets {
			file := filepath.Join(out, t.image(r, p))
			if _, err := os.Stat(file); t.os != "linux" || errors.Is(err, fs.ErrNotExist) {
				continue
			}
			img, err := readImage(file, filepath.Join(temp, filepath.Base(file)))
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", file, err)
			}
			n++
			idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: t.os, Architecture: t.arch}}})
		}
		if n == 0 {
			return nil, fmt.Errorf("%s has no image of %s %s: run make images first", out, p.name, r.version)
		}
		list = append(list, idx)
	}
	return list, nil
}

// readImage unpacks an image that writeImage wrote. Its manifest is the one that the provenance names.
func readImage(file, dir string) (v1.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o700); err != nil {
		return nil, err
	}
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if !filepath.IsLocal(filepath.FromSlash(h.Name)) {
			return nil, fmt.Errorf("its file %q is outside", h.Name)
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(h.Name)), func(w io.Writer) error {
			_, err := io.Copy(w, t)
			return err
		}); err != nil {
			return nil, err
		}
	}
	l, err := layout.FromPath(dir)
	if err != nil {
		return nil, err
	}
	idx, err := l.ImageIndex()
	if err != nil {
		return nil, err
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%d images, want 1", len(m.Manifests))
	}
	return idx.Image(m.Manifests[0].Digest)
}

// writeCluster writes an archive for clusters without a network: an OCI image layout of all images, with the chart.
func writeCluster(r *release, out string) error {
	step("packing %s", r.cluster())
	temp, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	list, err := indexes(r, temp, out)
	if err != nil {
		return err
	}
	dir := filepath.Join(temp, "all")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	for i, p := range inImages {
		if err := l.AppendIndex(list[i], layout.WithAnnotations(map[string]string{"io.containerd.image.name": r.imageName(p), "org.opencontainers.image.ref.name": p.name + ":" + r.tag()})); err != nil {
			return err
		}
	}
	if err := os.CopyFS(filepath.Join(dir, chartFolder), os.DirFS(filepath.Join(out, chartFolder))); err != nil {
		return err
	}
	return writeFile(filepath.Join(out, r.cluster()), func(w io.Writer) error { return tarFolder(w, r, dir) })
}

// tarFolder writes a folder as a tar, in the order of names.
func tarFolder(w io.Writer, r *release, dir string) error {
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	t := tar.NewWriter(w)
	for _, path := range names {
		if err := tarFile(t, r, dir, path); err != nil {
			return err
		}
	}
	return t.Close()
}

func tarFile(t *tar.Writer, r *release, dir, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Mode: 0o644, Size: info.Size(), ModTime: r.time, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// push copies the images in out to the repository, each as one index of all processors, and the chart that installs
// them, with the credentials of docker login.
func push(r *release, out string) error {
	if r.repository == "" {
		return usagef("missing -repository, such as registry.example/team")
	}
	temp, err := os.MkdirTemp("", "push")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	list, err := indexes(r, temp, out)
	if err != nil {
		return err
	}
	login := remote.WithAuthFromKeychain(authn.DefaultKeychain)
	for i, p := range inImages {
		to, err := name.NewTag(r.imageName(p), name.StrictValidation)
		if err != nil {
			return usagef("the name of an image: %v", err)
		}
		step("pushing %s", to)
		if err := remote.WriteIndex(to, list[i], login); err != nil {
			return fmt.Errorf("pushing %s: %w", to, err)
		}
	}
	img, err := chartImage(r)
	if err != nil {
		return err
	}
	to, err := name.NewTag(r.repository+"/charts/pcapsule:"+r.chartTag(), name.StrictValidation)
	if err != nil {
		return usagef("the name of the chart: %v", err)
	}
	step("pushing %s", to)
	if err := remote.Write(to, img, login); err != nil {
		return fmt.Errorf("pushing %s: %w", to, err)
	}
	return nil
}

// chartImage is the chart as helm push writes it.
func chartImage(r *release) (v1.Image, error) {
	tgz, metadata, err := packChart(r)
	if err != nil {
		return nil, err
	}
	var about map[string]any
	if err := yaml.Unmarshal(metadata, &about); err != nil {
		return nil, fmt.Errorf("reading Chart.yaml: %w", err)
	}
	c := inRegistry{layer: static.NewLayer(tgz, chartContent)}
	if c.config, err = json.Marshal(about); err != nil {
		return nil, err
	}
	layer, err := partial.Descriptor(c.layer)
	if err != nil {
		return nil, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(c.config))
	if err != nil {
		return nil, err
	}
	if c.manifest, err = json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: chartConfig, Digest: digest, Size: size}, Layers: []v1.Descriptor{*layer}}); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(c)
}

// inRegistry is an artifact of one layer. It implements partial.CompressedImageCore.
type inRegistry struct {
	config, manifest []byte
	layer            v1.Layer
}

// MediaType implements partial.CompressedImageCore.
func (inRegistry) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawConfigFile implements partial.CompressedImageCore.
func (c inRegistry) RawConfigFile() ([]byte, error) { return c.config, nil }

// RawManifest implements partial.CompressedImageCore.
func (c inRegistry) RawManifest() ([]byte, error) { return c.manifest, nil }

// LayerByDigest implements partial.CompressedImageCore.
func (c inRegistry) LayerByDigest(v1.Hash) (partial.CompressedLayer, error) { return c.layer, nil }
