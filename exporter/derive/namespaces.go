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
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// spaces are the namespaces that a cut is limited to; nil does not limit it.
type spaces map[string]bool

func spacesOf(list []string) spaces {
	if list == nil {
		return nil
	}
	s := spaces{}
	for _, name := range list {
		s[name] = true
	}
	return s
}

// visible reports whether a name of this namespace may be shown. What is in no namespace, such as a
// node or an address outside the cluster, may.
func (s spaces) visible(namespace string) bool { return namespace == "" || s[namespace] }

// Namespaces lists the namespaces of the endpoints in a bundle, sorted.
func Namespaces(ctx context.Context, b *bundle.Bundle) ([]string, error) {
	of, err := endpointSpaces(ctx, bundle.TableParts(b.Payload(), b.Path))
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, name := range of {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// endpointSpaces lists the endpoints that are in a namespace.
func endpointSpaces(ctx context.Context, tables map[string][]string) (map[int64]string, error) {
	of := map[int64]string{}
	err := eachRow(ctx, tables["endpoints"], []string{"endpoint_id", "namespace"}, func(v []any) error {
		id, ok := v[0].(int64)
		if name, in := v[1].(string); ok && in && name != "" {
			of[id] = name
		}
		return nil
	})
	return of, err
}

// conns lists the connections within the namespaces: at least one end is in one of them, and no end,
// of the connection or of one of its calls, is in another.
func (s spaces) conns(ctx context.Context, tables map[string][]string) (map[int64]bool, error) {
	of, err := endpointSpaces(ctx, tables)
	if err != nil {
		return nil, err
	}
	in, out := map[int64]bool{}, map[int64]bool{}
	err = eachEnd(ctx, tables, func(conn, end int64) {
		switch namespace, named := of[end]; {
		case !named:
		case s[namespace]:
			in[conn] = true
		default:
			out[conn] = true
		}
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(in, func(conn int64, _ bool) bool { return out[conn] })
	return in, nil
}

// limit reduces a choice to the connections within the namespaces.
func (s spaces) limit(ctx context.Context, tables map[string][]string, c *Choice) error {
	conns, err := s.conns(ctx, tables)
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
				shown = p.Interface < 0 || int(p.Interface) >= len(list) || s.comments(list[p.Interface].Comments)
				known[p.Interface] = shown
			}
			if !shown {
				delete(keep, p.Index)
			}
		}
	}
}

// comments reports whether the comments of an interface name nothing of another namespace.
func (s spaces) comments(texts []string) bool {
	for _, text := range texts {
		if c, ok := workload.ParseInterfaceComment(text); ok && !s.visible(c.Identity.Namespace) {
			return false
		}
	}
	return true
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
