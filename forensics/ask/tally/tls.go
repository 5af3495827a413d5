package tally

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Version counts the TLS handshakes with one negotiated version and cipher suite.
type Version struct {
	Version    string `json:"version"`
	Suite      string `json:"cipher_suite"`
	Handshakes int64  `json:"handshakes"`
	Failed     int64  `json:"failed"`
	Servers    int64  `json:"servers"`
	First      string `json:"first_call"`
}

// Versions returns TLS versions and cipher suites, most used first.
func Versions(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Version], error) {
	return read[Version](ctx, c, `SELECT coalesce(tls_version_name, 'not settled') AS version, coalesce(tls_cipher_suite_name, 'not settled') AS cipher_suite,
  count(*) AS handshakes, count(*) FILTER (WHERE failed) AS failed, count(DISTINCT dst_ip) AS servers, `+firstCall(c)+`
`+calls(w)+` AND protocol = 'tls'
GROUP BY ALL ORDER BY handshakes DESC, version, cipher_suite LIMIT 30`, w.Args...)
}

// Certificate is a server's certificate. Times are in nanoseconds since 1970 UTC; Seen is the time
// of the last handshake with it.
type Certificate struct {
	Subject    string `json:"subject"`
	Issuer     string `json:"issuer"`
	NotAfter   int64  `json:"not_after_ns"`
	KeyType    string `json:"key_type"`
	KeyBits    int64  `json:"key_bits"`
	Signature  string `json:"signature"`
	SelfSigned bool   `json:"self_signed"`
	Expired    bool   `json:"expired"`
	Early      bool   `json:"not_yet_valid"`
	WrongName  bool   `json:"wrong_name"`
	Seen       int64  `json:"seen_ns"`
	Handshakes int64  `json:"handshakes"`
	First      string `json:"first_call"`
}

// Certificates returns certificates: invalid ones first, then by their end.
func Certificates(ctx context.Context, c *forensics.Case, w *ask.Window) (Table[Certificate], error) {
	return read[Certificate](ctx, c, fmt.Sprintf(`SELECT max(cert_subject) AS subject, max(cert_issuer) AS issuer, max(cert_not_after_ns) AS not_after_ns,
  max(cert_key_type) AS key_type, max(cert_key_bits) AS key_bits, max(cert_signature_algorithm) AS signature, bool_or(cert_self_signed) AS self_signed,
  bool_or(cert_expired) AS expired, bool_or(cert_not_yet_valid) AS not_yet_valid, bool_or(NOT cert_matches_sni) AS wrong_name,
  max(c.ts_ns) AS seen_ns, count(*) AS handshakes, %s
FROM tls_handshakes t JOIN (SELECT * %s) c ON c.call_no = t.call_no%s WHERE cert_sha256 IS NOT NULL
GROUP BY cert_sha256
ORDER BY (expired OR not_yet_valid) DESC, not_after_ns, min(c.ts_ns), cert_sha256 LIMIT 30`, firstCall(c), calls(w), terms.SameBundle(c, "t", "c")), w.Args...)
}
