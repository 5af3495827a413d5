package recorder

// CPU is what the kernel's programs counted on one processor. They run at any time, so
// while packets come a moment's numbers may differ by those in progress.
type CPU struct {
	Seen       uint64
	Filtered   uint64 // by the kernel's filter, and the recorder's own
	Delivered  uint64 // to the ring buffer
	BufferFull uint64 // lost: no room was to be had in it
	Unread     uint64 // lost: the packet's bytes could not be read
	Truncated  uint64 // of those delivered
}

// Part is what one interface of a recording had.
type Part struct {
	Name      string // if_name
	Delivered uint64
	Lost      uint64
}

const (
	maxParts = 1000 // told one by one; the last stands for the rest
	restName = "other interfaces"
)

// gather lists parts, those beyond the limit as one.
func gather(n int, part func(int) Part) []Part {
	list := make([]Part, 0, min(n, maxParts))
	for i := range n {
		p := part(i)
		if i >= maxParts-1 && n > maxParts {
			p.Name = restName
			if i >= maxParts {
				rest := &list[maxParts-1]
				rest.Delivered, rest.Lost = rest.Delivered+p.Delivered, rest.Lost+p.Lost
				continue
			}
		}
		list = append(list, p)
	}
	return list
}
