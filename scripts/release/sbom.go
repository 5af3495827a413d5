package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	mod "golang.org/x/mod/module"
)

// A dependency is a Go module that is linked into a program.
type dependency struct{ path, version, sum string }

// dependencies returns the modules in a target's programs, from the programs' build information, and
// the version of Go.
func (t *target) dependencies(dir string) (goVersion string, list []dependency, err error) {
	seen := map[dependency]bool{}
	for _, p := range t.programs {
		info, err := buildinfo.ReadFile(filepath.Join(dir, t.file(p)))
		if err != nil {
			return "", nil, fmt.Errorf("reading what is in %s: %w", t.file(p), err)
		}
		goVersion = info.GoVersion
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			seen[dependency{d.Path, d.Version, d.Sum}] = true
		}
	}
	for d := range seen {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b dependency) int { return strings.Compare(a.path+"@"+a.version, b.path+"@"+b.version) })
	return goVersion, list, nil
}

// native are the libraries in DuckDB's static library, which no module lists. The versions are those in
// the DuckDB release that the module names.
var native = []struct{ name, licence string }{
	{"duckdb", "MIT"},
	{"fast_float", "MIT"}, {"fastpforlib", "Apache-2.0"}, {"fmt", "MIT"}, {"fsst", "MIT"}, {"hyperloglog", "MIT"}, {"icu", "Unicode-3.0"},
	{"libpg_query", "BSD-3-Clause"}, {"lz4", "BSD-2-Clause"}, {"mbedtls", "Apache-2.0"}, {"miniz", "MIT"}, {"pcg", "Apache-2.0"}, {"re2", "BSD-3-Clause"},
	{"skiplist", "MIT"}, {"snappy", "BSD-3-Clause"}, {"tdigest", "Apache-2.0"}, {"thrift", "Apache-2.0"}, {"utf8proc", "MIT"}, {"yyjson", "MIT"}, {"zstd", "BSD-3-Clause"},
}

// sbom lists the components of the programs in dir, as CycloneDX.
func (t *target) sbom(r *release, dir string) ([]byte, error) {
	goVersion, list, err := t.dependencies(dir)
	if err != nil {
		return nil, err
	}
	b := cdx.NewBOM()
	main := purl(module, r.version)
	b.Metadata = &cdx.Metadata{
		Timestamp: r.time.Format("2006-01-02T15:04:05Z"), // the time of the commit, as for all files
		Component: &cdx.Component{
			BOMRef: main, Type: cdx.ComponentTypeApplication, Name: "pcapsule", Version: r.version, PackageURL: main, Licenses: licence("Apache-2.0"),
			Properties: &[]cdx.Property{{Name: "commit", Value: r.commit}, {Name: "platform", Value: t.name()}},
		},
	}
	components := []cdx.Component{{BOMRef: "go", Type: cdx.ComponentTypeLibrary, Name: "std", Version: strings.TrimPrefix(goVersion, "go"), PackageURL: "pkg:golang/std@" + strings.TrimPrefix(goVersion, "go"), Licenses: licence("BSD-3-Clause")}}
	refs := []string{"go"}
	duckdb := ""
	for _, d := range list {
		ref := purl(d.path, d.version)
		c := cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: d.path, Version: d.version, PackageURL: ref}
		if d.sum != "" {
			c.Properties = &[]cdx.Property{{Name: "go.sum", Value: d.sum}}
		}
		components, refs = append(components, c), append(refs, ref)
		if d.path == "github.com/duckdb/duckdb-go-bindings" {
			duckdb = duckdbVersion(d.version)
		}
	}
	if duckdb != "" {
		for _, n := range native {
			c := cdx.Component{BOMRef: "native:" + n.name, Type: cdx.ComponentTypeLibrary, Name: n.name, Licenses: licence(n.licence), Description: "in the static library of DuckDB " + duckdb}
			if n.name == "duckdb" {
				c.Version, c.PackageURL = duckdb, "pkg:github/duckdb/duckdb@v"+duckdb
			}
			components, refs = append(components, c), append(refs, c.BOMRef)
		}
	}
	b.Components = &components
	b.Dependencies = &[]cdx.Dependency{{Ref: main, Dependencies: &refs}}
	var buf bytes.Buffer
	e := cdx.NewBOMEncoder(&buf, cdx.BOMFileFormatJSON)
	e.SetPretty(true)
	if err := e.Encode(b); err != nil {
		return nil, fmt.Errorf("writing the SBOM: %w", err)
	}
	return buf.Bytes(), nil
}

func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

func licence(id string) *cdx.Licenses { return &cdx.Licenses{{License: &cdx.License{ID: id}}} }

// duckdbVersion derives DuckDB's version from that of its module: v0.10505.0 has 1.5.5.
func duckdbVersion(v string) string {
	var n int
	if _, err := fmt.Sscanf(v, "v0.%d.", &n); err != nil || n < 10000 {
		return strings.TrimPrefix(v, "v")
	}
	return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100)
}

// licences returns the licence texts of the modules that are linked into the programs in dir.
func (t *target) licences(dir string) ([]byte, error) {
	goVersion, list, err := t.dependencies(dir)
	if err != nil {
		return nil, err
	}
	paths, err := goPaths()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "The programs of this archive are pcapsule (Apache-2.0, see LICENSE) and what follows.\nsbom.cdx.json has the same list for programs.\n")
	add := func(name, folder string) error {
		texts, err := licenceFiles(folder)
		if err != nil {
			return fmt.Errorf("licence of %s: %w", name, err)
		}
		for _, text := range texts {
			fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), name, strings.TrimSpace(text))
		}
		return nil
	}
	if err := add("Go "+strings.TrimPrefix(goVersion, "go"), paths["GOROOT"]); err != nil {
		return nil, err
	}
	for _, d := range list {
		path, err := mod.EscapePath(d.path)
		if err != nil {
			return nil, err
		}
		version, err := mod.EscapeVersion(d.version)
		if err != nil {
			return nil, err
		}
		if err := add(d.path+" "+d.version, filepath.Join(paths["GOMODCACHE"], filepath.FromSlash(path)+"@"+version)); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(&b, "\n%s\nDuckDB's library has these inside:\n\n", strings.Repeat("=", 80))
	for _, n := range native {
		fmt.Fprintf(&b, "%-14s %s\n", n.name, n.licence)
	}
	return b.Bytes(), nil
}

// licenceFiles reads the licence and notice files of a folder. A module below the root of its
// repository may have its licence only at the root.
func licenceFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || strings.HasSuffix(name, ".GO") || !slices.ContainsFunc([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(text))
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("no licence file in %s", dir)
	}
	return texts, nil
}

// checkSBOM reads an SBOM back and compares it with the programs in dir.
func (t *target) checkSBOM(r *release, dir string, data []byte) (int, error) {
	b := cdx.NewBOM()
	if err := cdx.NewBOMDecoder(bytes.NewReader(data), cdx.BOMFileFormatJSON).Decode(b); err != nil {
		return 0, fmt.Errorf("reading the SBOM: %w", err)
	}
	want, err := t.sbom(r, dir)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(want, data) || b.Components == nil {
		return 0, fmt.Errorf("the SBOM does not list what is in the programs")
	}
	return len(*b.Components), nil
}
