package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.yaml.in/yaml/v4"
)

// madeImages writes an image of each program, for two processors, and what installs them.
func madeImages(t *testing.T, r *release) (out string) {
	t.Helper()
	out = t.TempDir()
	for _, x := range targets[:2] {
		for _, p := range inImages {
			img, err := x.packImage(r, p, []member{{p.name, 0o755, []byte(p.name + " for " + x.arch)}})
			must(t, err)
			must(t, writeImage(r, x, p, img, filepath.Join(out, x.image(r, p))))
		}
	}
	must(t, forClusters(r, out))
	return out
}

// chartFiles are the files of a packed chart.
func chartFiles(t *testing.T, tgz io.Reader) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(tgz)
	must(t, err)
	all := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		all[h.Name] = string(text)
	}
}

// imagesOfChart are the images that a packed chart installs, as its template pcapsule.image names them.
func imagesOfChart(t *testing.T, files map[string]string) []string {
	t.Helper()
	var about struct {
		AppVersion string `yaml:"appVersion"`
	}
	var values struct {
		Image              struct{ Registry, Tag string }
		Recorder, Hub, Mcp struct{ Image string }
	}
	must(t, yaml.Unmarshal([]byte(files["pcapsule/Chart.yaml"]), &about))
	must(t, yaml.Unmarshal([]byte(files["pcapsule/values.yaml"]), &values))
	if values.Image.Tag != "" {
		t.Errorf("the chart's tag is %s", values.Image.Tag)
	}
	var list []string
	for _, image := range []string{values.Recorder.Image, values.Hub.Image, values.Mcp.Image} {
		list = append(list, values.Image.Registry+"/"+image+":"+about.AppVersion)
	}
	return list
}

// TestTheChartInstallsWhatWasPushed: every image of the chart that make images packs is one that make push copies to
// the registry, for both processors, and the chart in the registry is that one.
func TestTheChartInstallsWhatWasPushed(t *testing.T) {
	inProject(t)
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	r := *testRelease
	r.repository = strings.TrimPrefix(s.URL, "http://") + "/team"
	out := madeImages(t, &r)
	must(t, push(&r, out))

	packed, err := filepath.Glob(filepath.Join(out, "charts", "pcapsule-*.tgz")) // as the guide names it
	must(t, err)
	if len(packed) != 1 {
		t.Fatalf("charts %v, want 1", packed)
	}
	text, err := os.ReadFile(packed[0])
	must(t, err)
	files := chartFiles(t, bytes.NewReader(text))
	for _, image := range imagesOfChart(t, files) {
		ref, err := name.ParseReference(image)
		must(t, err)
		idx, err := remote.Index(ref)
		if err != nil {
			t.Errorf("the chart installs %s, which was not pushed: %v", image, err)
			continue
		}
		m, err := idx.IndexManifest()
		must(t, err)
		for i, arch := range []string{"amd64", "arm64"} {
			if len(m.Manifests) != 2 || !m.Manifests[i].Platform.Equals(v1.Platform{OS: "linux", Architecture: arch}) {
				t.Errorf("%s has %+v, want linux/%s", image, m.Manifests, arch)
			}
		}
	}
	if files["pcapsule/templates/hub.yaml"] == "" {
		t.Error("a chart without templates")
	}
	ref, err := name.ParseReference(r.repository + "/charts/pcapsule:0.1.0-dev_g0123")
	must(t, err)
	img, err := remote.Image(ref)
	must(t, err)
	layers, err := img.Layers()
	must(t, err)
	content, err := layers[0].Compressed()
	must(t, err)
	pushed, err := io.ReadAll(content)
	must(t, err)
	m, err := img.Manifest()
	must(t, err)
	if !bytes.Equal(pushed, text) || m.Config.MediaType != chartConfig || m.Layers[0].MediaType != chartContent {
		t.Errorf("another chart was pushed: %+v", m)
	}
	checkIndex(t, out, filepath.Base(packed[0]), text)
}

// checkIndex checks the Helm repository beside a packed chart.
func checkIndex(t *testing.T, out, file string, tgz []byte) {
	t.Helper()
	var index struct {
		Entries map[string][]struct {
			Name, Version, Digest string
			URLs                  []string `yaml:"urls"`
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "charts", "index.yaml"))
	must(t, err)
	must(t, yaml.Unmarshal(text, &index))
	e := index.Entries["pcapsule"]
	if len(e) != 1 || e[0].Name != "pcapsule" || e[0].Version != testRelease.version || e[0].Digest != fmt.Sprintf("%x", sha256.Sum256(tgz)) || e[0].URLs[0] != file {
		t.Errorf("index %s", text)
	}
}

// TestTheArchiveForClusters has all images, with the names that the chart installs, and the chart. The same images
// give the same bytes.
func TestTheArchiveForClusters(t *testing.T) {
	inProject(t)
	r := *testRelease
	r.repository = "registry.example/team"
	out := madeImages(t, &r)
	archive := filepath.Join(out, r.cluster())
	files := members(t, archive)
	for _, image := range imagesOfChart(t, chartFiles(t, bytes.NewReader(files["charts/"+r.chart()]))) {
		if !strings.Contains(string(files["index.json"]), `"io.containerd.image.name": "`+image+`"`) {
			t.Errorf("index.json does not name %s: %s", image, files["index.json"])
		}
	}
	blobs := 0
	for n, data := range files {
		if hash, ok := strings.CutPrefix(n, "blobs/sha256/"); ok {
			if blobs++; fmt.Sprintf("%x", sha256.Sum256(data)) != hash {
				t.Errorf("%s has other bytes", n)
			}
		}
	}
	if want := 3 + 2*3*3; blobs != want { // of each program an index, and for each processor manifest, configuration and layer
		t.Errorf("%d blobs, want %d", blobs, want)
	}
	must(t, sameTree(archive, filepath.Join(madeImages(t, &r), r.cluster())))
	sums, err := released(out)
	must(t, err)
	for _, f := range []string{r.cluster(), "charts/index.yaml", "charts/" + r.chart()} {
		if !strings.Contains(strings.Join(sums, "\n"), f) {
			t.Errorf("SHA256SUMS would not have %s: %v", f, sums)
		}
	}
}

// TestPushNeedsImages of this version, and a place to put them.
func TestPushNeedsImages(t *testing.T) {
	inProject(t)
	r := *testRelease
	if err := push(&r, t.TempDir()); err == nil || !strings.Contains(err.Error(), "missing -repository") {
		t.Error(err)
	}
	r.repository = "registry.example/team"
	out := madeImages(t, &r)
	r.version = "0.1.0-dev+g9999"
	if err := push(&r, out); err == nil || !strings.Contains(err.Error(), "run make images first") {
		t.Error(err)
	}
}

// TestTheGuideInstalls: the commands of the guide are targets of make, and its chart is the packed one.
func TestTheGuideInstalls(t *testing.T) {
	inProject(t)
	guide, err := os.ReadFile("docs/guide/cluster.md")
	must(t, err)
	makefile, err := os.ReadFile("Makefile")
	must(t, err)
	_, rest, _ := strings.Cut(string(guide), "\n## Install\n")
	_, rest, _ = strings.Cut(rest, "```\n")
	block, _, _ := strings.Cut(rest, "```")
	var wants []string
	for line := range strings.Lines(block) {
		words := strings.Fields(line)
		switch words[0] {
		case "make":
			if !regexp.MustCompile(`(?m)^`+words[1]+`:`).Match(makefile) || words[2] != "REPOSITORY=registry.example/team" {
				t.Errorf("%s is no target, or takes something else", line)
			}
		case "helm":
			if words[3] != "dist/charts/pcapsule-*.tgz" {
				t.Errorf("the guide installs %s", words[3])
			}
		}
		wants = append(wants, words[0]+" "+words[1])
	}
	if got := strings.Join(wants, ", "); got != "make images, make push, helm install" {
		t.Errorf("the guide has the commands %s", got)
	}
}
