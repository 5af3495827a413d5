package machine

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

const masked = "***"

var (
	secretName = regexp.MustCompile(`(?i)(passw|passwd|pwd|secret|token|api[-_]?key|apikey|access[-_]?key|private[-_]?key|credential|psk|key$|auth|bearer|cookie|session)`)
	inURL      = regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@`)
	authHeader = regexp.MustCompile(`(?i)((?:proxy-)?authorization|cookie|x-[a-z-]*(?:token|key|secret)[a-z-]*)(\s*:\s*).*`)
	inQuery    = regexp.MustCompile(`(?i)([?&;](?:[a-z_.-]*(?:passw|secret|token|key|auth|sig)[a-z_.-]*)=)[^&;\s]+`)
	withUser   = regexp.MustCompile(`^([^:\s]+):\S+$`)

	// By form, anywhere in an argument.
	tokens   = regexp.MustCompile(`(^|[^\w-])(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeprs]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|sk-[\w-]{20,}|glpat-[\w-]{10,}|AGE-SECRET-KEY-1[0-9A-Z]+)`)
	scheme   = regexp.MustCompile(`(?i)(^|[^\w-])((?:bearer|basic)\s+)[\w.~+/=-]{6,}`)
	userinfo = regexp.MustCompile(`(^|[\s,;='"(/])([\w.+%-]+):([^\s:@/'"]+)@([\w.([-]+)`)
	pem      = regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*`)
	longHex  = regexp.MustCompile(`^(?:0x)?[0-9a-fA-F]{32,}$`)
	keyFlag  = regexp.MustCompile(`^(?i:-k|-iv|-mackey|-macopt|-hmac)$`)
)

// attached are programs whose option -p is directly followed by a password.
var attached = []string{"mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump", "mariadb-admin", "sshpass"}

// MaskArguments masks values in a command line that are secret by their name, place or form.
// If in doubt, it masks.
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
		if i > 0 && a == "-p" && path.Base(args[0]) == "sshpass" { // the other programs prompt for it
			hide = true
			continue
		}
		if i > 0 && strings.HasPrefix(a, "-") && !strings.ContainsAny(a, "= :") && secretName.MatchString(a) {
			hide = true
			continue
		}
		if i > 0 && keyFlag.MatchString(args[i-1]) && longHex.MatchString(a) {
			args[i] = masked
			continue
		}
		if attachedPassword(args, i) {
			args[i] = "-p" + masked
			continue
		}
		a = byForm(a)
		a = inURL.ReplaceAllString(a, "${1}:"+masked+"@")
		a = authHeader.ReplaceAllString(a, "${1}${2}"+masked)
		args[i] = inQuery.ReplaceAllString(a, "${1}"+masked)
	}
	return args
}

// attachedPassword reports whether an argument is -p with a password attached.
func attachedPassword(args []string, i int) bool {
	return i > 0 && len(args[i]) > 2 && strings.HasPrefix(args[i], "-p") && slices.Contains(attached, path.Base(args[0]))
}

// byForm masks what looks like a secret, anywhere in the argument.
func byForm(a string) string {
	a = tokens.ReplaceAllString(a, "${1}"+masked)
	a = scheme.ReplaceAllString(a, "${1}${2}"+masked)
	a = pem.ReplaceAllString(a, "${1}"+masked)
	return userinfo.ReplaceAllStringFunc(a, func(found string) string {
		m := userinfo.FindStringSubmatch(found)
		if m[4] == "sha256" || m[4] == "sha512" { // an image: name:tag@sha256:…
			return found
		}
		return m[1] + m[2] + ":" + masked + "@" + m[4]
	})
}
