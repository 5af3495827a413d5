package custody

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/cli/agekey"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// sealFlags are the flags of seal.
type sealFlags struct {
	keys, agent, tokens, identities []string
	name, request, commit           string
	asJSON                          bool
}

// Seal returns the command seal.
func Seal(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f sealFlags
	c := &cobra.Command{
		Use:   "seal BUNDLE --key FILE",
		Short: "Sign a bundle: an in-toto statement with the acquisition record",
		Long: `Sign a bundle. The seal covers every file, the custody log so far, and an acquisition record:
who requested the evidence (--request), what was collected, with which tool, and what was lost.
Public tools can verify it; docs/format/seal.md shows how. Several keys can sign one seal.

--commit FILE also signs salted commitments to the packets, and to the rows that packets do not give,
and writes the secret behind them to a new file. Keep that file apart from the bundle: with it, redact and cut
make bundles that prove which packets are those of the sealed one, and reveal shows single ones.

The key is PEM (PKCS #8) or OpenSSH: ed25519, ECDSA or RSA. It may be encrypted with age. Make
one with: openssl genpkey -algorithm ed25519 -out examiner.pem && chmod 600 examiner.pem
Or it stays in ssh-agent (--agent) or in a token (--pkcs11): a smart card, an HSM, or the key
service of a cloud through its PKCS #11 module.`,
		Example: `  pcapsule seal incident.pcapsule --key examiner.pem --name "E. Examiner" --request request.yaml
  pcapsule seal incident.pcapsule --agent SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runSeal(c.Context(), args[0], &f) },
	}
	f.register(c.Flags())
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the statement as JSON")
	return c
}

// register adds the flags of every command that seals.
func (f *sealFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.keys, "key", nil, "file of a private key; can be repeated")
	fl.StringArrayVar(&f.agent, "agent", nil, "key of ssh-agent, by fingerprint or comment; can be repeated")
	fl.StringArrayVar(&f.tokens, "pkcs11", nil, "key in a token, by its PKCS #11 URI (RFC 7512) with module-path and pin-source; can be repeated")
	fl.StringArrayVar(&f.identities, "identity", nil, "age identity that decrypts the key file")
	fl.StringVar(&f.name, "name", "", "the person who holds the key (default: the name of the account)")
	fl.StringVar(&f.request, "request", "", "YAML file: case_id, authority, requester, approver, examiner, purpose …")
	fl.StringVar(&f.commit, "commit", "", "new file for the seed of salted commitments to packets and rows; keep it secret")
}

// given reports whether there is a key to seal with.
func (f *sealFlags) given() bool { return len(f.keys)+len(f.agent)+len(f.tokens) > 0 }

func (e *env) runSeal(ctx context.Context, path string, f *sealFlags) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	sealed, err := e.seal(ctx, b, f)
	if err != nil {
		return err
	}
	if f.asJSON {
		return e.JSON(sealed)
	}
	fmt.Fprintln(e.Out, console.Line(b.Dir+"/"+sealed.File))
	for _, s := range sealed.Signers {
		fmt.Fprintln(e.Out, console.Line("signed by "+s.String()))
	}
	fmt.Fprintf(e.Out, "custody_head %s\n", sealed.Head)
	if f.commit != "" {
		fmt.Fprintln(e.Out, console.Line("seed "+f.commit+": keep it secret, and apart from the bundle"))
	}
	return nil
}

// seal signs the bundle with the keys that the flags name.
func (e *env) seal(ctx context.Context, b *bundle.Bundle, f *sealFlags) (*seal.Sealed, error) {
	if !f.given() {
		return nil, exit.With(fmt.Errorf("missing key: give --key, --agent or --pkcs11"), exit.Usage, "make a key with openssl genpkey -algorithm ed25519 -out examiner.pem, then give --key examiner.pem")
	}
	o := seal.Options{Entry: Entry(bundle.Entry{User: f.name}), With: thisProgram()}
	if f.request != "" {
		data, err := os.ReadFile(f.request)
		if err != nil {
			return nil, err
		}
		if o.Request, err = seal.ReadRequest(data); err != nil {
			return nil, exit.With(fmt.Errorf("reading %s: %w", f.request, err), exit.Syntax, "docs/format/seal.md lists the fields of a request")
		}
	}
	signers, done, err := f.signers(o.Entry.User)
	if err != nil {
		return nil, err
	}
	defer done()
	o.Signers = signers
	if f.commit != "" {
		if err := exit.NewOutput(f.commit); err != nil {
			return nil, err
		}
		seed := commit.NewSeed()
		o.Seed = &seal.SeedFile{Seed: seed}
		if o.Commitments, err = commit.Bundle(ctx, b, seed); err != nil {
			return nil, fmt.Errorf("committing to packets: %w", err)
		}
		if o.Tables, err = commit.Tables(ctx, b, seed); err != nil {
			return nil, fmt.Errorf("committing to rows: %w", err)
		}
	}
	sealed, err := seal.Sign(ctx, b, o)
	if errors.Is(err, seal.ErrSameKey) {
		return nil, exit.Usagef("%v", err)
	}
	if err != nil || o.Seed == nil {
		return sealed, err
	}
	if err := seal.WriteSeed(f.commit, o.Seed); err != nil {
		return nil, exit.With(fmt.Errorf("writing the seed: %w", err), exit.Disk, "the bundle is sealed, but its commitments are lost; seal it again with --commit")
	}
	return sealed, nil
}

// signers reads the keys. done ends the connections to ssh-agent and to tokens.
func (f *sealFlags) signers(name string) (list []seal.Signer, done func(), err error) {
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
	var identities []age.Identity
	for _, p := range f.identities {
		more, err := agekey.Identities(p)
		if err != nil {
			return nil, nil, fmt.Errorf("reading identity %s: %w", p, err)
		}
		identities = append(identities, more...)
	}
	for _, p := range f.keys {
		text, err := ring.ReadPrivate(p)
		if errors.Is(err, ring.ErrShared) {
			err = exit.With(err, exit.Usage, "chmod 600 "+p)
		}
		if err != nil {
			return nil, nil, err
		}
		s, err := seal.ParsePrivate(name, text, identities)
		if err != nil {
			return nil, nil, exit.With(fmt.Errorf("reading key %s: %w", p, err), exit.Usage, "--key needs a private key, in PEM or OpenSSH format")
		}
		list = append(list, s)
	}
	for _, uri := range f.tokens {
		s, closeToken, err := seal.PKCS11Signer(name, uri)
		if err != nil {
			return nil, nil, exit.With(err, exit.Usage, "--pkcs11 'pkcs11:token=T;object=K?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/root/pin'")
		}
		list, open = append(list, s), append(open, closeToken)
	}
	if len(f.agent) == 0 {
		return list, end, nil
	}
	conn, err := net.Dial("unix", os.Getenv("SSH_AUTH_SOCK"))
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

// thisProgram describes the running program with the hash of its file.
func thisProgram() seal.Tool {
	t := seal.Tool{Name: "pcapsule", Release: version.Release}
	if name, err := os.Executable(); err == nil {
		if f, err := os.Open(name); err == nil {
			defer f.Close()
			h := sha256.New()
			if _, err := io.Copy(h, f); err == nil {
				sum := bundle.Digest(h.Sum(nil))
				t.SHA256 = &sum
			}
		}
	}
	return t
}

// stampFlags are the flags of timestamp.
type stampFlags struct{ seal, url, request, response string }

// Timestamp returns the command timestamp.
func Timestamp(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f stampFlags
	c := &cobra.Command{
		Use:   "timestamp BUNDLE",
		Short: "Add a time stamp of an authority (RFC 3161) to a seal",
		Long: `Add a time stamp of an authority (RFC 3161) to a seal, by default the newest. It proves that the
seal existed at a time that this machine did not choose. With --url the authority is asked directly.
Without a network, write the request to a file (--request), send it to the authority from another
machine, and add the response (--response).`,
		Example: `  pcapsule timestamp incident.pcapsule --url http://tsa.example.org/tsr
  pcapsule timestamp incident.pcapsule --request seal.tsq
  curl -H 'Content-Type: application/timestamp-query' --data-binary @seal.tsq http://tsa.example.org/tsr -o seal.tsr
  pcapsule timestamp incident.pcapsule --response seal.tsr`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runTimestamp(c.Context(), args[0], &f) },
	}
	c.Flags().StringVar(&f.seal, "seal", "", "name of the seal in custody/ (default: the newest)")
	c.Flags().StringVar(&f.url, "url", "", "URL of the time-stamp authority")
	c.Flags().StringVar(&f.request, "request", "", "write the request to this new file, to send from another machine")
	c.Flags().StringVar(&f.response, "response", "", "file with the response of the authority")
	return c
}

func (e *env) runTimestamp(ctx context.Context, path string, f *stampFlags) error {
	given := 0
	for _, s := range []string{f.url, f.request, f.response} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return exit.Usagef("give one of --url, --request and --response")
	}
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	name, err := f.sealName(b)
	if err != nil {
		return err
	}
	var request, response []byte
	if f.response == "" {
		if request, err = seal.StampRequest(b, name); err != nil {
			return err
		}
	}
	switch {
	case f.request != "":
		if err := exit.NewOutput(f.request); err != nil {
			return err
		}
		if err := os.WriteFile(f.request, request, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(e.Out, console.Line("request for custody/"+name+" written to "+f.request))
		return nil
	case f.url != "":
		response, err = askAuthority(ctx, f.url, request)
	default:
		response, err = os.ReadFile(f.response)
	}
	if err != nil {
		return err
	}
	stamp, err := seal.AddStamp(b, name, request, response, Entry(bundle.Entry{}))
	if errors.Is(err, bundle.ErrExists) {
		return err
	}
	if err != nil {
		return exit.With(err, exit.Verify, "nothing was added; the response must be for the newest seal, or for the one that --seal names")
	}
	fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("%s: %s, by %s", stamp.File, stamp.Time.Format(time.RFC3339), stamp.Authority)))
	return nil
}

// sealName returns the seal that --seal names, or the newest.
func (f *stampFlags) sealName(b *bundle.Bundle) (string, error) {
	if f.seal != "" {
		return path.Base(f.seal), nil
	}
	entries, _, err := b.Custody()
	if err != nil {
		return "", err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Event == seal.EventSealed {
			return path.Base(entries[i].Details["file"]), nil
		}
	}
	return "", exit.With(fmt.Errorf("%s is not sealed", b.Dir), exit.Usage, "seal it first with pcapsule seal")
}

// askAuthority sends a request to a time-stamp authority.
func askAuthority(ctx context.Context, url string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(request))
	if err != nil {
		return nil, exit.Usagef("--url: %v", err)
	}
	r.Header.Set("Content-Type", "application/timestamp-query")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the time-stamp authority: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/timestamp-reply") {
		return nil, fmt.Errorf("asking the time-stamp authority: %s, %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("asking the time-stamp authority: %w", err)
	}
	return data, nil
}
