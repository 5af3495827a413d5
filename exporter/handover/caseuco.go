package handover

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// caseContext are the namespaces of CASE 1.x and UCO 1.x (caseontology.org).
var caseContext = map[string]string{
	"kb":            "urn:uuid:",
	"investigation": "https://ontology.caseontology.org/case/investigation/",
	"action":        "https://ontology.unifiedcyberontology.org/uco/action/",
	"core":          "https://ontology.unifiedcyberontology.org/uco/core/",
	"identity":      "https://ontology.unifiedcyberontology.org/uco/identity/",
	"observable":    "https://ontology.unifiedcyberontology.org/uco/observable/",
	"tool":          "https://ontology.unifiedcyberontology.org/uco/tool/",
	"types":         "https://ontology.unifiedcyberontology.org/uco/types/",
	"xsd":           "http://www.w3.org/2001/XMLSchema#",
}

// node is an object of JSON-LD.
type node map[string]any

// caseGraph collects the objects of an investigation.
type caseGraph struct {
	seed  string // of identifiers
	nodes []node
	made  map[string]bool
}

// id is the identifier of a thing: a UUID of version 5 (RFC 9562 section 5.5) from the bundle's
// fingerprint and the name, so the same sheet gives the same bytes.
func (g *caseGraph) id(kind, name string) string {
	sum := sha1.Sum([]byte(g.seed + "\x00" + kind + "\x00" + name))
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x50, u[8]&0x3f|0x80
	h := hex.EncodeToString(u)
	return "kb:" + strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// add adds an object once and returns a reference to it.
func (g *caseGraph) add(kind, name string, n node) node {
	id := g.id(kind, name)
	if !g.made[id] {
		g.made[id] = true
		n["@id"] = id
		g.nodes = append(g.nodes, n)
	}
	return node{"@id": id}
}

// CASE writes the investigation as JSON-LD in the CASE and UCO ontologies, version 1: the packet
// files with their hashes, a provenance record, and an action for each entry of the custody log.
func (c *Cover) CASE(w io.Writer) error {
	g := &caseGraph{seed: c.Fingerprint.String(), made: map[string]bool{}}
	r := c.request()
	var evidence []node
	evidence = append(evidence, g.file("tagmanifest-sha256.txt", "", 0, c.Fingerprint))
	for i := range c.Manifest.Inputs {
		in := &c.Manifest.Inputs[i]
		evidence = append(evidence, g.file(in.Name, in.Path, in.Size, in.SHA256))
	}
	record := node{"@type": "investigation:ProvenanceRecord", "core:description": "Evidence bundle " + clean(c.Name), "core:object": evidence}
	if r.CaseID != "" {
		record["investigation:exhibitNumber"] = clean(r.CaseID)
	}
	objects := append([]node{g.add("provenance", c.Name, record)}, evidence...)
	for i := range c.Custody {
		objects = append(objects, g.action(&c.Custody[i], evidence))
	}
	investigation := node{"@type": "investigation:Investigation", "core:name": clean(c.Name), "core:object": objects}
	if r.Purpose != "" {
		investigation["investigation:focus"] = clean(r.Purpose)
	}
	if r.Authority != "" || r.LegalBasis != "" {
		investigation["investigation:relevantAuthorization"] = g.add("authorization", "", node{"@type": "investigation:Authorization",
			"investigation:authorizationType": "acquisition", "core:description": clean(strings.TrimSpace(r.Authority + "; " + r.LegalBasis))})
	}
	g.add("investigation", c.Name, investigation)
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"@context": caseContext, "@graph": g.nodes}); err != nil {
		return fmt.Errorf("writing CASE: %w", err)
	}
	return nil
}

// file is a file with its SHA-256. size 0 is not stated.
func (g *caseGraph) file(name, path string, size int64, sum bundle.Digest) node {
	facet := node{"@id": g.id("file facet", path+name), "@type": "observable:FileFacet", "observable:fileName": clean(name)}
	if path != "" {
		facet["observable:filePath"] = path
		facet["observable:sizeInBytes"] = node{"@type": "xsd:integer", "@value": fmt.Sprint(size)}
	}
	content := node{"@id": g.id("content facet", path+name), "@type": "observable:ContentDataFacet", "observable:hash": node{
		"@id": g.id("hash", path+name), "@type": "types:Hash",
		"types:hashMethod": "SHA256",
		"types:hashValue":  node{"@type": "xsd:hexBinary", "@value": sum.String()},
	}}
	return g.add("file", path+name, node{"@type": "observable:File", "core:hasFacet": []node{facet, content}})
}

// action is an entry of the custody log: who did what, when, and with which program.
func (g *caseGraph) action(e *bundle.Entry, evidence []node) node {
	n := node{"@type": "investigation:InvestigativeAction", "core:name": e.Event, "action:object": evidence,
		"action:startTime": node{"@type": "xsd:dateTime", "@value": time.Unix(0, int64(e.Time)).UTC().Format("2006-01-02T15:04:05.000000Z")}}
	if user := clean(e.User); user != "" {
		n["action:performer"] = g.add("identity", user, node{"@type": "identity:Identity", "core:name": user})
	}
	if program := clean(e.Tool); program != "" {
		name, release, _ := strings.Cut(program, " ")
		t := node{"@type": "tool:Tool", "core:name": name}
		if release != "" {
			t["tool:version"] = release
		}
		n["action:instrument"] = g.add("tool", program, t)
	}
	if text := clean(e.Note); text != "" {
		n["core:description"] = text
	}
	return g.add("action", fmt.Sprint(e.Seq), n)
}
