package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/internal/yamltext"
)

// sealFlags are the flags of seal.
type sealFlags struct {
	Signing
	request, commit string
	part            int
	asJSON          bool
}

// Seal returns the command seal.
func Seal(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f sealFlags
	var log logFlags
	c := &cobra.Command{
		Use:   "seal BUNDLE --key FILE",
		Short: "Sign a bundle: an in-toto statement with the acquisition record",
		Long: `Sign a bundle. The seal covers every file, the custody log so far, and an acquisition record:
who requested the evidence (--request), what was collected, with which tool, and what was lost.
Public tools can verify it; docs/format/seal.md shows how. Several keys can sign one seal.

--commit FILE also signs salted commitments to the packets, and to the rows that cannot be made from
packets, and writes their secret to a new file. Keep that file apart from the bundle: with it, redact and
cut make bundles that prove which packets come from the sealed one, and reveal shows single packets and rows.

The key is PEM (PKCS #8) or OpenSSH: ed25519, ECDSA or RSA. It may be encrypted with age. The
first example makes one. The key can also stay in ssh-agent (--agent) or in a token (--pkcs11): a smart card, an HSM, or the key
service of a cloud through its PKCS #11 module.

--log URL sends the hash of the seal to a transparency log and keeps the log's proof in the bundle,
so that nobody can replace the seal later without being noticed. Nothing else is sent anywhere.`,
		Example: `  openssl genpkey -algorithm ed25519 -out examiner.pem && chmod 600 examiner.pem
  pcapsule seal incident.pcapsule --key examiner.pem --name "E. Examiner" --request request.yaml
  pcapsule seal incident.pcapsule --agent SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runSeal(c.Context(), args[0], &f, &log) },
	}
	f.register(c.Flags())
	log.register(c.Flags())
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the statement as JSON")
	return c
}

// register adds the flags of every command that seals.
func (f *sealFlags) register(fl *pflag.FlagSet) {
	f.Signing.Register(fl)
	fl.StringVar(&f.request, "request", "", "YAML file: case_id, authority, requester, approver, examiner, purpose …")
	fl.StringVar(&f.commit, "commit", "", "new file for the seed of salted commitments to packets and rows; keep it secret")
	fl.IntVar(&f.part, "commit-bytes", 0, "bytes of a packet that a redaction can hide alone; 1 proves the most and is slow (0: by the size of the bundle)")
	command.Between(fl, "commit-bytes", &f.part, 0, commit.MaxPart)
}

func (e *env) runSeal(ctx context.Context, path string, f *sealFlags, log *logFlags) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	logKey, err := log.check()
	if err != nil {
		return err
	}
	o, done, err := f.prepare()
	if err != nil {
		return err
	}
	defer done()
	sealed, err := e.seal(ctx, b, f, o)
	if err != nil {
		return err
	}
	if logKey != nil {
		if sealed.Log, err = log.add(ctx, b, sealed.File, logKey); err != nil {
			return err
		}
	}
	if f.asJSON {
		return e.JSON(sealed)
	}
	fmt.Fprintln(e.Out, console.Line(b.Dir+"/"+sealed.File))
	for _, s := range sealed.Signers {
		fmt.Fprintln(e.Out, console.Line("signed by "+s.String()))
	}
	fmt.Fprintf(e.Out, "custody_head %s\n", sealed.Head)
	if l := sealed.Log; l != nil {
		fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("%s: entry %d of %s", l.File, l.Index, l.Origin)))
	}
	if f.commit != "" {
		fmt.Fprintln(e.Out, console.Line("seed "+f.commit+": keep it secret, and apart from the bundle"))
	}
	return nil
}

// prepare reads the files and keys that the flags name, before anything is written. done ends the connections to
// ssh-agent and to tokens.
func (f *sealFlags) prepare() (o seal.Options, done func(), err error) {
	if err := f.NeedKey(); err != nil {
		return o, nil, err
	}
	o = seal.Options{Entry: Entry(bundle.Entry{User: f.name}), With: ThisProgram()}
	if f.request != "" {
		data, err := os.ReadFile(f.request)
		if err != nil {
			return o, nil, fmt.Errorf("reading --request: %w", err)
		}
		if o.Request, err = seal.ReadRequest(data); err != nil {
			return o, nil, exit.With(fmt.Errorf("reading %s: %w", f.request, yamltext.Error(err)), exit.Syntax, "docs/format/seal.md lists the fields of a request")
		}
	}
	if f.commit != "" {
		if err := exit.NewOutput(f.commit); err != nil {
			return o, nil, err
		}
		o.Seed = &seal.SeedFile{Seed: commit.NewSeed()}
	}
	o.Signers, done, err = f.Signers()
	return o, done, err
}

// seal signs the bundle as prepared.
func (e *env) seal(ctx context.Context, b *bundle.Bundle, f *sealFlags, o seal.Options) (_ *seal.Sealed, err error) {
	if o.Seed != nil {
		seed := o.Seed.Seed
		if o.Commitments, err = commit.Bundle(ctx, b, seed, f.part); err != nil {
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

// stampFlags are the flags of timestamp.
type stampFlags struct {
	seal, url, request, response string
	renew                        bool
}

// Timestamp returns the command timestamp.
func Timestamp(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f stampFlags
	c := &cobra.Command{
		Use:   "timestamp BUNDLE",
		Short: "Add a time stamp from an authority (RFC 3161) to a seal",
		Long: `Add a time stamp from an authority (RFC 3161) to a seal, by default the newest. It proves that the
seal existed at a time that this machine did not choose. With --url the authority is asked directly.
Without a network, write the request to a file (--request), send it to the authority from another
machine, and add the response (--response).

A time stamp can be relied on until the certificate of its authority expires, or its algorithms are broken. Before that, --renew
adds one more, which covers the seal and its older time stamps (RFC 4998).`,
		Example: `  pcapsule timestamp incident.pcapsule --url http://tsa.example.org/tsr
  pcapsule timestamp incident.pcapsule --request seal.tsq
  curl -H 'Content-Type: application/timestamp-query' --data-binary @seal.tsq http://tsa.example.org/tsr -o seal.tsr
  pcapsule timestamp incident.pcapsule --response seal.tsr`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runTimestamp(c.Context(), args[0], &f) },
	}
	c.Flags().StringVar(&f.seal, "seal", "", "name of the seal in custody/ (default: the newest)")
	c.Flags().BoolVar(&f.renew, "renew", false, "renew the time stamps that the seal has")
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
	number := 0
	if f.renew {
		if number, err = seal.NextStamp(b, name); err != nil {
			return exit.With(err, exit.Usage, "without --renew the first time stamp is added")
		}
	}
	var request, response []byte
	if f.response == "" {
		if request, err = seal.StampRequest(b, name, number); err != nil {
			return err
		}
	}
	switch {
	case f.request != "":
		if err := exit.NewOutput(f.request); err != nil {
			return err
		}
		if err := whole.CreateDurably(f.request, 0o644, whole.Text(request)); err != nil {
			return exit.OutputError(err, f.request)
		}
		fmt.Fprintln(e.Out, console.Line("request for custody/"+name+" written to "+f.request))
		return nil
	case f.url != "":
		response, err = askAuthority(ctx, f.url, request)
	default:
		if response, err = os.ReadFile(f.response); err != nil {
			err = fmt.Errorf("reading --response: %w", err)
		}
	}
	if err != nil {
		return err
	}
	stamp, err := seal.AddStamp(b, name, number, request, response, Entry(bundle.Entry{}))
	if errors.Is(err, bundle.ErrExists) {
		return exit.With(err, exit.Exists, "--renew adds one more, before the certificate of its authority expires")
	}
	if err != nil {
		return exit.With(err, exit.Verify, "nothing was added; the response must be for the newest seal, or for the one that --seal names")
	}
	fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("%s: %s UTC, by %s", stamp.File, stamp.Time.UTC().Format(time.DateTime), stamp.Authority)))
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
