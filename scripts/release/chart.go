package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

const (
	chartSource = "deploy/chart"
	chartFolder = "charts" // below the folder of a release: a Helm repository
)

// chart is the name of the file with the chart.
func (r *release) chart() string { return "pcapsule-" + r.version + ".tgz" }

// inChart are the lines of the chart that a release sets: its version, and the images that it installs.
var inChart = []struct {
	file string
	line *regexp.Regexp
	text func(r *release) string
}{
	{"Chart.yaml", regexp.MustCompile(`(?m)^version: .*$`), func(r *release) string { return "version: " + r.version }},
	{"Chart.yaml", regexp.MustCompile(`(?m)^appVersion: .*$`), func(r *release) string { return fmt.Sprintf("appVersion: %q", r.tag()) }},
	{"values.yaml", regexp.MustCompile(`(?m)^  registry: ""$`), func(r *release) string { return fmt.Sprintf("  registry: %q", r.repository) }},
}

// packChart packs the chart, with the names of the images that were made with it, and returns its Chart.yaml too.
func packChart(r *release) (tgz, metadata []byte, err error) {
	var files []member
	err = filepath.WalkDir(chartSource, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name := strings.TrimPrefix(filepath.ToSlash(path), chartSource+"/")
		files = append(files, member{name, 0o644, data})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	for _, x := range inChart {
		done := false
		for i := range files {
			if f := &files[i]; f.name == x.file && len(x.line.FindAll(f.data, -1)) == 1 {
				f.data, done = x.line.ReplaceAllLiteral(f.data, []byte(x.text(r))), true
			}
		}
		if !done {
			return nil, nil, fmt.Errorf("%s/%s does not have exactly one line %s", chartSource, x.file, x.line)
		}
	}
	for _, f := range files {
		if f.name == "Chart.yaml" {
			metadata = f.data
		}
	}
	var b bytes.Buffer
	err = writeTar(&b, "pcapsule", r.time, files)
	return b.Bytes(), metadata, err
}

// writeChart writes a Helm repository of this chart only.
func writeChart(r *release, out string) error {
	step("packing %s", r.chart())
	tgz, metadata, err := packChart(r)
	if err != nil {
		return err
	}
	var entry map[string]any
	if err := yaml.Unmarshal(metadata, &entry); err != nil {
		return fmt.Errorf("reading Chart.yaml: %w", err)
	}
	entry["created"], entry["digest"], entry["urls"] = r.time.Format(time.RFC3339), fmt.Sprintf("%x", sha256.Sum256(tgz)), []string{r.chart()}
	index, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "generated": r.time.Format(time.RFC3339), "entries": map[string]any{"pcapsule": []any{entry}}})
	if err != nil {
		return err
	}
	dir := filepath.Join(out, chartFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "pcapsule-*.tgz"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, r.chart()), tgz, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.yaml"), index, 0o644)
}

// chartTag is the version of the chart as a tag, as Helm writes it.
func (r *release) chartTag() string { return strings.ReplaceAll(r.version, "+", "_") }
