package decode

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

// captures finds the folder of shared captures beside the project, or skips.
func captures(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("PCAPSULE_CAPTURES"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			shared := filepath.Join(dir, "..", "shared", "captures")
			if _, err := os.Stat(filepath.Join(shared, "truth")); err == nil {
				return shared
			}
		}
		dir = filepath.Dir(dir)
	}
	t.Skip("needs shared captures")
	return ""
}

// readCapture returns the packets of a capture as far as pcapgo can read them.
func readCapture(path string) ([]Input, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(raw) > 2 && raw[0] == 0x1f && raw[1] == 0x8b {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		if raw, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	if len(raw) > 4 && binary.LittleEndian.Uint32(raw) == 0x0a0d0d0a {
		return readNg(raw)
	}
	return readClassic(raw)
}

// readClassic reads pcap by hand: pcapgo refuses packets above the file's snap length,
// and the modified and other-order forms.
func readClassic(raw []byte) ([]Input, error) {
	if len(raw) < 24 {
		return nil, errors.New("no file header")
	}
	order, magic := binary.ByteOrder(binary.LittleEndian), binary.LittleEndian.Uint32(raw)
	if raw[0] == 0xa1 {
		order, magic = binary.BigEndian, binary.BigEndian.Uint32(raw)
	}
	unit, header := int64(1000), 16
	switch magic {
	case 0xa1b2c3d4:
	case 0xa1b23c4d:
		unit = 1
	case 0xa1b2cd34:
		header = 24
	default:
		return nil, fmt.Errorf("magic %08x", magic)
	}
	link := uint16(order.Uint32(raw[20:])) // the upper half holds the check sequence's length
	var all []Input
	for at := 24; at+header <= len(raw); {
		size, orig := int(order.Uint32(raw[at+8:])), order.Uint32(raw[at+12:])
		ts := int64(order.Uint32(raw[at:]))*1e9 + int64(order.Uint32(raw[at+4:]))*unit
		at += header
		if size > len(raw)-at || size > 1<<20 {
			return all, fmt.Errorf("packet %d at %d: %d bytes", len(all), at, size)
		}
		all = append(all, Input{LinkType: link, Data: raw[at : at+size], OrigLen: orig, Time: ts, No: int64(len(all))})
		at += size
	}
	return all, nil
}

func readNg(raw []byte) ([]Input, error) {
	r, err := pcapgo.NewNgReader(bytes.NewReader(raw), pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return nil, err
	}
	var all []Input
	for {
		data, ci, err := r.ReadPacketData()
		if err != nil {
			if err == io.EOF {
				return all, nil
			}
			return all, err
		}
		i, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			return all, err
		}
		in := input(data, ci, uint16(i.LinkType), len(all))
		in.Interface = int32(ci.InterfaceIndex)
		all = append(all, in)
	}
}

func input(data []byte, ci gopacket.CaptureInfo, link uint16, no int) Input {
	return Input{LinkType: link, Data: data, OrigLen: uint32(ci.Length), Time: ci.Timestamp.UnixNano(), No: int64(no)}
}

// captureFiles lists the captures that have a truth file, by path below dir.
func captureFiles(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	root := filepath.Join(dir, "truth")
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".keys.json") {
			return err
		}
		rel, err := filepath.Rel(root, strings.TrimSuffix(path, ".json"))
		if _, serr := os.Stat(filepath.Join(dir, rel)); serr == nil {
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
