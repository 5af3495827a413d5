package main

import (
	"crypto/tls"
	_ "unsafe" // for the names of crypto/tls that it keeps for QUIC implementations
)

//go:linkname defaultSuites crypto/tls.defaultCipherSuitesTLS13
var defaultSuites []uint16

//go:linkname defaultSuitesNoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var defaultSuitesNoAES []uint16

// onlySuite makes crypto/tls offer a single TLS 1.3 suite, for which it has no setting, until the
// returned function is called.
func onlySuite(id uint16) (reset func()) {
	if id == 0 || tls.CipherSuiteName(id)[:7] != "TLS_AES" && id != tls.TLS_CHACHA20_POLY1305_SHA256 {
		return func() {}
	}
	a, b := defaultSuites, defaultSuitesNoAES
	defaultSuites, defaultSuitesNoAES = []uint16{id}, []uint16{id}
	return func() { defaultSuites, defaultSuitesNoAES = a, b }
}
