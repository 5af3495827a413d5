// Command systems type-checks for Windows and macOS all packages of pcapsule that need no C compiler. Of their
// dependencies it reads the declarations only, so it takes a tenth of the time of go build.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/pcapsule/pcapsule"

func main() {
	for _, system := range []string{"windows/amd64", "darwin/arm64"} {
		n, err := check(system)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", system, err)
			os.Exit(1)
		}
		fmt.Printf("%s: %d packages of ours have no type errors\n", system, n)
	}
}

// check returns the number of packages it checked.
func check(system string) (n int, err error) {
	list, err := withoutC(system)
	if err != nil {
		return 0, err
	}
	const mode = packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo
	read, err := packages.Load(config(system, mode, false), list...)
	if err != nil {
		return 0, err
	}
	var found []error
	for _, p := range read {
		for _, e := range p.Errors {
			found = append(found, e)
		}
	}
	if len(read) != len(list) {
		found = append(found, fmt.Errorf("%d packages were read instead of %d", len(read), len(list)))
	}
	return len(read), errors.Join(found...)
}

// withoutC lists our packages, also commands, that do not import DuckDB, which is written in C++.
func withoutC(system string) (list []string, err error) {
	read, err := packages.Load(config(system, packages.NeedName|packages.NeedImports|packages.NeedDeps, true), module+"/cmd/pcapsule")
	if err != nil {
		return nil, err
	}
	needs := map[*packages.Package]bool{}
	packages.Visit(read, nil, func(p *packages.Package) { // after its imports
		needs[p] = strings.HasPrefix(p.PkgPath, "github.com/duckdb/") || strings.HasSuffix(p.PkgPath, "/internal/engine")
		for _, q := range p.Imports {
			needs[p] = needs[p] || needs[q]
		}
		if strings.HasPrefix(p.PkgPath, module+"/") && !needs[p] {
			list = append(list, p.PkgPath)
		}
	})
	if len(list) < 100 {
		return nil, fmt.Errorf("only %d packages of ours need no C compiler", len(list))
	}
	return list, nil
}

func config(system string, mode packages.LoadMode, cgo bool) *packages.Config {
	name, arch, _ := strings.Cut(system, "/")
	enabled := "0"
	if cgo {
		enabled = "1"
	}
	return &packages.Config{Mode: mode, Env: append(os.Environ(), "GOOS="+name, "GOARCH="+arch, "CGO_ENABLED="+enabled)}
}
