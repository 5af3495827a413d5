package workload

import (
	"encoding/json"
	"net/netip"
	"sort"
	"strconv"
	"strings"
)

// maxComment is the maximum length of an interface comment in a segment.
const maxComment = 8 << 10 // bytes

// InterfaceComment describes the workload of a segment's interface.
type InterfaceComment struct {
	Ring        string       // ring that recorded it
	Cgroup      string       // id or path of the control group on its node
	Identity    Identity     // Kind pod, process or node; empty for packets without an owner
	Addresses   []netip.Addr // addresses of the workload at that time
	HostNetwork bool         // the addresses belong to the node, not only to the workload
	How         string       // how the recorder knew: cgroup, netns, socket, none, …
	Cut         bool         // labels or addresses were omitted to stay within the limit
}

// wireComment is the comment's JSON; docs/format/identity.md lists its fields.
type wireComment struct {
	Ring        string              `json:"ring"`
	Node        string              `json:"node,omitempty"`
	Cgroup      string              `json:"cgroup,omitempty"`
	PodUID      string              `json:"pod_uid,omitempty"`
	Container   string              `json:"container,omitempty"`
	Namespace   string              `json:"namespace,omitempty"`
	Pod         string              `json:"pod,omitempty"`
	Image       string              `json:"image,omitempty"`
	Owner       *wireOwner          `json:"owner,omitempty"`
	Labels      map[string]string   `json:"labels,omitempty"`
	Services    []string            `json:"services,omitempty"`
	Ports       map[string][]string `json:"ports,omitempty"` // by service
	Process     string              `json:"process,omitempty"`
	PID         int64               `json:"pid,omitempty"`
	Addresses   []string            `json:"addresses,omitempty"`
	HostNetwork bool                `json:"host_network,omitempty"`
	ValidFrom   string              `json:"valid_from,omitempty"`
	How         string              `json:"how,omitempty"`
	Cut         bool                `json:"cut,omitempty"`
	Kind        string              `json:"kind,omitempty"` // service or host; the other kinds follow from the fields that are set
	Name        string              `json:"name,omitempty"` // of a service or host
}

// FormatInterfaceComment writes the comment of an interface: one JSON object of at most
// 8 KiB without control characters. If it would be longer, it omits labels from the last one
// on, then the ports of services, then addresses, then services, and sets cut.
func FormatInterfaceComment(c InterfaceComment) string {
	id := &c.Identity
	w := wireComment{
		Ring: short(c.Ring), Node: short(id.Node), Cgroup: short(c.Cgroup), PodUID: short(id.PodUID),
		Container: short(id.Container), Namespace: short(id.Namespace), Pod: short(id.Pod),
		Image: cleanName(id.Image), Process: short(id.Process), PID: max(id.PID, 0), HostNetwork: c.HostNetwork,
		ValidFrom: formatTime(id.ValidFrom), How: short(c.How), Cut: c.Cut,
	}
	if id.Kind == "service" || id.Kind == "host" {
		w.Kind, w.Name = id.Kind, short(id.Name)
	}
	if id.Workload != "" {
		w.Owner = &wireOwner{Kind: short(id.WorkloadKind), Name: short(id.Workload)}
	}
	services := id.Services
	if len(services) > maxContained {
		services, w.Cut = services[:maxContained], true
	}
	for _, s := range services {
		w.Services = append(w.Services, cleanName(s))
	}
	w.Ports = portsOf(id.Fronts)
	addrs := c.Addresses
	if len(addrs) > maxAddresses {
		addrs, w.Cut = addrs[:maxAddresses], true
	}
	for _, a := range addrs {
		w.Addresses = append(w.Addresses, a.Unmap().WithZone("").String())
	}
	labels := id.Labels
	if len(labels) > maxLabels {
		labels, w.Cut = labels[:maxLabels], true
	}
	for {
		w.Labels = nil
		for _, l := range labels {
			if w.Labels == nil {
				w.Labels = map[string]string{}
			}
			w.Labels[cleanName(l.Name)] = cleanName(l.Value)
		}
		text := compact(&w)
		if len(text) <= maxComment {
			return text
		}
		w.Cut = true
		switch {
		case len(labels) > 0:
			labels = labels[:len(labels)-1]
		case len(w.Ports) > 0:
			w.Ports = nil
		case len(w.Addresses) > 0:
			w.Addresses = w.Addresses[:len(w.Addresses)-1]
		case len(w.Services) > 0:
			w.Services = w.Services[:len(w.Services)-1]
		default:
			return text // never above the limit: fourteen short fields fit even if every character is escaped
		}
	}
}

// short truncates a field so that all fields together fit into a comment.
func short(s string) string {
	out, _ := clean(s, 256)
	return strings.TrimSpace(out)
}

// compact writes JSON with as few escapes as possible.
func compact(w *wireComment) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(w); err != nil {
		return "{}" // strings, numbers and lists always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ParseInterfaceComment parses the output of FormatInterfaceComment. It returns false for
// other comments, for text over 8 KiB, and for objects that name no ring.
func ParseInterfaceComment(s string) (InterfaceComment, bool) {
	s = strings.TrimRight(s, "\x00")
	if len(s) > maxComment || !strings.HasPrefix(s, "{") {
		return InterfaceComment{}, false
	}
	var w wireComment
	if err := json.Unmarshal([]byte(s), &w); err != nil || cleanName(w.Ring) == "" {
		return InterfaceComment{}, false
	}
	return w.comment(), true
}

// comment converts the JSON to an InterfaceComment with clean texts.
func (w *wireComment) comment() InterfaceComment {
	labels, cut := labelsOf(w.Labels)
	c := InterfaceComment{
		Ring: cleanName(w.Ring), Cgroup: cleanName(w.Cgroup), HostNetwork: w.HostNetwork,
		How: cleanName(w.How), Cut: w.Cut || cut > 0,
		Identity: Identity{
			Namespace: cleanName(w.Namespace), Pod: cleanName(w.Pod), PodUID: cleanName(w.PodUID),
			Container: cleanName(w.Container), Image: cleanName(w.Image), Node: cleanName(w.Node), Labels: labels,
			Process: cleanName(w.Process), PID: max(w.PID, 0), ValidFrom: parseTime(w.ValidFrom),
		},
	}
	id := &c.Identity
	if w.Owner != nil {
		id.Workload, id.WorkloadKind = cleanName(w.Owner.Name), cleanName(w.Owner.Kind)
	}
	for _, name := range w.Services {
		if name = cleanName(name); name != "" && len(id.Services) < maxContained {
			id.Services = append(id.Services, name)
		}
	}
	sort.Strings(id.Services)
	id.Fronts = w.fronts()
	for _, text := range w.Addresses {
		if a, ok := parseAddr(text); ok && len(c.Addresses) < maxAddresses {
			c.Addresses = append(c.Addresses, a)
		}
	}
	id.settle("segment", c.Ring)
	if w.Kind == "service" || w.Kind == "host" {
		id.Kind, id.Name = w.Kind, cleanName(w.Name)
	}
	return c
}

// portsOf writes the ports on which services reach a pod, such as TCP/8080.
func portsOf(fronts []Front) map[string][]string {
	var ports map[string][]string
	for _, f := range fronts[:min(len(fronts), maxPorts)] {
		if ports == nil {
			ports = map[string][]string{}
		}
		name := cleanName(f.Service)
		ports[name] = append(ports[name], protocolName(f.Proto)+"/"+strconv.Itoa(int(f.Port)))
	}
	return ports
}

// fronts reads what portsOf wrote.
func (w *wireComment) fronts() (list []Front) {
	for service, texts := range w.Ports {
		for _, text := range texts {
			protocol, number, _ := strings.Cut(text, "/")
			n, err := strconv.ParseUint(number, 10, 16)
			if key, ok := port(int64(n), protocol); ok && err == nil && protocol != "" && cleanName(service) != "" {
				list = append(list, Front{cleanName(service), key.port, key.proto})
			}
		}
	}
	list = SortFronts(list)
	return list[:min(len(list), maxPorts)]
}

// settle sets the fields that follow from the others: the kind and the name.
func (id *Identity) settle(how, source string) {
	id.HowKnown, id.Source = how, source
	switch {
	case id.Pod != "" || id.PodUID != "":
		id.Kind, id.Name = "pod", firstText(id.Pod, id.PodUID)
	case id.Process != "" || id.PID != 0:
		id.Kind, id.Name = "process", id.Process
	case id.Node != "":
		id.Kind, id.Name = "node", id.Node
	}
}

// AddInterface adds the addresses of the workload of a segment's interface. A workload on
// its node's network does not own the node's addresses, so these identify the node.
func (x *Index) AddInterface(c InterfaceComment) {
	id := c.Identity
	if c.HostNetwork || id.Kind != "pod" {
		return
	}
	for _, a := range c.Addresses {
		x.AddIdentity(a, id)
	}
}
