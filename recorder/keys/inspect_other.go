//go:build !linux || !(amd64 || arm64)

package keys

// Probe tests whether keys and plaintext can be read on this machine.
func Probe() (ends, err error) { return nil, ErrUnsupported }

// Inspect reports that no keys can be read on this system.
func Inspect(func(pid uint32, executable string) bool, string) []Ability { return nil }
