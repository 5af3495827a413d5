package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Types of an in-toto statement with SLSA provenance.
const (
	statementType  = "https://in-toto.io/Statement/v1"
	provenanceType = "https://slsa.dev/provenance/v1"
	buildType      = "https://pcapsule.dev/release/v1"
)

// A statement is an in-toto attestation (v1) about one image.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     predicate  `json:"predicate"`
}

type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// predicate is SLSA provenance v1. It has no times, because the same commit gives the same bytes.
type predicate struct {
	BuildDefinition struct {
		BuildType            string         `json:"buildType"`
		ExternalParameters   map[string]any `json:"externalParameters"`
		InternalParameters   map[string]any `json:"internalParameters"`
		ResolvedDependencies []resource     `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// provenance states what an image was built from, and how. Modules are named by go.sum, whose hash is here, and
// listed in the SBOM. Nobody signed it: the person who publishes an image does.
func provenance(r *release, t *target, p program, digest v1.Hash) ([]byte, error) {
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		return nil, err
	}
	s := statement{Type: statementType, PredicateType: provenanceType, Subject: []resource{{Name: r.imageName(p), Digest: map[string]string{digest.Algorithm: digest.Hex}}}}
	d := &s.Predicate.BuildDefinition
	d.BuildType = buildType
	d.ExternalParameters = map[string]any{"program": p.name, "platform": t.name(), "version": r.version, "source": "./" + p.source()}
	// Files that differ from the commit make another program than the commit does.
	d.InternalParameters = map[string]any{"cgo": p.cgo, "flags": p.flags(), "changed": r.changed, "tree": t.treeName()}
	d.ResolvedDependencies = []resource{
		{URI: "git+https://" + module, Digest: map[string]string{"gitCommit": r.commit}},
		{URI: "file:go.sum", Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(sums))}},
		{URI: "pkg:golang/std@" + runtime.Version()[2:]},
	}
	s.Predicate.RunDetails.Builder.ID = buildType + "/scripts/release"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
