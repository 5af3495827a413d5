package pins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// maxAnswer limits the JSON of a node.
const maxAnswer = 256 << 20

// Client talks to a node's Handler.
type Client struct {
	URL  *url.URL
	HTTP *http.Client
}

// Make pins a window, or returns the existing pin.
func (c *Client) Make(ctx context.Context, name string, from, to ring.Time) (*Pin, error) {
	body, err := json.Marshal(window{from, to})
	if err != nil {
		return nil, err
	}
	var p Pin
	if err := c.do(ctx, http.MethodPut, "v1/pins/"+name, body, &p); err != nil {
		return nil, fmt.Errorf("pinning segments: %w", err)
	}
	if p.Name != name || p.From != from || p.To != to {
		return nil, fmt.Errorf("pinning segments: the node answered for pin %.80q from %s to %s", p.Name, p.From, p.To)
	}
	return &p, transfer.Check(p.Files)
}

// Coverage requests the coverage of the node's ring.
func (c *Client) Coverage(ctx context.Context) (*Coverage, error) {
	var v Coverage
	if err := c.do(ctx, http.MethodGet, "v1/coverage", nil, &v); err != nil {
		return nil, fmt.Errorf("reading coverage: %w", err)
	}
	return &v, nil
}

// Release ends a pin.
func (c *Client) Release(ctx context.Context, name string) error {
	if err := c.do(ctx, http.MethodDelete, "v1/pins/"+name, nil, &struct{}{}); err != nil {
		return fmt.Errorf("releasing segments: %w", err)
	}
	return nil
}

// Files returns the source of a pin's files.
func (c *Client) Files(name string) transfer.Source {
	return transfer.Web{Base: c.URL.JoinPath("v1/pins", name, "files"), Client: c.HTTP}
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, to any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.URL.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.send(req, func(r io.Reader) error { return json.NewDecoder(r).Decode(to) })
}

// send sends a request and reads the answer.
func (c *Client) send(req *http.Request, read func(io.Reader) error) error {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to explain
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return &transfer.StatusError{Code: resp.StatusCode, Text: line}
	}
	return read(io.LimitReader(resp.Body, maxAnswer))
}
