package cli

import (
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
)

// keyFlags are the flags of every command that decrypts connections.
type keyFlags struct {
	files      []string
	identities []string
}

func (k *keyFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&k.files, "keys", nil, "file with keys: a TLS key log, an RSA private key, or a capture that contains secrets; can be repeated")
	fl.StringArrayVar(&k.identities, "identity", nil, "age or SSH private key that decrypts keys encrypted with age; can be repeated")
}

// apply reads the identities into o.
func (k *keyFlags) apply(o *exporter.Options) (err error) {
	o.Keys = k.files
	o.Identities, err = agekey.Identities(k.identities)
	return err
}

// keyOptions sets the options about keys of a new bundle.
func (f *bundleFlags) keyOptions(o *exporter.Options) error {
	if err := f.keys.apply(o); err != nil {
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
