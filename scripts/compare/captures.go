package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// capture is one capture, with the files that belong to it.
type capture struct {
	path string
	id   string   // the start of its hash
	args []string // more arguments of pcapsule bundle
}

// name is the name of its bundle and of files about it.
func (c capture) name() string {
	return filepath.Base(filepath.Dir(c.path)) + "-" + filepath.Base(c.path) + "-" + c.id
}

// captures lists the samples and the captures in the INDEX.tsv of a folder. Of the captures of each
// protocol there and of the samples with secrets, it lists at most the given number.
func captures(folder string, most int, only *regexp.Regexp) ([]capture, error) {
	var paths []string
	counts := map[string]int{}
	some := func(kind string) bool {
		counts[kind]++
		return most == 0 || counts[kind] <= most
	}
	err := filepath.WalkDir("samples", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && regexp.MustCompile(`\.(pcap|pcapng)(\.gz|\.zst)?$`).MatchString(path) &&
			(filepath.Dir(path) != "samples/secrets" || some("secrets")) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if folder != "" {
		index, err := os.ReadFile(filepath.Join(folder, "INDEX.tsv"))
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSpace(string(index)), "\n")[1:]
		slices.SortFunc(lines, func(a, b string) int { return strings.Compare(column(a, 1), column(b, 1)) }) // by hash: a fixed selection of all kinds
		for _, line := range lines {
			if protocol := column(line, 4); protocol != "keylog" && some(protocol) {
				paths = append(paths, filepath.Join(folder, column(line, 0)))
			}
		}
	}
	var list []capture
	seen := map[string]bool{}
	for _, path := range paths {
		if !only.MatchString(path) {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		hash := sha256.Sum256(data)
		c := capture{path: path, id: hex.EncodeToString(hash[:4])}
		stem := strings.TrimSuffix(path, filepath.Ext(path))
		for _, extra := range [][2]string{{"--kube", stem + ".kube.json"}, {"--keys", stem + ".keylog"}} {
			if _, err := os.Stat(extra[1]); err == nil {
				c.args = append(c.args, extra[:]...)
			}
		}
		if !seen[c.id] {
			list = append(list, c)
		}
		seen[c.id] = true
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no capture matches %s", only)
	}
	return list, nil
}

func column(line string, n int) string {
	if parts := strings.Split(line, "\t"); n < len(parts) {
		return parts[n]
	}
	return ""
}
