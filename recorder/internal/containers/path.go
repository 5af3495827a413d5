//go:build linux

package containers

import (
	"strings"
)

// fromPath reads what the path of a control group identifies by itself: a machine of
// systemd-nspawn or libvirt, an LXC container, or a systemd unit.
func fromPath(path string) (*facts, bool) {
	parts := strings.Split(path, "/")
	if len(parts) > 64 {
		parts = parts[:64]
	}
	for i, p := range parts {
		switch {
		case strings.HasPrefix(p, "systemd-nspawn@") && strings.HasSuffix(p, ".service"):
			return named("systemd-nspawn", unescape(between(p, "systemd-nspawn@", ".service")))
		case strings.HasPrefix(p, "machine-") && strings.HasSuffix(p, ".scope"):
			name := unescape(between(p, "machine-", ".scope"))
			if rest, ok := strings.CutPrefix(name, "qemu-"); ok { // qemu-NUMBER-NAME
				if _, vm, ok := strings.Cut(rest, "-"); ok {
					return named("libvirt", vm)
				}
			}
			return named("systemd-machined", name)
		case strings.HasPrefix(p, "lxc.payload."):
			return named("lxc", p[len("lxc.payload."):])
		case (p == "lxc" || p == "lxc.payload") && i+1 < len(parts):
			return named("lxc", parts[i+1])
		}
	}
	// The innermost unit: a user's programs are units inside user@1000.service.
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		if strings.HasSuffix(p, ".service") || strings.HasSuffix(p, ".scope") || strings.HasSuffix(p, ".socket") {
			f := &facts{runtime: "cgroup", owner: unescape(p), kind: "systemd"}
			f.clean()
			return f, f.owner != ""
		}
	}
	return nil, false
}

func named(runtime, name string) (*facts, bool) {
	f := &facts{runtime: runtime, name: name}
	f.clean()
	return f, f.name != ""
}

func between(s, prefix, suffix string) string {
	return strings.TrimSuffix(strings.TrimPrefix(s, prefix), suffix)
}

// unescape decodes \x2d and similar escapes in the names of systemd units. It keeps invalid
// escapes.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' {
			hi, lo := digit(s[i+2]), digit(s[i+3])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// userOf returns the ID of the user in whose slice a control group is.
func userOf(paths []string) string {
	for _, path := range paths {
		for p := range strings.SplitSeq(path, "/") {
			uid, ok := strings.CutPrefix(p, "user-")
			if uid, isSlice := strings.CutSuffix(uid, ".slice"); ok && isSlice && number(uid) {
				return uid
			}
		}
	}
	return ""
}

func number(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 10
}
