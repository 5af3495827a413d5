// Command pcapsule makes evidence bundles from captures and answers questions about them.
package main

import (
	"os"

	"github.com/pcapsule/pcapsule/forensics/worker"
	"github.com/pcapsule/pcapsule/internal/cli"
)

func main() {
	worker.Main()
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
