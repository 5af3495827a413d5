package check

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// JUnit XML, which all common test runners read, after the schema of the Ant task
// (github.com/windyroad/JUnit-Schema), which is the strictest that is published. So the place
// of a rule is in the texts: the schema has no attribute for it.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Package    string      `xml:"package,attr"`
		ID         int         `xml:"id,attr"`
		Name       string      `xml:"name,attr"`
		Timestamp  string      `xml:"timestamp,attr"` // time of the last packet, so that the same case gives the same report
		Hostname   string      `xml:"hostname,attr"`
		Tests      int         `xml:"tests,attr"`
		Failures   int         `xml:"failures,attr"`
		Errors     int         `xml:"errors,attr"`
		Time       int         `xml:"time,attr"`
		Properties junitValues `xml:"properties"`
		Cases      []junitCase `xml:"testcase"`
		Out        string      `xml:"system-out"`
		Err        string      `xml:"system-err"`
	}
	junitValues struct {
		List []junitValue `xml:"property"`
	}
	junitValue struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string     `xml:"name,attr"`
		Class   string     `xml:"classname,attr"`
		Time    int        `xml:"time,attr"`
		Failure *junitText `xml:"failure"`
		Error   *junitText `xml:"error"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML. file is the name of the rules file. A broken rule of
// level warning is a passing test. Measured values and warnings are the output of the suite.
func (r *Report) WriteJUnit(w io.Writer, file string) error {
	suite := junitSuite{Package: "pcapsule", Name: "check", Hostname: "localhost", Timestamp: time.Unix(0, r.last).UTC().Format("2006-01-02T15:04:05"),
		Properties: junitValues{[]junitValue{{"rules", xmlText(file)}, {"recorded", r.Coverage.State}}}}
	var out, warnings strings.Builder
	for i := range r.Results {
		o := &r.Results[i]
		place := fmt.Sprintf("%s:%d: %s", file, o.Line, o.Name)
		for _, m := range o.Measured {
			fmt.Fprintf(&out, "%s: %s\n", place, m)
		}
		c := junitCase{Name: xmlText(o.Name), Class: "pcapsule.check"}
		text := junitText{Message: xmlText(o.headline()), Type: string(o.Status), Text: xmlText(place + "\n" + o.text())}
		switch {
		case o.Status == Pass:
		case o.Level == levelWarning:
			fmt.Fprintf(&warnings, "%s: warning: %s\n%s", place, o.headline(), o.text())
		case o.Status == Fail:
			c.Failure, suite.Failures = &text, suite.Failures+1
		default:
			c.Error, suite.Errors = &text, suite.Errors+1
		}
		suite.Cases, suite.Tests = append(suite.Cases, c), suite.Tests+1
	}
	suite.Out, suite.Err = xmlText(out.String()), xmlText(warnings.String())
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// xmlText removes the characters that XML 1.0 does not allow (section 2.2).
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 {
			return r
		}
		return '.'
	}, s)
}

// headline summarizes the outcome of a rule in one line.
func (o *Outcome) headline() string {
	switch {
	case o.Status == Pass:
		return "holds"
	case len(o.Broken) == 0:
		return string(o.Status)
	case len(o.Broken) == 1 && o.More == 0:
		return fmt.Sprintf("expected %s, got %s", o.Broken[0].Expected, o.Broken[0].Got)
	}
	return plural.Sprintf("expected %s, but %d {violation was|violations were} found", o.Broken[0].Expected, int64(len(o.Broken))+o.More)
}

// text lists the violations of a rule, one per line.
func (o *Outcome) text() string {
	var b strings.Builder
	if m := o.meaning(); m != "" {
		b.WriteString(m + "\n")
	}
	if len(o.References) > 0 {
		b.WriteString("see " + strings.Join(o.References, " ") + "\n")
	}
	for _, x := range o.Broken {
		fmt.Fprintf(&b, "expected %s, got %s", x.Expected, x.Got)
		if c := x.Call; c != nil {
			fmt.Fprintf(&b, " | %s %s -> %s %s | call %s, %s", c.Time, c.Src, c.Dst, c.Summary, c.CallID, c.Packets)
		}
		b.WriteByte('\n')
	}
	if o.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", o.More)
	}
	return b.String()
}
