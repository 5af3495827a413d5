package dissect

// KeyState says how far a connection's keys were usable.
type KeyState uint8

// The states, in ascending order.
const (
	KeyNone       KeyState = iota // no key, or none that could be used
	KeyUnverified                 // there is a key for the client random, but it decrypted no record
	KeyVerified                   // the key decrypted a record
)

var keyStateNames = [...]string{"none", "unverified", "verified"}

// String is the word in column key_state.
func (k KeyState) String() string { return keyStateNames[k] }

// Values of column key_reason: why none or not all of a connection's records were decrypted.
const (
	NoKey       = "no_key"       // no key for its client random
	NoHandshake = "no_handshake" // its hellos were not captured, and no key decrypted it without them
	KeyGap      = "gap"          // missing bytes hide what the keys depend on
	Unsupported = "unsupported"  // unsupported version, cipher suite or compression
	WrongKey    = "wrong_key"    // the key for its client random decrypts nothing, or not all: a record was damaged or forged
	Unencrypted = "unencrypted"  // the connection ended before anything was encrypted
)

// maxRecords is how many records of a connection are listed individually.
const maxRecords = 64

// Encryption describes a connection's encryption and how far its keys were usable. A record is a
// TLS or DTLS record, or a QUIC packet.
type Encryption struct {
	Layer  string // tls, dtls or quic
	State  KeyState
	Reason string // one of the words above, or ""
	Random []byte // client random of the first handshake; nil if not seen
	// Lines are key log lines that decrypt the connection, if no key log lists them under
	// Random: derived from an RSA key or found by session id.
	Lines []string

	Records [2]int64 // encrypted records, by direction
	Bytes   [2]int64 // bytes of these on the wire
	Opened  [2]int64 // records that authenticated
	Plain   [2]int64 // application bytes in them

	Alerts []string // after the handshake, in order, as "client close_notify"

	Sizes []int64 // of the first records, bytes; negative from server to client
	Times []int64 // of these, microseconds since the first; nil if they do not have one clock
	first Instant
}

// Encryption returns the connection's encryption and creates it on the first call. Inner
// connections share that of the outermost connection.
func (c *Conn) Encryption() *Encryption {
	r := c.root()
	if r.crypt == nil {
		r.crypt = &Encryption{}
	}
	return r.crypt
}

// Encrypted returns the connection's encryption, or nil if there is none.
func (c *Conn) Encrypted() *Encryption { return c.root().crypt }

// unopened counts the encrypted records of a side that no key decrypted until now, modulo 2^32.
func (c *Conn) unopened(dir Dir) uint32 {
	e := c.Encrypted()
	if e == nil {
		return 0
	}
	dir = c.outward(dir)
	return uint32(e.Records[dir] - e.Opened[dir])
}

// outward is a direction of c as the outermost connection has it.
func (c *Conn) outward(dir Dir) Dir {
	for ; c.parent != nil; c = c.parent {
		if c.flipped {
			dir = dir.Other()
		}
	}
	return dir
}

// maxAlerts is how many alerts of a connection are listed.
const maxAlerts = 16

// Alert records an alert after the handshake.
func (e *Encryption) Alert(dir Dir, name string) {
	if len(e.Alerts) >= maxAlerts {
		return
	}
	side := "client "
	if dir == ToClient {
		side = "server "
	}
	e.Alerts = append(e.Alerts, side+name)
}

// Saw counts an encrypted record of n bytes, captured at an instant.
func (e *Encryption) Saw(dir Dir, n int, at Instant) {
	e.Records[dir]++
	e.Bytes[dir] += int64(n)
	if len(e.Sizes) >= maxRecords {
		return
	}
	if len(e.Sizes) == 0 {
		e.first = at
		e.Sizes, e.Times = make([]int64, 0, 8), make([]int64, 0, 8)
	}
	size := int64(n)
	if dir == ToClient {
		size = -size
	}
	e.Sizes = append(e.Sizes, size)
	if at.Clock != e.first.Clock || at.Clock == NoClock {
		e.Times = nil
	}
	if e.Times != nil {
		e.Times = append(e.Times, max(at.Ns-e.first.Ns, 0)/1000)
	}
}
