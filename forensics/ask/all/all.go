// Package all lists every question.
package all

import (
	"github.com/pcapsule/pcapsule/forensics/ask"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
)

// Questions lists them in the order in which people should meet them.
func Questions() []ask.Question { return findings.Questions() }
