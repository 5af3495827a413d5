package custody

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// handoverFlags are the flags of handover.
type handoverFlags struct {
	output, to, note string
	split            command.Size
	recipients       []string
	passphrase       string
	reports          []string
	noViewer         bool
	seal             sealFlags
}

// Handover returns the command handover.
func Handover(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f handoverFlags
	c := &cobra.Command{
		Use:   "handover BUNDLE --to NAME",
		Short: "Pack a bundle for another person: one file, encrypted or split, with a cover sheet",
		Long: `Pack a bundle for another person. The package is a folder with the bundle as one ZIP, SHA256SUMS,
and a cover sheet (HTML and PDF): what is handed over, its fingerprint as digits, words and QR
code, signatures, custody, how to check it with public tools, and drafts of certificates.

pcapsule-viewer.html, which checks and reads the bundle in a browser, is added if it lies beside
this program; --no-viewer leaves it out. --report adds reports about the bundle, as they are. With --recipient the ZIP and reports are encrypted
with age; only the named keys open them. With --passphrase one passphrase opens them. --split makes parts
for systems that limit the size of a file. --key seals the bundle first, so that the signature
covers the handover's entry in the custody log. The receiver runs: pcapsule receive FOLDER`,
		Example: `  pcapsule handover incident.pcapsule --to "A. Auditor" --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  pcapsule handover incident.pcapsule --to "A. Auditor" --split 2GB --key examiner.pem`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, flag := range []string{"request", "commit", "identity"} {
				if c.Flags().Changed(flag) && !f.seal.given() {
					return exit.Usagef("--%s is for the seal: give --key, --agent or --pkcs11 too", flag)
				}
			}
			return e.runHandover(c.Context(), args[0], &f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "folder to make (default: NAME.handover in the current folder)")
	fl.StringVar(&f.to, "to", "", "person or organization that receives the bundle")
	fl.StringVar(&f.note, "note", "", "note for the custody log and the cover sheet")
	command.SizeVar(fl, &f.split, "split", "", 0, handover.MinPart, command.Largest, "largest size of a file, such as 2GB")
	fl.StringArrayVar(&f.reports, "report", nil, "report to hand over with the bundle, with its signature FILE.dsse.json if there is one; can be repeated")
	fl.BoolVar(&f.noViewer, "no-viewer", false, "leave out pcapsule-viewer.html")
	fl.StringArrayVar(&f.recipients, "recipient", nil, "encrypt to this recipient: age1…, an SSH public key, or a file of recipients; can be repeated")
	fl.StringVar(&f.passphrase, "passphrase", "", "encrypt with the passphrase in this file")
	c.MarkFlagsMutuallyExclusive("recipient", "passphrase")
	f.seal.register(fl)
	return c
}

func (e *env) runHandover(ctx context.Context, path string, f *handoverFlags) error {
	if f.to == "" {
		return exit.Usagef("missing receiver: give --to with the person or organization that receives the bundle")
	}
	o := handover.Options{Part: int64(f.split), Reports: f.reports}
	for _, r := range f.reports {
		info, err := os.Stat(r)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a plain file", r)
		}
		if err != nil {
			return exit.With(fmt.Errorf("reading --report: %w", err), exit.NotCapture, "give the file of a report, as pcapsule report writes it")
		}
	}
	var err error
	if o.To, err = agekey.Recipients("--recipient", f.recipients); err != nil {
		return err
	}
	if f.passphrase != "" {
		if o.Passphrase, err = agekey.Passphrase(f.passphrase); err != nil {
			return err
		}
	}
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	if f.output == "" {
		f.output = strings.TrimSuffix(filepath.Base(b.Dir), ".pcapsule") + ".handover"
	}
	if err := exit.NewOutput(f.output); err != nil {
		return err
	}
	var sealing seal.Options
	if f.seal.given() {
		var done func()
		if sealing, done, err = f.seal.prepare(); err != nil {
			return err
		}
		defer done()
	}
	entry := Entry(bundle.Entry{Event: handover.EventHandedOver, User: f.seal.name, Note: f.note,
		Details: map[string]string{"to": f.to, "recipients": fmt.Sprint(len(o.To))}})
	if _, _, err := b.AppendCustody(entry); err != nil {
		return custodyError(err)
	}
	if f.seal.given() {
		if _, err := e.seal(ctx, b, &f.seal, sealing); err != nil {
			return notHanded(b, entry, err)
		}
	}
	if !f.noViewer {
		if o.Viewer = viewer(); o.Viewer == "" {
			e.Warn("the package has no viewer, because %s is not beside this program; releases have it, and make viewer builds it", handover.ViewerName)
		}
	}
	o.Cover = func(c *handover.Cover) { c.From, c.To, c.Note = entry.User, f.to, f.note }
	bar := e.Progress()
	o.Progress = bar.Bytes("packing")
	files, err := handover.Pack(ctx, b, f.output, o)
	bar.Clear()
	if err != nil {
		return notHanded(b, entry, err)
	}
	for _, file := range files {
		fmt.Fprintln(e.Out, console.Line(fmt.Sprintf("%s  %s  %s", filepath.Join(f.output, file.Name), console.ByteSize(file.Size), file.SHA256)))
	}
	return nil
}

// viewer is the file of the viewer beside this program, or where packages of a system install it; empty if there is none.
func viewer() string {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return ""
	}
	for _, path := range []string{handover.ViewerName, "../share/pcapsule/" + handover.ViewerName} {
		path = filepath.Join(filepath.Dir(program), filepath.FromSlash(path))
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// notHanded adds an entry saying that a handover failed.
func notHanded(b *bundle.Bundle, entry bundle.Entry, err error) error {
	entry.Event, entry.Note, entry.Details = seal.EventFailed, "", map[string]string{"event": entry.Event, "to": entry.Details["to"]}
	_, _, logged := b.AppendCustody(entry)
	if errors.Is(err, bundle.ErrVerification) {
		err = exit.With(err, exit.Verify, "pcapsule verify lists all problems; hand over the original instead")
	}
	return errors.Join(err, logged)
}

// receiveFlags are the flags of receive.
type receiveFlags struct {
	output, fingerprint string
	identities          []string
	passphrase          string
	trust               TrustFlags
	entry               bundle.Entry
}

// Receive returns the command receive.
func Receive(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f receiveFlags
	c := &cobra.Command{
		Use:   "receive PACKAGE",
		Short: "Check, decrypt and unpack a bundle that was handed over",
		Long: `Check, decrypt and unpack a bundle that was handed over: the folder of the package, its ZIP or any
part of it. Every file is verified, and the cover sheets must have the fingerprint and the words of this bundle,
before the bundle is kept. With --signer the seal must be by that key. --fingerprint compares the bundle with what
you got over another channel, such as the phone; without it, compare the printed words yourself. The custody log
gets an entry "received".`,
		Example: `  pcapsule receive incident.handover --identity key.txt --signer examiner.pub
  pcapsule receive incident.pcapsule.zip.001 -o case-4711.pcapsule`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runReceive(c.Context(), args[0], &f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "bundle to make (default: the name of the packed bundle, in the current folder)")
	fl.StringVar(&f.fingerprint, "fingerprint", "", "fingerprint that the bundle must have: 64 hexadecimal digits or 24 words")
	fl.StringArrayVar(&f.identities, "identity", nil, "age identity or SSH private key that decrypts the package; can be repeated")
	fl.StringVar(&f.passphrase, "passphrase", "", "file with the passphrase that decrypts the package")
	f.trust.Register(fl)
	fl.StringVar(&f.entry.User, "user", "", "the person who receives it (default: the name of the account)")
	fl.StringVar(&f.entry.Note, "note", "", "note for the custody log")
	return c
}

func (e *env) runReceive(ctx context.Context, path string, f *receiveFlags) error {
	ids, err := agekey.Opening(f.identities, f.passphrase)
	if err != nil {
		return err
	}
	trust, err := f.trust.Read()
	if err != nil {
		return err
	}
	var want bundle.Digest
	if f.fingerprint != "" {
		if want, err = handover.ParseFingerprint(f.fingerprint); err != nil {
			return exit.Usagef("--fingerprint: %v", err)
		}
	}
	output := f.output
	p, err := handover.Open(ctx, path)
	if errors.Is(err, handover.ErrParts) {
		return exit.With(fmt.Errorf("%s: %w", path, err), exit.Verify, "ask the sender for the missing or changed file")
	}
	if errors.Is(err, handover.ErrNotPackage) {
		hint := "give what pcapsule handover made: the folder of the package, its ZIP or any part of it"
		if _, other := bundle.Open(path); other == nil {
			hint = "it is a bundle already: check it with pcapsule verify " + path
		}
		return exit.With(err, exit.NotBundle, hint)
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if output == "" {
		output = p.Name
	}
	if err := exit.NewOutput(output); err != nil {
		return err
	}
	if p.Encrypted && len(ids) == 0 {
		return exit.With(fmt.Errorf("%s: %w", path, handover.ErrEncrypted), exit.Usage, "give the key that opens it with --identity, or a file with its passphrase with --passphrase")
	}
	report, err := p.Unpack(ctx, output, ids)
	if err != nil {
		return receiveError(err, path)
	}
	verdicts := p.Compare(report)
	if f.fingerprint != "" {
		v := seal.Verdict{Check: handover.CheckFingerprint, State: seal.Yes, Detail: "the bundle has the given fingerprint"}
		if want != report.TagManifest {
			v.State, v.Detail = seal.No, "the bundle has another fingerprint than the given one: "+report.TagManifest.String()
		}
		verdicts = append(verdicts, v)
	}
	signatures, signed := seal.CheckSigned(ctx, report, trust)
	verdicts = append(verdicts, signatures...)
	for _, note := range seal.Uncovered(report, signed, trust) {
		verdicts = append(verdicts, seal.Verdict{Check: "custody", State: seal.NotChecked, Detail: note})
	}
	for _, v := range verdicts {
		PrintVerdict(e.Out, v)
	}
	if i := slices.IndexFunc(verdicts, func(v seal.Verdict) bool { return v.State == seal.No }); i >= 0 {
		err := exit.With(fmt.Errorf("%s: %s: %s", path, verdicts[i].Check, verdicts[i].Detail), exit.Verify, "the bundle was not kept; ask the sender, over another channel")
		return errors.Join(err, os.RemoveAll(output))
	}
	b, err := bundle.Open(output)
	if err != nil {
		return err
	}
	entry := f.entry
	entry.Event = handover.EventReceived
	if _, _, err := b.AppendCustody(Entry(entry)); err != nil {
		return custodyError(err)
	}
	e.printReceived(b, p, report)
	return nil
}

// receiveError says what can be done about a package that does not open.
func receiveError(err error, path string) error {
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return exit.With(fmt.Errorf("%s: no given identity or passphrase opens it", path), exit.Usage, "give the private key that belongs to one of the recipients, or the passphrase that the sender chose")
	case errors.Is(err, bundle.ErrVerification):
		return exit.With(err, exit.Verify, "the bundle was changed before or after it was packed; ask the sender")
	case errors.Is(err, bundle.ErrExists), errors.Is(err, bundle.ErrNotBundle), errors.Is(err, fs.ErrPermission), exit.IsDisk(err):
		return err
	}
	return exit.With(fmt.Errorf("%s: %w", path, err), exit.Damaged, "ask the sender for the package again; a part may be missing")
}

// printReceived prints what the receiver must compare.
func (e *env) printReceived(b *bundle.Bundle, p *handover.Package, report *bundle.Report) {
	listed := "no SHA256SUMS"
	if p.Listed {
		listed = "parts as in SHA256SUMS"
	}
	fmt.Fprintln(e.Out, console.Line(b.Dir+": "+plural.Count(int64(report.Files), "file", "files")+" verified, "+listed))
	fmt.Fprintf(e.Out, "fingerprint %s\n", report.TagManifest)
	fmt.Fprintf(e.Out, "in words    %s\n", handover.Words(report.TagManifest))
	fmt.Fprintln(e.Out, "Compare them over another channel, such as the phone. pcapsule verify checks the signatures again.")
}
