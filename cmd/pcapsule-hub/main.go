// Command pcapsule-hub collects the recordings of a cluster's nodes into snapshots.
package main

import (
	"os"

	"github.com/pcapsule/pcapsule/cli/hub"
)

func main() {
	os.Exit(hub.Main(os.Args[1:], os.Stdout, os.Stderr))
}
