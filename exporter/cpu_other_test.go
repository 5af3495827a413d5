//go:build !linux

package exporter

import "time"

// processorTime is unavailable here; nothing is compared.
func processorTime() time.Duration { return 0 }
