package mysql

import (
	_ "embed" // for names.tsv
	"strconv"
	"strings"
	"sync"
)

//go:embed names.tsv
var namesTSV string

// names are the tables of names.tsv, by what they name.
var names = sync.OnceValue(func() map[string]map[int]string {
	all := map[string]map[int]string{}
	for line := range strings.Lines(namesTSV) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			continue
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			panic("names.tsv: " + err.Error())
		}
		if all[f[0]] == nil {
			all[f[0]] = map[int]string{}
		}
		all[f[0]][n] = f[2]
	}
	return all
})

// nameOf is the name of a number, or the number if it has none.
func nameOf(what string, n int) string {
	if s := names()[what][n]; s != "" {
		return s
	}
	return what + " " + strconv.Itoa(n)
}

// Commands, MySQL documentation, section Command Phase. The numbers above 0xf9 are MariaDB's.
const (
	comQuit         = 0x01
	comInitDB       = 0x02
	comQuery        = 0x03
	comFieldList    = 0x04
	comStatistics   = 0x09
	comProcessInfo  = 0x0a
	comProcessKill  = 0x0c
	comPing         = 0x0e
	comChangeUser   = 0x11
	comBinlogDump   = 0x12
	comPrepare      = 0x16
	comExecute      = 0x17
	comLongData     = 0x18
	comClose        = 0x19
	comReset        = 0x1a
	comFetch        = 0x1c
	comBinlogGTID   = 0x1e
	comResetSession = 0x1f
	comBulkExecute  = 0xfa
)

// Capabilities.
const (
	capLongPassword = 1 << 0 // MariaDB clears it and has more capabilities then
	capConnectDB    = 1 << 3
	capCompress     = 1 << 5
	cap41           = 1 << 9
	capSSL          = 1 << 11
	capSecure       = 1 << 15
	capPluginAuth   = 1 << 19
	capAttributes   = 1 << 20
	capAuthLenenc   = 1 << 21
	capSessionTrack = 1 << 23
	capNoEOF        = 1 << 24 // CLIENT_DEPRECATE_EOF
	capMetadata     = 1 << 25 // CLIENT_OPTIONAL_RESULTSET_METADATA
	capZstd         = 1 << 26
	capQueryAttrs   = 1 << 27
	capCacheMeta    = 1 << 36 // MARIADB_CLIENT_CACHE_METADATA
)

// Flags of a server's status.
const (
	statusInTransaction = 0x0001
	statusAutocommit    = 0x0002
	statusMoreResults   = 0x0008
	statusCursor        = 0x0040
	statusSessionState  = 0x4000
)
