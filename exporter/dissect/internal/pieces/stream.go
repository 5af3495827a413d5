package pieces

import "github.com/pcapsule/pcapsule/exporter/dissect"

// Stream finds the bytes of files in a message that is read in parts. The zero value is a message without any.
type Stream struct {
	pos  int64
	runs []run
}

// run is where a message has bytes of a file.
type run struct {
	t        *Transfer
	from, to int64 // in the message
	at       int64 // in the file
}

// Expect declares that size bytes from a position of the message on are those at a position of the
// file.
func (s *Stream) Expect(t *Transfer, from, size, at int64) {
	if from >= 0 && size > 0 && at >= 0 && at+size > at {
		s.runs = append(s.runs, run{t, from, from + size, at})
	}
}

// Feed reads in.Data[from:to], the next bytes of the message.
func (s *Stream) Feed(in *dissect.Input, from, to int) {
	end := s.pos + int64(to-from)
	for _, r := range s.runs {
		a, b := max(r.from, s.pos), min(r.to, end)
		if a < b {
			r.t.Write(in, from+int(a-s.pos), from+int(b-s.pos), r.at+a-r.from)
		}
	}
	s.pos = end
}

// Lose records that the next n bytes of the message were not captured.
func (s *Stream) Lose(n int64) {
	end := s.pos + n
	for _, r := range s.runs {
		if a, b := max(r.from, s.pos), min(r.to, end); a < b {
			r.t.Lose(b-a, r.at+a-r.from)
		}
	}
	s.pos = end
}

// Cut records that the rest of the message was not captured.
func (s *Stream) Cut() {
	for _, r := range s.runs {
		s.Lose(max(r.to-s.pos, 0))
	}
	s.runs = nil
}
