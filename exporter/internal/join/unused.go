package join

import "github.com/pcapsule/pcapsule/exporter/bundle"

// DescribeUnused adds a warning for each file that a user gave and that fits nothing in the
// captures: a dump or hosts file without an address of theirs, keys that decrypt nothing. Files of
// one kind are judged together, because one dump may repeat another. A part of a file that fits
// nothing is counted, not warned about: hosts files name many machines.
func (j *Joiner) DescribeUnused(m *bundle.Manifest) {
	if m.Accounts.Packets == 0 {
		return
	}
	for _, f := range []struct {
		kind, what string
		unmet
	}{{"kube", "in the Kubernetes files", j.who.kube}, {"hosts", "in the hosts files", j.who.hosts}} {
		left := len(f.left)
		if left > 0 {
			m.Accounts.AddCounter("identity", f.kind+"_addresses_not_captured", int64(left))
		}
		if left > 0 && left == f.all {
			warnOf(m, f.kind, "no address "+f.what+" occurs in the captures")
		}
	}
	if j.said.claims.Len() > 0 && j.said.here == 0 {
		warnOf(m, "alerts", "no packet that an alert is about is in the captures")
	}
	keys := m.Accounts.Counters["keys"]
	if keys["secrets"] == 0 || keys["connections_verified"] > 0 {
		return
	}
	why := "the captures have no encrypted connection"
	if keys["connections_none"]+keys["connections_unverified"] > 0 {
		why = "no encrypted connection has a client random in them"
	}
	if keys["connections_unverified"] > 0 {
		why = "connections have a client random in them, but no record could be decrypted"
	}
	warnOf(m, "keys", "the keys decrypt nothing: "+why)
}

// warnOf adds a warning for each file of a kind that the user gave, after its name.
func warnOf(m *bundle.Manifest, kind, text string) {
	for _, s := range m.SideInputs {
		if s.Kind == kind && s.FileID == nil {
			m.Warnings = append(m.Warnings, s.Name+": "+text)
		}
	}
}
