package door

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// issuer signs tokens with keys of three types.
type issuer struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{r, e, d}
}

func (i *issuer) keys(t *testing.T) []byte {
	t.Helper()
	point, err := i.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]any{"keys": []any{
		map[string]any{"kty": "RSA", "kid": "r", "use": "sig", "n": b64(i.rsa.N.Bytes()), "e": b64(big.NewInt(int64(i.rsa.E)).Bytes())},
		map[string]any{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		map[string]any{"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": b64(i.ed.Public().(ed25519.PublicKey))},
		map[string]any{"kty": "oct", "kid": "s", "k": b64([]byte("shared"))},
		map[string]any{"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(i.rsa.N.Bytes()), "e": "AQAB"},
	}}
	out, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (i *issuer) token(t *testing.T, alg, kid string, claims map[string]any) string {
	t.Helper()
	head, _ := json.Marshal(map[string]any{"alg": alg, "kid": kid, "typ": "at+jwt"})
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	var sig []byte
	switch alg {
	case "RS256":
		sig, err = rsa.SignPKCS1v15(rand.Reader, i.rsa, crypto.SHA256, sum[:])
	case "PS256":
		sig, err = rsa.SignPSS(rand.Reader, i.rsa, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES256":
		r, s, e := ecdsa.Sign(rand.Reader, i.ec, sum[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case "EdDSA":
		sig = ed25519.Sign(i.ed, []byte(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

func TestTokensOfAnAuthorizationServer(t *testing.T) {
	i := newIssuer(t)
	var fetches atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches.Add(1)
		_, _ = w.Write(i.keys(t))
	}))
	defer server.Close()
	const iss, me = "https://id.example.org", "https://evidence.example.org/mcp"
	o := &OAuth{Issuer: iss, Resource: me, Scopes: []string{"evidence:read"}, Keys: server.URL}
	if err := o.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	behind := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	guarded := httptest.NewServer(Guard(behind, Options{OAuth: o, Hosts: []string{"evidence.example.org"}, Tokens: []Token{NewToken("anna", "0123456789abcdef")}, Patience: time.Minute}))
	defer guarded.Close()
	url := guarded.URL + "/mcp"
	status := func(token string) (int, string) {
		req, err := http.NewRequest(http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode, res.Header.Get("WWW-Authenticate")
	}
	now := time.Now().Unix()
	good := func() map[string]any {
		return map[string]any{"iss": iss, "aud": []string{me, "other"}, "sub": "carl", "exp": now + 600, "nbf": now - 10, "scope": "openid evidence:read"}
	}
	but := func(name string, v any) map[string]any {
		c := good()
		if c[name] = v; v == nil {
			delete(c, name)
		}
		return c
	}
	none := b64([]byte(`{"alg":"none","kid":"r"}`)) + "." + b64([]byte(fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":%d,"scope":"evidence:read"}`, iss, me, now+600))) + "."
	hmacked := b64([]byte(`{"alg":"HS256","kid":"s"}`)) + "." + strings.Split(none, ".")[1] + "." + b64([]byte("x"))
	for _, tt := range []struct {
		name, token string
		status      int
	}{
		{"RSA", i.token(t, "RS256", "r", good()), 200},
		{"RSA with PSS", i.token(t, "PS256", "r", good()), 200},
		{"ECDSA", i.token(t, "ES256", "e", good()), 200},
		{"Ed25519", i.token(t, "EdDSA", "d", good()), 200},
		{"one audience", i.token(t, "ES256", "e", but("aud", me)), 200},
		{"a token of the file", "0123456789abcdef", 200},
		{"expired a while ago", i.token(t, "ES256", "e", but("exp", now-3600)), 401},
		{"never expires", i.token(t, "ES256", "e", but("exp", nil)), 401},
		{"not yet valid", i.token(t, "ES256", "e", but("nbf", now+3600)), 401},
		{"another issuer", i.token(t, "ES256", "e", but("iss", "https://evil.example.org")), 401},
		{"for another server", i.token(t, "ES256", "e", but("aud", "https://other.example.org/mcp")), 401},
		{"without an audience", i.token(t, "ES256", "e", but("aud", nil)), 401},
		{"without the scope", i.token(t, "ES256", "e", but("scope", "openid")), 403},
		{"signed with another issuer's key", newIssuer(t).token(t, "ES256", "e", good()), 401},
		{"an unknown key", i.token(t, "ES256", "nosuch", good()), 401},
		{"an algorithm that does not fit the key", i.token(t, "RS256", "e", good()), 401},
		{"a key for another use", i.token(t, "RS256", "enc", good()), 401},
		{"no signature", none, 401},
		{"a shared secret", hmacked, 401},
		{"half a token", "abc.def", 401},
		{"a long token", strings.Repeat("a", 20<<10), 401},
	} {
		if got, _ := status(tt.token); got != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.status)
		}
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("keys were fetched %d times, want at most once a minute for unknown ones", n)
	}
	for _, path := range []string{"", "/mcp"} { // RFC 9728 needs no token
		res, err := http.Get(strings.TrimSuffix(url, "/mcp") + metadataPath + path)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
		}
		err = json.NewDecoder(res.Body).Decode(&m)
		res.Body.Close()
		if err != nil || m.Resource != me || len(m.Servers) != 1 || m.Servers[0] != iss || len(m.Scopes) != 1 {
			t.Errorf("metadata: %+v %v", m, err)
		}
	}
	if got, challenge := status(""); got != 401 || !strings.Contains(challenge, `resource_metadata="https://evidence.example.org`+metadataPath+`"`) {
		t.Errorf("%d, WWW-Authenticate %q", got, challenge)
	}
}

func TestInvalidOAuthConfigurations(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := write("good", string(newIssuer(t).keys(t)))
	for _, tt := range []struct {
		name string
		o    *OAuth
		ok   bool
	}{
		{"keys from a file", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: good}, true},
		{"no keys", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: write("none", `{"keys":[]}`)}, false},
		{"no file", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: filepath.Join(dir, "nosuch")}, false},
		{"not JSON", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: write("bad", `keys`)}, false},
		{"a small RSA key", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: write("small", `{"keys":[{"kty":"RSA","kid":"x","n":"AQAB","e":"AQAB"}]}`)}, false},
		{"a point off the curve", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: write("off", `{"keys":[{"kty":"EC","crv":"P-256","kid":"x","x":"AQAB","y":"AQAB"}]}`)}, false},
		{"keys over http", &OAuth{Issuer: "https://a", Resource: "https://b/mcp", Keys: "http://192.0.2.1/keys"}, false},
		{"no issuer", &OAuth{Resource: "https://b/mcp", Keys: good}, false},
		{"a resource that is not a URL", &OAuth{Issuer: "https://a", Resource: "me", Keys: good}, false},
	} {
		if err := tt.o.Check(context.Background()); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTokenFiles(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       int // 0: refused
	}{
		{"two tokens and a comment", "# ours\nanna 0123456789abcdef\n\nfedcba9876543210\n", 0o600, 2},
		{"readable by others", "0123456789abcdef", 0o644, 0},
		{"too short", "anna 0123", 0o600, 0},
		{"three words", "anna 0123456789abcdef x", 0o600, 0},
		{"none", "# nothing\n", 0o600, 0},
	} {
		p := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-"))
		if err := os.WriteFile(p, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, tt.mode); err != nil {
			t.Fatal(err)
		}
		if list, err := LoadTokens(p); len(list) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s: %d tokens, %v", tt.name, len(list), err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.")
	f.Add("e30.e30.")
	o := &OAuth{Issuer: "https://a", Resource: "https://b", keys: map[string]jwk{"": {Kty: "OKP", public: ed25519.PublicKey(make([]byte, 32))}}, fetched: time.Unix(1000, 0)}
	f.Fuzz(func(t *testing.T, token string) {
		if info, err := o.verify(context.Background(), token, time.Unix(1001, 0)); (info == nil) == (err == nil) {
			t.Errorf("%v, %v: want a value or an error", info, err)
		}
	})
}
