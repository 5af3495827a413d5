// Package exporting is what commands that run the exporter share: the flags for keys, and the line of progress.
package exporting

import (
	"filippo.io/age"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Keys are the flags --keys and --identity.
type Keys struct {
	Files      []string
	Identities []string
}

// Register adds the flags.
func (k *Keys) Register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&k.Files, "keys", nil, "file with keys: a TLS key log, an RSA private key, or a capture that contains secrets; can be repeated")
	fl.StringArrayVar(&k.Identities, "identity", nil, "age or SSH private key that decrypts keys encrypted with age; can be repeated")
}

// Read returns the files, and the identities from theirs.
func (k *Keys) Read() ([]string, []age.Identity, error) {
	ids, err := agekey.Identities(k.Identities)
	return k.Files, ids, err
}

// Draw draws the progress of the exporter: the stage, the bytes read of all, and what was found in them.
func Draw(bar *console.Progress, stage string, read, total, packets, calls int64) {
	reading := stage == "reading"
	if !reading {
		total = 0
	}
	bar.Draw(!reading, read, total, func() string {
		text := stage + "  " + plural.Count(packets, "packet", "packets")
		if reading {
			text += "  " + plural.Count(calls, "call", "calls")
		}
		return text
	})
}
