package policyflag

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte("never: [{port: 25}]\nmax-age: [{namespace: shop, age: 2h}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		only   string
		never  string
		ages   int
		all    time.Duration
		failed string
	}{
		{name: "nothing"},
		{name: "owners", args: []string{"--namespace", "a", "--namespace=b*", "--label", "x=y", "--process", "7"}, only: "namespace=a namespace=b* process=7 label=x=y"},
		{name: "rules", args: []string{"--never", "port=1", "--never", "pattern=a,b", "--unknown", "keep"}, never: `never port=1; pattern="a,b"; unknown: keep`},
		{name: "an age for all and one for some", args: []string{"--max-age", "24h", "--max-age", "namespace=pay:1h"}, ages: 1, all: 24 * time.Hour},
		{name: "a file and more", args: []string{"--policy", file, "--never", "port=26", "--max-age=namespace=pay:1h"}, never: "never port=25; port=26; unknown: drop", ages: 2},
		{name: "a negative age", args: []string{"--max-age=-1h"}, failed: "must be an age such as 24h"},
		{name: "an age without a namespace", args: []string{"--max-age", "namespace=:1h"}, failed: "write NAMESPACE:AGE"},
		{name: "a broken pattern", args: []string{"--pod", "["}, failed: "--pod"},
		{name: "an empty rule", args: []string{"--never", "port"}, failed: "--never"},
		{name: "no such file", args: []string{"--policy", file + "x"}, failed: "no such file"},
		{name: "an unknown word", args: []string{"--unknown", "maybe", "--never", "port=1"}, failed: "must be keep or drop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f Flags
			fl := pflag.NewFlagSet("x", pflag.ContinueOnError)
			f.Define(fl)
			err := fl.Parse(c.args)
			p, policyErr := f.Policy()
			if err == nil {
				err = policyErr
			}
			if c.failed != "" {
				if err == nil || !strings.Contains(err.Error(), c.failed) {
					t.Errorf("error %v, want %q", err, c.failed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ages := 0
			if p != nil {
				ages = len(p.MaxAge)
			}
			if p.Wanted() != c.only || p.String() != c.never || ages != c.ages || f.MaxAge.All != c.all || (p == nil) != (c.only == "" && c.never == "" && c.ages == 0) {
				t.Errorf("only %q, never %q, %d ages, %s for all", p.Wanted(), p.String(), ages, f.MaxAge.All)
			}
		})
	}
}
