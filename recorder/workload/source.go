package workload

import (
	"net/netip"
	"strings"
)

// Source identifies the workloads of a node while they live. A recorder calls it and so needs
// no Kubernetes client. Its methods answer from memory, in microseconds, and never wait for a
// server: the recorder calls them between packets.
type Source interface {
	// Find returns the workload of a key. The first field of the key that is set and known
	// counts, in the order of Key. The caller owns the result. False means that the workload is
	// unknown, perhaps only for now: a Change reports when it becomes known.
	Find(Key) (InterfaceComment, bool)

	// Take removes and returns up to limit changes, the oldest first, and the number of changes
	// lost since the last call because there was no room. Only one goroutine at a time may call
	// it.
	Take(limit int) (changes []Change, lost uint64)
}

// Key has the kernel's and the packets' identifiers of a workload.
type Key struct {
	Container string     // id, 64 hexadecimal digits
	PodUID    string     // in the form of a control group's path
	Cgroup    string     // path below the root of control groups
	Addr      netip.Addr // own or a peer's
	Port      uint16     // of Addr; 0 without one
	Proto     uint8      // of Port
	At        int64      // ns since 1970 UTC, for addresses; 0 means now
}

// Change is new knowledge of a Source: the identity of a pod or a container of this node, or
// an event. One of Event, PodUID and Container is set.
//
// A recorder that has interfaces of the pod or container calls Find again for each of their
// control groups and writes the results as workload lines, because a pod has several
// containers. Comment describes the pod as a whole.
type Change struct {
	At        int64            // ns; when it became known
	PodUID    string           // in the form of a control group's path
	Container string           // id
	Comment   InterfaceComment // Ring and Cgroup are for the recorder to fill in
	From      int64            // ns; start of validity; 0 if unknown
	To        int64            // ns, excluded; 0 while it lives

	Event *Event // for the events file, kind k8s
}

const containerDigits = 64 // of a container's id

// ParseCgroup extracts a container's id and a pod's UID from the path of a control group, in
// the forms of the systemd and plain drivers of containerd, CRI-O, Docker and Podman. Groups
// below a container's own belong to it. Of nested containers the outermost one counts,
// because it is the one that the node's runtime knows.
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

// podOf parses pod<uid>, or kubepods-burstable-pod<uid>.slice with _ for - in the UID. The
// UID of a static pod has no dashes.
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

// containerIn parses <id>, cri-containerd-<id>.scope, crio-<id>, docker-<id>.scope,
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

// CleanText makes text from outside safe for people and files: valid UTF-8 of at most limit
// bytes, without control characters or characters that change the reading direction. White
// space becomes spaces.
func CleanText(s string, limit int) string {
	out, _ := clean(s, limit)
	return strings.TrimSpace(out)
}
