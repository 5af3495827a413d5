package secrets

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
)

const (
	randomSize = 32
	maxLine    = 64 << 10 // bytes; an ECHConfig is the longest part of a line
	maxUpdate  = 1 << 30  // N of a traffic secret
	maxPreMast = 4 << 10  // bytes; the longest Diffie-Hellman prime in use
)

// Why a line is invalid.
var (
	errLabel  = errors.New("unknown label")
	errFields = errors.New("not a label, an identifier and a secret")
	errHex    = errors.New("not hexadecimal")
	errID     = errors.New("the identifier has the wrong length")
	errValue  = errors.New("the secret has the wrong length")
	errLong   = errors.New("the line is too long")
)

// parseLine parses a line without its end. ID and Value are decoded into buf, which must have
// half the line's length. A comment or an empty line has no secret and is not an error.
func parseLine(line, buf []byte) (s Secret, ok bool, err error) {
	line = bytes.Trim(line, " \t\r")
	if len(line) == 0 || line[0] == '#' {
		return s, false, nil
	}
	label, rest := field(line)
	id, rest := field(rest)
	value, rest := field(rest)
	s.Label, s.N, id, value, err = labelOf(label, id, value)
	if err != nil {
		return s, false, err
	}
	if len(id) == 0 || len(value) == 0 || len(rest) > 0 {
		return s, false, errFields
	}
	if len(id)%2 != 0 || len(value)%2 != 0 {
		return s, false, errHex
	}
	n, m := len(id)/2, len(value)/2
	s.ID, s.Value = buf[:n:n], buf[n:n+m:n+m]
	if err := s.sizes(); err != nil {
		return s, false, err
	}
	if _, err := hex.Decode(s.ID, id); err != nil {
		return s, false, errHex
	}
	if _, err := hex.Decode(s.Value, value); err != nil {
		return s, false, errHex
	}
	return s, true, nil
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// field splits off the first word.
func field(b []byte) (word, rest []byte) {
	n := 0
	for n < len(b) && !blank(b[n]) {
		n++
	}
	word = b[:n]
	for n < len(b) && blank(b[n]) {
		n++
	}
	return word, b[n:]
}

// labelOf parses a line's label. The label of a session id is inside the fields.
func labelOf(label, id, value []byte) (Label, int, []byte, []byte, error) {
	if v, ok := bytes.CutPrefix(label, []byte("QUIC_")); ok {
		label = v // used by implementations of the drafts
	}
	switch string(label) {
	case "RSA":
		session, ok := bytes.CutPrefix(id, []byte("Session-ID:"))
		if !ok {
			return PreMasterRSA, 0, id, value, nil
		}
		master, ok := bytes.CutPrefix(value, []byte("Master-Key:"))
		if !ok {
			return 0, 0, nil, nil, errFields
		}
		return SessionID, 0, session, master, nil
	case "EARLY_EXPORTER_MASTER_SECRET":
		return EarlyExporter, 0, id, value, nil
	case "EXPORTER_MASTER_SECRET":
		return Exporter, 0, id, value, nil
	}
	for l, name := range labelNames {
		if name == "" || Label(l) == SessionID || Label(l) == PreMasterRSA {
			continue
		}
		if Label(l) == ClientTraffic || Label(l) == ServerTraffic {
			if digits, ok := bytes.CutPrefix(label, []byte(name)); ok {
				n, ok := number(digits)
				if !ok {
					break
				}
				return Label(l), n, id, value, nil
			}
		} else if string(label) == name {
			return Label(l), 0, id, value, nil
		}
	}
	return 0, 0, nil, nil, errLabel
}

func number(digits []byte) (n int, ok bool) {
	for _, d := range digits {
		if d < '0' || d > '9' || n > maxUpdate/10 {
			return 0, false
		}
		n = 10*n + int(d-'0')
	}
	return n, len(digits) > 0
}

// sizes reports an error unless identifier and secret have the lengths for the label.
func (s *Secret) sizes() error {
	id, value := len(s.ID), len(s.Value)
	switch s.Label {
	case PreMasterRSA:
		if id != 8 {
			return errID
		}
	case SessionID:
		if id < 1 || id > 32 {
			return errID
		}
	default:
		if id != randomSize {
			return errID
		}
	}
	ok := true
	switch s.Label {
	case ClientRandom, SessionID, PreMasterRSA:
		ok = value == masterSize
	case PreMaster:
		ok = value <= maxPreMast
	case ECHSecret, ECHConfig:
	default:
		ok = value == 32 || value == 48 // SHA-256, SHA-384
	}
	if !ok {
		return errValue
	}
	return nil
}

// begins reports whether a line may be the truncated beginning of a line with a key.
func begins(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	label, rest := field(line)
	if len(label) == len(line) {
		label = bytes.TrimPrefix(label, []byte("QUIC_"))
		for _, name := range append(labelNames[1:labels:labels], "QUIC_") {
			if bytes.HasPrefix([]byte(name), label) || strings.HasSuffix(name, "_") && bytes.HasPrefix(label, []byte(name)) {
				return true
			}
		}
		return false
	}
	_, _, _, _, err := labelOf(label, nil, nil)
	for _, c := range rest {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || blank(c)
		if !hex && (string(label) != "RSA" || !strings.ContainsRune("Session-ID:Master-Key:", rune(c))) {
			return false
		}
	}
	return err == nil && len(rest) <= maxLine
}
