// Command pcapsule makes evidence bundles from captures and answers questions about them.
package main

import (
	"os"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/kubectl"
	"github.com/pcapsule/pcapsule/forensics/worker"
	_ "github.com/pcapsule/pcapsule/internal/firstgc"
)

func main() {
	worker.Main()
	os.Exit(cli.Main(kubectl.Args(os.Args), os.Stdin, os.Stdout, os.Stderr))
}
