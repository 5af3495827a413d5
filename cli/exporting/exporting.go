// Package exporting is what the commands share that run the exporter: the flags for keys, and the line of progress.
package exporting

import (
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/exporter"
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

// Apply reads the identities into o.
func (k *Keys) Apply(o *exporter.Options) (err error) {
	o.Keys = k.Files
	o.Identities, err = agekey.Identities(k.Identities)
	return err
}

// Progress returns a function that draws the progress of dissection.
func Progress(bar *console.Progress) func(exporter.Progress) {
	return func(p exporter.Progress) {
		reading, total := p.Stage == "reading", p.TotalBytes
		if !reading {
			total = 0
		}
		bar.Draw(!reading, p.ReadBytes, total, func() string {
			text := p.Stage + "  " + plural.Count(p.Packets, "packet", "packets")
			if reading {
				text += "  " + plural.Count(p.Calls, "call", "calls")
			}
			return text
		})
	}
}
