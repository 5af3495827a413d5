package weaktls

import (
	"slices"
	"testing"
)

// TestWeaknesses judges handshakes, and hellos that offer the same.
func TestWeaknesses(t *testing.T) {
	for _, tt := range []struct {
		version, suite string
		weakness       string
		severity       string
		offered        []string
	}{
		{"TLS 1.2", "TLS_RSA_WITH_NULL_SHA256", "no encryption", "high", []string{"no encryption"}},
		{"TLS 1.3", "TLS_SHA256_SHA256", "no encryption", "high", []string{"no encryption"}},
		{"TLS 1.2", "TLS_ECDH_anon_WITH_AES_128_CBC_SHA", "no authentication", "high", []string{"no authentication"}},
		{"TLS 1.0", "TLS_RSA_EXPORT_WITH_RC4_40_MD5", "export keys", "high", []string{"TLS 1.0", "export keys", "RC4"}},
		{"TLS 1.2", "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "RC4", "high", []string{"RC4"}},
		{"TLS 1.2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "3DES", "medium", []string{"3DES"}},
		{"TLS 1.2", "TLS_DHE_RSA_WITH_DES_CBC_SHA", "DES", "high", []string{"DES"}},
		{"TLS 1.2", "SSL_CK_DES_192_EDE3_CBC_WITH_MD5", "3DES", "medium", []string{"3DES"}},
		{"TLS 1.2", "SSL_CK_DES_64_CBC_WITH_MD5", "DES", "high", []string{"DES"}},
		{"TLS 1.2", "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", "export keys", "high", []string{"export keys", "DES"}},
		{"SSL 3.0", "TLS_RSA_WITH_AES_128_CBC_SHA", "SSL 3.0", "high", []string{"SSL 3.0"}},
		{"SSL 2.0", "TLS_RSA_WITH_AES_128_CBC_SHA", "SSL 2.0", "high", []string{"SSL 2.0"}},
		{"TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS 1.0", "medium", []string{"TLS 1.0"}},
		{"TLS 1.1", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS 1.1", "medium", []string{"TLS 1.1"}},
		{"DTLS 1.0", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "DTLS 1.0", "medium", []string{"DTLS 1.0"}},
		{"TLS 1.2", "TLS_RSA_WITH_AES_128_GCM_SHA256", "no forward secrecy", "low", nil},
		{"TLS 1.2", "TLS_PSK_WITH_AES_128_GCM_SHA256", "no forward secrecy", "low", nil},
		{"TLS 1.2", "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256", "no forward secrecy", "low", nil},
		{"TLS 1.2", "TLS_DH_DSS_WITH_AES_128_CBC_SHA", "no forward secrecy", "low", nil},
		{"TLS 1.2", "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256", "", "", nil},
		{"TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "", "", nil},
		{"DTLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "", "", nil},
		{"TLS 1.3", "TLS_AES_128_GCM_SHA256", "", "", nil},
		{"TLS 1.3", "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", "", "", nil},
	} {
		w, _ := rules().judge(tt.version, tt.suite)
		if w == nil {
			w = &weakness{}
		}
		if w.Name != tt.weakness || w.Severity != tt.severity {
			t.Errorf("%s %s is judged %s %q, want %s %q", tt.version, tt.suite, w.Severity, w.Name, tt.severity, tt.weakness)
		}
		if got, old := rules().offered([]string{"v" + tt.version, "s" + tt.suite, "v" + tt.version, "secdsa_sha1", "gecdsa_secp256r1_sha256"}); !slices.Equal(got, tt.offered) || old {
			t.Errorf("%s %s offers %q, %v, want %q", tt.version, tt.suite, got, old, tt.offered)
		}
	}
	for name, want := range map[string]bool{"rsa_pkcs1_sha1": true, "RSA_PKCS1_MD5": true, "rsa_pss_rsae_sha256": false} {
		if _, old := rules().offered([]string{"g" + name}); old != want {
			t.Errorf("signature %s is old: %v", name, old)
		}
	}
}
