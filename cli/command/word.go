package command

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/kfl/nearest"
	"github.com/pcapsule/pcapsule/recorder/filter"
)

// The names of the programs.
const (
	Pcapsule = "pcapsule"
	Recorder = "pcapsule-recorder"
)

// OfPcapsule lists the commands of pcapsule. pcapsule-recorder cannot link them; a test of
// pcapsule compares the list with the commands.
func OfPcapsule() []string {
	return []string{"ask", "bundle", "check", "collection", "completion", "custody", "cut", "decrypt", "doctor", "extcap", "fetch", "findings", "follow", "handover", "help", "info", "kfl", "kubectl", "lake", "man", "mcp",
		"merge", "objects", "open", "packets", "protocols", "query", "receive", "record", "redact", "report", "reveal", "ring", "schema", "seal", "serve", "shell", "show", "snapshot", "sql", "store", "tail", "timestamp", "verify", "version", "wireshark"}
}

var plainWord = regexp.MustCompile(`^[a-z][a-z-]*$`)

const maxListed = 8 // commands in a hint

const linkEthernet = 1 // the link type that supports every filter primitive

// CheckFilter refuses a first word that was meant as a command: c accepts a filter, but no
// filter begins with this word. args are the words before the first flag. It returns
//   - nil for a filter, and for an invalid filter, which is reported later,
//   - an *exit.Error whose hint names the most likely command, or lists the commands.
func CheckFilter(c *cobra.Command, args []string) error {
	if len(args) == 0 || !plainWord.MatchString(args[0]) || filter.IsWord(args[0]) {
		return nil
	}
	var link *filter.LinkTypeError
	if _, err := filter.Compile(strings.Join(args, " "), linkEthernet, 0); err == nil || errors.As(err, &link) {
		return nil
	}
	word, program, own := args[0], c.Root().Name(), names(c.Root())
	switch {
	case program == Recorder && word == "record":
		return exit.With(fmt.Errorf("%s has no command %q", program, word), exit.Usage, "recording needs no command: leave out record")
	case slices.Contains(own, word):
		return exit.With(fmt.Errorf("%q is a command, not a filter", word), exit.Usage, "run "+program+" "+word)
	case program == Recorder && slices.Contains(OfPcapsule(), word):
		return exit.With(fmt.Errorf("%s has no command %q", program, word), exit.Usage, word+" is a command of pcapsule: run pcapsule "+word)
	}
	list := "commands are " + sentence(own)
	if len(own) > maxListed {
		list = program + " --help lists the commands"
	}
	hint := list + "; a filter uses tcpdump's syntax, see pcap-filter(7)"
	if near := nearest.Name(word, own); near != "" {
		hint = "did you mean " + program + " " + near + "? " + list
	} else if len(args) > 1 {
		return nil // for example tpc port 80: more likely a filter with a typo
	}
	return exit.With(fmt.Errorf("%q is neither a command nor a filter", word), exit.Usage, hint)
}

// FirstWords returns the arguments before the first flag.
func FirstWords(args []string) []string {
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }); i >= 0 {
		return args[:i]
	}
	return args
}

// names lists the commands in the help of a program.
func names(root *cobra.Command) (list []string) {
	for _, c := range root.Commands() {
		if !c.Hidden {
			list = append(list, c.Name())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// sentence joins words as in a sentence: a, b and c.
func sentence(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// OneOf is the error of a value that must be one of names. The hint is the name that the value most likely means.
func OneOf(what, value string, names []string) error {
	list := strings.Join(names, ", ")
	if last := len(names) - 1; last > 0 {
		list = strings.Join(names[:last], ", ") + " or " + names[last]
	}
	return exit.With(fmt.Errorf("%s %q: must be %s", what, value, list), exit.Usage, nearest.Hint(value, names))
}
