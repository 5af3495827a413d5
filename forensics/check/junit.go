package check

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The report that test runners of every language show, after the schema that JUnit's Ant
// task writes (https://github.com/testmoapp/junitxml gathers what readers accept).
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string     `xml:"name,attr"`
		Class   string     `xml:"classname,attr"`
		File    string     `xml:"file,attr,omitempty"`
		Line    int        `xml:"line,attr,omitempty"`
		Failure *junitText `xml:"failure"`
		Error   *junitText `xml:"error"`
		Out     string     `xml:"system-out,omitempty"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML. file is the file of rules. A rule of level
// warning that does not hold is a test that passes, with what was found as its output.
func (r *Report) WriteJUnit(w io.Writer, file string) error {
	suite := junitSuite{Name: "pcapsule check"}
	for i := range r.Results {
		o := &r.Results[i]
		c := junitCase{Name: xmlText(o.Name), Class: "pcapsule.check", File: file, Line: o.Line, Out: xmlText(strings.Join(o.Measured, "\n"))}
		text := junitText{Message: xmlText(o.headline()), Type: string(o.Status), Text: xmlText(o.text())}
		switch {
		case o.Status == Pass:
		case o.Level == levelWarning:
			c.Out = strings.TrimPrefix(c.Out+"\nwarning: "+text.Message+"\n"+text.Text, "\n")
		case o.Status == Fail:
			c.Failure, suite.Failures = &text, suite.Failures+1
		default:
			c.Error, suite.Errors = &text, suite.Errors+1
		}
		suite.Cases, suite.Tests = append(suite.Cases, c), suite.Tests+1
	}
	all := junitSuites{Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Suites: []junitSuite{suite}}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// xmlText takes out what XML 1.0 cannot hold (section 2.2).
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 {
			return r
		}
		return '.'
	}, s)
}

// headline says in one line how a rule came out.
func (o *Outcome) headline() string {
	switch {
	case o.Status == Pass:
		return "holds"
	case len(o.Broken) == 0:
		return string(o.Status)
	case len(o.Broken) == 1 && o.More == 0:
		return fmt.Sprintf("want %s, got %s", o.Broken[0].Expected, o.Broken[0].Got)
	}
	return fmt.Sprintf("want %s; %d times not so", o.Broken[0].Expected, int64(len(o.Broken))+o.More)
}

// text lists what broke a rule, a line each.
func (o *Outcome) text() string {
	var b strings.Builder
	for _, x := range o.Broken {
		fmt.Fprintf(&b, "want %s, got %s", x.Expected, x.Got)
		if c := x.Call; c != nil {
			fmt.Fprintf(&b, " | %s %s -> %s %s | call %s, packets %s", c.Time, c.Src, c.Dst, c.Summary, c.CallID, c.Packets)
		}
		b.WriteByte('\n')
	}
	if o.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", o.More)
	}
	return b.String()
}
