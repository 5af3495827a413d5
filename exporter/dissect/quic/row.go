package quic

import "github.com/pcapsule/pcapsule/exporter/table"

// Row is one QUIC connection.
type Row struct {
	table.Call
	Version     table.Opt[string] `col:"quic_version" enc:"dict" doc:"version that was finally used: 1, 2, draft-29, Q046, mvfst-2, grease, or the number as 0x…"`
	Offered     []string          `col:"quic_versions_offered" doc:"version of the client's first packet, then the versions that it accepts (version_information), in its order"`
	Negotiation []string          `col:"quic_version_negotiation" doc:"versions that the server listed in a Version Negotiation packet"`

	OriginalDCID table.Opt[string] `col:"quic_original_dcid" doc:"connection id that the client chose for the server in its first packet, hexadecimal"`
	ClientCID    table.Opt[string] `col:"quic_client_cid" doc:"connection id that the client chose for itself, hexadecimal; an empty one is usual"`
	ServerCID    table.Opt[string] `col:"quic_server_cid" doc:"connection id that the server chose for itself, hexadecimal"`
	ClientCIDs   []string          `col:"quic_client_new_cids" doc:"further connection ids that the client issued (NEW_CONNECTION_ID), hexadecimal"`
	ServerCIDs   []string          `col:"quic_server_new_cids" doc:"further connection ids that the server issued (NEW_CONNECTION_ID, preferred_address), hexadecimal"`
	ALPN         table.Opt[string] `col:"quic_alpn" enc:"dict" doc:"application protocol that the server chose; null if it was not read"`

	Retry       bool              `col:"quic_retry" doc:"the server sent a Retry packet with the right integrity tag"`
	TokenLength table.Opt[int64]  `col:"quic_token_length" unit:"bytes" doc:"length of the longest token in the client's Initial packets; null without a token"`
	ZeroRTT     table.Opt[string] `col:"quic_zero_rtt" enc:"dict" doc:"data before the end of the handshake: offered (the result was not seen), accepted or rejected; null if none was offered"`
	Confirmed   bool              `col:"quic_handshake_done" doc:"HANDSHAKE_DONE was seen"`
	Midstream   bool              `col:"quic_midstream" doc:"the connection began before the capture, or elsewhere"`

	ClientParams     []string          `col:"quic_client_parameters" doc:"transport parameters of the client as name=value, in its order"`
	ServerParams     []string          `col:"quic_server_parameters" doc:"transport parameters of the server as name=value, in its order"`
	ClientIdle       table.Opt[int64]  `col:"quic_client_max_idle_timeout_ms" unit:"ms" doc:"idle time after which the client drops the connection; 0: never"`
	ServerIdle       table.Opt[int64]  `col:"quic_server_max_idle_timeout_ms" unit:"ms" doc:"idle time after which the server drops the connection; 0: never"`
	ClientMaxPayload table.Opt[int64]  `col:"quic_client_max_udp_payload_size" unit:"bytes" doc:"largest datagram that the client accepts"`
	ServerMaxPayload table.Opt[int64]  `col:"quic_server_max_udp_payload_size" unit:"bytes" doc:"largest datagram that the server accepts"`
	ClientMaxData    table.Opt[int64]  `col:"quic_client_initial_max_data" unit:"bytes" doc:"number of stream bytes that the client accepts initially"`
	ServerMaxData    table.Opt[int64]  `col:"quic_server_initial_max_data" unit:"bytes" doc:"number of stream bytes that the server accepts initially"`
	Agent            table.Opt[string] `col:"quic_user_agent" enc:"dict" doc:"name that the client gives itself: Google's transport parameter user_agent, UAID of Google's QUIC"`

	ClientInitial   int64 `col:"quic_client_initial_packets" unit:"packets" doc:"Initial packets of the client"`
	ServerInitial   int64 `col:"quic_server_initial_packets" unit:"packets" doc:"Initial packets of the server"`
	ClientHandshake int64 `col:"quic_client_handshake_packets" unit:"packets" doc:"Handshake packets of the client"`
	ServerHandshake int64 `col:"quic_server_handshake_packets" unit:"packets" doc:"Handshake packets of the server"`
	ZeroRTTPackets  int64 `col:"quic_zero_rtt_packets" unit:"packets" doc:"0-RTT packets"`
	ClientOneRTT    int64 `col:"quic_client_one_rtt_packets" unit:"packets" doc:"1-RTT packets of the client; packets with a short header that no key decrypts count too"`
	ServerOneRTT    int64 `col:"quic_server_one_rtt_packets" unit:"packets" doc:"1-RTT packets of the server; packets with a short header that no key decrypts count too"`
	ClientOther     int64 `col:"quic_client_other_packets" unit:"packets" doc:"packets of the client in an unsupported version"`
	ServerOther     int64 `col:"quic_server_other_packets" unit:"packets" doc:"packets of the server in an unsupported version"`
	Retries         int64 `col:"quic_retry_packets" unit:"packets" doc:"Retry packets"`
	Negotiations    int64 `col:"quic_version_negotiation_packets" unit:"packets" doc:"Version Negotiation packets"`
	StatelessResets int64 `col:"quic_stateless_resets" unit:"packets" doc:"packets that end in a stateless reset token of the other side"`
	ClientUnread    int64 `col:"quic_client_undecrypted_packets" unit:"packets" doc:"packets of the client that were not decrypted: no key, a wrong key, damaged or cut"`
	ServerUnread    int64 `col:"quic_server_undecrypted_packets" unit:"packets" doc:"packets of the server that were not decrypted: no key, a wrong key, damaged or cut"`
	Duplicates      int64 `col:"quic_duplicate_packets" unit:"packets" doc:"packets whose number was already decrypted before; they are not parsed again"`

	ClientKeyUpdates int64 `col:"quic_client_key_updates" doc:"number of key updates by the client"`
	ServerKeyUpdates int64 `col:"quic_server_key_updates" doc:"number of key updates by the server"`
	PathChallenges   int64 `col:"quic_path_challenges" doc:"PATH_CHALLENGE frames of both sides"`
	PathsValidated   int64 `col:"quic_paths_validated" doc:"number of challenges answered with PATH_RESPONSE: a new path, or the same path validated again"`

	ClientBidi        int64 `col:"quic_client_bidi_streams" doc:"bidirectional streams on which the client sent first, as far as they were seen"`
	ServerBidi        int64 `col:"quic_server_bidi_streams" doc:"bidirectional streams of the server, as far as they were seen"`
	ClientUni         int64 `col:"quic_client_uni_streams" doc:"unidirectional streams of the client, as far as they were seen"`
	ServerUni         int64 `col:"quic_server_uni_streams" doc:"unidirectional streams of the server, as far as they were seen"`
	ClientStreamBytes int64 `col:"quic_client_stream_bytes" unit:"bytes" doc:"stream bytes of the client, each once"`
	ServerStreamBytes int64 `col:"quic_server_stream_bytes" unit:"bytes" doc:"stream bytes of the server, each once"`
	GapBytes          int64 `col:"quic_gap_bytes" unit:"bytes" doc:"stream and handshake bytes that were not captured although later bytes were"`
	ClientDatagrams   int64 `col:"quic_client_datagrams" doc:"DATAGRAM frames of the client"`
	ServerDatagrams   int64 `col:"quic_server_datagrams" doc:"DATAGRAM frames of the server"`

	Close       table.Opt[string] `col:"quic_close" enc:"dict" doc:"how the connection ended: transport or application (CONNECTION_CLOSE of type 0x1c or 0x1d), stateless_reset; null if it did not end, or not readably"`
	CloseBy     table.Opt[string] `col:"quic_close_by" enc:"dict" doc:"side that ended it first: client or server"`
	CloseCode   table.Opt[int64]  `col:"quic_close_code" doc:"error code of CONNECTION_CLOSE"`
	CloseName   table.Opt[string] `col:"quic_close_name" enc:"dict" doc:"name of a transport error code; CRYPTO_ERROR with the TLS alert's name"`
	CloseReason table.Opt[string] `col:"quic_close_reason" doc:"reason phrase of CONNECTION_CLOSE"`
	CloseFrame  table.Opt[string] `col:"quic_close_frame" enc:"dict" doc:"frame type that CONNECTION_CLOSE names as the cause"`
}
