package redact

import (
	"slices"
	"strings"
)

// issuedToken describes tokens that an issuer begins with a prefix of its own. A prefix ends with a sign.
type issuedToken struct {
	kind   kinds
	prefix string
	least  int // bytes after the prefix
	of     class
}

// issuedTokens lists the prefixes. A token has at least one digit.
var issuedTokens = []issuedToken{
	{kGitHub, "ghp_", 36, alnum}, {kGitHub, "gho_", 36, alnum}, {kGitHub, "ghu_", 36, alnum}, {kGitHub, "ghs_", 36, alnum}, {kGitHub, "ghr_", 36, alnum}, {kGitHub, "github_pat_", 31, word},
	{kGitLab, "glpat-", 20, token}, {kGitLab, "gldt-", 20, token}, {kGitLab, "glrt-", 20, token}, {kGitLab, "glptt-", 20, token}, {kGitLab, "glcbt-", 20, token},
	{kSlack, "xoxa-", 10, token}, {kSlack, "xoxb-", 10, token}, {kSlack, "xoxc-", 10, token}, {kSlack, "xoxd-", 10, token}, {kSlack, "xoxe-", 10, token}, {kSlack, "xoxo-", 10, token},
	{kSlack, "xoxp-", 10, token}, {kSlack, "xoxr-", 10, token}, {kSlack, "xoxs-", 10, token}, {kSlack, "xapp-", 10, token},
	{kStripe, "sk_live_", 16, alnum}, {kStripe, "rk_live_", 16, alnum},
	{kGCP, "ya29.", 20, token},
	{kService, "npm_", 36, alnum}, {kService, "pypi-", 50, token}, {kService, "rubygems_", 40, alnum}, {kService, "dckr_pat_", 20, token},
	{kService, "sk-", 40, alnum}, {kService, "sk-proj-", 20, token}, {kService, "sk-svcacct-", 20, token}, {kService, "sk-admin-", 20, token}, {kService, "sk-ant-", 20, token}, {kService, "hf_", 30, alnum},
	{kService, "dop_v1_", 40, alnum}, {kService, "doo_v1_", 40, alnum}, {kService, "shpat_", 32, alnum}, {kService, "shpca_", 32, alnum}, {kService, "shppa_", 32, alnum}, {kService, "shpss_", 32, alnum},
	{kService, "SG.", 40, token | dot}, {kService, "xkeysib-", 40, token}, {kService, "whsec_", 20, base64s}, {kService, "sq0csp-", 30, token}, {kService, "sq0atp-", 20, token},
	{kService, "hvs.", 24, token}, {kService, "hvb.", 24, token}, {kService, "hvr.", 24, token}, {kService, "AGE-SECRET-KEY-", 50, alnum}, {kService, "lin_api_", 20, alnum}, {kService, "NRAK-", 20, alnum},
	{kService, "PMAK-", 30, token}, {kService, "figd_", 20, token}, {kService, "glsa_", 32, word}, {kService, "pul-", 40, alnum}, {kService, "tfp_", 40, word}, {kService, "ntn_", 40, alnum},
	{kService, "GOCSPX-", 24, token}, {kService, "dp.pt.", 40, alnum}, {kService, "dp.st.", 40, token | dot}, {kService, "sbp_", 40, alnum}, {kService, "pscale_tkn_", 32, token}, {kService, "pscale_pw_", 32, token},
	{kService, "sntrys_", 40, base64s}, {kService, "sntryu_", 64, alnum}, {kService, "gsk_", 40, alnum}, {kService, "xai-", 40, alnum}, {kService, "r8_", 37, alnum}, {kService, "phx_", 40, alnum}, {kService, "nvapi-", 40, token},
	{kService, "fm2_", 40, base64s}, {kService, "ops_", 100, token}, {kService, "pplx-", 40, alnum}, {kService, ".atlasv1.", 60, token},
	{kGitLab, "glsoat-", 20, token}, {kGitLab, "glft-", 20, token}, {kGitLab, "glimt-", 20, token}, {kGitLab, "glagent-", 40, token}, {kStripe, "sk_test_", 16, alnum}, {kStripe, "rk_test_", 16, alnum},
	{kService, "sgp_", 40, word}, {kService, "squ_", 40, alnum}, {kService, "sqp_", 40, alnum}, {kService, "secret_", 43, alnum}, {kService, "HRKU-", 36, token}, {kService, "CFPAT-", 40, token}, {kService, "dt0c01.", 80, token | dot}, {kService, "FLWSECK-", 30, token}, {kService, "CCIPAT_", 60, word},
	{kService, "lin_oauth_", 40, alnum}, {kService, "sb_secret_", 20, token}, {kService, "dp.ct.", 40, alnum}, {kService, "nfp_", 30, alnum}, {kService, "rnd_", 28, alnum}, {kService, "pcsk_", 50, word}, {kService, "bkua_", 40, alnum}, {kService, "pnu_", 36, alnum}, {kService, "rdme_", 60, alnum},
	{kService, "shippo_live_", 40, alnum}, {kService, "sk-or-v1-", 60, alnum}, {kService, "lsv2_pt_", 32, word}, {kService, "lsv2_sk_", 32, word}, {kService, "pscale_oauth_", 32, token}, {kService, "vercel_blob_rw_", 30, word}, {kService, "aio_", 28, alnum}, {kService, "duffel_live_", 40, token},
	{kService, "fio-u-", 60, token}, {kService, "NRII-", 32, token}, {kService, "tk-us-", 40, token}, {kService, "key-", 32, alnum}, {kService, "glc_", 50, base64s},
}

// hexadecimal stands for the class of hexadecimal digits in beginnings: a token has exactly so many.
const hexadecimal class = 0

// beginnings lists the tokens whose prefix has no sign after it. A token has at least one digit.
var beginnings = []issuedToken{
	{kService, "dapi", 32, hexadecimal}, {kService, "SK", 32, hexadecimal}, {kService, "ATATT3", 50, token}, {kService, "ATCTT3", 50, token}, {kService, "ATBB", 30, alnum}, {kService, "EAA", 60, token}, {kGitLab, "GR1348941", 20, token},
	{kService, "AKCp", 60, alnum}, {kService, "EZAK", 50, alnum},
}

// beginToken checks for a token whose prefix begins at i.
func beginToken(s string, i int) (k kinds, start, end int, masked string) {
	if isToken(before(s, i)) {
		return 0, 0, 0, ""
	}
	for j := range beginnings {
		t := &beginnings[j]
		if !strings.HasPrefix(s[i:], t.prefix) {
			continue
		}
		from := i + len(t.prefix)
		of := t.of
		if of == hexadecimal {
			of = alnum
		}
		text := s[from : from+span(s, from, 2048, of)]
		if len(text) < t.least || !strings.ContainsAny(text, "0123456789") {
			continue
		}
		if t.of == hexadecimal && (len(text) > t.least || strings.Trim(text, "0123456789abcdefABCDEF") != "") {
			continue
		}
		return t.kind, i, from + len(text), t.prefix + Mask
	}
	return 0, 0, 0, ""
}

// issuedEnds lists the tokens by the last byte of their prefix before its sign.
var issuedEnds = func() (list [256][]*issuedToken) {
	for i := range issuedTokens {
		t := &issuedTokens[i]
		list[t.prefix[len(t.prefix)-2]] = append(list[t.prefix[len(t.prefix)-2]], t)
	}
	return list
}()

// issuedSigns has the signs that follow a byte at the end of a prefix.
var issuedSigns = func() (list [256]class) {
	for _, t := range issuedTokens {
		n := len(t.prefix)
		list[t.prefix[n-2]] |= classes[t.prefix[n-1]]
	}
	return list
}()

// issuedBefore reports whether the sign at i may be the last byte of a token's prefix.
func issuedBefore(s string, i int) bool {
	return slices.ContainsFunc(issuedEnds[before(s, i)], func(t *issuedToken) bool { return strings.HasSuffix(s[:i+1], t.prefix) })
}

// issuerToken checks for a token whose prefix ends with the sign at i.
func issuerToken(s string, i int) (k kinds, start, end int, masked string) {
	for _, t := range issuedEnds[before(s, i)] {
		start := i + 1 - len(t.prefix)
		if !strings.HasSuffix(s[:i+1], t.prefix) || isToken(t.prefix[0]) && isToken(before(s, start)) {
			continue
		}
		if n := span(s, i+1, 2048, t.of); n >= t.least && strings.ContainsAny(s[i+1:i+1+n], "0123456789") {
			return t.kind, start, i + 1 + n, t.prefix + Mask
		}
	}
	return 0, 0, 0, ""
}

// bot checks for a token of Telegram around the colon at i: a number, and 35 more bytes that begin with AA.
func bot(s string, i int) (k kinds, start, end int, masked string) {
	if n := back(s, i, 11, digit); n >= 8 && n <= 10 && strings.HasPrefix(s[i+1:], "AA") && span(s, i+1, 36, token) == 35 {
		return kService, i - n, i + 36, s[i-n:i+1] + Mask
	}
	return 0, 0, 0, ""
}

// steps are the parts of a path that a token follows: a link that was sent to somebody, a hook. After those with false
// there may also be a name, so only a random token counts.
var steps = map[string]bool{
	"reset": true, "resetpassword": true, "passwordreset": true, "password": true, "recover": true, "recovery": true, "invite": true, "invites": true, "invitation": true, "invitations": true,
	"verify": true, "verifyemail": true, "verification": true, "activate": true, "activation": true, "confirm": true, "confirmation": true, "magic": true, "magiclink": true,
	"token": true, "tokens": true, "tok": false, "apikey": false, "key": false, "session": false, "sessions": false, "pwd": false, "signin": false, "login": false, "unlock": false, "accept": false, "unsubscribe": true, "hook": true, "hooks": true, "webhook": true, "webhooks": true, "share": true, "secret": true,
}

// maxStep is the longest of steps, with signs in it.
const maxStep = 20

// leastStepToken is the minimum length of a token in a path.
const leastStepToken = 16

// slackHook is the beginning of the path of a hook of Slack.
const slackHook = "/services/T"

// stepped checks for a token in a path that follows a step at the slash at i. A token has letters and digits.
func stepped(s string, i int) (k kinds, start, end int, masked string) {
	if strings.HasPrefix(s[i:], slackHook) {
		if n := span(s, i+10, 256, alnum|slash); n >= 30 && strings.Count(s[i+10:i+10+n], "/") == 2 {
			return kSlack, i + 10, i + 10 + n, Mask
		}
	}
	m := back(s, i, maxStep+1, token)
	if m < 3 || m > maxStep || !isAlpha(before(s, i)) {
		return 0, 0, 0, ""
	}
	always, known := steps[normal(s[i-m:i])]
	if !known {
		return 0, 0, 0, ""
	}
	n := span(s, i+1, 512, token)
	if text := s[i+1 : i+1+n]; classes[after(s, i+1+n)]&(dot|percent|colon) != 0 || !generated(text) || !always && !random(text) {
		return 0, 0, 0, ""
	}
	return kPath, i + 1, i + 1 + n, Mask
}

// generated reports whether a text may be a token that was made for a link or session: it has letters and digits.
func generated(text string) bool {
	return len(text) >= leastStepToken && span(text, 0, 512, token) == len(text) && strings.ContainsAny(text, "0123456789") &&
		strings.IndexFunc(text, func(r rune) bool { return isAlpha(byte(r)) }) >= 0
}

// maxGrant is the number of bytes around a code that are searched for the parameters that come with it.
const maxGrant = 2048

// afterGrant reports whether the name before the equals sign at i is code, and begins a parameter.
func afterGrant(s string, i int) bool {
	return i >= 4 && s[i-4:i] == "code" && (i == 4 || strings.IndexByte("?&#; \"'", s[i-5]) >= 0)
}

// grant checks for an authorization code after the equals sign at i: a generated value beside parameters of
// OAuth 2.0, or one that is too long for another kind of code.
func grant(s string, i int) (k kinds, start, end int, masked string) {
	signs := func(r rune) bool { return r <= ' ' || strings.ContainsRune("\"'<>)", r) }
	from := max(0, i-maxGrant)
	from += strings.LastIndexFunc(s[from:i], signs) + 1
	to := min(len(s), i+maxGrant)
	if cut := strings.IndexFunc(s[i:to], signs); cut >= 0 {
		to = i + cut
	}
	end = i + 1
	for end < to && strings.IndexByte("&#;", s[end]) < 0 {
		end++
	}
	least := 20
	for part := range strings.FieldsFuncSeq(s[from:to], func(r rune) bool { return strings.ContainsRune("?&#;", r) }) {
		switch name, _, _ := strings.Cut(part, "="); name {
		case "grant_type", "redirect_uri", "session_state", "client_id", "code_verifier":
			least = min(least, 6)
		case "state", "iss", "scope":
			least = min(least, 8)
		}
	}
	value := s[i+1 : end]
	if len(value) < least || least > 6 && (!strings.ContainsAny(value, "0123456789") || strings.IndexFunc(value, func(r rune) bool { return isAlpha(byte(r)) }) < 0) {
		return 0, 0, 0, ""
	}
	return kGrant, i + 1, end, Mask
}
