package command

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/exit"
)

func TestCheckFilter(t *testing.T) {
	node := &cobra.Command{Use: Recorder}
	node.AddCommand(&cobra.Command{Use: "doctor", Run: func(*cobra.Command, []string) {}}, &cobra.Command{Use: "ring", Run: func(*cobra.Command, []string) {}})
	laptop := &cobra.Command{Use: Pcapsule}
	for _, name := range OfPcapsule() {
		laptop.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	record, _, err := laptop.Find([]string{"record"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		c       *cobra.Command
		args    string // split at |
		problem string // "" if the filter's parser decides
		hint    string
	}{
		{"no filter", node, "", "", ""},
		{"a protocol", node, "arp", "", ""},
		{"a filter in words", node, "port|80", "", ""},
		{"a filter in one argument", node, "tcp port 80 or icmp", "", ""},
		{"half a filter", node, "host", "", ""},
		{"an unsupported keyword of filters", node, "gateway", "", ""},
		{"an invalid filter", node, "tcp|and|and", "", ""},
		{"a misspelled filter", node, "tpc|port|80", "", ""},
		{"an address", node, "10.0.0.1", "", ""},
		{"a filter with brackets", node, "tcp[13] = 2", "", ""},
		{"another word", node, "status", `"status" is neither a command nor a filter`, "commands are doctor and ring; a filter"},
		{"a misspelled command", node, "docter", `"docter" is neither`, "did you mean pcapsule-recorder doctor? commands are doctor and ring"},
		{"a misspelled command with arguments", node, "dcotor|nginx", `"dcotor" is neither`, "did you mean pcapsule-recorder doctor?"},
		{"a command after --", node, "ring|ls", `"ring" is a command, not a filter`, "run pcapsule-recorder ring"},
		{"a command of the other program", node, "snapshot|r", `pcapsule-recorder has no command "snapshot"`, "snapshot is a command of pcapsule: run"},
		{"recording", node, "record|tcp", `pcapsule-recorder has no command "record"`, "recording needs no command"},
		{"a command instead of a filter", record, "doctor", `"doctor" is a command, not a filter`, "run pcapsule doctor"},
		{"a filter of record", record, "not|arp", "", ""},
		{"another word for record", record, "status", `"status" is neither`, "pcapsule --help lists the commands"},
	} {
		var args []string
		if tt.args != "" {
			args = strings.Split(tt.args, "|")
		}
		err := CheckFilter(tt.c, args)
		var coded *exit.Error
		switch {
		case tt.problem == "" && err != nil:
			t.Errorf("%s: %v, want nothing", tt.name, err)
		case tt.problem == "":
		case !errors.As(err, &coded) || coded.Code != exit.Usage || !strings.HasPrefix(coded.Error(), tt.problem) || !strings.HasPrefix(coded.Hint, tt.hint):
			t.Errorf("%s: %#v, want %q and %q", tt.name, err, tt.problem, tt.hint)
		}
	}
}
