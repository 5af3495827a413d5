//go:build !linux || !(amd64 || arm64)

package keys

// Tracker follows chosen processes and reads their keys.
type Tracker struct{}

// Start is supported only on Linux with amd64 or arm64.
func Start(o Options) (*Tracker, error) {
	if o.Select.Empty() {
		return nil, ErrNobody
	}
	return nil, ErrUnsupported
}

// Close ends the reading.
func (t *Tracker) Close() error { return nil }

// Counters reads the counters.
func (t *Tracker) Counters() (Counters, error) { return Counters{}, ErrUnsupported }

// Processes lists chosen processes.
func (t *Tracker) Processes() []Process { return nil }

// PlainCounters reads the counters of plaintext.
func (t *Tracker) PlainCounters() (PlainCounters, error) { return PlainCounters{}, ErrUnsupported }

// EndsUnknown returns the reason why plaintext has no addresses.
func (t *Tracker) EndsUnknown() error { return ErrUnsupported }
