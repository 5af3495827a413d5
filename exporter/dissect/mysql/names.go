package mysql

import (
	_ "embed" // for names.txt

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

func nameOf(what string, n int) string { return tables()[what].Name(int64(n), what+" ") }

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
	comRegister     = 0x15
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

// userConnections is ER_TOO_MANY_USER_CONNECTIONS, whose SQLSTATE is that of a syntax error.
const userConnections = 1203

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
