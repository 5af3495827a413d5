package table

// TLSHandshake is one TLS handshake, a row of table tls_handshakes, with the columns that calls does not
// have. Certificate columns are null if no certificate was observed.
type TLSHandshake struct {
	CallNo int64 `col:"call_no" doc:"the handshake's row in calls"`

	RecordVersion    Opt[int32]  `col:"record_version" doc:"version in the record that carried the first message"`
	ClientVersion    Opt[int32]  `col:"client_version" doc:"field version of the ClientHello; 0x0303 in TLS 1.3"`
	OfferedVersions  []string    `col:"offered_versions" doc:"versions of the client's extension supported_versions, in its order"`
	ClientRandom     []byte      `col:"client_random" doc:"the client's random, which identifies its keys in a key log"`
	ServerRandom     []byte      `col:"server_random" doc:"the server's random"`
	SessionID        []byte      `col:"session_id" doc:"session id of the ServerHello"`
	ClientExtensions []string    `col:"client_extensions" doc:"extensions of the ClientHello in wire order, by IANA's names"`
	ServerExtensions []string    `col:"server_extensions" doc:"extensions of the ServerHello in wire order, by IANA's names"`
	KeyShares        []string    `col:"key_shares" doc:"groups that the client sent a key share for"`
	JA3String        Opt[string] `col:"ja3_string" doc:"text whose MD5 is tls_ja3"`
	JA3SString       Opt[string] `col:"ja3s_string" doc:"text whose MD5 is tls_ja3s"`
	JA4String        Opt[string] `col:"ja4_string" doc:"tls_ja4 with the sorted lists in place of their hashes"`
	OCSPStapled      bool        `col:"ocsp_stapled" doc:"the server sent a CertificateStatus, or in TLS 1.3 an OCSP response with its certificate"`
	FailedAlertBy    Opt[string] `col:"failed_alert_by" enc:"dict" doc:"sender of the fatal alert: client or server"`

	EncryptedExtensions []string    `col:"encrypted_extensions" doc:"extensions of EncryptedExtensions of TLS 1.3 in wire order, by IANA's names; null if they were not decrypted"`
	ExtendedMaster      bool        `col:"extended_master_secret" doc:"the server agreed to the extended master secret, RFC 7627; TLS 1.3 needs none"`
	EncryptThenMAC      bool        `col:"encrypt_then_mac" doc:"the server agreed to encrypt-then-MAC, RFC 7366"`
	KeyState            Opt[string] `col:"key_state" enc:"dict" doc:"state of the connection's keys at the end of the handshake: none, unverified, or verified if a record was decrypted"`
	KeyReason           Opt[string] `col:"key_reason" enc:"dict" doc:"why some or all records were not decrypted, as in connections"`

	CertSubject     Opt[string] `col:"cert_subject" doc:"subject of the server's certificate, RFC 2253"`
	CertIssuer      Opt[string] `col:"cert_issuer" doc:"issuer of the server's certificate, RFC 2253"`
	CertSerial      Opt[string] `col:"cert_serial" doc:"serial number, hexadecimal"`
	CertNotBeforeNs Opt[int64]  `col:"cert_not_before_ns" unit:"ns" doc:"start of validity; a time before 1678 or after 2262 is replaced by the nearest one that fits 64 bits"`
	CertNotAfterNs  Opt[int64]  `col:"cert_not_after_ns" unit:"ns" doc:"end of validity; a time before 1678 or after 2262 is replaced by the nearest one that fits 64 bits"`
	CertSANs        []string    `col:"cert_sans" doc:"subject alternative names: DNS names, addresses, mail addresses and URIs, in wire order within each kind"`
	CertKeyType     Opt[string] `col:"cert_key_type" enc:"dict" doc:"kind of the public key: rsa, ecdsa, ed25519, dsa, or the algorithm's object identifier"`
	CertKeyBits     Opt[int32]  `col:"cert_key_bits" doc:"size of the public key in bits"`
	CertSignature   Opt[string] `col:"cert_signature_algorithm" enc:"dict" doc:"algorithm that signed the certificate, else its object identifier"`
	CertSHA256      Opt[Hash]   `col:"cert_sha256" doc:"SHA-256 of the certificate as sent"`
	CertSelfSigned  Opt[bool]   `col:"cert_self_signed" doc:"subject and issuer are equal"`
	CertExpired     Opt[bool]   `col:"cert_expired" doc:"its validity had ended when it was captured"`
	CertNotYetValid Opt[bool]   `col:"cert_not_yet_valid" doc:"its validity had not begun when it was captured"`
	CertMatchesSNI  Opt[bool]   `col:"cert_matches_sni" doc:"one of its names matches the name that the client requested; null if the client sent none"`
	CertProblem     Opt[string] `col:"cert_problem" doc:"why the certificate could not be parsed completely"`
	ChainSubjects   []string    `col:"chain_subjects" doc:"subjects of all certificates that the server sent, its own first"`
	ChainIssuers    []string    `col:"chain_issuers" doc:"issuers of these certificates, in the order of chain_subjects"`
	ChainNotAfter   []string    `col:"chain_not_after" doc:"ends of validity in the order of chain_subjects, RFC 3339"`
	ChainSHA256     []string    `col:"chain_sha256" doc:"SHA-256 in the order of chain_subjects, hexadecimal"`
	ChainSHA1       []string    `col:"chain_sha1" doc:"SHA-1 in the order of chain_subjects, hexadecimal: the fingerprint of many block lists"`

	ClientCertSubject     Opt[string] `col:"client_cert_subject" doc:"subject of the client's certificate, RFC 2253"`
	ClientCertIssuer      Opt[string] `col:"client_cert_issuer" doc:"issuer of the client's certificate, RFC 2253"`
	ClientCertSerial      Opt[string] `col:"client_cert_serial" doc:"serial number, hexadecimal"`
	ClientCertNotBeforeNs Opt[int64]  `col:"client_cert_not_before_ns" unit:"ns" doc:"start of validity"`
	ClientCertNotAfterNs  Opt[int64]  `col:"client_cert_not_after_ns" unit:"ns" doc:"end of validity"`
	ClientCertSANs        []string    `col:"client_cert_sans" doc:"subject alternative names"`
	ClientCertKeyType     Opt[string] `col:"client_cert_key_type" enc:"dict" doc:"kind of the public key"`
	ClientCertKeyBits     Opt[int32]  `col:"client_cert_key_bits" doc:"size of the public key in bits"`
	ClientCertSignature   Opt[string] `col:"client_cert_signature_algorithm" enc:"dict" doc:"algorithm that signed the certificate"`
	ClientCertSHA256      Opt[Hash]   `col:"client_cert_sha256" doc:"SHA-256 of the certificate as sent"`
	ClientCertSelfSigned  Opt[bool]   `col:"client_cert_self_signed" doc:"subject and issuer are equal"`
	ClientCertExpired     Opt[bool]   `col:"client_cert_expired" doc:"its validity had ended when it was captured"`
	ClientCertProblem     Opt[string] `col:"client_cert_problem" doc:"why the certificate could not be parsed completely"`
	ClientChainSHA256     []string    `col:"client_chain_sha256" doc:"SHA-256 of all certificates that the client sent, its own first, hexadecimal"`
	ClientChainSHA1       []string    `col:"client_chain_sha1" doc:"SHA-1 in the order of client_chain_sha256, hexadecimal"`
}

// OfCall links the handshake to its row in calls.
func (t *TLSHandshake) OfCall(c *Call) { t.CallNo = c.CallNo }
