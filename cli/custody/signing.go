package custody

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"

	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

// Signing has the keys of every command that signs.
type Signing struct {
	keys, agent, tokens, identities []string
	name                            string
}

// Register adds the flags.
func (f *Signing) Register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.keys, "key", nil, "file of a private key; can be repeated")
	fl.StringArrayVar(&f.agent, "agent", nil, "key of ssh-agent, by fingerprint or comment; can be repeated")
	fl.StringArrayVar(&f.tokens, "pkcs11", nil, "key in a token, by its PKCS #11 URI (RFC 7512) with module-path and pin-source; can be repeated")
	fl.StringArrayVar(&f.identities, "identity", nil, "age identity that decrypts the key file")
	fl.StringVar(&f.name, "name", "", "the person who holds the key (default: the name of the account)")
}

// given reports whether there is a key to sign with.
func (f *Signing) given() bool { return len(f.keys)+len(f.agent)+len(f.tokens) > 0 }

// NeedKey is the error of a command without a key.
func (f *Signing) NeedKey() error {
	if f.given() {
		return nil
	}
	return exit.With(errors.New("missing key: give --key, --agent or --pkcs11"), exit.Usage, "make a key with openssl genpkey -algorithm ed25519 -out examiner.pem, then give --key examiner.pem")
}

// Signers reads the keys. done ends the connections to ssh-agent and to tokens.
func (f *Signing) Signers() (list []seal.Signer, done func(), err error) {
	name := Entry(bundle.Entry{User: f.name}).User
	var open []func()
	end := func() {
		for _, f := range open {
			f()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	identities, err := agekey.Identities(f.identities)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range f.keys {
		text, err := signingkey.ReadPrivate(p)
		if errors.Is(err, signingkey.ErrShared) {
			if public(p) {
				err = exit.With(fmt.Errorf("reading key %s: it is a public key", p), exit.NotCapture, "--key needs the private key")
			} else {
				err = exit.With(err, exit.NotCapture, "chmod 600 "+p)
			}
		}
		if err != nil {
			return nil, nil, err
		}
		s, err := seal.ParsePrivate(name, text, identities)
		if err != nil {
			return nil, nil, exit.With(fmt.Errorf("reading key %s: %w", p, err), exit.NotCapture, "--key needs a private key, in PEM or OpenSSH format")
		}
		list = append(list, s)
	}
	for _, uri := range f.tokens {
		s, closeToken, err := seal.PKCS11Signer(name, uri)
		if err != nil {
			return nil, nil, exit.With(err, exit.Usage, "give a URI such as 'pkcs11:token=T;object=K?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/root/pin'")
		}
		list, open = append(list, s), append(open, closeToken)
	}
	if len(f.agent) == 0 {
		return list, end, nil
	}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, exit.With(errors.New("ssh-agent is not running: SSH_AUTH_SOCK is not set"), exit.Usage, "start ssh-agent and add the key with ssh-add")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, exit.With(fmt.Errorf("ssh-agent: %w", err), exit.Usage, "start ssh-agent and add the key with ssh-add")
	}
	open = append(open, func() { conn.Close() })
	client := agent.NewClient(conn) // one for all keys: it reads from the connection continuously
	for _, key := range f.agent {
		s, err := seal.AgentSigner("", key, client)
		if err != nil {
			return nil, nil, exit.With(err, exit.Usage, "ssh-add -l lists the keys")
		}
		list = append(list, s)
	}
	return list, end, nil
}

// public reports whether a file begins as a public key or a certificate.
func public(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head)
	return publicKey.Match(head[:n])
}

var publicKey = regexp.MustCompile(`^(?:-----BEGIN (?:[A-Z]+ )*(?:PUBLIC KEY|CERTIFICATE)-----|(?:ssh|ecdsa|sk)-\S+ )`)

// ThisProgram describes the running program with the hash of its file.
func ThisProgram() seal.Tool {
	return seal.Tool{Name: "pcapsule", Release: version.Release, SHA256: bundle.ThisProgram()}
}
