// Package offer is the hub's listing of a snapshot for clients: its bundles with their files, and
// the nodes whose part is missing. It does not depend on Kubernetes, because laptops read it.
package offer

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Extension of the folders of bundles.
const Extension = ".pcapsule"

// Snapshot is a snapshot that can be fetched, or will be.
type Snapshot struct {
	Name      string   `json:"name"`
	Namespace string   `json:"namespace"`
	UID       string   `json:"uid"`
	Phase     string   `json:"phase"`
	Message   string   `json:"message,omitempty"` // why it is not ready
	Ready     bool     `json:"ready"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Missing   []Gap    `json:"missing"`
	Bundles   []Bundle `json:"bundles"`
	// Namespaces whose traffic the bundles have, if the person may not see all.
	Namespaces []string `json:"namespaces,omitempty"`
	// For people who may see all: Selected says which connections the bundles have, if the snapshot selects some; Nothing lists nodes that
	// recorded and have none of these.
	Selected string   `json:"selected,omitempty"`
	Nothing  []string `json:"nothing,omitempty"`
	KFL      string   `json:"kfl,omitempty"` // filter that the reader applies
}

// Gap is a node whose part, or some of it, is missing. Its bundle states it too.
type Gap struct {
	Node    string `json:"node"`
	Reason  string `json:"reason"` // as in table coverage
	Message string `json:"message"`
}

// Bundle is one node's bundle.
type Bundle struct {
	Node  string          `json:"node"`
	Name  string          `json:"name"` // of its folder
	Files []transfer.File `json:"files"`
}

// Listed are the snapshots of which a person may read something, the newest first, in the form of MCP's list_snapshots.
type Listed struct {
	Snapshots []ListedSnapshot `json:"snapshots"`
	Total     int              `json:"total"`
	Unasked   int              `json:"unasked,omitempty"` // older ones, about which nobody was asked whether the person may read them
}

// ListedSnapshot is one of them.
type ListedSnapshot struct {
	Name        string   `json:"name"`   // NAMESPACE/NAME
	Status      string   `json:"status"` // completed, recording or failed
	CreatedAt   string   `json:"created_at"`
	From        string   `json:"from,omitempty"` // RFC 3339
	To          string   `json:"to,omitempty"`
	Nodes       int      `json:"node_count"` // 0 for people who may not see all
	Dissections []string `json:"dissections"`
	Page        string   `json:"page"` // path of the page that answers about it
}

var plain = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,600}[a-z0-9])?$`) })

// Plain reports whether a text is the name of an object of Kubernetes, or several of these joined. Such a text is
// also a plain name of a file.
func Plain(s string) bool { return plain().MatchString(s) && !strings.Contains(s, "..") }

// Split splits [NAMESPACE/]SNAPSHOT. Without a namespace the snapshot is in the hub's.
func Split(s string) (namespace, name string, ok bool) {
	namespace, name, apart := strings.Cut(s, "/")
	if !apart {
		return "", s, Plain(s)
	}
	return namespace, name, Plain(namespace) && Plain(name)
}

// Check returns an error if a hub's offer must not be used.
func (s *Snapshot) Check() error {
	seen := map[string]bool{}
	for _, b := range s.Bundles {
		if !Plain(b.Node) || !Plain(b.Name) || !strings.HasSuffix(b.Name, Extension) || seen[b.Name] {
			return fmt.Errorf("the hub lists a bundle %.80q of node %.80q", b.Name, b.Node)
		}
		seen[b.Name] = true
		if err := transfer.Check(b.Files); err != nil {
			return fmt.Errorf("bundle %s: %w", b.Name, err)
		}
	}
	return nil
}
