package redact

import (
	"slices"
	"strings"
)

// issuedToken describes tokens that an issuer begins with prefixes of its own. A prefix ends with a sign.
type issuedToken struct {
	kind   kinds
	prefix string // several, separated by blanks, in the table
	least  int    // bytes after the prefix
	of     class
	source string // of the format: a rule of gitleaks or trufflehog, or the issuer's documentation
}

// issuedTokens is the table of prefixes. What follows one looks generated.
var issuedTokens = eachPrefix([]issuedToken{
	{kGitHub, "ghp_ gho_ ghu_ ghs_ ghr_", 36, alnum, "gitleaks github-pat, github-oauth, github-app-token, github-refresh-token"},
	{kGitHub, "github_pat_", 31, word, "gitleaks github-fine-grained-pat"},
	{kGitLab, "glpat-", 6, token | dot, "gitleaks gitlab-pat, gitlab-pat-routable; administrators may set another length"},
	{kGitLab, "gldt- glrt- glrtr- glptt- glcbt- glsoat- glft- glimt- glffct-", 16, token | dot, "gitleaks gitlab-deploy-token, gitlab-runner-authentication-token, gitlab-ptt and others"},
	{kGitLab, "glagent- gloas-", 40, token, "gitleaks gitlab-kubernetes-agent-token, gitlab-oauth-app-secret"},
	{kSlack, "xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", 10, token, "gitleaks slack-bot-token, slack-user-token, slack-app-token and others"},
	{kStripe, "sk_live_ rk_live_ sk_test_ rk_test_ sk_prod_ rk_prod_", 10, alnum, "gitleaks stripe-access-token"},
	{kGCP, "ya29.", 20, token, "developers.google.com/identity/protocols/oauth2"},
	{kService, "GOCSPX-", 24, token, "trufflehog googleoauth2"},
	{kService, "npm_", 36, alnum, "gitleaks npm-access-token"},
	{kService, "pypi-", 50, token, "gitleaks pypi-upload-token"},
	{kService, "rubygems_", 40, alnum, "gitleaks rubygems-api-token"},
	{kService, "dckr_pat_ dckr_oat_", 20, token, "docs.docker.com/security/access-tokens"},
	{kService, "CLOJARS_", 60, alnum, "gitleaks clojars-api-token"},
	{kService, "sk-", 40, alnum, "gitleaks openai-api-key"},
	{kService, "sk-proj- sk-svcacct- sk-admin-", 20, token, "gitleaks openai-api-key"},
	{kService, "sk-ant-", 20, token, "gitleaks anthropic-api-key"},
	{kService, "sk-or-v1-", 60, alnum, "openrouter.ai/docs/api-reference/authentication"},
	{kService, "hf_ api_org_", 30, alnum, "gitleaks huggingface-access-token"},
	{kService, "gsk_", 40, alnum, "console.groq.com/docs"},
	{kService, "xai-", 40, alnum, "docs.x.ai"},
	{kService, "pplx-", 40, alnum, "gitleaks perplexity-api-key"},
	{kService, "nvapi-", 40, token, "docs.nvidia.com/ngc"},
	{kService, "r8_", 37, alnum, "replicate.com/docs"},
	{kService, "pcsk_", 50, word, "docs.pinecone.io"},
	{kService, "lsv2_pt_ lsv2_sk_", 32, word, "docs.smith.langchain.com"},
	{kService, "dop_v1_ doo_v1_ dor_v1_", 40, alnum, "gitleaks digitalocean-pat"},
	{kService, "shpat_ shpca_ shppa_ shpss_", 32, alnum, "gitleaks shopify-access-token"},
	{kService, "SG.", 40, token | dot, "gitleaks sendgrid-api-token"},
	{kService, "xkeysib-", 40, token, "gitleaks sendinblue-api-token"},
	{kService, "key-", 32, alnum, "gitleaks mailgun-private-api-token"},
	{kService, "whsec_", 20, base64s, "docs.stripe.com/webhooks"},
	{kService, "sq0csp- sq0atp-", 20, token, "gitleaks square-access-token"},
	{kService, "hvs. hvb. hvr.", 24, token, "gitleaks vault-service-token, vault-batch-token"},
	{kService, ".atlasv1.", 60, token, "gitleaks hashicorp-tf-api-token"},
	{kService, "AGE-SECRET-KEY-", 50, alnum, "gitleaks age-secret-key"},
	{kService, "lin_api_ lin_oauth_", 20, alnum, "gitleaks linear-api-key"},
	{kService, "NRAK- NRII-", 20, token, "gitleaks new-relic-user-api-key, new-relic-insert-key"},
	{kService, "PMAK-", 30, token, "gitleaks postman-api-token"},
	{kService, "figd_", 20, token, "www.figma.com/developers/api"},
	{kService, "glsa_", 32, word, "gitleaks grafana-service-account-token"},
	{kService, "glc_", 32, base64s, "gitleaks grafana-cloud-api-token"},
	{kService, "pul-", 40, alnum, "gitleaks pulumi-api-token"},
	{kService, "tfp_", 40, word, "gitleaks typeform-api-token"},
	{kService, "ntn_", 40, alnum, "gitleaks notion-api-token"},
	{kService, "secret_", 43, alnum, "developers.notion.com, until 2024"},
	{kService, "dp.pt. dp.ct.", 40, alnum, "gitleaks doppler-api-token"},
	{kService, "dp.st.", 40, token | dot, "docs.doppler.com/reference/auth-token-formats"},
	{kService, "sbp_ sb_secret_", 20, token, "supabase.com/docs/guides/api/api-keys"},
	{kService, "pscale_tkn_ pscale_pw_ pscale_oauth_", 32, token | dot, "gitleaks planetscale-password"},
	{kService, "sntrys_", 40, base64s | underscore, "gitleaks sentry-org-token"},
	{kService, "sntryu_", 64, alnum, "gitleaks sentry-user-token"},
	{kService, "phx_", 40, alnum, "posthog.com/docs/api"},
	{kService, "fo1_", 40, token, "gitleaks flyio-access-token"},
	{kService, "fm1a_ fm1r_ fm2_", 40, base64s, "gitleaks flyio-access-token"},
	{kService, "ops_", 100, token, "gitleaks 1password-service-account-token"},
	{kService, "sgp_", 40, word, "gitleaks sourcegraph-access-token"},
	{kService, "squ_ sqp_ sqa_", 40, alnum, "gitleaks sonar-api-token"},
	{kService, "HRKU-", 36, token, "gitleaks heroku-api-key-v2"},
	{kService, "CFPAT-", 40, token, "www.contentful.com/developers/docs/references/authentication"},
	{kService, "dt0c01.", 80, token | dot, "gitleaks dynatrace-api-token"},
	{kService, "FLWSECK- FLWSECK_TEST-", 30, token, "gitleaks flutterwave-secret-key"},
	{kService, "CCIPAT_", 60, word, "circleci.com/docs/managing-api-tokens"},
	{kService, "nfp_", 30, alnum, "docs.netlify.com/api"},
	{kService, "rnd_", 28, alnum, "render.com/docs/api"},
	{kService, "bkua_", 40, alnum, "buildkite.com/docs/apis/managing-api-tokens"},
	{kService, "pnu_", 36, alnum, "gitleaks prefect-api-token"},
	{kService, "rdme_", 60, alnum, "gitleaks readme-api-token"},
	{kService, "shippo_live_ shippo_test_", 40, alnum, "gitleaks shippo-api-token"},
	{kService, "vercel_blob_rw_", 30, word, "vercel.com/docs/vercel-blob"},
	{kService, "aio_", 28, alnum, "io.adafruit.com/api/docs"},
	{kService, "duffel_live_ duffel_test_", 40, token, "gitleaks duffel-api-token"},
	{kService, "fio-u-", 60, token, "gitleaks frameio-api-token"},
	{kService, "tk-us-", 40, token, "gitleaks scalingo-api-token"},
	{kService, "dnkey-", 60, token, "gitleaks defined-networking-api-token"},
	{kService, "ico-", 32, alnum, "gitleaks infracost-api-token"},
	{kService, "sm_aat_ sm_pat_ sm_sat_", 16, alnum, "gitleaks settlemint-personal-access-token"},
})

// hexadecimal stands for the class of hexadecimal digits in beginnings: a token has exactly so many.
const hexadecimal class = 0

// beginnings is the table of tokens whose prefix has no sign after it.
var beginnings = eachPrefix([]issuedToken{
	{kService, "dapi", 32, hexadecimal, "gitleaks databricks-api-token"},
	{kService, "SK", 32, hexadecimal, "gitleaks twilio-api-key"},
	{kService, "ATATT3", 50, token, "developer.atlassian.com, API tokens"},
	{kService, "ATCTT3", 50, token, "support.atlassian.com/bitbucket-cloud, access tokens"},
	{kService, "ATBB", 30, alnum, "support.atlassian.com/bitbucket-cloud, app passwords"},
	{kService, "EAACEdEose0cBA", 20, alnum, "trufflehog facebookoauth"},
	{kService, "EAAA", 40, token, "gitleaks square-access-token"},
	{kService, "EAA", 60, token, "gitleaks facebook-page-access-token"},
	{kGitLab, "GR1348941", 20, token, "gitleaks gitlab-rrt"},
	{kService, "AKCp", 60, alnum, "gitleaks artifactory-api-key"},
	{kService, "ABSK", 100, base64s, "gitleaks aws-amazon-bedrock-api-key-long-lived"},
	{kService, "EZAK", 50, alnum, "gitleaks easypost-api-token"},
	{kService, "EZTK", 50, alnum, "gitleaks easypost-test-api-token"},
})

// eachPrefix returns a row for each prefix of a table.
func eachPrefix(table []issuedToken) (list []issuedToken) {
	for _, t := range table {
		for prefix := range strings.FieldsSeq(t.prefix) {
			t.prefix = prefix
			list = append(list, t)
		}
	}
	return list
}

// drawn reports whether what follows a prefix looks generated: it has a digit, or is long and has capitals and small letters.
func drawn(s string) bool {
	have := class(0)
	for i := range len(s) {
		have |= classes[s[i]]
	}
	return have&digit != 0 || len(s) >= 20 && have&upper != 0 && have&lower != 0
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
		if len(text) < t.least || !drawn(text) {
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
	if i < 2 || issuedPairs[s[i-1]]>>(s[i-2]&31)&1 == 0 {
		return false
	}
	return slices.ContainsFunc(issuedEnds[s[i-1]], func(t *issuedToken) bool { return strings.HasSuffix(s[:i+1], t.prefix) })
}

// issuedPairs has, for the last byte of a prefix before its sign, the low bits of the bytes before that.
var issuedPairs = func() (list [256]uint32) {
	for _, t := range issuedTokens {
		n := len(t.prefix)
		list[t.prefix[n-2]] |= 1 << (t.prefix[n-3] & 31)
	}
	return list
}()

// issuerToken checks for a token whose prefix ends with the sign at i.
func issuerToken(s string, i int) (k kinds, start, end int, masked string) {
	for _, t := range issuedEnds[before(s, i)] {
		start := i + 1 - len(t.prefix)
		if !strings.HasSuffix(s[:i+1], t.prefix) || isToken(t.prefix[0]) && isToken(before(s, start)) {
			continue
		}
		text := strings.TrimRight(s[i+1:i+1+span(s, i+1, 2048, t.of)], ".")
		if len(text) >= t.least && drawn(text) {
			return t.kind, start, i + 1 + len(text), t.prefix + Mask
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

// botToken checks for a token of a bot of Discord around its first dot at i: the bot's number in base64, 6 characters and
// 27 or more.
func botToken(s string, i int) (k kinds, start, end int, masked string) {
	n := back(s, i, 29, token)
	if n < 23 || n > 28 || span(s, i+1, 7, token) != 6 || after(s, i+7) != '.' {
		return 0, 0, 0, ""
	}
	m := span(s, i+8, 64, token)
	id := decode(make([]byte, 0, 21), s[i-n:i])
	if m < 27 || m > 40 || span(string(id), 0, len(id), digit) != len(id) {
		return 0, 0, 0, ""
	}
	return kService, i - n, i + 8 + m, Mask
}

// mailchimp checks for a key of Mailchimp around its dash at i: 32 hexadecimal digits, and us with the number of a data center.
func mailchimp(s string, i int) (k kinds, start, end int, masked string) {
	n := span(s, i+3, 3, digit)
	if back(s, i, 33, digit|lower) != 32 || strings.Trim(s[i-32:i], "0123456789abcdef") != "" || n == 0 || n > 2 || isToken(after(s, i+3+n)) || isToken(before(s, i-32)) {
		return 0, 0, 0, ""
	}
	return kService, i - 32, i + 3 + n, Mask
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

// stepped checks for a token in a path that follows a step at the slash at i. A token has letters and digits.
func stepped(s string, i int) (k kinds, start, end int, masked string) {
	if k, start, end, masked := hooked(s, i); k != 0 {
		return k, start, end, masked
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
