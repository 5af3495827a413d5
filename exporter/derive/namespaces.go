package derive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/namespaces"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// spaces are the namespaces that a cut is limited to; nil does not limit it.
type spaces namespaces.Set

func spacesOf(list []string) spaces { return spaces(namespaces.Of(list)) }

// visible is namespaces.Set.Visible.
func (s spaces) visible(namespace string) bool { return namespaces.Set(s).Visible(namespace) }

// Namespaces lists the namespaces of the endpoints in a bundle, sorted.
func Namespaces(ctx context.Context, b *bundle.Bundle) ([]string, error) {
	of, err := namespaces.Endpoints(ctx, bundle.TableParts(b.Payload(), b.Path))
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, e := range of {
		if e.Namespace != "" {
			all[e.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// AddOwners adds the namespaces of the addresses that a bundle names.
func AddOwners(ctx context.Context, o *bundle.Owners, b *bundle.Bundle) error {
	of, err := namespaces.Endpoints(ctx, bundle.TableParts(b.Payload(), b.Path))
	for _, e := range of {
		o.Add(e.Addr, e.Namespace)
	}
	return err
}

// limit reduces a choice to the connections within the namespaces.
func (s spaces) limit(ctx context.Context, tables map[string][]string, c *Choice) error {
	conns, err := namespaces.Set(s).Conns(ctx, tables, c.Owners)
	if err != nil {
		return err
	}
	c.both(conns)
	return nil
}

// packets removes packets of interfaces of other namespaces from those that are kept. The tables
// would have excluded them already, unless another source named the end.
func (s spaces) packets(path string, keep map[int64]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		return err
	}
	known := map[int32]bool{}
	for b := (pcapng.Batch{}); ; {
		if err := r.Next(&b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		list := r.Interfaces()
		for i := range b.Packets {
			p := &b.Packets[i]
			shown, seen := known[p.Interface]
			if !seen {
				shown = p.Interface < 0 || int(p.Interface) >= len(list) || namespaces.Set(s).Comments(list[p.Interface].Comments)
				known[p.Interface] = shown
			}
			if !shown {
				delete(keep, p.Index)
			}
		}
	}
}

// block says whether a block is kept. Of an interface of another namespace it keeps the header: its
// texts become comments, which strip then says to leave out. Statistics and names are about all packets of the file.
func (s spaces) block(typ pcapng.BlockType, body []byte, bigEndian bool) (keep, strip bool) {
	if typ != pcapng.BlockInterface {
		return typ == pcapng.BlockSection, false
	}
	const head, comment = 8, 1
	order := binary.ByteOrder(binary.LittleEndian)
	if bigEndian {
		order = binary.BigEndian
	}
	texts := map[uint16]bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true} // name, description, addresses
	var at []int
	for i := head; i+4 <= len(body); {
		code, size := order.Uint16(body[i:]), int(order.Uint16(body[i+2:]))
		if code == 0 || i+4+size > len(body) {
			break
		}
		if code == comment {
			c, ok := workload.ParseInterfaceComment(string(body[i+4 : i+4+size]))
			strip = strip || !ok || !s.visible(c.Identity.Namespace)
		}
		if texts[code] {
			at = append(at, i)
		}
		i += 4 + (size+3)&^3
	}
	if strip {
		for _, i := range at {
			order.PutUint16(body[i:], comment)
		}
	}
	return true, strip
}

// owners is an owners file without the lines that name something of another namespace.
func (s spaces) owners(data []byte) []byte {
	var out []byte
	for line := range bytes.Lines(data) {
		var x struct {
			Workload struct {
				Namespace string `json:"namespace"`
			} `json:"workload"`
		}
		if json.Unmarshal(line, &x) == nil && s.visible(x.Workload.Namespace) {
			out = append(out, line...)
		}
	}
	return out
}
