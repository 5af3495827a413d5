// Command bagcheck checks with an independent BagIt implementation whether folders are valid
// bags. It is a separate module, so that none of it becomes part of the product; the tests of
// exporter/bundle build and run it.
package main

import (
	"fmt"
	"os"

	bagit "github.com/nyudlts/go-bagit"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: bagcheck FOLDER...")
		os.Exit(2)
	}
	for _, dir := range os.Args[1:] {
		if err := check(dir); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", dir, err)
			os.Exit(1)
		}
	}
}

func check(dir string) error {
	bag, err := bagit.GetExistingBag(dir)
	if err != nil {
		return fmt.Errorf("reading bag: %w", err)
	}
	return bag.ValidateBag(false, false)
}
