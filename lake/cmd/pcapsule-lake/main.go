// Command pcapsule-lake registers the tables of many bundles as Apache Iceberg tables.
package main

import (
	"os"

	"github.com/pcapsule/pcapsule/lake/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
