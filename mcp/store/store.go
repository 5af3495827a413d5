// Package store is what a server of MCP asks of whoever keeps snapshots of recordings, and
// the words for them. It keeps nothing itself.
package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// Store keeps frozen times of recordings, and makes bundles of them when asked. A server
// without one answers only about the bundles that it was given. Names are letters, digits,
// dots, dashes and underscores. Its methods may be called from several goroutines.
//
// Errors are for whoever asked; ErrNoSnapshot, ErrNameTaken and ErrNotReady are told apart.
type Store interface {
	// Boundaries is what is recorded now, a node each.
	Boundaries(ctx context.Context) ([]Boundary, error)

	// Snapshots lists what is frozen, the newest first.
	Snapshots(ctx context.Context) ([]Snapshot, error)
	// CreateSnapshot freezes a time. The recorder goes on.
	CreateSnapshot(ctx context.Context, r SnapshotRequest) (Snapshot, error)
	// DeleteSnapshot lets a snapshot go, with what was made of it.
	DeleteSnapshot(ctx context.Context, name string) error
	// SnapshotPCAP writes a snapshot's packets as one PCAPNG.
	SnapshotPCAP(ctx context.Context, name string, r PCAPRequest, w io.Writer) (PCAPReport, error)

	// Capture begins a recording of its own, which becomes a snapshot.
	Capture(ctx context.Context, r CaptureRequest) (Snapshot, error)

	// StartDissection begins to make a bundle of a snapshot and does not wait.
	StartDissection(ctx context.Context, snapshot, name string) (Dissection, error)
	// Dissections lists the dissections of a snapshot, or of all where it is empty.
	Dissections(ctx context.Context, snapshot string) ([]Dissection, error)

	// Live is a bundle of the last seconds of what is recorded; it is never sealed, and is
	// gone after a while.
	Live(ctx context.Context, last time.Duration) (path string, err error)
}

// Errors of a Store.
var (
	ErrNoSnapshot = errors.New("no such snapshot")
	ErrNameTaken  = errors.New("the name is taken")
	ErrNotReady   = errors.New("not ready yet")
)

// RequestError says what is wrong with what was asked.
type RequestError struct{ Text string }

func (e *RequestError) Error() string { return e.Text }

// Boundary is the time that a node's recording has.
type Boundary struct {
	Node      string `json:"name"`
	Oldest    string `json:"oldest" jsonschema:"time of the oldest packet, RFC 3339; empty where nothing is recorded"`
	Newest    string `json:"newest"`
	OldestMs  int64  `json:"oldest_ts" jsonschema:"milliseconds since 1970 UTC"`
	NewestMs  int64  `json:"newest_ts"`
	Segments  int    `json:"segments"`
	Bytes     int64  `json:"size_bytes"`
	Packets   int64  `json:"packet_count"`
	Recording bool   `json:"recording" jsonschema:"a recorder is writing there now"`
	Holes     int    `json:"holes" jsonschema:"times and packets known to be missing; a snapshot's coverage lists them"`
}

// SnapshotRequest asks for a snapshot: of Last before now, or from From to To.
type SnapshotRequest struct {
	Name     string
	Last     time.Duration
	From, To int64 // nanoseconds since 1970 UTC; 0 leaves an end open
}

// CaptureRequest asks for a recording of its own.
type CaptureRequest struct {
	Name     string
	Duration time.Duration
	Filter   string   // as pcap-filter(7)
	Owners   []string // namespace=NAME, pod=NAME, label=NAME=VALUE, container=NAME, process=NAME
}

// Snapshot is a frozen time.
type Snapshot struct {
	Name        string   `json:"name"`
	Status      string   `json:"status" jsonschema:"recording, completed or failed"`
	Error       string   `json:"error,omitempty"`
	CreatedAt   string   `json:"created_at"`
	From        string   `json:"from,omitempty" jsonschema:"asked time, RFC 3339"`
	To          string   `json:"to,omitempty"`
	StartMs     int64    `json:"start_ts,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	EndMs       int64    `json:"end_ts,omitempty"`
	DurationMs  int64    `json:"duration_ms,omitempty"`
	Nodes       int      `json:"node_count"`
	Segments    int      `json:"segment_count"`
	Packets     int64    `json:"packet_count" jsonschema:"packets of its segments; its ends may lie inside of them"`
	Bytes       int64    `json:"size_bytes"`
	Missing     []string `json:"missing,omitempty" jsonschema:"segments of that time that are gone"`
	Seals       string   `json:"seals,omitempty" jsonschema:"ring and last record of its seals, which say what each segment must be"`
	Filter      string   `json:"filter,omitempty" jsonschema:"what a recording of its own was narrowed to"`
	Dissections []string `json:"dissections" jsonschema:"values for db: snapshot/dissection"`
}

// PCAPRequest narrows what is exported.
type PCAPRequest struct {
	Nodes    []string
	Filter   string // as pcap-filter(7)
	From, To int64  // nanoseconds since 1970 UTC; 0 leaves an end open
}

// PCAPReport says what was exported.
type PCAPReport struct {
	Packets int64    `json:"packets"`
	Bytes   int64    `json:"bytes" jsonschema:"captured bytes"`
	Missing []string `json:"missing,omitempty" jsonschema:"segments of that time that are gone"`
}

// Dissection is a bundle made of a snapshot, or on its way.
type Dissection struct {
	DB        string           `json:"db" jsonschema:"snapshot/dissection, as other tools take it"`
	Snapshot  string           `json:"snapshot_name"`
	Name      string           `json:"dissection_name"`
	Status    string           `json:"status" jsonschema:"pending, running, completed, failed or cancelled"`
	Progress  float64          `json:"progress" jsonschema:"0 to 100"`
	Error     string           `json:"error,omitempty"`
	Stats     DissectionStats  `json:"stats"`
	Protocols map[string]int64 `json:"protocol_counts" jsonschema:"calls by protocol"`
	Warnings  []string         `json:"warnings,omitempty"`

	Path string `json:"-"` // of the bundle, once it is there
}

// DissectionStats says how much a dissection read and made.
type DissectionStats struct {
	Files   int64 `json:"pcap_files"`
	Bytes   int64 `json:"pcap_bytes"`
	Packets int64 `json:"packets_processed"`
	Calls   int64 `json:"entries_created"`
}
