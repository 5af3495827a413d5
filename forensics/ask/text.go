package ask

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

const maxResponseText = 300 // bytes of an error or body that an answer shows

// MaskedText is the number of bytes that are read and masked before an excerpt is cut out.
const MaskedText = 64 << 10

// Masked masks the secrets in a text from the traffic and returns one line of at most most bytes.
func Masked(p *redact.Policy, contentType, s string, most int) string {
	if len(s) > MaskedText {
		s = strings.ToValidUTF8(s[:MaskedText], "")
	}
	s, _ = p.Text(contentType, s)
	return Clip(strings.TrimSpace(OneLine(s)), most)
}

// OneLine replaces white space in a text by single spaces.
func OneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\t") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

// responseText is the error or body of a response.
type responseText struct {
	Bundle int64  `json:"bundle"`
	No     int64  `json:"call_no"`
	Hash   string `json:"hash"`
	Type   string `json:"type"`
	Words  string `json:"words"`
	Denied bool   `json:"denied"`
}

// Answers reads the error of each response if its protocol has one, otherwise the body, or, without one, why a token was
// refused (RFC 6750 section 3).
// Credentials are masked. Without protocols, the calls may be of any.
func Answers(ctx context.Context, c *forensics.Case, keys []Key, protocols ...string) (map[Key]string, error) {
	out := map[Key]string{}
	if len(keys) == 0 {
		return out, nil
	}
	var list []responseText
	err := ByRuns(c, keys, func(where string) error {
		some, _, err := Rows[responseText](ctx, c, MaxLoaded, "SELECT "+terms.BundleOf(c, "k.")+`, k.call_no, coalesce(k.response_body_sha256, ''::BLOB) AS hash, coalesce(k.response_content_type, '') AS type,
		coalesce(`+statements.Error("k.")+`, k.redis_error, k.grpc_message, array_to_string(k.tls_alerts, ', '), '') AS words, coalesce(k.status_code IN (401, 403) AND k.response_body_sha256 IS NULL AND k.protocol IN `+terms.Web+`, false) AS denied
		FROM calls_raw k WHERE `+where+OfProtocols(protocols))
		list = append(list, some...)
		return err
	})
	if err != nil {
		return nil, err
	}
	wanted := map[Key]bool{}
	for _, key := range keys {
		wanted[key] = true
	}
	var hashes []string
	for _, s := range list {
		if s.Hash != "" && s.Words == "" && wanted[Key{s.Bundle, s.No}] && !slices.Contains(hashes, s.Hash) {
			hashes = append(hashes, s.Hash)
		}
	}
	bodies, err := BodyTexts(ctx, c, hashes, MaskedText)
	if err != nil {
		return nil, err
	}
	refusals, err := refusals(ctx, c, list, wanted)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		text := s.Words
		key := Key{s.Bundle, s.No}
		if text == "" {
			text = cmp.Or(bodies[s.Hash], refusals[key])
		}
		if text != "" && wanted[key] {
			out[key] = Masked(c.Policy(), s.Type, text, maxResponseText)
		}
	}
	return out, nil
}

// refusals reads the error_description of the field WWW-Authenticate of responses without a body.
func refusals(ctx context.Context, c *forensics.Case, list []responseText, wanted map[Key]bool) (map[Key]string, error) {
	var keys []Key
	for _, s := range list {
		if key := (Key{s.Bundle, s.No}); s.Denied && s.Words == "" && wanted[key] {
			keys = append(keys, key)
		}
	}
	out := map[Key]string{}
	err := ByRuns(c, keys, func(where string) error {
		rows, _, err := Rows[responseText](ctx, c, MaxLoaded, "SELECT "+terms.BundleOf(c, "k.")+`, k.call_no, regexp_extract(list_filter(k.headers, h -> lower(h.name) = 'www-authenticate')[1].value, 'error_description="([^"]+)"', 1) AS words FROM calls_raw k WHERE `+where)
		for _, r := range rows {
			out[Key{r.Bundle, r.No}] = r.Words
		}
		return err
	})
	return out, err
}

// BodyTexts reads the first part of text bodies, at most most bytes of each, by hash.
func BodyTexts(ctx context.Context, c *forensics.Case, hashes []string, most int) (map[string]string, error) {
	type body struct {
		Hash string `json:"sha256"`
		Text string `json:"text"`
	}
	out := map[string]string{}
	for len(hashes) > 0 {
		some := hashes[:min(len(hashes), 500)]
		hashes = hashes[len(some):]
		var list []string
		for _, h := range some {
			if len(h) == 64 && strings.Trim(h, "0123456789abcdef") == "" {
				list = append(list, "unhex('"+h+"')")
			}
		}
		if len(list) == 0 {
			continue
		}
		rows, _, err := Rows[body](ctx, c, len(list), fmt.Sprintf(`SELECT sha256, min(left(text, %d)) AS text FROM bodies_raw WHERE sha256 IN (%s) AND part = 0 AND text IS NOT NULL GROUP BY 1 ORDER BY 1`, most, strings.Join(list, ", ")))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			out[r.Hash] = r.Text
		}
	}
	return out, nil
}
