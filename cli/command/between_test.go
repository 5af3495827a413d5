package command

import (
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/exit"
)

func TestBetween(t *testing.T) {
	fl := pflag.NewFlagSet("x", pflag.ContinueOnError)
	rows, part, last, size := fl.Int("rows", 0, ""), fl.Float64("part", 0, ""), fl.Duration("last", 0, ""), new(Size)
	fl.Var(size, "size", "")
	Between(fl, "rows", rows, 1, Most)
	Between(fl, "part", part, 0, 1.5)
	Between(fl, "last", last, time.Millisecond, Longest)
	Between(fl, "size", size, 1<<20, 1<<30)
	if length := fl.Duration("deadline", 10*time.Minute, ""); true {
		Between(fl, "deadline", length, 0, time.Hour)
	}
	if fl.Lookup("deadline").DefValue != "10m" {
		t.Errorf("help shows the default %s", fl.Lookup("deadline").DefValue)
	}
	for arg, want := range map[string]string{
		"--deadline=-1s": `--deadline "-1s": must be 0 to 1h`,
		"--rows=1":       "", "--part=0": "", "--last=90m": "", "--size=1GiB": "",
		"--rows=x":                    `--rows "x": must be a whole number`,
		"--rows=0":                    `--rows "0": must be 1 to 2147483647`,
		"--rows=99999999999999999999": `--rows "99999999999999999999": must be 1 to 2147483647`,
		"--part=NaN":                  `--part "NaN": must be 0 to 1.5`,
		"--part=1e999":                `--part "1e999": must be 0 to 1.5`,
		"--last=5":                    `--last "5": must be a length of time such as 30s, 15m or 2h`,
		"--last=-5s":                  `--last "-5s": must be 1ms to 876000h (100 years)`,
		"--last=99999999h":            `--last "99999999h": must be 1ms to 876000h (100 years)`,
		"--size=2GiB":                 `--size "2GiB": must be 1MiB to 1GiB`,
	} {
		got := ""
		if err := fl.Parse([]string{arg}); err != nil {
			got = exit.Text(err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", arg, got, want)
		}
	}
}
