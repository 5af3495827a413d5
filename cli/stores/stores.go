// Package stores is the command store, and opens bundles in stores for other commands.
package stores

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/cache"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/transfer"
	"github.com/pcapsule/pcapsule/store"
)

type env struct{ *console.Streams }

// Command returns the command store.
func Command(s *console.Streams) *cobra.Command {
	e := &env{s}
	c := &cobra.Command{
		Use:   "store",
		Short: "Keep bundles in object storage or on a volume",
		Long: `Keep bundles in object storage (s3://, gs://, azblob://) or on a volume (file://).

Commands that read bundles also take the address of a bundle in a store. They copy its tables to the
cache once, verified, and read packets in place when a question needs them. Each block of packets is
compared with its hash.

Credentials are those of the provider's own programs, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
or a profile; gs:// takes an HMAC key in the same variables. AWS_ENDPOINT_URL names a server other than
the provider's.`,
		Example: `  pcapsule store push incident.pcapsule s3://evidence/2026
  pcapsule ask find-failures s3://evidence/2026/incident.pcapsule
  pcapsule store fetch s3://evidence/2026/incident.pcapsule`,
	}
	c.AddCommand(e.push(), e.list(), e.fetch(), e.check())
	return c
}

func (e *env) push() *cobra.Command {
	return &cobra.Command{
		Use:   "push BUNDLE... STORE",
		Short: "Copy bundles to a store",
		Long: `Copy bundles to a store. Each file is compared with the manifest on its way. To resume
after an interruption, or to add new entries of the custody log, run the same command again. A
bundle in a store is never replaced: a different bundle of the same name is an error.`,
		Example:           "  pcapsule store push incident.pcapsule s3://evidence/2026",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: command.CompleteBundles,
		RunE: func(c *cobra.Command, args []string) error {
			dirs, address := args[:len(args)-1], args[len(args)-1]
			if err := pushable(dirs, address); err != nil {
				return err
			}
			s, err := store.Create(c.Context(), address)
			if err != nil {
				return explained(err)
			}
			defer s.Close()
			for _, dir := range dirs {
				bar := e.Progress()
				p, err := s.Push(c.Context(), dir, bar.Bytes(filepath.Base(dir)))
				bar.Clear()
				if err != nil {
					return explained(err)
				}
				kept := ""
				if p.Kept > 0 {
					kept = plural.Sprintf("; %d {file|files} there already", p.Kept)
				}
				fmt.Fprintf(e.Out, "%s/%s: %s, %s written%s\n", s.Address, p.Name, plural.Count(p.Files, "file", "files"), console.ByteSize(p.Bytes), kept)
			}
			return nil
		},
	}
}

// pushable checks the arguments of a push before a store is created for it.
func pushable(dirs []string, address string) error {
	if !store.IsAddress(address) {
		for _, dir := range dirs {
			if store.IsAddress(dir) {
				return exit.Usagef("%s is a store, but the last argument is where bundles go; to copy a bundle from a store, use pcapsule store fetch", dir)
			}
		}
	}
	for _, dir := range dirs {
		if _, err := bundle.Open(dir); err != nil {
			return err
		}
	}
	return command.Distinct(dirs)
}

func (e *env) list() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:     "ls STORE",
		Short:   "List the bundles of a store",
		Example: "  pcapsule store ls s3://evidence/2026",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := store.Open(c.Context(), args[0])
			if err != nil {
				return explained(err)
			}
			defer s.Close()
			list, err := s.List(c.Context())
			if err != nil {
				return explained(err)
			}
			if asJSON {
				out := json.NewEncoder(e.Out)
				out.SetIndent("", "  ")
				return out.Encode(list)
			}
			w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
			for _, b := range list {
				when := "push not finished"
				if b.Whole {
					when = b.Pushed.UTC().Format(time.DateTime) + " UTC"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", console.Line(b.Name), plural.Count(b.Files, "file", "files"), console.ByteSize(b.Bytes), when)
			}
			if len(list) == 0 {
				fmt.Fprintf(e.Err, "%s has no bundle\n", s.Address)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (e *env) fetch() *cobra.Command {
	output := ""
	c := &cobra.Command{
		Use:   "fetch ADDRESS",
		Short: "Copy a bundle from a store",
		Long: `Copy a bundle from a store and verify it. To resume after an interruption, run the same
command again. The folder gets its name when everything in it is verified.`,
		Example: "  pcapsule store fetch s3://evidence/2026/incident.pcapsule",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, name, err := store.OpenBundle(c.Context(), args[0])
			if err != nil {
				return explained(err)
			}
			defer s.Close()
			to := output
			if to == "" {
				to = name
			}
			if err := exit.Outside(to); err != nil {
				return err
			}
			bar := e.Progress()
			r, err := s.Fetch(c.Context(), name, to, bar.Bytes(name))
			bar.Clear()
			if err == nil {
				err = r.Err()
			}
			if err != nil {
				return explained(err)
			}
			fmt.Fprintf(e.Out, "%s: %s, %s, verified\nfingerprint %s\n", to, plural.Count(int64(r.Files), "file", "files"), console.ByteSize(r.Bytes), r.TagManifest)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "folder to make (default: the bundle's name in the current folder)")
	return c
}

func (e *env) check() *cobra.Command {
	return &cobra.Command{
		Use:   "check ADDRESS...",
		Short: "Verify bundles in a store",
		Long: `Read all bytes of bundles in a store and compare them with their manifests. After
pcapsule store fetch, pcapsule verify also checks signatures and losses and compares the tables with the packets.`,
		Example: "  pcapsule store check s3://evidence/2026/incident.pcapsule",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var bad error
			for _, address := range args {
				s, name, err := store.OpenBundle(c.Context(), address)
				if err != nil {
					return explained(err)
				}
				bar := e.Progress()
				r, err := s.Check(c.Context(), name, bar.Bytes(name))
				bar.Clear()
				s.Close()
				if err != nil {
					return explained(err)
				}
				if err := r.Err(); err != nil {
					for i := range r.Problems {
						fmt.Fprintf(e.Out, "%s/%s: %s\n", s.Address, name, console.Line(r.Problems[i].String()))
					}
					bad = err
					continue
				}
				fmt.Fprintf(e.Out, "%s/%s: %s, %s match the manifests\nfingerprint %s\n", s.Address, name, plural.Count(int64(r.Files), "file", "files"), console.ByteSize(r.Bytes), r.TagManifest)
			}
			if bad != nil {
				return exit.With(bad, exit.Verify, "push the bundle again from where it is intact: pcapsule store push repairs what was altered")
			}
			return nil
		},
	}
}

// explained gives the errors of stores their exit codes and hints.
func explained(err error) error {
	var altered transfer.AlteredErrors
	var damaged *bundle.DamagedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrAddress):
		return exit.With(err, exit.Usage, "pcapsule store --help describes addresses and credentials")
	case errors.Is(err, store.ErrNone):
		return exit.With(err, exit.Other, "pcapsule store ls STORE lists the bundles of a store")
	case errors.Is(err, store.ErrTaken):
		return exit.With(err, exit.Refused, "rename the folder, or push it to another place")
	case errors.As(err, &altered), errors.As(err, &damaged):
		return exit.With(err, exit.Verify, "the bundle did not get its final name")
	case errors.Is(err, store.ErrRegion):
		return exit.With(err, exit.Other, "set AWS_REGION, such as eu-central-1, or region in the profile")
	case errors.Is(err, store.ErrCredentials):
		return exit.With(err, exit.Other, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for gs:// those of an HMAC key) or AWS_PROFILE; for azblob:// AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY")
	case errors.Is(err, store.ErrUnreachable):
		return exit.With(err, exit.Other, "check the network, the bucket and the region; AWS_ENDPOINT_URL selects a server other than Amazon's")
	case errors.Is(err, os.ErrPermission):
		return exit.With(err, exit.Other, "check the credentials, such as AWS_ACCESS_KEY_ID, and the permissions of their account")
	}
	return err
}

// Open opens the bundle at an address in a store. The cache keeps its files except its packets, by its
// fingerprint; they are in use until held is released.
func Open(ctx context.Context, address string, s *console.Streams) (b *bundle.Bundle, held *bundle.Held, err error) {
	dir, err := cache.Dir("stores")
	if err != nil {
		return nil, nil, exit.With(err, exit.Disk, "fetch the bundle: pcapsule store fetch ADDRESS")
	}
	from, name, err := store.OpenBundle(ctx, address)
	if err != nil {
		return nil, nil, explained(err)
	}
	remote, err := from.Find(ctx, name)
	if err != nil {
		return nil, nil, explained(err)
	}
	path := filepath.Join(dir, remote.Fingerprint()[:16]+store.Extension)
	held, err = cache.Get(path, func() error {
		bar := s.Progress()
		defer bar.Clear()
		return remote.Copy(ctx, path, bar.Bytes(strings.TrimSuffix(name, store.Extension)))
	})
	if err != nil {
		return nil, nil, explained(err)
	}
	b, hashed, err := remote.Open(ctx, path)
	if err == nil && !hashed {
		fmt.Fprintf(s.Err, "%s has no hashes of blocks, because an older release made it: packets that are read in place are not verified\n", console.Line(name))
	}
	return b, held, explained(err)
}

// List lists the addresses of the bundles at an address: of one bundle, or of a store, in which a push that is not finished
// counts as a bundle.
func List(ctx context.Context, address string) ([]string, error) {
	before, query, params := strings.Cut(address, "?")
	if params {
		query = "?" + query
	}
	before = strings.TrimRight(before, "/")
	if strings.HasSuffix(before, store.Extension) {
		return []string{address}, nil
	}
	s, err := store.Open(ctx, address)
	if err != nil {
		return nil, explained(err)
	}
	defer s.Close()
	list, err := s.List(ctx)
	if err != nil {
		return nil, explained(err)
	}
	var out []string
	for _, b := range list {
		out = append(out, before+"/"+b.Name+query)
	}
	return out, nil
}

// Check verifies a bundle in a store: all of it, or only the lists of its hashes and its custody log.
func Check(ctx context.Context, address string, all bool) (*bundle.Report, error) {
	s, name, err := store.OpenBundle(ctx, address)
	if err != nil {
		return nil, explained(err)
	}
	defer s.Close()
	check := s.CheckCustody
	if all {
		check = func(ctx context.Context, name string) (*bundle.Report, error) { return s.Check(ctx, name, nil) }
	}
	r, err := check(ctx, name)
	return r, explained(err)
}
