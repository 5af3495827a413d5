package workload

import (
	"net/netip"
	"strings"
)

// Source knows who workloads of a node are while they live; a recorder asks it, so that
// it needs no client of Kubernetes itself. Its methods answer from memory, in
// microseconds, and never wait for a server: the recorder calls them between packets.
type Source interface {
	// Find says who a key names. The first of the key's fields that is set and known
	// counts, in the order in which Key lists them. What it returns is the caller's own.
	// False means that nobody is known by it, or not yet: a Change tells when somebody is.
	Find(Key) (InterfaceComment, bool)

	// Take removes and returns up to limit changes, the oldest first, and says how many
	// since the last call found no room and are lost. One goroutine at a time may call it.
	Take(limit int) (changes []Change, lost uint64)
}

// Key is what the kernel and packets know of somebody.
type Key struct {
	Container string     // id, 64 hexadecimal digits
	PodUID    string     // as the path of a control group has it
	Cgroup    string     // path below the root of control groups
	Addr      netip.Addr // own or a peer's
	Port      uint16     // of Addr, 0 where there is none
	Proto     uint8      // of Port
	At        int64      // ns since 1970 UTC, for addresses; 0 means now
}

// Change is something that a Source learned: who a pod or a container of this node is, or
// an event. One of Event, PodUID and Container is set.
//
// A recorder that has interfaces of the pod or container asks Find again for each of their
// control groups and writes the answers as workload lines, since a pod has several
// containers; Comment is the answer for the pod as a whole.
type Change struct {
	At        int64            // ns; when it was learned
	PodUID    string           // as paths of control groups have it
	Container string           // id
	Comment   InterfaceComment // Ring and Cgroup are for the recorder to fill in
	From      int64            // ns; since when it holds, 0 where unknown
	To        int64            // ns, excluded; 0 while it lives

	Event *Event // for the events file, kind k8s
}

const containerDigits = 64 // of a container's id

// ParseCgroup reads a container's id and a pod's uid out of the path of a control group,
// as systemd and plain drivers of containerd, CRI-O, Docker and Podman name them. Groups
// below a container's own belong to it; of containers in containers the outermost counts,
// since it is the one that the node's runtime knows.
func ParseCgroup(path string) (container, podUID string) {
	for part := range strings.SplitSeq(path, "/") {
		if podUID == "" {
			podUID = podOf(part)
		}
		if container == "" {
			container = containerIn(part)
		}
	}
	return container, podUID
}

// podOf reads pod<uid>, or kubepods-burstable-pod<uid>.slice with _ for - in the uid. A
// static pod's uid has no dashes.
func podOf(part string) string {
	part = strings.TrimSuffix(part, ".slice")
	at := strings.LastIndex(part, "pod")
	if at < 0 || at > 0 && part[at-1] != '-' {
		return ""
	}
	uid := strings.ToLower(strings.ReplaceAll(part[at+len("pod"):], "_", "-"))
	switch {
	case len(uid) == 32 && isHex(uid):
		return uid
	case len(uid) == 36 && isHex(uid[:8]) && isHex(uid[9:13]) && isHex(uid[14:18]) && isHex(uid[19:23]) && isHex(uid[24:]) &&
		uid[8] == '-' && uid[13] == '-' && uid[18] == '-' && uid[23] == '-':
		return uid
	}
	return ""
}

// containerIn reads <id>, cri-containerd-<id>.scope, crio-<id>, docker-<id>.scope,
// libpod-<id>.scope, and the three-part names of containerd's systemd driver.
func containerIn(part string) string {
	part = strings.TrimSuffix(part, ".scope")
	if len(part) < containerDigits {
		return ""
	}
	id := part[len(part)-containerDigits:]
	if !isHex(id) {
		return ""
	}
	if rest := part[:len(part)-containerDigits]; rest != "" && rest[len(rest)-1] != '-' && rest[len(rest)-1] != ':' {
		return ""
	}
	return id
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// CleanText makes text from outside fit for people and files: valid UTF-8 of at most limit
// bytes, white space to blanks, no control characters and none that turn the direction of
// reading.
func CleanText(s string, limit int) string {
	out, _ := clean(s, limit)
	return strings.TrimSpace(out)
}
