// Command page records the page in headless Chromium: a picture that moves, docs/recordings/page.gif, in which a person
// finds by keyboard the call behind a failure, and its packets.
//
//	page [-bin FOLDER] [-o FILE]
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// step is what a person does, what is there then, and how long it is shown, in hundredths of a second.
type step struct {
	do   chromedp.Action
	when string
	show int
}

const idle = `document.body.ariaBusy !== "true"`

// steps begin at the summary.
var steps = []step{
	{chromedp.Sleep(0), `document.querySelector(".verdict") && document.querySelectorAll("h2").length > 2`, 350},
	{keys("2"), `document.querySelectorAll(".grid .row:not(.missing)").length > 5`, 200},
	{chromedp.Tasks{keys("/"), chromedp.Sleep(300 * time.Millisecond), keys(kb.Backspace + `dst.service == "payment" && failed`)}, idle, 150}, // the first key is typed, too
	{keys(kb.Enter), `/^\d+ of/.test(document.querySelector(".found")?.innerText)`, 250},
	{keys("jj" + kb.Enter), `document.querySelector("aside.call")`, 400},
	{keys(kb.Escape + "3"), `document.querySelector("svg.map, .map svg, main svg")`, 350},
	{keys("5"), `document.querySelector("main h2, main .finding, main li")`, 350},
}

func keys(text string) chromedp.Action { return chromedp.KeyEvent(text) }

func main() {
	out := flag.String("o", "docs/recordings/page.gif", "file to write")
	bin := flag.String("bin", "bin", "folder of the program")
	flag.Parse()
	if err := run(*out, filepath.Join(*bin, "pcapsule")); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(out, program string) (err error) {
	dir, err := os.MkdirTemp("", "page-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "incident.pcapsule")
	if said, err := exec.Command(program, "bundle", "samples/shop.pcapng", "--kube", "samples/shop.kube.json", "-o", made).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	server := exec.Command(program, "open", "--print", made)
	said, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Process.Signal(os.Interrupt)) }()
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return err
	}
	pictures, err := show(strings.TrimSpace(line))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, moving(pictures)); err != nil {
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

// show takes the steps, and returns what each shows.
func show(address string) (frames []image.Image, err error) {
	o := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	o = append(o, chromedp.ExecPath("chromium-headless-shell"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1100, 680))
	ctx, end := chromedp.NewExecAllocator(context.Background(), o...)
	defer end()
	ctx, _ = chromedp.NewContext(ctx)
	defer func() { _ = chromedp.Cancel(ctx) }()
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	if err := chromedp.Run(ctx, chromedp.Navigate(address)); err != nil {
		return nil, err
	}
	for i, s := range steps {
		var picture []byte
		err := chromedp.Run(ctx, s.do, chromedp.Sleep(300*time.Millisecond), chromedp.Poll(s.when, nil), chromedp.Poll(idle, nil), chromedp.Sleep(400*time.Millisecond), chromedp.CaptureScreenshot(&picture))
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		frame, err := png.Decode(bytes.NewReader(picture))
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
	return frames, nil
}

// moving is a picture of frames, in their 256 most frequent colors.
func moving(frames []image.Image) *gif.GIF {
	colors := palette(frames)
	nearest := map[color.RGBA]uint8{}
	g := &gif.GIF{}
	for i, f := range frames {
		p := image.NewPaletted(f.Bounds(), colors)
		each(f, func(x, y int, c color.RGBA) {
			n, ok := nearest[c]
			if !ok {
				n = uint8(colors.Index(c))
				nearest[c] = n
			}
			p.SetColorIndex(x, y, n)
		})
		g.Image, g.Delay = append(g.Image, p), append(g.Delay, steps[i].show)
	}
	return g
}

func palette(frames []image.Image) (list color.Palette) {
	count := map[color.RGBA]int{}
	for _, f := range frames {
		each(f, func(_, _ int, c color.RGBA) { count[c]++ })
	}
	var all []color.RGBA
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	for _, c := range all[:min(len(all), 256)] {
		list = append(list, c)
	}
	return list
}

// each calls do for each pixel.
func each(f image.Image, do func(x, y int, c color.RGBA)) {
	for y := f.Bounds().Min.Y; y < f.Bounds().Max.Y; y++ {
		for x := f.Bounds().Min.X; x < f.Bounds().Max.X; x++ {
			c, _ := color.RGBAModel.Convert(f.At(x, y)).(color.RGBA)
			do(x, y, c)
		}
	}
}
