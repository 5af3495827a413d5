package cli

import (
	"context"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/version"
)

// keyOptions sets the options about keys of a new bundle.
func (f *bundleFlags) keyOptions(o *exporter.Options) error {
	if err := applyKeys(&f.keys, o); err != nil {
		return err
	}
	o.EmbedKeys = f.embedKeys
	if len(f.keysTo) > 0 && !f.embedKeys {
		return exit.Usagef("--keys-to needs --embed-keys, which keeps keys in the bundle")
	}
	var err error
	o.KeysTo, err = agekey.Recipients("--keys-to", f.keysTo)
	return err
}

// applyKeys reads the keys of flags into o.
func applyKeys(k *exporting.Keys, o *exporter.Options) (err error) {
	o.Keys, o.Identities, err = k.Read()
	return err
}

// drawn returns a function that draws the progress of dissection.
func drawn(bar *console.Progress) func(exporter.Progress) {
	return func(p exporter.Progress) { exporting.Draw(bar, p.Stage, p.ReadBytes, p.TotalBytes, p.Packets, p.Calls) }
}

// rederive makes a bundle again for verify.
func rederive(ctx context.Context, b *bundle.Bundle, keys []string, identities []age.Identity, bar *console.Progress) (*bundle.Rederived, error) {
	return exporter.Rederive(ctx, b, exporter.Options{Release: version.Release, Keys: keys, Identities: identities, Progress: drawn(bar)})
}
