package command

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// Distinct refuses a bundle that is named twice, because its calls would be counted twice.
func Distinct(paths []string) error {
	var seen []os.FileInfo
	for i, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			info = nil // opening it reports the error
		}
		for j, other := range seen {
			if info != nil && other != nil && os.SameFile(info, other) {
				return exit.Usagef("%s and %s are the same bundle", paths[j], paths[i])
			}
		}
		seen = append(seen, info)
	}
	return nil
}

// CompleteBundles offers bundles in the current folder.
func CompleteBundles(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	list, err := os.ReadDir(".")
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, f := range list {
		if n := f.Name(); strings.HasSuffix(n, ".pcapsule") || strings.HasSuffix(n, ".pcapsule.zip") {
			names = append(names, n)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// IsBundlePath reports whether an argument names a bundle rather than a filter.
func IsBundlePath(arg string) bool {
	arg = strings.TrimRight(arg, "/")
	return strings.HasSuffix(arg, ".pcapsule") || strings.HasSuffix(arg, ".pcapsule.zip")
}
