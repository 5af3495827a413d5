package lab

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed clients.py
var pythonClients string

//go:embed agents.py
var pythonAgents string

// Python records the client of a protocol in clients.py or agents.py.
func (l *Lab) Python(ctx context.Context, out, protocol, server string) error {
	script := filepath.Join(l.Tmp, "clients.py")
	for name, text := range map[string]string{script: pythonClients, filepath.Join(l.Tmp, "agents.py"): pythonAgents} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return l.RecordClient(ctx, out, protocol, "python3", script, protocol, server, Password, filepath.Join(out, protocol+".said.tsv"), filepath.Join(l.Tmp, "keys.log"))
}

// PythonWith is the path of a Python that has a package.
func PythonWith(ctx context.Context, requirement string) (string, error) {
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

// Jars fetches a Maven project's libraries once and returns their folder.
func Jars(ctx context.Context, name, pom string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "pcapsule-samples", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if found, err := filepath.Glob(dir + "/lib/*.jar"); err == nil && len(found) == 0 {
		if err := os.WriteFile(dir+"/pom.xml", []byte(pom), 0o644); err != nil {
			return "", err
		}
		mvn := exec.CommandContext(ctx, "mvn", "-q", "dependency:copy-dependencies", "-DoutputDirectory=lib")
		mvn.Dir = dir
		if out, err := mvn.CombinedOutput(); err != nil {
			return "", fmt.Errorf("fetching %s: %w: %s", name, err, out)
		}
	}
	return dir, nil
}

// RecordScript records a script for Python, which is the server and the client of a network. The server prints ready when it
// listens. It may need a package.
func RecordScript(ctx context.Context, out, name, text, net, requirement string) error {
	python := "python3"
	if requirement != "" {
		var err error
		if python, err = PythonWith(ctx, requirement); err != nil {
			return err
		}
	}
	server := net + ".20"
	l, err := New(name, "", At("client", net+".5"), At("plant", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, name+"_sample.py") // not the name of a module that it imports
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		return err
	}
	if _, err := l.Start("plant", "ready", python, script, "server", server); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, name, python, script, "client", server, filepath.Join(out, name+".said.tsv"))
}
