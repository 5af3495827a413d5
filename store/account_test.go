package store

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMissingAccount opens a store of S3 as somebody who has set nothing.
func TestMissingAccount(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, tt := range []struct {
		region string
		want   error
	}{{"", ErrRegion}, {"eu-central-1", ErrCredentials}} {
		t.Setenv("AWS_REGION", tt.region)
		s, err := Open(t.Context(), "s3://evidence")
		if err == nil {
			_, err = s.List(t.Context())
			s.Close()
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("region %q: %v, want: %v", tt.region, err, tt.want)
		}
	}
}

// TestMissingAccountOfAzure opens a container without an account: the error has no words of the library.
func TestMissingAccountOfAzure(t *testing.T) {
	for _, name := range []string{"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING"} {
		t.Setenv(name, "")
	}
	for _, account := range []struct{ name, key, words string }{{"", "", "AccountName"}, {"evidence", "not base64", "NewSharedKeyCredential"}} {
		t.Setenv("AZURE_STORAGE_ACCOUNT", account.name)
		t.Setenv("AZURE_STORAGE_KEY", account.key)
		if _, err := Open(t.Context(), "azblob://evidence"); !errors.Is(err, ErrCredentials) || errors.Is(err, ErrAddress) || strings.Contains(err.Error(), account.words) {
			t.Errorf("account %q, key %q: %v", account.name, account.key, err)
		}
	}
}

// TestUnreachable opens stores on servers that are not there: the error names the server and no request of the library.
func TestUnreachable(t *testing.T) {
	account(t)
	for _, endpoint := range []string{"http://127.0.0.1:1", "http://nowhere.invalid"} {
		t.Setenv("AWS_ENDPOINT_URL", endpoint)
		_, err := opened(t, "s3://evidence").List(t.Context())
		host := strings.TrimPrefix(endpoint, "http://")
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), host) || strings.Contains(err.Error(), "operation error") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// TestNoWarnings reads an object of a server that sends no checksums. The library must not write to the terminal.
func TestNoWarnings(t *testing.T) {
	account(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "text") }))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	terminal := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = terminal }()
	data, err := opened(t, "s3://evidence").read(t.Context(), "a")
	written, readErr := os.ReadFile(file.Name())
	if err != nil || readErr != nil || string(data) != "text" || len(written) > 0 {
		t.Errorf("%q, %v, %v; on standard error: %q", data, err, readErr, written)
	}
}

// account sets credentials that any server of a test accepts.
func account(t *testing.T) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_REGION": "us-east-1", "AWS_S3_USE_PATH_STYLE": "true"} {
		t.Setenv(name, value)
	}
}
