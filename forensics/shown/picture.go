package shown

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // formats of pictures
	_ "image/jpeg" //
	"image/png"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" //

	"github.com/pcapsule/pcapsule/forensics"
)

// Limits of a picture.
const (
	MaxPicture = 8 << 20  // bytes of a body that is one
	maxPixels  = 12 << 20 // that are decoded
	maxSide    = 800      // pixels that are shown
)

// ErrNoPicture reports a body that is no picture that can be shown.
var ErrNoPicture = errors.New("no picture that can be shown")

// Picture draws the GIF, JPEG, PNG or WebP picture of a body again, as PNG of at most 800 by 800 pixels. So nothing else that
// the body has reaches a viewer: no metadata, no other file behind it, no animation.
func Picture(b *forensics.Body) ([]byte, error) {
	switch {
	case b == nil || b.IsText:
		return nil, fmt.Errorf("the body is %w", ErrNoPicture)
	case b.Truncated || !b.Complete:
		return nil, fmt.Errorf("the body is %w: a part of it is missing, or it is larger than %d MiB", ErrNoPicture, MaxPicture>>20)
	}
	size, form, err := image.DecodeConfig(bytes.NewReader(b.Data))
	if err != nil {
		return nil, fmt.Errorf("the body is %w: GIF, JPEG, PNG and WebP are", ErrNoPicture)
	}
	if size.Width <= 0 || size.Height <= 0 || size.Width > maxPixels/size.Height {
		return nil, fmt.Errorf("the body is %w: it has %d by %d pixels, which are too many", ErrNoPicture, size.Width, size.Height)
	}
	whole, _, err := image.Decode(bytes.NewReader(b.Data))
	if err != nil {
		return nil, fmt.Errorf("the body is %w: reading it as %s: %w", ErrNoPicture, form, err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, within(whole, maxSide)); err != nil {
		return nil, fmt.Errorf("writing the picture: %w", err)
	}
	return out.Bytes(), nil
}

// within makes a picture small enough for both sides to have at most most pixels.
func within(p image.Image, most int) image.Image {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	if w > most || h > most {
		longest := max(w, h)
		w, h = max(1, w*most/longest), max(1, h*most/longest)
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.ApproxBiLinear.Scale(out, out.Bounds(), p, p.Bounds(), draw.Src, nil)
	return out
}
