package clickhouse

import (
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Statement is what the native protocol and the HTTP interface say about a request.
type Statement struct {
	Kind        table.Opt[string] `col:"clickhouse_kind" enc:"dict" doc:"kind of the request: HELLO (a login), QUERY, PING, TABLES (a server asks for the state of tables) or DATA (data that the client still sends after its statement failed); null if the request was not captured"`
	SQL         table.Opt[string] `col:"clickhouse_query" doc:"the statement as sent, at most 64 KiB"`
	QueryID     table.Opt[string] `col:"clickhouse_query_id" doc:"id of the statement, if the client chose one; over HTTP also the one that the server chose"`
	Params      []string          `col:"clickhouse_params" doc:"parameters of the statement as name=value, at most 32 of 256 bytes"`
	Settings    []string          `col:"clickhouse_settings" doc:"settings of the statement as name=value, at most 32 of 256 bytes"`
	Columns     []string          `col:"clickhouse_columns" doc:"names of the result's columns"`
	Types       []string          `col:"clickhouse_types" doc:"types of the result's columns"`
	Rows        table.Opt[int64]  `col:"clickhouse_rows" doc:"number of rows returned; null if there was no result set"`
	Preview     table.Opt[string] `col:"clickhouse_preview" doc:"first rows, with tabs between values and \\N for null, at most 4 KiB; arrays, tuples and maps are shown as …"`
	Inserted    table.Opt[int64]  `col:"clickhouse_inserted_rows" doc:"number of rows that the client sent; null if it sent none"`
	ReadRows    table.Opt[int64]  `col:"clickhouse_read_rows" doc:"number of rows that the server read, by its reports of progress or its summary"`
	ReadBytes   table.Opt[int64]  `col:"clickhouse_read_bytes" doc:"number of bytes that the server read, by its reports of progress or its summary"`
	WrittenRows table.Opt[int64]  `col:"clickhouse_written_rows" doc:"number of rows that the server wrote, by its reports of progress or its summary"`
	Compression table.Opt[string] `col:"clickhouse_compression" enc:"dict" doc:"compression of blocks: none, lz4 or zstd; null if no block was sent"`
	Success     table.Opt[bool]   `col:"clickhouse_success" doc:"the server answered and reported no error"`
	ErrCode     table.Opt[int32]  `col:"clickhouse_error_code" doc:"number of the error, such as 60"`
	ErrName     table.Opt[string] `col:"clickhouse_error_code_name" enc:"dict" doc:"name of the error, such as UNKNOWN_TABLE"`
	ErrMessage  table.Opt[string] `col:"clickhouse_error_message" doc:"the error's text, at most 1 KiB"`
	User        table.Opt[string] `col:"clickhouse_user" enc:"dict" doc:"user of the connection, if its login was captured; over HTTP, of the request"`
	Database    table.Opt[string] `col:"clickhouse_database" enc:"dict" doc:"database that the login, or the request over HTTP, chose"`
	Application table.Opt[string] `col:"clickhouse_application" enc:"dict" doc:"name of the client; over HTTP its User-Agent"`
	Partial     table.Opt[bool]   `col:"clickhouse_partial" doc:"a part could not be read, so lists and counts may be incomplete"`
}

const maxSummary = 120 // bytes of an error in a summary

// fail sets an error of the server.
func (s *Statement) fail(code int32, text string) {
	s.ErrCode, s.ErrMessage = table.Some(code), table.Some(text)
	s.ErrName = table.Some(tables()["error"].Name(int64(code), "ERROR_"))
}

// problem is the error in a summary.
func (s *Statement) problem() string {
	return s.ErrName.V + ": " + clip.Line([]byte(s.ErrMessage.V), maxSummary)
}

// count is the number of rows in a summary.
func (s *Statement) count() string {
	if s.Inserted.OK {
		return clip.Count(s.Inserted.V, "row inserted", "rows inserted")
	}
	return clip.Count(s.Rows.V, "row", "rows")
}
