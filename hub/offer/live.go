package offer

import (
	"fmt"
	"path/filepath"
	"time"
)

// liveName is the file in the folder of copies that describes them.
const liveName = "live.json"

// NamespacesHeader limits a question that the hub passes on to these namespaces, separated by commas.
const NamespacesHeader = "Pcapsule-Namespaces"

// BundlesHeader has a question that the hub passes on be about these bundles, or those in these folders, and nothing
// else. It has a value for each.
const BundlesHeader = "Pcapsule-Bundles"

// maxLive limits its size.
const maxLive = 16 << 20

// Live lists the rings that the hub follows, and the progress. The hub writes it every second.
type Live struct {
	At    int64      `json:"at"` // ns since 1970 UTC
	Nodes []LiveNode `json:"nodes"`
}

// States of a node that is followed.
const (
	Following   = "Following"
	Behind      = "Behind"      // the node writes faster than the hub reads
	Unreachable = "Unreachable" // or it refuses
)

// LiveNode is a node whose ring is followed.
type LiveNode struct {
	Name    string    `json:"name"`
	Dir     string    `json:"dir,omitempty"`  // the copy, relative to the folder; empty: there is none yet
	Rows    bool      `json:"rows,omitempty"` // the node sends rows only
	State   string    `json:"state"`
	Message string    `json:"message,omitempty"`
	UpTo    int64     `json:"up_to"` // the copy has everything that was written until then, ns since 1970 UTC
	Lost    []LiveGap `json:"lost,omitempty"`
}

// LiveGap is a time range in which a copy lacks packets.
type LiveGap struct {
	From   int64  `json:"from"` // ns since 1970 UTC
	To     int64  `json:"to"`
	Reason string `json:"reason"` // as in table coverage
	Detail string `json:"detail"`
}

// lateAfter is how far a copy may be behind its node before that is a gap.
const lateAfter = 3 * time.Second

// Gaps lists the parts that a copy lacks now.
func (n *LiveNode) Gaps(now time.Time) []LiveGap {
	list := append([]LiveGap(nil), n.Lost...)
	if late := now.Sub(time.Unix(0, n.UpTo)); late > lateAfter {
		reason, what := "not_read", "the hub's copy of the ring is behind"
		switch {
		case n.State == Unreachable && n.Rows:
			reason, what = "missing", "its rows cannot be fetched"
		case n.State == Unreachable:
			reason, what = "missing", "the recorder cannot be reached"
		case n.Rows:
			what = "the hub's copy of its rows is behind"
		}
		if n.Message != "" {
			what += ": " + n.Message
		}
		list = append(list, LiveGap{From: n.UpTo, To: now.Truncate(time.Second).UnixNano(), Reason: reason, Detail: "node " + n.Name + ": " + what})
	}
	return list
}

// WriteLive writes it.
func WriteLive(dir string, l *Live) error { return write(dir, liveName, l) }

// ReadLive reads it. Without one, the hub follows nothing.
func ReadLive(dir string) (*Live, error) {
	var l Live
	if err := read(dir, liveName, "what the hub follows", maxLive, &l); err != nil {
		return nil, err
	}
	for i := range l.Nodes {
		if n := &l.Nodes[i]; !Plain(n.Name) || n.Dir != "" && !filepath.IsLocal(n.Dir) {
			return nil, fmt.Errorf("reading what the hub follows: node %.80q with folder %.80q", n.Name, n.Dir)
		}
	}
	return &l, nil
}
