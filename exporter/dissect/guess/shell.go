package guess

import "regexp"

// says is what a command interpreter writes first: its greeting, its prompt, its complaint that it has no terminal, or who
// runs it. asks are the first commands of somebody who got one.
var (
	says = regexp.MustCompile(`^\s*(Microsoft Windows \[Version |Windows PowerShell\s|PS [A-Z]:\\|[A-Z]:\\[^\r\n>]*>|(bash|sh|ash|zsh)-\d|(/bin/)?(bash|sh|dash|ash)(: \d+)?: (cannot set terminal|can't access tty|no job control|turning off)|uid=\d+\([\w-]+\) gid=|Linux \S+ \d+\.\d+\S* #|[\w.-]+@[\w.-]+:\S*[$#] )`)
	asks = regexp.MustCompile(`^\s*(id|whoami|uname|ls|pwd|hostname|ipconfig|ifconfig|systeminfo|dir|cat /|/bin/(ba)?sh -i|python3? -c)\b[^\r\n]{0,50}\r?\n`)
	text = regexp.MustCompile(`^[\t\r\n -~]+$`)
)

// isShell reports a command interpreter on a bare connection, as nc and reverse shells give one.
func isShell(c, s *Side) bool {
	for _, pair := range [2][2]*Side{{c, s}, {s, c}} {
		if says.Match(pair[0].Head) || asks.Match(pair[0].Head) && text.Match(pair[1].Head) {
			return true
		}
	}
	return false
}
