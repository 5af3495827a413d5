package machine

import (
	"regexp"
	"strings"
)

const masked = "***"

var (
	secretName  = regexp.MustCompile(`(?i)(passw|passwd|pwd|secret|token|api[-_]?key|apikey|access[-_]?key|private[-_]?key|credential|psk|key$|auth|bearer|cookie|session)`)
	inURL       = regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@`)
	authHeader  = regexp.MustCompile(`(?i)((?:proxy-)?authorization|cookie|x-[a-z-]*(?:token|key|secret)[a-z-]*)(\s*:\s*).*`)
	inQuery     = regexp.MustCompile(`(?i)([?&;](?:[a-z_.-]*(?:passw|secret|token|key|auth|sig)[a-z_.-]*)=)[^&;\s]+`)
	looksSecret = regexp.MustCompile(`^(?:gh[pousr]_\w{20,}|xox[abp]-\S{10,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|sk-\S{20,}|glpat-\S{10,})$`)
	withUser    = regexp.MustCompile(`^([^:\s]+):\S+$`)
)

// MaskArguments hides values in a command line that are secret by their name, their place
// or their form. It errs on the side of hiding.
func MaskArguments(args []string) []string {
	hide := false
	for i, a := range args {
		switch {
		case hide && !strings.HasPrefix(a, "-"):
			hide = false
			args[i] = masked
			continue
		case i > 0 && (args[i-1] == "-u" || args[i-1] == "--user" || args[i-1] == "--proxy-user"):
			if m := withUser.FindStringSubmatch(a); m != nil {
				args[i] = m[1] + ":" + masked
				continue
			}
		}
		hide = false
		if name, value, ok := strings.Cut(a, "="); ok && value != "" && !strings.ContainsAny(name, " /?&") && secretName.MatchString(name) {
			args[i] = name + "=" + masked
			continue
		}
		if i > 0 && strings.HasPrefix(a, "-") && !strings.ContainsAny(a, "= :") && secretName.MatchString(a) {
			hide = true
			continue
		}
		if looksSecret.MatchString(a) {
			args[i] = masked
			continue
		}
		a = inURL.ReplaceAllString(a, "${1}:"+masked+"@")
		a = authHeader.ReplaceAllString(a, "${1}${2}"+masked)
		args[i] = inQuery.ReplaceAllString(a, "${1}"+masked)
	}
	return args
}
