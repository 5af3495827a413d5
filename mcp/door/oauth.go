package door

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
)

// Limits of tokens and keys.
const (
	maxToken   = 16 << 10
	maxKeySet  = 1 << 20
	maxKeys    = 200
	keysFresh  = 10 * time.Minute // how long fetched keys are used
	keysAgain  = time.Minute      // the least time between fetches for an unknown key
	clockSkew  = time.Minute
	minRSA     = 2048 // bits
	fetchLimit = 10 * time.Second
)

// OAuth accepts the JSON Web Tokens that an issuer signed for this server (RFC 9068, and
// MCP's authorization page).
type OAuth struct {
	Issuer   string
	Resource string   // this server's URL, which a token must name as its audience
	Scopes   []string // which a token must all have
	Keys     string   // JSON Web Key Set: a file, or an https URL

	mu      sync.Mutex
	keys    map[string]jwk
	fetched time.Time
}

// Check validates a configuration and reads its keys once.
func (o *OAuth) Check(ctx context.Context) error {
	for what, text := range map[string]string{"issuer": o.Issuer, "resource": o.Resource} {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("OAuth %s %q: must be a URL", what, text)
		}
	}
	_, err := o.key(ctx, "", time.Now())
	if errors.Is(err, auth.ErrInvalidToken) {
		return nil // the keys are readable; the empty id need not exist
	}
	return err
}

// jwk is one key.
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Crv string `json:"crv"`
	N   string `json:"n"`
	E   string `json:"e"`
	X   string `json:"x"`
	Y   string `json:"y"`

	public crypto.PublicKey
}

// key returns a key by its id, or the only key if the id is empty.
func (o *OAuth) key(ctx context.Context, kid string, now time.Time) (jwk, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.find(kid)
	age := now.Sub(o.fetched)
	if o.keys == nil || age > keysFresh || !ok && age > keysAgain {
		keys, err := o.read(ctx)
		if err != nil && o.keys == nil {
			return jwk{}, err
		}
		if err == nil {
			o.keys = keys
		}
		o.fetched = now
		k, ok = o.find(kid)
	}
	if !ok {
		return jwk{}, fmt.Errorf("%w: it is signed with a key that the issuer does not publish", auth.ErrInvalidToken)
	}
	return k, nil
}

func (o *OAuth) find(kid string) (jwk, bool) {
	if kid == "" && len(o.keys) == 1 {
		for _, k := range o.keys {
			return k, true
		}
	}
	k, ok := o.keys[kid]
	return k, ok && kid != ""
}

// KeysError is the error of a key set without keys that can be used.
type KeysError struct {
	From string // a file or an address
	Err  error
}

// Error returns the message.
func (e *KeysError) Error() string { return e.From + ": " + e.Err.Error() }

// read reads the key set.
func (o *OAuth) read(ctx context.Context) (map[string]jwk, error) {
	var data []byte
	if u, err := url.Parse(o.Keys); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		if data, err = fetch(ctx, o.Keys); err != nil {
			return nil, fmt.Errorf("reading the issuer's keys: %w", err)
		}
	} else if data, err = os.ReadFile(o.Keys); err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", err)
	}
	keys, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("reading the issuer's keys: %w", &KeysError{o.Keys, err})
	}
	return keys, nil
}

func fetch(ctx context.Context, from string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme == "http" && req.URL.Hostname() != "localhost" && req.URL.Hostname() != "127.0.0.1" && req.URL.Hostname() != "::1" {
		return nil, errors.New("keys are fetched over https only")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, maxKeySet))
}

// parseKeys reads a JSON Web Key Set (RFC 7517). It skips keys for other purposes and of unknown
// types.
func parseKeys(data []byte) (map[string]jwk, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	out := map[string]jwk{}
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" || len(out) == maxKeys {
			continue
		}
		if k.public = k.key(); k.public != nil {
			out[k.Kid] = k
		}
	}
	if len(out) == 0 {
		return nil, errors.New("none of the keys can verify a signature")
	}
	return out, nil
}

// key returns the public key, or nil if it cannot be used.
func (k *jwk) key() crypto.PublicKey {
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || len(b) == 0 || len(b) > 2048 {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	switch k.Kty {
	case "RSA":
		n, e := number(k.N), number(k.E)
		if n.BitLen() < minRSA || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if curve == nil || errX != nil || errY != nil {
			return nil
		}
		point := append(append([]byte{4}, x...), y...) // uncompressed, SEC 1 section 2.3.3
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil
		}
		return pub
	case "OKP":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if k.Crv != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
			return nil
		}
		return ed25519.PublicKey(x)
	}
	return nil
}

// signed verifies the signature of a text with an algorithm of RFC 7518 or RFC 8037 that fits
// the key.
func (k *jwk) signed(alg string, text, sig []byte) bool {
	if k.Alg != "" && k.Alg != alg {
		return false
	}
	if pub, ok := k.public.(ed25519.PublicKey); ok {
		return alg == "EdDSA" && ed25519.Verify(pub, text, sig)
	}
	if len(alg) != 5 {
		return false
	}
	hash, ok := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	if !ok {
		return false
	}
	h := hash.New()
	h.Write(text)
	sum := h.Sum(nil)
	switch pub := k.public.(type) {
	case *rsa.PublicKey:
		switch alg[:2] {
		case "RS":
			return rsa.VerifyPKCS1v15(pub, hash, sum, sig) == nil
		case "PS":
			return rsa.VerifyPSS(pub, hash, sum, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		size := (pub.Curve.Params().BitSize + 7) / 8
		fits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[alg] == pub.Curve.Params().BitSize
		if !fits || len(sig) != 2*size {
			return false
		}
		return ecdsa.Verify(pub, sum, new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:]))
	}
	return false
}

// claims are the claims of a token that pcapsule checks.
type claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"`
	Expires  *float64        `json:"exp"`
	Begins   *float64        `json:"nbf"`
	Scope    string          `json:"scope"`
}

func (c *claims) audience() []string {
	var one string
	if json.Unmarshal(c.Audience, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(c.Audience, &list) != nil {
		return nil
	}
	return list
}

// verify checks a token. Its errors contain only information that a client may have.
func (o *OAuth) verify(ctx context.Context, token string, now time.Time) (*auth.TokenInfo, error) {
	bad := func(why string) error { return fmt.Errorf("%w: %s", auth.ErrInvalidToken, why) }
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return nil, bad("no signed JSON Web Token")
	}
	var head struct {
		Alg  string   `json:"alg"`
		Kid  string   `json:"kid"`
		Crit []string `json:"crit"`
	}
	var c claims
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &head) || !decodePart(parts[1], &c) || len(head.Crit) > 0 {
		return nil, bad("no signed JSON Web Token")
	}
	k, err := o.key(ctx, head.Kid, now)
	if err != nil {
		return nil, err
	}
	if !k.signed(head.Alg, []byte(parts[0]+"."+parts[1]), sig) {
		return nil, bad("invalid signature")
	}
	if c.Issuer != o.Issuer {
		return nil, bad("from another issuer")
	}
	meant := false
	for _, a := range c.audience() {
		meant = meant || strings.TrimSuffix(a, "/") == strings.TrimSuffix(o.Resource, "/")
	}
	if !meant {
		return nil, bad("for another server")
	}
	if c.Expires == nil {
		return nil, bad("without an expiry time")
	}
	expires := time.Unix(int64(*c.Expires), 0)
	if now.After(expires.Add(clockSkew)) {
		return nil, bad("expired")
	}
	if c.Begins != nil && now.Add(clockSkew).Before(time.Unix(int64(*c.Begins), 0)) {
		return nil, bad("not yet valid")
	}
	return &auth.TokenInfo{UserID: fmt.Sprintf("oauth:%.200s", c.Subject), Expiration: expires, Scopes: strings.Fields(c.Scope)}, nil
}

func decodePart(part string, to any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, to) == nil
}
