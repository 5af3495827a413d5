package pcapng

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// scanBuffer is the buffer size of a scan for secrets.
const scanBuffer = 256 << 10

// maxSecrets is the maximum of bytes of secrets kept from one capture.
const maxSecrets = 64 << 20

// SecretsFound is the result of ScanSecrets.
type SecretsFound struct {
	List []Secrets
	Left int64 // bytes of secrets over the limit of 64 MiB
	kept int
}

func (f *SecretsFound) add(s Secrets) {
	if f.kept += len(s.Data); f.kept > maxSecrets {
		f.Left += int64(len(s.Data))
		f.kept -= len(s.Data)
		return
	}
	f.List = append(f.List, Secrets{Type: s.Type, BigEndian: s.BigEndian, Data: bytes.Clone(s.Data)})
}

// ScanSecrets finds the decryption secrets blocks of a PCAPNG capture, anywhere in it; a
// classic pcap has none. Valid blocks are only skipped, at several gigabytes per second. A
// damaged capture is read once more with a Reader, so again must return the same stream from
// its start.
func ScanSecrets(src io.Reader, again func() (io.Reader, error)) (*SecretsFound, error) {
	f := &SecretsFound{}
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
	f = &SecretsFound{}
	r, err := NewReader(src, Options{OnBlock: func(b Block) {
		if b.Type != BlockSecrets {
			return
		}
		if s, err := ParseSecrets(b); err == nil || len(s.Data) > 0 {
			f.add(s)
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
func stepOver(src io.Reader, found func(Secrets)) (whole bool, err error) {
	in := bufio.NewReaderSize(src, scanBuffer)
	var order binary.ByteOrder = binary.LittleEndian
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
		} else if first {
			return true, nil // a classic pcap; what is not a capture was reported before
		}
		typ, size := order.Uint32(head), int64(order.Uint32(head[4:]))
		if size < 12 || size%4 != 0 || size > maxBlock {
			return false, nil
		}
		if typ != uint32(BlockSecrets) {
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
		s, err := ParseSecrets(Block{Type: BlockSecrets, BigEndian: order == binary.BigEndian, Body: block[8 : size-4]})
		if err != nil {
			return false, nil
		}
		found(s)
	}
}

// skipEOF leaves the end of the stream to the Reader, which recognizes truncation.
func skipEOF(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
