package main

import (
	"context"
	_ "embed" // thrift.py
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed thrift.py
var thriftScript string

// makeThrift records thriftpy2 in both protocols, framed and not.
func makeThrift(ctx context.Context, out string) error {
	python, err := pythonWith(ctx, "thriftpy2==0.7.1")
	if err != nil {
		return err
	}
	const server = "10.1.30.20"
	l, err := newLab("thrift", "", host{"client", "10.1.30.5", ""}, host{"shop", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	script := filepath.Join(l.tmp, "thrift.py")
	if err := os.WriteFile(script, []byte(thriftScript), 0o644); err != nil {
		return err
	}
	for i, kind := range []string{"binary", "framed", "compact", "framed-compact"} {
		if _, err := l.start("shop", "", python, script, "server", server, kind); err != nil {
			return err
		}
		if err := l.do(ctx, "client", "wait", fmt.Sprintf("%s:%d", server, 9090+i)); err != nil {
			return err
		}
	}
	return l.recordClient(ctx, out, "thrift", python, script, "client", server, filepath.Join(out, "thrift.said.tsv"))
}

// pythonWith is the path of a Python that has a package.
func pythonWith(ctx context.Context, requirement string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "pcapsule-samples", requirement)
	python := filepath.Join(dir, "bin", "python3")
	if _, err := os.Stat(python); err == nil {
		return python, nil
	}
	for _, argv := range [][]string{{"python3", "-m", "venv", dir}, {python, "-m", "pip", "install", "-q", requirement}} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			return "", fmt.Errorf("installing %s: %w: %s", requirement, err, out)
		}
	}
	return python, nil
}
