package ring

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// Absent creates, in the new folder dest, what a pin of a node's ring would be if it could not
// be read: no segments, and a chain that states the gap from gap.From to gap.To. Recorder says
// who states it. If it fails, it removes dest.
func Absent(dest, node, recorder string, gap Hole) error {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	if err := absent(dest, node, recorder, gap); err != nil {
		return errors.Join(err, os.RemoveAll(dest))
	}
	return nil
}

func absent(dest, node, recorder string, gap Hole) error {
	c, _, err := openChain(dest, nodeName(node), nil)
	if err != nil {
		return err
	}
	_, err = c.append(&Record{Kind: KindStart, Start: &Start{Recorder: recorder, Next: map[string]uint64{}}})
	if err == nil {
		_, err = c.append(&Record{Kind: KindStop, Stop: &Stop{Holes: []Hole{gap}}})
	}
	head, _ := c.head()
	if err = errors.Join(err, c.close()); err != nil {
		return err
	}
	text, err := json.MarshalIndent(Pinned{Ring: c.ring, From: gap.From, To: gap.To, Segments: []string{}, Missing: []string{}, Head: head}, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(dest, pinName), append(text, '\n'), 0o644)
}
