package dissect

// KeyState is what became of a connection's keys.
type KeyState uint8

// The states, in rising order.
const (
	KeyNone       KeyState = iota // no key, or none that could be used
	KeyUnverified                 // a key with its client random is there, and no record opened with it
	KeyVerified                   // a record opened with it
)

var keyStateNames = [...]string{"none", "unverified", "verified"}

// String is the word in column key_state.
func (k KeyState) String() string { return keyStateNames[k] }

// The words of column key_reason, why a connection's records were not or not all opened.
const (
	NoKey       = "no_key"       // no key with its client random
	NoHandshake = "no_handshake" // its hellos were not captured, and no key opened it without them
	KeyGap      = "gap"          // lost bytes hid what the keys depend on
	Unsupported = "unsupported"  // version, cipher suite or compression that is not read
	WrongKey    = "wrong_key"    // a key with its client random opens nothing
	Unencrypted = "unencrypted"  // the connection ended before anything was encrypted
)

// maxRecords is how many records of a connection are named one by one.
const maxRecords = 64

// Encryption is what shows of a connection's encryption, and what became of its keys. A
// record is one of TLS or DTLS, or a packet of QUIC.
type Encryption struct {
	Layer  string // tls, dtls or quic
	State  KeyState
	Reason string // one of the words above, or ""
	Random []byte // client random of the first handshake; nil where it was not seen
	// Lines are lines of a key log that open the connection, where they do not stand in
	// one under Random: derived from an RSA key or found under a session id.
	Lines []string

	Records [2]int64 // encrypted ones, by direction
	Bytes   [2]int64 // of these, on the wire
	Opened  [2]int64 // records that authenticated
	Plain   [2]int64 // application bytes in them

	Alerts []string // after the handshake, in order, as "client close_notify"

	Sizes []int64 // of the first records, bytes; negative from server to client
	Times []int64 // of these, microseconds since the first
	first int64
}

// Encryption is the connection's, made when it is first asked for. Inner connections
// share the outermost one's.
func (c *Conn) Encryption() *Encryption {
	r := c.root()
	if r.crypt == nil {
		r.crypt = &Encryption{}
	}
	return r.crypt
}

// Encrypted is the connection's encryption, or nil where there was none.
func (c *Conn) Encrypted() *Encryption { return c.root().crypt }

// maxAlerts is how many alerts of a connection are named.
const maxAlerts = 16

// Alert notes an alert after the handshake.
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

// Saw counts an encrypted record of n bytes at time ns.
func (e *Encryption) Saw(dir Dir, n int, ns int64) {
	e.Records[dir]++
	e.Bytes[dir] += int64(n)
	if len(e.Sizes) >= maxRecords {
		return
	}
	if len(e.Sizes) == 0 {
		e.first = ns
		e.Sizes, e.Times = make([]int64, 0, 8), make([]int64, 0, 8)
	}
	size := int64(n)
	if dir == ToClient {
		size = -size
	}
	e.Sizes, e.Times = append(e.Sizes, size), append(e.Times, us(e.first, ns))
}
