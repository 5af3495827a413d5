// Package store defines the interface between the MCP server and a store of snapshots. It has no
// implementation.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Store keeps snapshots of recordings and makes bundles from them. Names consist of letters,
// digits, dots, dashes and underscores. The methods are safe for concurrent use.
//
// The texts of errors are safe to send to the client. ErrNoSnapshot, ErrNameTaken and
// ErrNotReady are distinguished.
type Store interface {
	// Boundaries returns the time range that each node has recorded.
	Boundaries(ctx context.Context) ([]Boundary, error)

	// Snapshots lists the snapshots, the newest first.
	Snapshots(ctx context.Context) ([]Snapshot, error)
	// CreateSnapshot freezes a time range. Recording continues.
	CreateSnapshot(ctx context.Context, r SnapshotRequest) (Snapshot, error)
	// DeleteSnapshot deletes a snapshot with its dissections.
	DeleteSnapshot(ctx context.Context, name string) error
	// SnapshotPCAP writes a snapshot's packets as one PCAPNG.
	SnapshotPCAP(ctx context.Context, name string, r PCAPRequest, w io.Writer) (PCAPReport, error)

	// Capture starts a separate recording, which becomes a snapshot.
	Capture(ctx context.Context, r CaptureRequest) (Snapshot, error)

	// StartDissection starts making a bundle of a snapshot, and does not wait for the end.
	StartDissection(ctx context.Context, snapshot, name string) (Dissection, error)
	// Dissections lists the dissections of a snapshot, or of all if snapshot is empty.
	Dissections(ctx context.Context, snapshot string) ([]Dissection, error)

	Live
}

// Live answers questions about current traffic. The methods are safe for concurrent use.
type Live interface {
	// Live returns bundles of the last seconds of the recording, one for each ring. They are never
	// sealed, and are deleted after a while.
	Live(ctx context.Context, last time.Duration) (paths []string, err error)
	// LiveAfter waits until there is a newer cut of the live run than after, and returns bundles
	// of the calls that were finished since, with the newest cut; no bundle if there are neither
	// calls nor coverage gaps. After 0 it returns the newest cut at once, with a bundle without calls.
	LiveAfter(ctx context.Context, after int64) (paths []string, cut int64, err error)
}

// Limited is implemented by a Live that can leave out what is not within namespaces. Within returns one that answers
// only about connections with an end in one of these namespaces and none in another, and names no other.
type Limited interface {
	Within(namespaces []string) Live
}

// Errors of a Store.
var (
	ErrNoSnapshot = errors.New("no such snapshot")
	ErrNameTaken  = errors.New("the name is taken")
	ErrNotReady   = errors.New("not ready yet")
)

// RequestError reports an error in a request.
type RequestError struct{ Text string }

func (e *RequestError) Error() string { return e.Text }

// BadRequest returns an error in a request, which its client can correct.
func BadRequest(format string, args ...any) error {
	return &RequestError{Text: fmt.Sprintf(format, args...)}
}

// Boundary is the time range that a node has recorded.
type Boundary struct {
	Node      string `json:"name"`
	Oldest    string `json:"oldest" jsonschema:"time of the oldest packet, RFC 3339; empty if nothing is recorded"`
	Newest    string `json:"newest"`
	OldestMs  int64  `json:"oldest_ts" jsonschema:"milliseconds since 1970 UTC"`
	NewestMs  int64  `json:"newest_ts"`
	Segments  int    `json:"segments"`
	Bytes     int64  `json:"size_bytes"`
	Packets   int64  `json:"packet_count"`
	Recording bool   `json:"recording" jsonschema:"a recorder is writing now"`
	Holes     int    `json:"holes" jsonschema:"coverage gaps and lost packets; a snapshot's coverage lists them"`
}

// SnapshotRequest describes a new snapshot: the Last before now, or From to To.
type SnapshotRequest struct {
	Name     string
	Last     time.Duration
	From, To int64 // nanoseconds since 1970 UTC; 0: no limit
}

// CaptureRequest describes a separate recording.
type CaptureRequest struct {
	Name     string
	Duration time.Duration
	Filter   string   // as pcap-filter(7)
	Owners   []string // namespace=NAME, pod=NAME, label=NAME=VALUE, container=NAME, process=NAME
}

// Snapshot is a frozen time range.
type Snapshot struct {
	Name        string   `json:"name"`
	Status      string   `json:"status" jsonschema:"recording, completed or failed"`
	Error       string   `json:"error,omitempty"`
	CreatedAt   string   `json:"created_at"`
	From        string   `json:"from,omitempty" jsonschema:"requested start, RFC 3339"`
	To          string   `json:"to,omitempty"`
	StartMs     int64    `json:"start_ts,omitempty" jsonschema:"milliseconds since 1970 UTC"`
	EndMs       int64    `json:"end_ts,omitempty"`
	DurationMs  int64    `json:"duration_ms,omitempty"`
	Nodes       int      `json:"node_count"`
	Segments    int      `json:"segment_count"`
	Packets     int64    `json:"packet_count" jsonschema:"packets in its segments, including those of the first and last segment outside the requested time"`
	Bytes       int64    `json:"size_bytes"`
	Missing     []string `json:"missing,omitempty" jsonschema:"segments of that time that no longer exist"`
	Seals       string   `json:"seals,omitempty" jsonschema:"ring and last record of its seals, which authenticate each segment"`
	Filter      string   `json:"filter,omitempty" jsonschema:"the filter of a capture_traffic recording"`
	Dissections []string `json:"dissections" jsonschema:"values for db: snapshot/dissection"`
	Page        string   `json:"page,omitempty" jsonschema:"path of the page that answers about it, on a hub"`
}

// PCAPRequest selects the packets to export.
type PCAPRequest struct {
	Nodes    []string
	Filter   string // as pcap-filter(7)
	From, To int64  // nanoseconds since 1970 UTC; 0: no limit
}

// PCAPReport is the result of an export.
type PCAPReport struct {
	Packets int64    `json:"packets"`
	Bytes   int64    `json:"bytes" jsonschema:"captured bytes"`
	Missing []string `json:"missing,omitempty" jsonschema:"segments of that time that no longer exist"`
}

// Dissection is a bundle made from a snapshot, or being made.
type Dissection struct {
	DB        string           `json:"db" jsonschema:"snapshot/dissection: the value for db in other tools"`
	Snapshot  string           `json:"snapshot_name"`
	Name      string           `json:"dissection_name"`
	Status    string           `json:"status" jsonschema:"pending, running, completed, failed or cancelled"`
	Progress  float64          `json:"progress" jsonschema:"0 to 100"`
	Error     string           `json:"error,omitempty"`
	Stats     DissectionStats  `json:"stats"`
	Protocols map[string]int64 `json:"protocol_counts" jsonschema:"calls by protocol"`
	Warnings  []string         `json:"warnings,omitempty"`

	Paths []string `json:"-"` // of the completed bundles, one for each node
}

// DissectionStats counts the input and output of a dissection.
type DissectionStats struct {
	Files   int64 `json:"pcap_files"`
	Bytes   int64 `json:"pcap_bytes"`
	Packets int64 `json:"packets_processed"`
	Calls   int64 `json:"entries_created"`
}
