package cli

import (
	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
)

// keyOptions sets the options about keys of a new bundle.
func (f *bundleFlags) keyOptions(o *exporter.Options) error {
	if err := f.keys.Apply(o); err != nil {
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
