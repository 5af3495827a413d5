package page

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/report/value"
)

// words are labels that are clearer than the names of their members.
var words = map[string]string{
	"sure": "certainty", "when": "pattern", "holes": "coverage gaps", "more_holes": "more coverage gaps", "said": "response", "way": "path",
	"began": "caused by", "words": "summary", "asks": "calls made", "asked": "matches the input", "own": "began here", "forth": "from src to dst", "back": "from dst to src", "single_points": "single points of failure",
	"slower_in": "share of slower pairs", "tests": "comparisons", "trend_percent_per_bucket": "trend per bucket",
	"good_p50_ms": "p50 of successful calls", "good_p99_ms": "p99 of successful calls",
}

// kinds are readable forms of values of the member what.
var kinds = map[string]string{"own": "this call", "no_answer": "no answer"}

// origins are the values of the member what that say how failures began; see chain.Origin.
var origins = map[string]bool{"own": true, "no_answer": true, "slow": true, "sealed": true, "failed": true}

// directions are readable forms of values of the member direction.
var directions = map[string]string{"forth": "src to dst", "back": "dst to src"}

// label is a member's name for a person, without its unit, which follows the value.
func label(name string) string {
	if word, ok := words[name]; ok {
		return word
	}
	for _, unit := range []string{"_ms", "_us", "_kb", "_mb", "_seconds", "_percent", "_s"} {
		name = strings.TrimSuffix(name, unit)
	}
	if name == "kb" || name == "mb" {
		return "size"
	}
	return strings.ReplaceAll(name, "_", " ")
}

var longTime = regexp.MustCompile(`\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z`)

// shortTimes cuts times in a text to milliseconds.
func shortTimes(s string) string {
	return longTime.ReplaceAllStringFunc(s, func(s string) string {
		return strings.Replace(strings.TrimRight(s[:min(len(s), len("2026-01-31T14:15:00.000"))], "Z"), "T", " ", 1)
	})
}

// value writes a value with its unit, on one line.
func (p *page) value(name string, v any) string {
	if list, ok := v.([]any); ok {
		var parts []string
		for _, x := range list {
			parts = append(parts, p.value(name, x))
		}
		if p.pairs && len(list) == 2 && number64(list[0]) && number64(list[1]) {
			return strings.Join(parts, " → ")
		}
		return joined(parts)
	}
	if s, ok := v.(string); ok {
		switch {
		case longTime.FindString(s) == s && s != "":
			return strings.TrimPrefix(shortTimes(s), p.day+" ")
		case name == "what" && kinds[s] != "":
			return kinds[s]
		case name == "direction" && directions[s] != "":
			return directions[s]
		case sentences[name]:
			return console.Printable(shortTimes(s), 4*maxText)
		}
	}
	return valueOf(name, v)
}

// joined lists texts, with a comma behind all but sentences.
func joined(parts []string) string {
	var b strings.Builder
	for i, text := range parts {
		if i > 0 {
			b.WriteString(map[bool]string{true: " ", false: ", "}[strings.HasSuffix(parts[i-1], ".")])
		}
		b.WriteString(text)
	}
	return b.String()
}

func number64(v any) bool { _, ok := v.(json.Number); return ok }

// valueOf writes a value with its unit.
func valueOf(name string, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case string:
		if callID(v) {
			return v[:12] // enough of a call_id to identify it; --json has all of it
		}
		return console.Printable(v, maxText)
	case object:
		var parts []string
		for _, m := range v {
			parts = append(parts, label(m.name)+" "+valueOf(m.name, m.value))
		}
		return strings.Join(parts, " ")
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return quantity(name, v.String(), f)
		}
		return v.String()
	}
	return ""
}

// quantity writes a number with the unit in its name.
func quantity(name, text string, f float64) string {
	switch {
	case strings.HasSuffix(name, "_ms"):
		return duration(f * 1e3)
	case strings.HasSuffix(name, "_us"):
		return duration(f)
	case strings.HasSuffix(name, "_seconds"), strings.HasSuffix(name, "_s"):
		return duration(f * 1e6)
	case name == "kb", strings.HasSuffix(name, "_kb"):
		return nbspSize(f * 1e3)
	case name == "mb", strings.HasSuffix(name, "_mb"):
		return nbspSize(f * 1e6)
	case name == "bytes" || strings.HasSuffix(name, "_bytes"):
		return nbspSize(f)
	case strings.HasSuffix(name, "_percent"), strings.Contains(name, "_percent_per_"):
		return text + nbsp + "%"
	case (name == "share" || name == "error_rate" || name == "slower_in" || strings.HasSuffix(name, "_share")) && f >= 0 && f <= 1:
		return strconv.FormatFloat(math.Round(f*1000)/10, 'f', -1, 64) + nbsp + "%"
	case strings.Contains(text, ".") && math.Abs(f) >= 9.995:
		return digits3(f)
	}
	return text
}

func nbspSize(f float64) string {
	return strings.ReplaceAll(console.ByteSize(int64(math.Round(f))), " ", nbsp)
}

// duration writes microseconds with 3 digits and a unit.
func duration(us float64) string {
	switch {
	case us < 0:
		return "-" + duration(-us)
	case us >= 60e6:
		return strings.ReplaceAll(value.Duration(time.Duration(us*1e3)), " ", nbsp)
	case us >= 999.5e3:
		return digits3(us/1e6) + nbsp + "s"
	case us >= 999.5:
		return digits3(us/1e3) + nbsp + "ms"
	case us == 0:
		return "0"
	}
	return digits3(us) + nbsp + "µs"
}

func digits3(f float64) string {
	n := 2
	if abs := math.Abs(f); abs >= 99.95 {
		n = 0
	} else if abs >= 9.995 {
		n = 1
	}
	s := strconv.FormatFloat(f, 'f', n, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// oneDay is the day of all times in an answer, or "" if there are several.
func oneDay(v any) string {
	day, several := "", false
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case object:
			for _, m := range v {
				if m.name != "coverage" {
					look(m.value)
				}
			}
		case []any:
			for _, x := range v {
				look(x)
			}
		case string:
			if len(v) >= 20 && len(v) <= 30 && longTime.FindString(v) == v {
				several = several || day != "" && day != v[:10]
				day = v[:10]
			}
		}
	}
	look(v)
	if several {
		return ""
	}
	return day
}
