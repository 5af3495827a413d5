//go:build !linux || !(amd64 || arm64)

package keys

// Probe tries whether keys and plaintext can be read on this machine.
func Probe() (ends, err error) { return nil, ErrUnsupported }

// Inspect tells what can be read of processes: nothing.
func Inspect(func(pid uint32, executable string) bool, string) []Ability { return nil }
