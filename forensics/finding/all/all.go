// Package all lists the analyzers, and with them every question. A new analyzer is its
// folder and one line here.
package all

import (
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/beacon"
	"github.com/pcapsule/pcapsule/forensics/finding/certificate"
	"github.com/pcapsule/pcapsule/forensics/finding/dnsfailures"
	"github.com/pcapsule/pcapsule/forensics/finding/dnstunnel"
	"github.com/pcapsule/pcapsule/forensics/finding/egress"
	"github.com/pcapsule/pcapsule/forensics/finding/forwardedtoken"
	"github.com/pcapsule/pcapsule/forensics/finding/missingauth"
	"github.com/pcapsule/pcapsule/forensics/finding/noauth"
	"github.com/pcapsule/pcapsule/forensics/finding/plaincredentials"
	"github.com/pcapsule/pcapsule/forensics/finding/scan"
	"github.com/pcapsule/pcapsule/forensics/finding/sensitivedata"
	"github.com/pcapsule/pcapsule/forensics/finding/unusual"
	"github.com/pcapsule/pcapsule/forensics/finding/weaktls"
)

// Analyzers lists them in the order in which they are asked.
func Analyzers() []finding.Analyzer {
	return []finding.Analyzer{
		plaincredentials.Analyzer(),
		sensitivedata.Analyzer(),
		missingauth.Analyzer(),
		noauth.Analyzer(),
		forwardedtoken.Analyzer(),
		weaktls.Analyzer(),
		certificate.Analyzer(),
		egress.Analyzer(),
		beacon.Analyzer(),
		dnstunnel.Analyzer(),
		dnsfailures.Analyzer(),
		scan.Analyzer(),
		unusual.Analyzer(),
	}
}

// Questions lists every question in the order in which people should meet them: those of
// ask, the findings, and checks.
func Questions() []ask.Question {
	return append(ask.All(), finding.Question(Analyzers()), check.Question(Analyzers()))
}
