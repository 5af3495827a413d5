package recorder

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
	node "github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/agent"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func TestKeyFlags(t *testing.T) {
	const recipient = "age13c4lm32r2ygtxayapu3k4zg97t97amlgy25qvg7l0xevppgs037qqed4xx"
	for _, tt := range []struct {
		name, args  string
		headersOnly bool
		want        string // the selectors, or the error
		code        int
	}{
		{"none by default", "", false, "", exit.Done},
		{"a namespace", "--keys|namespace=shop", false, "keys namespace=shop", exit.Done},
		{"two that must both be true", "--keys|namespace=shop,label=app=web", false, "keys namespace=shop label=app=web", exit.Done},
		{"either of two", "--keys|pod=web-* container=db", false, "keys pod=web-* / container=db", exit.Done},
		{"programs and workloads", "--keys|exe:nginx|--keys|namespace=shop", false, "keys namespace=shop / nginx", exit.Done},
		{"a control group whose name contains an equals sign", "--keys|cgroup:/a=b", false, "keys  / /a=b", exit.Done},
		{"plaintext and keys of different owners", "--plaintext|pod=web|--keys|exe:x", false, "keys  / x plaintext pod=web", exit.Done},
		{"encrypted", "--keys|all|--keys-to|" + recipient, false, "keys  / *", exit.Done},
		{"encrypted without keys", "--keys-to|" + recipient, false, "needs --keys", exit.Usage},
		{"an invalid recipient", "--keys|all|--keys-to|nobody", false, "must be age1", exit.NotCapture},
		{"keys without payload", "--keys|all", true, "--headers-only", exit.Usage},
		{"an unknown field", "--keys|user=root", false, "write namespace", exit.Usage},
		{"a process as a field", "--keys|process=nginx", false, "use exe:", exit.Usage},
		{"a word", "--keys|shop", false, "write pid:NUMBER", exit.Usage},
		{"an empty value", "--keys|namespace=", false, "write a value", exit.Usage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f keyFlags
			fl := pflag.NewFlagSet("", pflag.ContinueOnError)
			f.define(fl)
			var args []string
			if tt.args != "" {
				args = strings.Split(tt.args, "|")
			}
			if err := fl.Parse(args); err != nil {
				t.Fatal(err)
			}
			o := agent.Options{Record: node.Options{Ring: &ring.Options{Dir: "ring"}}}
			err := f.options(&o, tt.headersOnly)
			var coded *exit.Error
			if tt.code != exit.Done {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &coded) || coded.Code != tt.code {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			got := ""
			if k := o.Record.Keys; k != nil {
				var who []string
				for i := range k.Workloads {
					who = append(who, k.Workloads[i].String())
				}
				if len(who) == 0 {
					who = []string{""}
				}
				got = "keys " + strings.Join(append(append(who, k.Select.Executables...), k.Select.Cgroups...), " / ")
				for i := range k.PlaintextWorkloads {
					got += " plaintext " + k.PlaintextWorkloads[i].String()
				}
				if k.Layouts != "ring/layouts" {
					t.Errorf("layouts in %q", k.Layouts)
				}
			}
			if err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if strings.Contains(tt.args, "label=") && strings.Join(o.Labels, " ") != "app" {
				t.Errorf("labels %q: the selectors need app", o.Labels)
			}
		})
	}
}
