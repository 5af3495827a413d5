package forensics

import (
	"context"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

const maxClocks = 1 << 20 // rows of table clocks

// clocks returns a function that says which clock stamped the packets of an interface. Files are numbered
// as in openFiles.
func (c *Case) clocks(ctx context.Context) (func(file int, i *pcapng.Interface) pcapng.ClockMark, error) {
	var of []map[int64]pcapng.ClockMark // by file and number of the interface
	var inputs []*bundle.Input
	for b := range c.bundles {
		rows, err := c.clockRows(ctx, b)
		if err != nil {
			return nil, err
		}
		list := c.bundles[b].Manifest.Inputs
		ids := clockIDs(list, rows)
		for k := range list {
			in := &list[k]
			known := map[int64]pcapng.ClockMark{}
			for _, i := range in.Interfaces {
				row, ok := rows[clockNo(&i)]
				if id, named := ids[row.same]; ok && named {
					row.mark.ID = id
					known[i.Index] = row.mark
				}
			}
			of, inputs = append(of, known), append(inputs, in)
		}
	}
	return func(file int, i *pcapng.Interface) pcapng.ClockMark {
		if m, ok := of[file][int64(i.Index)]; ok {
			return m
		}
		return pcapng.ClockMark{ID: pcapng.ClockOfSection(inputs[file].SHA256[:], i.Section)}
	}, nil
}

// clockNo is the clock_id of an interface, -1 if the bundle does not have it.
func clockNo(i *bundle.Interface) int64 {
	if i.Clock == nil {
		return -1
	}
	return int64(*i.Clock)
}

// clockIDs returns the identity of each clock by its smallest clock_id.
func clockIDs(list []bundle.Input, rows map[int64]clockRow) map[int64]pcapng.ClockID {
	ids := map[int64]pcapng.ClockID{}
	for k := range list {
		for _, i := range list[k].Interfaces {
			no := clockNo(&i)
			row, ok := rows[no]
			if !ok || row.same != no {
				continue
			}
			ids[no] = pcapng.ClockOfSection(list[k].SHA256[:], int32(i.Section))
			if row.mark.Node != "" && row.mark.BootID != "" {
				ids[no] = pcapng.ClockOfBoot(row.mark.Node, row.mark.BootID)
			}
			if m, ok := (&pcapng.Interface{Comments: i.Comments}).ClockMark(); ok {
				ids[no] = m.ID
			}
		}
	}
	return ids
}

// clockRow is a row of table clocks.
type clockRow struct {
	same int64
	mark pcapng.ClockMark // without its identity
}

// clockRows returns the clocks of a bundle by clock_id.
func (c *Case) clockRows(ctx context.Context, b int) (map[int64]clockRow, error) {
	v := c.views["clocks"]
	for _, column := range []string{"same_as", "node", "boot_id", "error_ns", "synchronized"} {
		if v == nil || !v.has(column) {
			return nil, nil
		}
	}
	list, err := c.structs(ctx, "SELECT clock_id, same_as, node, boot_id, error_ns, synchronized FROM clocks_raw WHERE true"+c.ofBundle(b), maxClocks)
	if err != nil {
		return nil, err
	}
	rows := map[int64]clockRow{}
	for _, s := range list {
		no, _ := s.Get("clock_id").(int64)
		var r clockRow
		r.same, _ = s.Get("same_as").(int64)
		r.mark.Node, _ = s.Get("node").(string)
		r.mark.BootID, _ = s.Get("boot_id").(string)
		r.mark.ErrorNs, _ = s.Get("error_ns").(int64)
		if yes, ok := s.Get("synchronized").(bool); ok {
			r.mark.Synchronized = &yes
		}
		rows[no] = r
	}
	return rows, nil
}
