package command

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// Token reads the token of a hub or server from the file of --token-file, or from $PCAPSULE_TOKEN if there is none. It
// is empty if neither is given.
func Token(path string) (string, error) {
	text, from := os.Getenv("PCAPSULE_TOKEN"), "$PCAPSULE_TOKEN"
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", exit.With(fmt.Errorf("--token-file: %w", err), exit.NotCapture, "")
		}
		text, from = string(data), "--token-file "+path
	}
	token := strings.TrimSpace(text)
	outside := func(r rune) bool { return r <= ' ' || r > '~' }
	if strings.ContainsFunc(token, outside) || token == "" && path != "" {
		return "", exit.With(fmt.Errorf("%s: it contains no token", from), exit.NotCapture, "a token is one word, such as what kubectl create token prints")
	}
	return token, nil
}

// Authorities reads the certificates of --ca. Without a path it returns nil, which means those of the system.
func Authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, exit.With(fmt.Errorf("--ca: %w", err), exit.NotCapture, "")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, exit.With(fmt.Errorf("--ca %s: it contains no certificate", path), exit.NotCapture, "give certificates in PEM format")
	}
	return pool, nil
}
