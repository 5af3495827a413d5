// Command pcapsule-recorder records a Kubernetes node's packets into a ring.
package main

import (
	"os"

	"github.com/pcapsule/pcapsule/cli/recorder"
)

func main() {
	os.Exit(recorder.Main(os.Args[1:], os.Stdout, os.Stderr))
}
