package seal

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// The kinds of programs.
const (
	ProgramBPF    = "bpf"    // loaded into the kernel by a recorder
	ProgramBinary = "binary" // a program file
	ProgramImage  = "image"  // a container image, by its digest
)

const jsonName = "data/bundle.json"

// Program is a program that took part in an acquisition, and the files of the bundle that state its digest.
type Program struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name,omitempty"`
	Digest string   `json:"digest"` // sha256: and hexadecimal digits; of an image, the text of the request
	Places []string `json:"places"`
}

// String is the program with its whole digest.
func (p Program) String() string { return strings.TrimSpace(p.Kind+" "+p.Name) + " " + p.Digest }

// Programs lists the programs whose digests bundle.json, the custody log and the seals state, without repetition.
func Programs(r *bundle.Report) []Program {
	type key struct{ kind, name, digest string }
	places := map[key][]string{}
	add := func(place, kind, name, digest string) {
		k := key{kind, name, digest}
		if !slices.Contains(places[k], place) {
			places[k] = append(places[k], place)
		}
	}
	segment := func(place string, s *bundle.Segment) {
		if s == nil {
			return
		}
		for _, p := range s.Programs {
			add(place, ProgramBPF, p.Name, "sha256:"+p.SHA256.String())
		}
	}
	if r.Content != nil {
		for i := range r.Content.Inputs {
			segment(jsonName, r.Content.Inputs[i].Segment)
		}
	}
	if sum := r.Program(); sum != nil {
		add(logName, ProgramBinary, r.Custody[0].Tool, "sha256:"+sum.String())
	}
	for _, file := range slices.Sorted(maps.Keys(r.CustodyFiles)) {
		if !strings.HasSuffix(file, sealSuffix) {
			continue
		}
		_, s, err := parse(r.CustodyFiles[file])
		if err != nil {
			continue // Check reports a seal that cannot be read
		}
		for i := range s.Predicate.Inputs {
			segment(file, s.Predicate.Inputs[i].Segment)
		}
		for _, t := range []Tool{s.Predicate.Tool, s.Predicate.SealedWith} {
			if t.SHA256 != nil {
				add(file, ProgramBinary, strings.TrimSpace(t.Name+" "+t.Release), "sha256:"+t.SHA256.String())
			}
		}
		for _, image := range s.Predicate.Request.Images {
			add(file, ProgramImage, "", image)
		}
	}
	list := []Program{}
	for k, in := range places {
		list = append(list, Program{k.kind, k.name, k.digest, in})
	}
	slices.SortFunc(list, func(a, b Program) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest, b.Digest))
	})
	return list
}

// StatedPrograms is the verdict on the programs. Whether a seal agrees with bundle.json is part of the verdict on its
// signature.
func StatedPrograms(list []Program) Verdict {
	if len(list) == 0 {
		return Verdict{Check: "programs", State: NotChecked, Detail: "no digest of a program is stated"}
	}
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return Verdict{Check: "programs", State: Yes, Detail: "stated: " + strings.Join(texts, ", ")}
}
