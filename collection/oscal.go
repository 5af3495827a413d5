package collection

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/report/value"
)

// oscalVersion is the version of OSCAL's assessment results, https://pages.nist.gov/OSCAL/.
const oscalVersion = "1.1.3"

// names is the namespace of our properties.
const names = "https://github.com/pcapsule/pcapsule"

// ErrNoControls means that no sub-period could be judged, so that there is no result.
var ErrNoControls = errors.New("no control was judged, because no bundle of the collection has packets of the period")

// object is an object of JSON, whose keys are written in the order of the alphabet.
type object map[string]any

// OSCAL writes the verdicts as OSCAL assessment results: a result for each sub-period, an observation for each verdict, and
// a finding only for what is contradicted, because "satisfied" would say more than evidence for a part.
func (s *State) OSCAL(w io.Writer, release string) error {
	var results []object
	for _, p := range s.Parts {
		if r := s.oscalResult(p); r != nil {
			results = append(results, r)
		}
	}
	if len(results) == 0 {
		return ErrNoControls
	}
	metadata := object{"title": line(s.Title), "last-modified": s.At + "T00:00:00Z", "version": s.SHA256[:16], "oscal-version": oscalVersion,
		"remarks": "Verdicts are material for an assessor, not a certificate. Tool: pcapsule " + line(release) + ". Rules: " + line(s.RuleSet) + "."}
	var roles []object
	for _, r := range s.file.Roles {
		roles = append(roles, object{"id": "role-" + r, "title": r})
	}
	if roles != nil {
		metadata["roles"] = roles
	}
	plan := s.uuid("plan")
	resources := []object{{"uuid": plan, "title": "Collection file " + line(s.fileName()), "description": "SHA-256 " + s.SHA256 + "; log of " + strconv.FormatInt(s.Entries, 10) + " entries, head " + orNone(s.LogHead)}}
	for _, b := range s.Bundles {
		if b.Fingerprint != "" {
			resources = append(resources, object{"uuid": s.uuid("bundle", b.Fingerprint), "title": line(b.Name), "description": line(b.Words()) + ". SHA-256 of tagmanifest-sha256.txt: " + b.Fingerprint})
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(object{"assessment-results": object{"uuid": s.uuid("results"), "metadata": metadata, "import-ap": object{"href": "#" + plan}, "results": results, "back-matter": object{"resources": resources}}})
}

// oscalResult is one sub-period.
func (s *State) oscalResult(p *Part) object {
	if len(p.Controls) == 0 {
		return nil
	}
	end := time.Unix(0, p.span.to).UTC().Format(time.RFC3339)
	var controls, observations, findings, risks []object
	known := map[string]bool{}
	for _, c := range p.Controls {
		id := oscalID(c.Control)
		controls = append(controls, object{"control-id": id})
		if c.Verdict == control.Outside {
			continue
		}
		seen := s.uuid("observation", p.From, c.Control)
		observations = append(observations, object{"uuid": seen, "title": line(c.Control + ": " + verdictWords(c.Verdict)), "description": line(c.Why), "methods": []string{"EXAMINE"}, "types": []string{"control-objective"}, "collected": end,
			"props": []object{{"name": "control", "ns": names, "value": c.Control}, {"name": "verdict", "ns": names, "value": string(c.Verdict)}, {"name": "examined", "ns": names, "value": strconv.FormatInt(c.Population.Count, 10)}}})
		if c.Verdict != control.Contradicted {
			continue
		}
		var related []object
		for _, x := range c.Exceptions {
			risk := s.uuid("risk", p.From, x.ID)
			related = append(related, object{"risk-uuid": risk})
			if !known[x.ID] {
				known[x.ID] = true
				risks = append(risks, s.oscalRisk(risk, &x))
			}
		}
		f := object{"uuid": s.uuid("finding", p.From, c.Control), "title": line(c.Control), "description": line(c.Title), "target": object{"type": "objective-id", "target-id": id, "status": object{"state": "not-satisfied", "reason": "fail"}},
			"related-observations": []object{{"observation-uuid": seen}}}
		if related != nil {
			f["related-risks"] = related
		}
		findings = append(findings, f)
	}
	missing := "Nothing of it is known to be missing."
	if len(p.Lacks) > 0 {
		missing = "What is missing: " + strings.Join(p.Lacks, "; ") + "."
	}
	r := object{"uuid": s.uuid("result", p.From), "title": p.Name(), "description": line(missing), "start": time.Unix(0, p.span.from).UTC().Format(time.RFC3339),
		"reviewed-controls": object{"control-selections": []object{{"include-controls": controls}}}}
	if p.Over {
		r["end"] = end
	}
	for name, list := range map[string][]object{"observations": observations, "findings": findings, "risks": risks} {
		if list != nil {
			r[name] = list
		}
	}
	return r
}

// oscalRisk is an exception with the acceptance that is in force.
func (s *State) oscalRisk(uuid string, x *control.Exception) object {
	r := object{"uuid": uuid, "title": line(x.ID), "description": line(x.What), "statement": "not accepted", "status": "open"}
	for i := range s.Exceptions {
		if e := &s.Exceptions[i]; e.ID == x.ID && e.Accepted != nil {
			r["statement"] = line(e.Words())
			r["deadline"] = e.Accepted.Until + "T23:59:59Z"
			if e.Accepted.State == InForce {
				r["status"] = "deviation-approved"
			}
		}
	}
	return r
}

// oscalID is the id of a control as a token of OSCAL: of NIST SP 800-53 as in NIST's catalog, such as ac-17.2, of others
// with its framework, such as pci-8.3.2.
func oscalID(full string) string {
	framework, number, _ := strings.Cut(full, "/")
	number = strings.NewReplacer("(", ".", ")", "").Replace(number)
	if framework == "nist80053" || framework == "fedramp" {
		return token(strings.ToLower(number))
	}
	return token(framework + "-" + number)
}

// token replaces what a token of OSCAL cannot have.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, s)
}

// line is text of one line, not empty, without spaces at its ends, as OSCAL requires.
func line(s string) string {
	if s = strings.TrimSpace(value.Clean(s, 2000)); s == "" {
		return "-"
	}
	return s
}

// uuid is a UUID of the collection as it is, with the version of names.
func (s *State) uuid(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{s.SHA256, s.LogHead, s.At}, parts...), "\n")))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return clip.UUID(sum[:16])
}
