package pcapng

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// scanBuffer is the buffer size of a scan.
const scanBuffer = 256 << 10

// Limits of what is kept from one capture.
const (
	maxSecrets = 64 << 20 // bytes of secrets
	maxCounted = 4096     // interfaces with statistics
	maxCounts  = 32       // statistics of each
)

// Found is the result of Scan.
type Found struct {
	List       []Secrets
	Left       int64                      // bytes of secrets over the limit of 64 MiB
	Statistics map[CountedID][]Statistics // without options, by interface; of more than 32, the last one replaces the 32nd
	kept       int
}

// CountedID identifies an interface with statistics.
type CountedID struct {
	Section   int32
	Interface uint32 // its number there
}

// wanted reports whether a scan reads blocks of a type.
func wanted(t BlockType) bool { return t == BlockSecrets || t == BlockStatistics }

// add keeps the content of a block; false if a Reader must look for secrets in its surroundings.
func (f *Found) add(b Block) bool {
	if b.Type == BlockStatistics {
		s, _ := ParseStatistics(b) // damage in its options leaves the counters before it
		f.addStatistics(b.Section, s)
		return true
	}
	s, err := ParseSecrets(b)
	if err == nil || len(s.Data) > 0 {
		f.addSecrets(s)
	}
	return err == nil
}

func (f *Found) addStatistics(section int32, s Statistics) {
	s.Options, s.Comments = nil, nil
	id := CountedID{section, s.Interface}
	switch list := f.Statistics[id]; {
	case len(list) == maxCounts:
		list[maxCounts-1] = s
	case list != nil || len(f.Statistics) < maxCounted:
		if f.Statistics == nil {
			f.Statistics = map[CountedID][]Statistics{}
		}
		f.Statistics[id] = append(list, s)
	}
}

func (f *Found) addSecrets(s Secrets) {
	if f.kept += len(s.Data); f.kept > maxSecrets {
		f.Left += int64(len(s.Data))
		f.kept -= len(s.Data)
		return
	}
	f.List = append(f.List, Secrets{Type: s.Type, BigEndian: s.BigEndian, Data: bytes.Clone(s.Data)})
}

// Scan finds the decryption secrets blocks and interface statistics of a PCAPNG capture, anywhere in it; a
// classic pcap has none. Valid blocks are only skipped, at several gigabytes per second. A
// damaged capture is read once more with a Reader, so again must return the same stream from
// its start.
func Scan(src io.Reader, again func() (io.Reader, error)) (*Found, error) {
	f := &Found{}
	whole, err := stepOver(src, f.add)
	if err != nil {
		return nil, err
	}
	if whole {
		return f, nil
	}
	if src, err = again(); err != nil {
		return nil, err
	}
	f = &Found{}
	r, err := NewReader(src, Options{OnBlock: func(b Block) {
		if wanted(b.Type) {
			f.add(b)
		}
	}})
	if err != nil {
		return nil, err
	}
	var batch Batch
	for err == nil {
		err = r.Next(&batch)
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return f, nil
}

// stepOver walks valid blocks. False means that a block is invalid.
func stepOver(src io.Reader, found func(Block) bool) (whole bool, err error) {
	in := bufio.NewReaderSize(src, scanBuffer)
	var order binary.ByteOrder = binary.LittleEndian
	section := int32(-1)
	for first := true; ; first = false {
		head, err := in.Peek(12)
		if len(head) == 0 && err == io.EOF {
			return true, nil
		}
		if len(head) < 12 {
			return false, skipEOF(err)
		}
		if binary.LittleEndian.Uint32(head) == uint32(BlockSection) { // the same in both orders
			switch binary.LittleEndian.Uint32(head[8:]) {
			case 0x1a2b3c4d:
				order = binary.LittleEndian
			case 0x4d3c2b1a:
				order = binary.BigEndian
			default:
				return false, nil
			}
			section++
		} else if first {
			return true, nil // a classic pcap; what is not a capture was reported before
		}
		typ, size := order.Uint32(head), int64(order.Uint32(head[4:]))
		if size < 12 || size%4 != 0 || size > maxBlock {
			return false, nil
		}
		if !wanted(BlockType(typ)) {
			if n, err := in.Discard(int(size)); err != nil || n < int(size) {
				return false, skipEOF(err)
			}
			continue
		}
		block := make([]byte, size)
		if _, err := io.ReadFull(in, block); err != nil {
			return false, skipEOF(err)
		}
		if order.Uint32(block[size-4:]) != uint32(size) {
			return false, nil
		}
		if !found(Block{Type: BlockType(typ), Section: section, BigEndian: order == binary.BigEndian, Body: block[8 : size-4]}) {
			return false, nil
		}
	}
}

// skipEOF leaves the end of the stream to the Reader, which recognizes truncation.
func skipEOF(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
