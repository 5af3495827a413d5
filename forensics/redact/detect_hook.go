package redact

import "strings"

// A webhook is a URL that is a password: who knows it can post. Each is recognized by the part of its path before the
// secret, so also without its host.
//
//	Slack      /services/T…/B…/…, /workflows/T…/A…/…/…, /triggers/T…/…/…       api.slack.com/messaging/webhooks
//	Discord    /api/webhooks/ID/TOKEN                                          discord.com/developers/docs/resources/webhook
//	Teams      /webhookb2/GUID@GUID/IncomingWebhook/…/GUID                     learn.microsoft.com, Office 365 connectors
//	Workflows  …/workflows/…/triggers/…/invoke?…&sig=…                         learn.microsoft.com, Logic Apps; sig is a secret name

// slackPaths are the beginnings of paths of hooks of Slack, without their first slash, with the slashes in what follows.
var slackPaths = [...]struct {
	path    string
	slashes int
}{{"services/", 2}, {"workflows/", 3}, {"triggers/", 2}}

// leastDiscord is the minimum length of the token in a webhook of Discord; they have 68.
const leastDiscord = 60

// slackHook returns the place of the secret in the path of a hook of Slack whose first slash is at i.
func slackHook(s string, i int) (start, end int) {
	for _, p := range slackPaths {
		if !strings.HasPrefix(s[i+1:], p.path) {
			continue
		}
		start = i + 1 + len(p.path)
		if c := after(s, start); c != 'T' && c != 'E' {
			continue
		}
		n := span(s, start, 256, alnum|slash)
		text := strings.TrimRight(s[start:start+n], "/")
		if strings.Count(text, "/") == p.slashes && len(text) >= 20 && span(text, 0, 8, upper|digit) >= 8 {
			return start, start + len(text)
		}
	}
	return 0, 0
}

// hooked checks for a webhook whose secret follows the slash at i.
func hooked(s string, i int) (k kinds, start, end int, masked string) {
	if c := after(s, i+1); c == 's' || c == 'w' || c == 't' {
		if start, end := slackHook(s, i); end > 0 {
			return kSlack, start, end, Mask
		}
	}
	if n := back(s, i, 21, digit); n >= 16 && n <= 20 && strings.HasSuffix(s[:i-n], "/webhooks/") {
		if n := span(s, i+1, 128, token); n >= leastDiscord {
			return kHook, i + 1, i + 1 + n, Mask
		}
	}
	if prev := before(s, i); prev == '2' || prev == 'k' {
		if end := teams(s, i+1); end > 0 {
			return kHook, i + 1, end, Mask
		}
	}
	return 0, 0, 0, ""
}

// guidLength is the length of a GUID in text.
const guidLength = 36

// teams returns the end of the secret of a webhook of Teams that begins at i: two GUIDs, the name of the connector and
// what follows it.
func teams(s string, i int) int {
	at := i + guidLength
	if after(s, at) != '@' || !strings.HasSuffix(s[:i], "/webhookb2/") && !strings.HasSuffix(s[:i], "/webhook/") || span(s, i, guidLength, alnum|dash) != guidLength {
		return 0
	}
	const name = "/IncomingWebhook/"
	if span(s, at+1, guidLength, alnum|dash) != guidLength || !strings.HasPrefix(s[at+1+guidLength:], name) {
		return 0
	}
	from := at + 1 + guidLength + len(name)
	n := span(s, from, 256, token|slash)
	if n < 32 {
		return 0
	}
	return from + n
}

// mayHook is a quick check whether hooked may find something at the slash at i.
func mayHook(s string, i int) bool {
	switch after(s, i+1) {
	case 's', 'w', 't':
		for _, p := range slackPaths {
			if strings.HasPrefix(s[i+1:], p.path) {
				return true
			}
		}
	}
	return after(s, i+1+guidLength) == '@' || isDigit(before(s, i)) && span(s, i+1, leastDiscord, token) == leastDiscord
}
