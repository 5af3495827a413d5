package failures

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	maxSentence = 160 // bytes of what a server says
	maxNested   = 4   // objects around the sentence of a server
)

var (
	severity = regexp.MustCompile(`^(?:FATAL|ERROR|PANIC|ERR)(?: [0-9]+)?(?: \([0-9A-Z]{5}\))?: `)
	member   = regexp.MustCompile(`"(?:message|error_description|detail|title|reason|msg|error)"\s*:\s*"((?:[^"\\]|\\.)+)`)
	titleTag = regexp.MustCompile(`(?is)<(?:title|h1)[^>]*>([^<]+)<`)
)

// sentence is what a server says about an error, without the form that carries it: the message in JSON, the title of a page.
func sentence(said string) string {
	text := strings.TrimSpace(said)
	switch {
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			text = message(v, 0)
		} else if m := member.FindStringSubmatch(text); m != nil { // it may be cut
			text = m[1]
		}
	case strings.HasPrefix(text, "<"):
		m := titleTag.FindStringSubmatch(text)
		if m == nil {
			return ""
		}
		text = m[1]
	}
	text = strings.Join(strings.Fields(severity.ReplaceAllString(text, "")), " ")
	return strings.TrimSuffix(clip.Text(text, maxSentence), ".")
}

// message finds the member of JSON that is for people.
func message(v any, depth int) string {
	if depth > maxNested {
		return ""
	}
	switch v := v.(type) {
	case string:
		return v
	case []any:
		if len(v) > 0 {
			return message(v[0], depth+1)
		}
	case map[string]any:
		for _, name := range []string{"message", "error_description", "detail", "details", "title", "reason", "description", "msg", "error", "errors", "cause", "fault", "status"} {
			if text := message(v[name], depth+1); text != "" {
				return text
			}
		}
	}
	return ""
}
