package shown_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/shown"
)

// flag is a picture whose left half is red.
func flag(w, h int) *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p.Set(x, y, color.NRGBA{B: 200, A: 255})
			if x < w/2 {
				p.Set(x, y, color.NRGBA{R: 200, A: 255})
			}
		}
	}
	return p
}

// TestPictureIsDrawnAgain checks colours and size, and that nothing else of the body is left.
func TestPictureIsDrawnAgain(t *testing.T) {
	hidden := []byte("<script>PK\x03\x04 another file</script>")
	for name, encode := range map[string]func(b *bytes.Buffer, p image.Image) error{
		"png":  func(b *bytes.Buffer, p image.Image) error { return png.Encode(b, p) },
		"jpeg": func(b *bytes.Buffer, p image.Image) error { return jpeg.Encode(b, p, nil) },
		"gif":  func(b *bytes.Buffer, p image.Image) error { return gif.Encode(b, p, nil) },
	} {
		for _, size := range [][4]int{{40, 20, 40, 20}, {1600, 400, 800, 200}, {3, 1601, 1, 800}} {
			var b bytes.Buffer
			if err := encode(&b, flag(size[0], size[1])); err != nil {
				t.Fatal(err)
			}
			b.Write(hidden)
			out, err := shown.Picture(&forensics.Body{Data: b.Bytes(), Complete: true})
			if err != nil {
				t.Fatalf("%s %v: %v", name, size, err)
			}
			p, err := png.Decode(bytes.NewReader(out))
			if err != nil || p.Bounds().Dx() != size[2] || p.Bounds().Dy() != size[3] || bytes.Contains(out, []byte("script")) {
				t.Fatalf("%s %v: %v, %v", name, size, err, p.Bounds())
			}
			if size[2] < 40 {
				continue
			}
			left, _, _, _ := p.At(2, size[3]/2).RGBA()
			right, _, _, _ := p.At(size[2]-3, size[3]/2).RGBA()
			if left < 0x8000 || right > 0x4000 {
				t.Errorf("%s %v: red is %#x on the left and %#x on the right", name, size, left, right)
			}
		}
	}
}

// claimed is a PNG that claims a size and has the data of few pixels.
func claimed(w, h uint32) []byte {
	var data bytes.Buffer
	z := zlib.NewWriter(&data)
	_, _ = z.Write(make([]byte, 1<<10)) // a buffer takes everything
	_ = z.Close()
	out := bytes.NewBufferString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, text []byte) {
		_ = binary.Write(out, binary.BigEndian, uint32(len(text))) // lengths are small
		out.WriteString(kind)
		out.Write(text)
		_ = binary.Write(out, binary.BigEndian, crc32.ChecksumIEEE(append([]byte(kind), text...)))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	chunk("IHDR", append(head, 8, 6, 0, 0, 0))
	chunk("IDAT", data.Bytes())
	chunk("IEND", nil)
	return out.Bytes()
}

func TestPictureRefuses(t *testing.T) {
	var whole bytes.Buffer
	if err := png.Encode(&whole, flag(9, 9)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*forensics.Body{
		"none":       nil,
		"text":       {Data: whole.Bytes(), Complete: true, IsText: true},
		"incomplete": {Data: whole.Bytes()},
		"cut":        {Data: whole.Bytes(), Complete: true, Truncated: true},
		"half":       {Data: whole.Bytes()[:whole.Len()/2], Complete: true},
		"other":      {Data: []byte("%PDF-1.7"), Complete: true},
		"svg":        {Data: []byte("<svg onload='x'/>"), Complete: true},
		"huge":       {Data: claimed(1<<20, 1<<10), Complete: true},
		"overflow":   {Data: claimed(1<<31-1, 1<<31-1), Complete: true},
		"short":      {Data: claimed(2000, 2000), Complete: true},
	} {
		if out, err := shown.Picture(b); !errors.Is(err, shown.ErrNoPicture) || out != nil {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add(claimed(10, 10))
	var b bytes.Buffer
	if err := gif.Encode(&b, flag(8, 8), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := shown.Picture(&forensics.Body{Data: data, Complete: true})
		if err != nil {
			return
		}
		if p, err := png.Decode(bytes.NewReader(out)); err != nil || p.Bounds().Dx() > 800 || p.Bounds().Dy() > 800 {
			t.Fatalf("%v %v", err, p.Bounds())
		}
	})
}
