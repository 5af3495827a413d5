package pins

import (
	"context"
	"fmt"
	"net/http"
)

// ConfigPath is the path at which a node reports the state of its RecorderConfig.
const ConfigPath = "/v1/config"

// Config is the state of a node's RecorderConfig: the version that it has seen, the one in force,
// and why these differ.
type Config struct {
	Known      bool   `json:"known"`         // the API, or the disk, has answered
	UID        string `json:"uid,omitempty"` // empty: there is none
	Generation int64  `json:"generation,omitempty"`
	AppliedUID string `json:"applied_uid,omitempty"`
	Applied    int64  `json:"applied,omitempty"`
	Problem    string `json:"problem,omitempty"` // why the version seen is not in force
}

// ConfigHandler serves the state at ConfigPath.
func ConfigHandler(state func() Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, state(), nil) })
}

// Config requests the state of a node's RecorderConfig.
func (c *Client) Config(ctx context.Context) (*Config, error) {
	var v Config
	if err := c.do(ctx, http.MethodGet, ConfigPath[1:], nil, &v); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return &v, nil
}
