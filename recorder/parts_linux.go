package recorder

// cpus returns what was counted on each processor; nil if it cannot be read.
func (r *recording) cpus() []CPU {
	each, err := r.progs.CountsByCPU()
	if err != nil {
		return nil // reading the sums fails in the same way and reports the error
	}
	list := make([]CPU, len(each))
	for i, c := range each {
		list[i] = CPU{Seen: c.Seen, Filtered: c.Excluded + c.Filtered + c.Forbidden, Delivered: c.Delivered, BufferFull: c.Failed, Unread: c.Unread, Truncated: c.Truncated + c.Capped}
	}
	return list
}

// parts returns the counters of each workload.
func (f *ifaces) parts() []Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*iface
	for _, x := range f.list {
		if x.ready || x.lost.Load() > 0 {
			list = append(list, x)
		}
	}
	return gather(len(list), func(i int) Part {
		x := list[i]
		return Part{x.name, x.delivered.Load(), x.lost.Load()}
	})
}
