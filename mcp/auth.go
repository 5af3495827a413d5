package mcp

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

// Token lets one client in.
type Token struct {
	Name string // who it is, for the access log
	sum  [sha256.Size]byte
}

// Limits of a file of tokens.
const (
	leastToken = 16 // bytes of one
	maxTokens  = 1000
)

// NewToken makes a token of its secret.
func NewToken(name, secret string) Token { return Token{name, sha256.Sum256([]byte(secret))} }

// LoadTokens reads a file of tokens, one a line, optionally with the name of its holder
// and a space before it. Lines that begin with # are passed over. A file that others than
// its owner may read is refused.
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
		return nil, fmt.Errorf("reading tokens: %s may be read by others, mode %04o, want 0600", path, info.Mode().Perm())
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
		if len(secret) < leastToken || strings.ContainsAny(secret, " \t") {
			return nil, fmt.Errorf("reading tokens: line %d: want a token of at least %d characters without spaces", n, leastToken)
		}
		if len(out) == maxTokens {
			return nil, fmt.Errorf("reading tokens: more than %d", maxTokens)
		}
		out = append(out, NewToken(name, secret))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading tokens: %s has none", path)
	}
	return out, nil
}

// metadataPath is where RFC 9728 has what a client must know to get a token.
const metadataPath = "/.well-known/oauth-protected-resource"

// authorized asks for a bearer token where any is known.
func authorized(next http.Handler, o HTTPOptions, s *Server) http.Handler {
	if len(o.Tokens) == 0 && o.OAuth == nil {
		return next
	}
	verify := func(ctx context.Context, token string, r *http.Request) (*auth.TokenInfo, error) {
		// All are compared, by hashes of one length, so that time tells nothing.
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
				info.Scopes = o.OAuth.Scopes // whoever holds one of our own tokens may do all
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
		s.refused(r, time.Now(), "token refused: "+err.Error())
		if !errors.Is(err, auth.ErrInvalidToken) {
			err = fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		return nil, err
	}
	opt := &auth.RequireBearerTokenOptions{AllowMissingExpiration: true, ClockSkew: clockSkew}
	if o.OAuth != nil {
		opt.ResourceMetadataURL = strings.TrimSuffix(o.OAuth.Resource, "/mcp") + metadataPath
		opt.Scopes = o.OAuth.Scopes
		opt.AllowMissingExpiration = len(o.Tokens) > 0 // verify asks it of all others
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

// challenged adds to a refusal what RFC 6750 wants with it.
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

// Unwrap is for http.ResponseController.
func (c *challenge) Unwrap() http.ResponseWriter { return c.ResponseWriter }
