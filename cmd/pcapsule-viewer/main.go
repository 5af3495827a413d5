// Command pcapsule-viewer is what pcapsule-viewer.html runs in a browser: it checks bundles. It is built for js/wasm by make
// viewer; elsewhere it does the same on files.
package main

import (
	"os"

	"github.com/pcapsule/pcapsule/cli/viewer"
)

func main() { os.Exit(viewer.Main(os.Args[1:], os.Stdout, os.Stderr)) }
