// Command cold measures commands that open a bundle and answer once: their time, processor time and
// peak memory, with the worker process. Of two programs it runs each command in turn, so that the
// load of the machine disturbs both.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// bundle is a kind of bundle that each program has.
type bundle int

const (
	none bundle = iota - 1
	large
	few
)

var names = map[bundle]string{none: "without a bundle", large: "1 GB of mixed traffic", few: "4 calls"}

// commands are the command lines measured; the bundle becomes the second argument.
var commands = [][]string{
	{"sql", "select 1"},
	{"query", "", "--count"},
	{"ask", "find-failures"},
	{"ask", "get-overview"},
	{"ask", "list-findings"},
	{"report", "--template", "incident", "-o", "OUT"},
	{"sql", "SELECT * FROM calls ORDER BY elapsed_us DESC LIMIT 100"},
}

// program is a program with its bundles.
type program struct {
	path    string
	bundles []string
}

func main() {
	runs := flag.Int("runs", 7, "runs of each command")
	only := flag.String("only", "", "only commands that match this regular expression")
	flag.Parse()
	if flag.NArg() != 2 && flag.NArg() != 4 || *runs < 1 {
		fmt.Fprintln(os.Stderr, "usage: cold [-runs N] [-only PATTERN] [OLD LARGE,FEW] NEW LARGE,FEW")
		os.Exit(2)
	}
	var programs []program
	for i := 0; i < flag.NArg(); i += 2 {
		programs = append(programs, program{flag.Arg(i), strings.Split(flag.Arg(i+1), ",")})
	}
	if err := run(programs, *runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "cold:", err)
		os.Exit(1)
	}
}

func run(programs []program, runs int, only string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	out, err := os.MkdirTemp("", "pcapsule-cold-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	header(len(programs) == 2)
	for _, b := range []bundle{none, large, few} {
		list := commands
		if b == none {
			list = [][]string{{"version"}}
		}
		fmt.Println(names[b])
		for _, c := range list {
			if !chosen.MatchString(strings.Join(c, " ")) {
				continue
			}
			costs := make([][]cost, len(programs))
			for range runs {
				for i, p := range programs {
					one, err := measure(p.path, p.args(c, b, filepath.Join(out, "report.html")))
					if err != nil {
						return err
					}
					costs[i] = append(costs[i], one)
				}
			}
			print(c, costs)
		}
	}
	return nil
}

// args is a command line about a bundle.
func (p program) args(c []string, b bundle, file string) []string {
	list := slices.Clone(c)
	if b != none {
		at := 1
		if c[0] == "ask" {
			at = 2
		}
		list = slices.Insert(list, at, p.bundles[b])
	}
	if i := slices.Index(list, "OUT"); i >= 0 {
		_ = os.Remove(file) // an existing file is not overwritten
		list[i] = file
	}
	return list
}

// columns are the numbers of the table.
var columns = []struct {
	name  string
	form  string
	value func([]cost) float64
}{
	{"wall s, minimum", "%.2f", smallest(func(c cost) float64 { return c.wall.Seconds() })},
	{"wall s, median", "%.2f", middle(func(c cost) float64 { return c.wall.Seconds() })},
	{"CPU s, minimum", "%.2f", smallest(func(c cost) float64 { return c.cpu.Seconds() })},
	{"CPU s, median", "%.2f", middle(func(c cost) float64 { return c.cpu.Seconds() })},
	{"peak MiB, all", "%.0f", middle(func(c cost) float64 { return float64(c.peak) / 1024 })},
	{"worker's MiB", "%.0f", middle(func(c cost) float64 { return float64(c.worker) / 1024 })},
}

func smallest(of func(cost) float64) func([]cost) float64 {
	return func(list []cost) float64 { return slices.Min(each(list, of)) }
}

// middle is the median; for an even number of values the mean of the two in the middle.
func middle(of func(cost) float64) func([]cost) float64 {
	return func(list []cost) float64 {
		values := each(list, of)
		slices.SortFunc(values, cmp.Compare)
		return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
}

func each(list []cost, of func(cost) float64) []float64 {
	var out []float64
	for _, c := range list {
		out = append(out, of(c))
	}
	return out
}

func header(two bool) {
	fmt.Printf("%-28s", "")
	for _, c := range columns {
		fmt.Printf(" %20s", c.name)
	}
	fmt.Printf("\n%-28s", "")
	for range columns {
		if two {
			fmt.Printf(" %6s %6s %6s", "old", "new", "ratio")
		} else {
			fmt.Printf(" %20s", "new")
		}
	}
	fmt.Println()
}

// print prints the costs of a command by one or two programs.
func print(c []string, costs [][]cost) {
	name := strings.Join(c, " ")
	if i := strings.Index(name, " -o "); i >= 0 {
		name = name[:i]
	}
	if len(name) > 26 {
		name = name[:25] + "…"
	}
	fmt.Printf("  %-26s", name)
	for _, col := range columns {
		last := col.value(costs[len(costs)-1])
		if len(costs) == 1 {
			fmt.Printf(" %20s", fmt.Sprintf(col.form, last))
			continue
		}
		first, ratio := col.value(costs[0]), "-"
		if first > 0 {
			ratio = fmt.Sprintf("%.2f", last/first)
		}
		fmt.Printf(" %6s %6s %6s", fmt.Sprintf(col.form, first), fmt.Sprintf(col.form, last), ratio)
	}
	fmt.Println()
}
