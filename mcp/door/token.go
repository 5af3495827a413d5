package door

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// Token authorizes one client.
type Token struct {
	Name string // of the holder, for the access log
	sum  [sha256.Size]byte
}

// Limits of a token file.
const (
	minToken  = 16 // bytes of one
	maxTokens = 1000
)

// NewToken makes a token from its secret.
func NewToken(name, secret string) Token { return Token{name, sha256.Sum256([]byte(secret))} }

// LoadTokens reads a file with one token per line, optionally preceded by its holder's name and
// a space. Lines that begin with # are skipped. A file that anyone but its owner can read is
// refused.
func LoadTokens(path string) ([]Token, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading tokens: other users can read %s (mode %04o); chmod 600 it", path, info.Mode().Perm())
	}
	var out []Token
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, secret, ok := strings.Cut(line, " ")
		if !ok {
			name, secret = fmt.Sprintf("token-%d", n), line
		}
		secret = strings.TrimSpace(secret)
		if len(secret) < minToken || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("reading tokens: line %d: a token needs at least %d characters, printable and without spaces", n, minToken)
		}
		if len(out) == maxTokens {
			return nil, fmt.Errorf("reading tokens: more than %d tokens", maxTokens)
		}
		out = append(out, NewToken(name, secret))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading tokens: %s has no tokens", path)
	}
	return out, nil
}

// metadataPath is the path of the protected resource metadata (RFC 9728), from which a client learns how to get a token.
const metadataPath = "/.well-known/oauth-protected-resource"

// authorized requires a bearer token if the server has tokens or an issuer.
func authorized(next http.Handler, o Options) http.Handler {
	if len(o.Tokens) == 0 && o.OAuth == nil {
		return next
	}
	verify := func(ctx context.Context, token string, r *http.Request) (*auth.TokenInfo, error) {
		// Compare all of them, as hashes of equal length, in constant time.
		sum := sha256.Sum256([]byte(token))
		found := -1
		for i := range o.Tokens {
			if subtle.ConstantTimeCompare(sum[:], o.Tokens[i].sum[:]) == 1 {
				found = i
			}
		}
		if found >= 0 {
			info := &auth.TokenInfo{UserID: o.Tokens[found].Name}
			if o.OAuth != nil {
				info.Scopes = o.OAuth.Scopes // a token from the file has all scopes
			}
			return info, nil
		}
		err := error(auth.ErrInvalidToken)
		if o.OAuth != nil {
			var info *auth.TokenInfo
			if info, err = o.OAuth.verify(ctx, token, time.Now()); err == nil {
				return info, nil
			}
		}
		o.log(r, time.Now(), "token refused: "+err.Error())
		if !errors.Is(err, auth.ErrInvalidToken) {
			err = fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		return nil, err
	}
	opt := &auth.RequireBearerTokenOptions{AllowMissingExpiration: true, ClockSkew: clockSkew}
	if o.OAuth != nil {
		opt.ResourceMetadataURL = strings.TrimSuffix(o.OAuth.Resource, "/mcp") + metadataPath
		opt.Scopes = o.OAuth.Scopes
		opt.AllowMissingExpiration = len(o.Tokens) > 0 // verify requires it of the others
	}
	inner := auth.RequireBearerToken(verify, opt)(next)
	mux := http.NewServeMux()
	mux.Handle("/", challenged(inner))
	if o.OAuth != nil {
		meta := auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{Resource: o.OAuth.Resource, AuthorizationServers: []string{o.OAuth.Issuer},
			ScopesSupported: o.OAuth.Scopes, BearerMethodsSupported: []string{"header"}, ResourceName: "pcapsule"})
		mux.Handle(metadataPath, meta)
		mux.Handle(metadataPath+"/mcp", meta)
	}
	return mux
}

// challenged adds the WWW-Authenticate header of RFC 6750 to a refusal.
func challenged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&challenge{ResponseWriter: w}, r)
	})
}

type challenge struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (c *challenge) WriteHeader(status int) {
	if status == http.StatusUnauthorized && c.Header().Get("WWW-Authenticate") == "" {
		c.Header().Set("WWW-Authenticate", "Bearer")
	}
	c.ResponseWriter.WriteHeader(status)
}

// Flush implements http.Flusher.
func (c *challenge) Flush() {
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap supports http.ResponseController.
func (c *challenge) Unwrap() http.ResponseWriter { return c.ResponseWriter }
