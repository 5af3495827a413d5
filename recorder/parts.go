package recorder

// CPU has the kernel programs' counters of one processor. The programs run concurrently, so the
// numbers may differ by the packets in progress.
type CPU struct {
	Seen       uint64
	Filtered   uint64 // by the kernel's filter, and the recorder's own
	Delivered  uint64 // to the ring buffer
	BufferFull uint64 // lost: the ring buffer was full
	Unread     uint64 // lost: the packet's bytes could not be read
	Truncated  uint64 // of those delivered
}

// Part is the counters of one interface of a recording.
type Part struct {
	Name      string // if_name
	Delivered uint64
	Lost      uint64
}

const (
	maxParts = 1000 // listed individually; the last is the sum of the rest
	restName = "other interfaces"
)

// gather lists n parts. Those beyond the limit are added up in the last one.
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
