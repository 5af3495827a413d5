package seal

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// AgentSigner is the key of ssh-agent whose fingerprint or comment is key; an empty key means
// the agent's only one. RSA keys are refused, because ssh-agent cannot make PSS signatures.
func AgentSigner(name, key string, a agent.Agent) (Signer, error) {
	list, err := a.List()
	if err != nil {
		return Signer{}, fmt.Errorf("ssh-agent: %w", err)
	}
	var found []*agent.Key
	for _, k := range list {
		if key == "" || key == ssh.FingerprintSHA256(k) || key == k.Comment {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		return Signer{}, fmt.Errorf("ssh-agent has %d keys, of which %d match %q; name one by its fingerprint, as ssh-add -l prints it", len(list), len(found), key)
	}
	pub, err := ssh.ParsePublicKey(found[0].Blob)
	if err != nil {
		return Signer{}, fmt.Errorf("ssh-agent: %w", err)
	}
	public, ok := pub.(ssh.CryptoPublicKey)
	if !ok || pub.Type() == ssh.KeyAlgoRSA || pub.Type() == ssh.KeyAlgoSKED25519 || pub.Type() == ssh.KeyAlgoSKECDSA256 {
		return Signer{}, fmt.Errorf("ssh-agent: keys of type %s cannot seal; use ed25519 or ECDSA", pub.Type())
	}
	if name == "" {
		name = found[0].Comment
	}
	party, err := NewParty(name, public.CryptoPublicKey())
	if err != nil {
		return Signer{}, err
	}
	return Signer{Party: party, sign: func(p *Party, data []byte) ([]byte, error) {
		sig, err := a.Sign(pub, data)
		if err != nil {
			return nil, fmt.Errorf("ssh-agent: %w", err)
		}
		if p.Algorithm == Ed25519 {
			return sig.Blob, nil // RFC 8709 section 6: the same 64 bytes
		}
		return ecdsaASN1(sig.Blob)
	}}, nil
}

// ecdsaASN1 changes an ECDSA signature of SSH (RFC 5656 section 3.1.2: two mpint) to ASN.1.
func ecdsaASN1(blob []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if err := ssh.Unmarshal(blob, &sig); err != nil {
		return nil, errors.New("ssh-agent: not an ECDSA signature")
	}
	return asn1.Marshal(sig)
}
