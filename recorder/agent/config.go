package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// spec is the spec of the resource RecorderConfig. It can only restrict the program's flags, except
// that it chooses the processes whose keys are read, for which the pod needs capabilities.
type spec struct {
	Only           map[string][]string `json:"only,omitempty"`
	Never          []map[string]any    `json:"never,omitempty"`
	Unknown        string              `json:"unknown,omitempty"`
	Filter         string              `json:"filter,omitempty"`
	HeadersOnly    bool                `json:"headersOnly,omitempty"`
	SnapshotLength uint32              `json:"snapshotLength,omitempty"`
	Retention      retention           `json:"retention,omitzero"`
	Keys           keysSpec            `json:"keys,omitzero"`
}

type retention struct {
	MaxSize    string         `json:"maxSize,omitempty"`
	MaxAge     string         `json:"maxAge,omitempty"`
	Namespaces []namespaceAge `json:"namespaces,omitempty"`
}

type namespaceAge struct {
	Namespace string `json:"namespace"`
	MaxAge    string `json:"maxAge"`
}

type keysSpec struct {
	Of        []string `json:"of,omitempty"`
	To        []string `json:"to,omitempty"`
	Plaintext []string `json:"plaintext,omitempty"`
}

const maxSpec = 1 << 20 // bytes

// Linktypes of packets of sockets and of interfaces, docs/format/segment.md.
const (
	linkCooked   = 276
	linkEthernet = 1
)

// readSpec reads a spec in JSON. An unknown member is an error, because a misspelled rule would otherwise not be
// applied.
func readSpec(text []byte) (s spec, err error) {
	if len(text) > maxSpec {
		return s, fmt.Errorf("the spec has more than %d bytes", maxSpec)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err = d.Decode(&s); err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is text after the spec")
		}
	}
	return s, err
}

// apply returns the options of o with the spec applied. o and what it points to stay as they are.
func (s *spec) apply(o Options) (Options, error) {
	r := &o.Record
	list := *r.Ring
	r.Ring = &list
	o.Labels = slices.Clone(o.Labels)
	if err := s.policy(r); err != nil {
		return o, err
	}
	if r.Policy != nil {
		o.Labels = append(o.Labels, r.Policy.LabelNames()...)
	}
	if s.Filter != "" {
		if err := checkFilter(s.Filter, r.Capture); err != nil {
			return o, err
		}
		if r.Filter != "" {
			r.Filter = "(" + r.Filter + ") and (" + s.Filter + ")"
		} else {
			r.Filter = s.Filter
		}
	}
	r.HeadersOnly = r.HeadersOnly || s.HeadersOnly
	if s.SnapshotLength > 0 && (r.Snap == 0 || s.SnapshotLength < r.Snap) {
		r.Snap = s.SnapshotLength
	}
	if err := s.Retention.apply(r.Ring); err != nil {
		return o, fmt.Errorf("retention: %w", err)
	}
	return o, s.Keys.apply(&o)
}

// checkFilter compiles a filter by itself, so that it cannot end a parenthesis that it did not begin.
func checkFilter(text string, capture recorder.Capture) error {
	for of, link := range map[recorder.Capture]uint16{recorder.Sockets: linkCooked, recorder.Interfaces: linkEthernet} {
		if capture != of && capture != recorder.Both && (capture != recorder.Auto && capture != "" || of != recorder.Sockets) {
			continue
		}
		if _, err := filter.Compile(text, link, 0); err != nil {
			return fmt.Errorf("filter %q: %w", text, err)
		}
	}
	return nil
}

// policy adds the rules of the spec to those of the flags.
func (s *spec) policy(r *recorder.Options) error {
	p := &policy.Policy{}
	if base := r.Policy; base != nil {
		*p = *base
		p.Never, p.MaxAge = slices.Clone(base.Never), slices.Clone(base.MaxAge)
		if !base.Only.Empty() && len(s.Only) > 0 {
			return errors.New("only: the recorder's flags already choose owners; a RecorderConfig cannot choose others")
		}
	}
	if s.Unknown != "" && s.Unknown != string(policy.Drop) {
		return fmt.Errorf("unknown %q: only drop can be given", s.Unknown)
	}
	type age struct {
		Namespace string `json:"namespace"`
		Age       string `json:"age"`
	}
	file := struct {
		Only    map[string][]string `json:"only,omitempty"`
		Never   []map[string]any    `json:"never,omitempty"`
		Unknown string              `json:"unknown,omitempty"`
		MaxAge  []age               `json:"max-age,omitempty"`
	}{Only: s.Only, Never: s.Never, Unknown: s.Unknown}
	for _, n := range s.Retention.Namespaces {
		file.MaxAge = append(file.MaxAge, age{n.Namespace, n.MaxAge})
	}
	text, err := json.Marshal(file) // which is YAML too
	if err != nil {
		return err
	}
	if string(text) != "{}" {
		if err := p.Parse(text); err != nil {
			return err
		}
	}
	if r.Policy = p; p.Empty() && len(p.MaxAge) == 0 {
		r.Policy = nil
	}
	return nil
}

func (x *retention) apply(r *ring.Options) error {
	if x.MaxSize != "" {
		q, err := resource.ParseQuantity(x.MaxSize)
		switch {
		case err != nil:
			return fmt.Errorf("maxSize %q: must be a number with Ki, Mi, Gi, k, M or G", x.MaxSize)
		case q.Value() < 2*r.SegmentBytes:
			return fmt.Errorf("maxSize %s: must be at least two segments, %d bytes", x.MaxSize, 2*r.SegmentBytes)
		case r.MaxBytes == 0 || q.Value() < r.MaxBytes:
			r.MaxBytes = q.Value()
		}
	}
	if x.MaxAge != "" {
		d, err := time.ParseDuration(x.MaxAge)
		switch {
		case err != nil || d < time.Second:
			return fmt.Errorf("maxAge %q: must be an age of at least 1s, such as 24h", x.MaxAge)
		case r.MaxAge == 0 || d < r.MaxAge:
			r.MaxAge = d
		}
	}
	return nil
}

func (k *keysSpec) apply(o *Options) error {
	if len(k.Of)+len(k.To)+len(k.Plaintext) == 0 {
		return nil
	}
	for _, to := range k.To {
		// Not a file of the node, which a flag may name.
		if !strings.HasPrefix(to, "age1") && !strings.HasPrefix(to, "ssh-") {
			return fmt.Errorf("keys: recipient %.80q: must be age1… or an SSH public key", to)
		}
	}
	switch {
	case o.ChooseKeys == nil:
		return errors.New("keys: this recorder reads none")
	case o.Record.Keys != nil:
		return errors.New("keys: the recorder's flags already choose whose keys are read")
	}
	chosen, err := o.ChooseKeys(k.Of, k.To, k.Plaintext, *o.Record.Ring, o.Record.HeadersOnly)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	o.Record.Keys = chosen
	for _, list := range [][]workload.Selector{chosen.Workloads, chosen.PlaintextWorkloads} {
		for i := range list {
			for _, l := range list[i].Labels {
				o.Labels = append(o.Labels, l.Name)
			}
		}
	}
	return nil
}
