package keys

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// labelOf parses a label that a program passes to its key log.
func labelOf(text string) (l secrets.Label, n int, ok bool) {
	for l = secrets.ClientRandom; l <= secrets.Exporter; l++ {
		name := l.String()
		switch l {
		case secrets.ClientTraffic, secrets.ServerTraffic:
			digits, found := strings.CutPrefix(text, name)
			n, err := strconv.ParseUint(digits, 10, 16)
			if found && err == nil {
				return l, int(n), true
			}
		default:
			if text == name {
				return l, 0, true
			}
		}
	}
	return 0, 0, false
}
