// Package all lists every question and every analyzer. A new one needs its folder and one line
// here.
package all

import (
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/access"
	"github.com/pcapsule/pcapsule/forensics/ask/compare"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
	"github.com/pcapsule/pcapsule/forensics/ask/objects"
	"github.com/pcapsule/pcapsule/forensics/ask/openapi"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
	"github.com/pcapsule/pcapsule/forensics/ask/policy"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/adminaccess"
	"github.com/pcapsule/pcapsule/forensics/finding/beacon"
	"github.com/pcapsule/pcapsule/forensics/finding/bruteforce"
	"github.com/pcapsule/pcapsule/forensics/finding/certificate"
	"github.com/pcapsule/pcapsule/forensics/finding/coerced"
	"github.com/pcapsule/pcapsule/forensics/finding/coveragegap"
	"github.com/pcapsule/pcapsule/forensics/finding/dcsync"
	"github.com/pcapsule/pcapsule/forensics/finding/defaultlogin"
	"github.com/pcapsule/pcapsule/forensics/finding/deprecated"
	"github.com/pcapsule/pcapsule/forensics/finding/dnsfailures"
	"github.com/pcapsule/pcapsule/forensics/finding/dnstunnel"
	"github.com/pcapsule/pcapsule/forensics/finding/egress"
	"github.com/pcapsule/pcapsule/forensics/finding/flood"
	"github.com/pcapsule/pcapsule/forensics/finding/forwardedtoken"
	"github.com/pcapsule/pcapsule/forensics/finding/heartbleed"
	"github.com/pcapsule/pcapsule/forensics/finding/http2flood"
	"github.com/pcapsule/pcapsule/forensics/finding/icmptunnel"
	"github.com/pcapsule/pcapsule/forensics/finding/indicators"
	"github.com/pcapsule/pcapsule/forensics/finding/jndi"
	"github.com/pcapsule/pcapsule/forensics/finding/mining"
	"github.com/pcapsule/pcapsule/forensics/finding/missingauth"
	"github.com/pcapsule/pcapsule/forensics/finding/networkpolicy"
	"github.com/pcapsule/pcapsule/forensics/finding/noauth"
	"github.com/pcapsule/pcapsule/forensics/finding/others"
	"github.com/pcapsule/pcapsule/forensics/finding/outsidevolume"
	"github.com/pcapsule/pcapsule/forensics/finding/passthehash"
	"github.com/pcapsule/pcapsule/forensics/finding/plaincredentials"
	"github.com/pcapsule/pcapsule/forensics/finding/poisoning"
	"github.com/pcapsule/pcapsule/forensics/finding/rapidreset"
	"github.com/pcapsule/pcapsule/forensics/finding/remoteadmin"
	"github.com/pcapsule/pcapsule/forensics/finding/remoteexec"
	"github.com/pcapsule/pcapsule/forensics/finding/remoteshell"
	"github.com/pcapsule/pcapsule/forensics/finding/riskyfile"
	"github.com/pcapsule/pcapsule/forensics/finding/roasting"
	"github.com/pcapsule/pcapsule/forensics/finding/roguedhcp"
	"github.com/pcapsule/pcapsule/forensics/finding/roguerouter"
	"github.com/pcapsule/pcapsule/forensics/finding/scan"
	"github.com/pcapsule/pcapsule/forensics/finding/segmentation"
	"github.com/pcapsule/pcapsule/forensics/finding/sensitivedata"
	"github.com/pcapsule/pcapsule/forensics/finding/sigred"
	"github.com/pcapsule/pcapsule/forensics/finding/smbexploit"
	"github.com/pcapsule/pcapsule/forensics/finding/smuggling"
	"github.com/pcapsule/pcapsule/forensics/finding/spoofing"
	"github.com/pcapsule/pcapsule/forensics/finding/unusual"
	"github.com/pcapsule/pcapsule/forensics/finding/weaktls"
	"github.com/pcapsule/pcapsule/forensics/finding/webattack"
	"github.com/pcapsule/pcapsule/forensics/finding/webshell"
	"github.com/pcapsule/pcapsule/forensics/finding/zerologon"
)

// Analyzers lists the analyzers in the order in which they run.
func Analyzers() []finding.Analyzer {
	list := []finding.Analyzer{
		plaincredentials.Analyzer(),
		sensitivedata.Analyzer(),
		missingauth.Analyzer(),
		noauth.Analyzer(),
		forwardedtoken.Analyzer(),
		weaktls.Analyzer(),
		weaktls.Offered(),
		certificate.Analyzer(),
		deprecated.Analyzer(),
		adminaccess.Analyzer(),
		segmentation.Analyzer(),
		networkpolicy.Analyzer(),
		egress.Analyzer(),
		outsidevolume.Analyzer(),
		riskyfile.Analyzer(),
		beacon.Analyzer(),
		dnstunnel.Analyzer(),
		dnsfailures.Analyzer(),
		sigred.Analyzer(),
		smbexploit.Analyzer(),
		scan.Analyzer(),
		flood.Analyzer(),
		bruteforce.Analyzer(),
		rapidreset.Analyzer(),
		zerologon.Analyzer(),
		dcsync.Analyzer(),
		coerced.Analyzer(),
		remoteexec.Analyzer(),
		remoteadmin.Analyzer(),
		passthehash.Analyzer(),
		roasting.Analyzer(),
		smuggling.Analyzer(),
		webattack.Analyzer(),
		webshell.Analyzer(),
		remoteshell.Analyzer(),
		jndi.Analyzer(),
		heartbleed.Analyzer(),
		http2flood.Analyzer(),
		icmptunnel.Analyzer(),
		mining.Analyzer(),
		roguedhcp.Analyzer(),
		roguerouter.Analyzer(),
		poisoning.Analyzer(),
		spoofing.Analyzer(),
		defaultlogin.Analyzer(),
		indicators.Analyzer(),
		others.Analyzer(),
		unusual.Analyzer(),
		coveragegap.Analyzer(),
	}
	for i := range list {
		list[i].Controls = control.Of
	}
	return list
}

// Questions lists every question by topic, in the order in which people should meet them. The
// schemas in them are shared and must not be changed.
func Questions() []ask.Question { return slices.Clone(questions()) }

// questions makes the list once, because the schemas take milliseconds and every command needs them.
var questions = sync.OnceValue(func() []ask.Question {
	return slices.Concat(
		about("services", servicemap.OverviewQuestion(failures.Sentence), servicemap.MapQuestion(), servicemap.DependenciesQuestion(), service.DescribeQuestion(),
			servicemap.ExternalQuestion(), access.PairQuestion()),
		about("incidents", failures.Question(), trace.Question(), service.TimelineQuestion(), compare.Question(), search.Question()),
		about("performance", latency.StatsQuestion(), latency.Question(), patterns.Question(), latency.CapacityQuestion()),
		about("security", finding.Question(Analyzers()), control.Question(Analyzers()), access.AuditQuestion(), objects.Question()),
		about("checks", check.Question(Analyzers()), policy.Question(), openapi.Question()),
	)
})

// about gives questions their topic.
func about(topic string, list ...ask.Question) []ask.Question {
	for i := range list {
		list[i].Topic = topic
	}
	return list
}
