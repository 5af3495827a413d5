// Package all lists every question, those that live in packages of their own included. The
// command line, assistants and reports take their questions from here.
package all

import (
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
)

// Questions lists them in the order in which people should meet them.
func Questions() []ask.Question {
	return append(ask.All(),
		finding.Question(findings.Analyzers()),
		check.Question(),
	)
}
