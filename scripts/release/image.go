package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A descriptor names a blob of an OCI image.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// image is the name of the file with the node's image.
func (t *target) image(r *release) string {
	return fmt.Sprintf("pcapsule-recorder_%s_%s_%s.image.tar", r.version, t.os, t.arch)
}

// makeImage writes the image for nodes: only the static recorder. It is an OCI image layout
// (image-spec 1.1) with an additional manifest.json for docker load.
func makeImage(r *release, t *target, dir, out string) error {
	step("packing %s", t.image(r))
	exe, err := os.ReadFile(filepath.Join(dir, recorder.name))
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	if err := plainTar(&layer, r, []member{{recorder.name, 0o755, exe}}); err != nil {
		return err
	}
	var blobs []member
	blob := func(kind string, data []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		blobs = append(blobs, member{"blobs/sha256/" + sum, 0o644, data})
		return descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + sum, Size: len(data)}
	}
	text := func(v any) []byte {
		data, err2 := json.Marshal(v)
		if err == nil {
			err = err2
		}
		return data
	}
	labels := map[string]string{"org.opencontainers.image.version": r.version, "org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "Apache-2.0"}
	layerOf := blob("layer.v1.tar", layer.Bytes())
	config := blob("config.v1+json", text(map[string]any{
		"created": r.time.Format("2006-01-02T15:04:05Z"), "architecture": t.arch, "os": t.os,
		"config": map[string]any{"Entrypoint": []string{"/" + recorder.name}, "Labels": labels},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layerOf.Digest}},
	}))
	manifest := blob("manifest.v1+json", text(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []descriptor{layerOf}}))
	manifest.Platform = &platform{t.arch, t.os}
	name := "pcapsule-recorder:" + imageTag(r)
	manifest.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/" + name, "org.opencontainers.image.ref.name": imageTag(r)}
	path := func(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }
	files := append(blobs,
		member{"oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		member{"index.json", 0o644, text(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest}})},
		member{"manifest.json", 0o644, text([]map[string]any{{"Config": path(config), "RepoTags": []string{name}, "Layers": []string{path(layerOf)}}})},
	)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(out, t.image(r)), func(w io.Writer) error { return plainTar(w, r, files) })
}

// imageTag is the version as a tag, which must not contain a plus.
func imageTag(r *release) string {
	return string(bytes.ReplaceAll([]byte(r.version), []byte("+"), []byte("-")))
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
