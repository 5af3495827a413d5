package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	content "github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

func (e *env) cmdProtocols() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "protocols [NAME]",
		Short: "List the supported protocols, or describe one",
		Long: `List the supported protocols. With a name, describe one: versions, columns, KFL names,
the field that decides the outcome, limits. Ports are only hints; content decides. Speed is the throughput of one processor as a
fraction of HTTP/1's; it depends on the message size.`,
		Example: `  pcapsule protocols
  pcapsule protocols redis
  pcapsule protocols --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return e.runProtocols(args, asJSON) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return protocolNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// protocols describes all protocols: those of connections and datagrams, and those inside exchanges of HTTP.
func protocols() (list []protocolInfo) {
	for _, p := range exporter.Protocols() {
		i := protocolInfo{Name: p.Name, Doc: p.Doc, Versions: p.Versions, Depth: p.Depth, Ports: p.Ports, Inside: p.Inside}
		for _, t := range p.Transports {
			i.Transports = append(i.Transports, t.String())
		}
		if s, ok := all.Throughput(p.Name); ok {
			i.Speed = &s
		}
		list = append(list, i)
	}
	for _, p := range content.Protocols() {
		list = append(list, protocolInfo{Name: p.Name, Doc: p.Doc, Versions: p.Versions, Depth: p.Depth, Inside: p.Inside})
	}
	return list
}

func protocolNames() (list []string) {
	for _, p := range protocols() {
		list = append(list, p.Name)
	}
	return list
}

// likelyProtocol is a hint that names the protocols that name most likely means, or says where all are.
// A name of a product is one that the descriptions of its protocols have: rabbitmq of AMQP.
func likelyProtocol(name string) string {
	name = strings.ToLower(name)
	if plain := strings.NewReplacer("/", "", "-", "", ".", "", " ", "").Replace(name); slices.Contains(protocolNames(), plain) {
		return "did you mean " + plain + "?"
	}
	var of []string
	for _, p := range protocols() {
		words := strings.Fields(strings.ToLower(p.Doc + " " + p.Versions))
		for i := range words {
			if len(name) > 2 && strings.HasPrefix(strings.Join(words[i:], ""), name) {
				of = append(of, p.Name)
				break
			}
		}
	}
	hint := nearest.Hint(name, protocolNames())
	switch {
	case len(of) > 1 && len(of) <= maxOfProduct, len(of) > 0 && hint == "":
		return "did you mean " + strings.Join(of[:min(len(of), maxOfProduct)], " or ") + "?"
	case hint != "":
		return hint
	}
	return "pcapsule protocols lists the names"
}

const maxOfProduct = 3 // protocols of a product that a hint names

// protocolInfo is the output of pcapsule protocols for a protocol.
type protocolInfo struct {
	Name       string          `json:"name"`
	Doc        string          `json:"doc"`
	Versions   string          `json:"versions,omitempty"`
	Depth      string          `json:"depth,omitempty"`
	Transports []string        `json:"transports,omitempty"` // none: inside of others
	Ports      []uint16        `json:"ports,omitempty"`
	Inside     []string        `json:"inside,omitempty"`
	Columns    []schemaColumn  `json:"columns"`
	KFL        []string        `json:"kfl"`
	DecidedBy  string          `json:"decided_by,omitempty"` // the field that decides the outcome
	Section    string          `json:"section,omitempty"`    // of the specification, about that field
	Outcomes   []string        `json:"outcomes,omitempty"`   // which responses have which outcome
	Limits     []dissect.Limit `json:"limits,omitempty"`
	Speed      *all.Speed      `json:"speed,omitempty"`
}

// complete adds the columns, the KFL names, what decides the outcome, and the limits.
func (i *protocolInfo) complete() {
	i.Columns, i.Limits = []schemaColumn{}, dissect.Limits(i.Name)
	i.DecidedBy, i.Section = dissect.DecidedBy(i.Name)
	i.Outcomes = dissect.Outcomes(i.Name)
	own := map[string]bool{}
	for _, col := range table.ProtocolColumns() {
		if slices.Contains(strings.Fields(col.Protocol), i.Name) || i.Transports == nil && strings.HasPrefix(col.Name, i.Name+"_") {
			own[col.Name] = true
			i.Columns = append(i.Columns, schemaColumn{col.Name, col.Kind.String(), col.Unit, col.Optional, col.Protocol, col.Doc})
		}
	}
	for _, f := range kfl.Fields() {
		if f.Name == i.Name || own[f.Source] || slices.Contains(f.Protocols, i.Name) {
			i.KFL = append(i.KFL, f.Name)
		}
	}
}

func (e *env) runProtocols(args []string, asJSON bool) error {
	var list []protocolInfo
	for _, p := range protocols() {
		if len(args) == 0 || args[0] == p.Name {
			p.complete()
			list = append(list, p)
		}
	}
	switch {
	case len(list) == 0:
		return exit.With(fmt.Errorf("unknown protocol %q", args[0]), exit.Usage, likelyProtocol(args[0]))
	case asJSON:
		return e.JSON(list)
	case len(args) == 1:
		e.describeProtocol(&list[0])
		return nil
	}
	fmt.Fprintf(e.Out, "%-13s %-17s %7s %6s  %s\n", "NAME", "OVER", "COLUMNS", "SPEED", "MEANING")
	for _, i := range list {
		_ = console.Row(e.Out, fmt.Sprintf("%-13s %-17s %7d %6s  ", i.Name, i.over(), len(i.Columns), i.speed()), i.Doc)
	}
	return nil
}

// over is what carries the protocol.
func (i *protocolInfo) over() string {
	if len(i.Inside) > 0 {
		return strings.Join(i.Inside, ",")
	}
	return strings.Join(i.Transports, ",")
}

func (i *protocolInfo) speed() string {
	if i.Speed == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", i.Speed.OfHTTP1)
}

func (e *env) describeProtocol(i *protocolInfo) {
	var ports []string
	for _, n := range i.Ports {
		ports = append(ports, strconv.Itoa(int(n)))
	}
	line := func(label, text string) {
		if text != "" {
			_ = console.Row(e.Out, fmt.Sprintf("%-9s ", label), text)
		}
	}
	line(i.Name, i.Doc)
	line("versions", i.Versions)
	line("reads", i.Depth)
	line("over", i.over())
	line("ports", strings.Join(ports, ", "))
	if i.Speed != nil {
		line("speed", fmt.Sprintf("%.2f of http1's bytes, %.0f calls per second of one processor", i.Speed.OfHTTP1, i.Speed.CallsPerS))
	}
	line("KFL", strings.Join(i.KFL, ", "))
	line("outcome", i.DecidedBy+" ("+i.Section+")")
	for _, o := range i.Outcomes {
		_ = console.Row(e.Out, "  ", o)
	}
	if len(i.Limits) > 0 {
		fmt.Fprintln(e.Out, "limits")
	}
	for _, l := range i.Limits {
		if l.Beyond != "" {
			l.Beyond = " (beyond: " + l.Beyond + ")"
		}
		_ = console.Row(e.Out, "  ", l.What+": "+l.Limit+l.Beyond)
	}
	if len(i.Columns) > 0 {
		fmt.Fprintln(e.Out, "columns")
		printColumns(e.Out, i.Columns)
	}
}
