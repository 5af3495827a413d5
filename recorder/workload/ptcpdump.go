package workload

import (
	"encoding/json"
	"path"
	"strconv"
	"strings"
)

// PacketOwner describes the process in a recorder's comment on a packet. Command lines are
// not kept, because they may contain secrets.
type PacketOwner struct {
	Identity    Identity // Kind is pod or process
	ThreadID    int64
	Thread      string // thread name
	UserID      int64  // -1 if unknown
	ParentPID   int64
	Parent      string // name of the parent process
	ContainerID string
}

// maxPacketComment is the length to which a packet comment is read; ptcpdump's arguments may be
// long.
const maxPacketComment = 64 << 10 // bytes

// ParsePtcpdump parses the comments of one packet in the form of ptcpdump (lines "PID: 7",
// one comment for each group: process, thread, user, parent, container, pod), and of rustnet
// ("rustnet process=curl pid=7 pod=web ns=shop pod_uid=…"). Pass each comment as a separate
// argument: a group ends where its free text begins, so a command line with line ends cannot
// forge a pod. It returns false if no comment has one of these forms.
func ParsePtcpdump(comments ...string) (PacketOwner, bool) {
	o := PacketOwner{UserID: -1}
	source := ""
	for _, c := range comments {
		c = strings.TrimRight(c, "\x00")
		if len(c) > maxPacketComment {
			c = c[:maxPacketComment]
		}
		switch {
		case o.pairs(c):
			source = "rustnet"
		case o.group(c):
			source = "ptcpdump"
		}
	}
	if source == "" {
		return PacketOwner{}, false
	}
	id := &o.Identity
	id.settle("ptcpdump", source)
	if id.Kind == "" {
		if o.ContainerID == "" && id.Container == "" {
			return PacketOwner{}, false
		}
		id.Kind, id.Name = "process", id.Container
	}
	return o, true
}

// groups are the keys of ptcpdump's comments in the order they are written. The last key of
// a group may have free text, so nothing after it is read.
var groups = [...][]string{
	{"PID", "Cmd|Command", "Args"},
	{"ThreadId|TID", "ThreadName"},
	{"UserId"},
	{"ParentPID", "ParentCmd|ParentCommand", "ParentArgs"},
	{"ContainerName", "ContainerId", "ContainerImage", "ContainerLabels"},
	{"PodName", "PodNamespace", "PodUID", "PodLabels", "PodAnnotations"},
}

// group parses one comment of ptcpdump.
func (o *PacketOwner) group(c string) bool {
	lines := strings.Split(strings.TrimSpace(c), "\n")
	for _, keys := range groups {
		if _, ok := keyed(lines[0], keys[0]); !ok {
			continue
		}
		for i, key := range keys {
			if i >= len(lines) {
				break
			}
			value, ok := keyed(lines[i], key)
			if !ok {
				break
			}
			o.set(keys[i], value)
		}
		return true
	}
	return false
}

// keyed returns the value of a line "key: value", with alternative keys separated by bars.
func keyed(line, keys string) (string, bool) {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return "", false
	}
	name = strings.TrimSpace(name)
	for key := range strings.SplitSeq(keys, "|") {
		if name == key {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

func (o *PacketOwner) set(key, value string) {
	id := &o.Identity
	switch key {
	case "PID":
		id.PID = number(value)
	case "Cmd|Command":
		id.Process = processName(value)
	case "ThreadId|TID":
		o.ThreadID = number(value)
	case "ThreadName":
		o.Thread = cleanName(value)
	case "UserId":
		if n, err := strconv.ParseUint(value, 10, 32); err == nil {
			o.UserID = int64(n)
		}
	case "ParentPID":
		o.ParentPID = number(value)
	case "ParentCmd|ParentCommand":
		o.Parent = processName(value)
	case "ContainerName":
		id.Container = cleanName(strings.TrimLeft(value, "/"))
	case "ContainerId":
		o.ContainerID = cleanName(value)
	case "ContainerImage":
		id.Image = cleanName(value)
	case "ContainerLabels":
		o.containerLabels(value)
	case "PodName":
		id.Pod = cleanName(value)
	case "PodNamespace":
		id.Namespace = cleanName(value)
	case "PodUID":
		id.PodUID = cleanName(value)
	case "PodLabels":
		var m map[string]string
		if json.Unmarshal([]byte(value), &m) == nil {
			id.Labels, _ = labelsOf(m)
		}
	}
}

// containerLabels reads the pod's names from the labels that the kubelet puts on containers.
func (o *PacketOwner) containerLabels(value string) {
	var m map[string]string
	if json.Unmarshal([]byte(value), &m) != nil {
		return
	}
	id := &o.Identity
	for _, f := range [...]struct {
		to    *string
		label string
	}{
		{&id.Pod, "io.kubernetes.pod.name"}, {&id.Namespace, "io.kubernetes.pod.namespace"},
		{&id.PodUID, "io.kubernetes.pod.uid"}, {&id.Container, "io.kubernetes.container.name"},
	} {
		if v := cleanName(m[f.label]); v != "" {
			*f.to = v
		}
	}
}

// pairs parses a comment of key=value pairs separated by spaces.
func (o *PacketOwner) pairs(c string) bool {
	fields := strings.Fields(c)
	if len(fields) == 0 || strings.ContainsRune(c, '\n') {
		return false
	}
	named := fields[0] == "rustnet"
	if named {
		fields = fields[1:]
	}
	known := named
	for _, f := range fields {
		key, _, ok := strings.Cut(f, "=")
		if !ok && !named {
			return false // ordinary prose
		}
		known = known || key == "pod" || key == "pod_uid" || key == "container_id"
	}
	if !known {
		return false
	}
	id := &o.Identity
	seen := map[string]bool{}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		if seen[key] {
			continue
		}
		seen[key] = true
		switch key {
		case "process":
			id.Process = cleanName(value)
		case "pid":
			id.PID = number(value)
		case "ppid":
			o.ParentPID = number(value)
		case "uid":
			if n, err := strconv.ParseUint(value, 10, 32); err == nil {
				o.UserID = int64(n)
			}
		case "pod":
			id.Pod = cleanName(value)
		case "ns":
			id.Namespace = cleanName(value)
		case "pod_uid":
			id.PodUID = cleanName(value)
		case "container":
			id.Container = cleanName(value)
		case "container_id":
			o.ContainerID = cleanName(value)
		}
	}
	return true
}

// processName is the last part of a program's path. ptcpdump ends a truncated path with dots.
func processName(p string) string {
	if p == "" {
		return ""
	}
	return cleanName(path.Base(p))
}

// number parses a process or thread id; 0 if it is invalid.
func number(s string) int64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0
	}
	return int64(n)
}
