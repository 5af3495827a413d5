//go:build linux

package bpf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/pcapsule/pcapsule/bpf/internal/loader"
)

// DropReason is the kernel's name of a reason for dropping a packet.
func (p *Programs) DropReason(n uint32) string {
	if p.reasons == nil {
		p.reasons = dropReasons()
	}
	if name, ok := p.reasons[n]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", n)
}

// dropReasons reads the names from the kernel's description of its types.
func dropReasons() map[uint32]string {
	names := map[uint32]string{}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return names
	}
	var enum *btf.Enum
	if kernel.TypeByName("skb_drop_reason", &enum) != nil {
		return names
	}
	for _, v := range enum.Values {
		names[uint32(v.Value)] = strings.TrimPrefix(strings.TrimPrefix(v.Name, "SKB_DROP_REASON_"), "SKB_")
	}
	return names
}

// MaxWalked is the number of instructions at which verifiers give up.
const MaxWalked = 1_000_000

var walked = regexp.MustCompile(`processed (\d+) insns`)

// Walked loads the programs and returns how many instructions this kernel's verifier examined for each of them.
func Walked(o Options) (map[string]int, error) {
	spec, err := loadRecorder()
	if err != nil {
		return nil, fmt.Errorf("reading the programs: %w", err)
	}
	if err := o.apply(spec); err != nil {
		return nil, err
	}
	list := map[string]int{}
	for _, name := range []string{recorderProgPacketIn, recorderProgPacketOut} {
		one := spec.Copy()
		for other := range spec.Programs {
			if other != name {
				delete(one.Programs, other)
			}
		}
		coll, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}})
		if err != nil {
			return nil, fmt.Errorf("loading %s: %w", name, err)
		}
		m := walked.FindStringSubmatch(coll.Programs[name].VerifierLog)
		coll.Close()
		if m == nil {
			return nil, fmt.Errorf("loading %s: the kernel does not say how many instructions it walked", name)
		}
		list[name], _ = strconv.Atoi(m[1]) // digits
	}
	return list, nil
}

// LockedDown reports whether the kernel forbids programs to read its memory; see LockdownFile.
func LockedDown() bool { return loader.LockedDown() }

// LockdownFile states how far the kernel protects itself from root.
const LockdownFile = loader.Lockdown

// Oldest is the oldest Linux that the programs are tested on.
const Oldest = "5.10"

// TooOld reports whether this kernel is older than Oldest.
func TooOld() bool {
	running, _ := loader.Running()
	return running.Compare(loader.Release{Major: 5, Minor: 10}) < 0
}
