//go:build !linux

package duck

import "time"

const trimEvery = time.Hour

func fewArenas() {}

func trim() {}

func resident() int64 { return 0 }
