package store

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// gateway starts the S3 server versitygw, whose program PCAPSULE_GATEWAY names, on a folder. It returns
// the address of a bucket, or nothing without the program; make stores builds it.
func gateway(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PCAPSULE_GATEWAY")
	if path == "" {
		return ""
	}
	url, bucket := server(t, path)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL", url)
	t.Setenv("AWS_S3_USE_PATH_STYLE", "true")
	return "s3://" + bucket
}

// server runs the program until the test ends, with one bucket.
func server(t *testing.T, path string) (url, bucket string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	bucket = "evidence"
	if err := os.Mkdir(filepath.Join(dir, bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "--port", address, "posix", "--sidecar", t.TempDir(), dir)
	c.Env = append(os.Environ(), "ROOT_ACCESS_KEY=test", "ROOT_SECRET_KEY=testsecret")
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	for range 200 {
		if resp, err := http.Get("http://" + address + "/"); err == nil {
			resp.Body.Close()
			return "http://" + address, bucket
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("versitygw does not answer")
	return "", ""
}
