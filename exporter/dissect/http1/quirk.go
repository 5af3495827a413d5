package http1

// quirks is a set of deviations from RFC 9112.
type quirks uint32

const (
	quirkBareLF quirks = 1 << iota
	quirkBareCR
	quirkNUL
	quirkFold
	quirkSpaceBeforeColon
	quirkLeadingSpace
	quirkLeadingLines
	quirkNoColon
	quirkName
	quirkTwoHosts
	quirkNoHost
	quirkRequestLine
	quirkStatusLine
	quirkLengthTwice
	quirkLengthIgnored
	quirkTEInHTTP10
	quirkTEIdentity
	quirkChunkSpace
	quirkTEOpen
	quirkNoUpgrade
	quirkFields
	quirkNoStatusLine
	quirkBareChunk
	quirkICY
	quirkChunkExtension
)

var quirkNames = [...]string{"bare_lf", "bare_cr", "nul", "obs_fold", "space_before_colon", "space_before_first_header",
	"empty_lines_before", "header_without_colon", "header_name", "two_hosts", "no_host", "request_line", "status_line",
	"content_length_twice", "content_length_ignored", "transfer_encoding_in_http10", "identity_coding", "chunk_size_space",
	"transfer_encoding_without_chunked", "switch_without_upgrade", "too_many_headers", "no_status_line", "chunk_bare_lf", "icy_status_line", "chunk_extension"}

// names lists the quirks in their fixed order, or nil if there are none.
func (q quirks) names() []string {
	if q == 0 {
		return nil
	}
	var out []string
	for i, name := range quirkNames {
		if q&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}
