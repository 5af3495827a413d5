package kfl

import (
	"regexp"
	"strings"
	"sync"
)

// The texts that int() and double() accept. The SQL uses the same patterns.
const (
	digitsPattern  = `^-?[0-9]{1,19}$`
	decimalPattern = `^-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][-+]?[0-9]{1,3})?$`
)

var (
	digits  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(digitsPattern) })
	decimal = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(decimalPattern) })
)

// foldsCase reports whether the keys of map n are case-insensitive.
func foldsCase(n *node) bool { return strings.HasPrefix(n.str, "headers:") }
