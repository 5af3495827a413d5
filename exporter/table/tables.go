package table

// Body is one distinct message body after transfer and content decoding. Equal bodies are stored
// once per window, so one hash may have several rows.
type Body struct {
	SHA256      Hash        `col:"sha256" doc:"SHA-256 of the whole decoded body"`
	Part        int32       `col:"part" doc:"number of the part, from 0; a part holds at most 1 MiB and parts overlap by 4 KiB"`
	Offset      int64       `col:"offset" unit:"bytes" doc:"offset of this part in the body"`
	Size        int64       `col:"size" unit:"bytes" doc:"size of the whole decoded body"`
	WireSize    int64       `col:"wire_size" unit:"bytes" doc:"size before content decoding, of the first sighting"`
	ContentType Opt[string] `col:"content_type" enc:"dict" doc:"Content-Type of the first sighting"`
	Encoding    Opt[string] `col:"encoding" enc:"dict" doc:"content encoding that was decoded: gzip, deflate, br, zstd"`
	Complete    bool        `col:"complete" doc:"no byte of the body is missing and decoding reached its end"`
	Text        Opt[string] `col:"text" doc:"this part as text, if it is valid UTF-8 without control characters other than tab and line ends"`
	Bytes       []byte      `col:"bytes" doc:"this part's bytes, if it is not text"`
	FirstCallNo int64       `col:"first_call_no" doc:"first call in this window that carried it"`
}

// Endpoint is the owner of an address during a time range.
type Endpoint struct {
	EndpointID   int64       `col:"endpoint_id" doc:"number from 0 without gaps, in the order of first appearance"`
	IP           string      `col:"ip" doc:"address, RFC 5952"`
	ValidFromNs  int64       `col:"valid_from_ns" unit:"ns" doc:"start of the time for which this identity is valid; 0 if unknown"`
	Name         string      `col:"name" doc:"best name: pod, else service, else node, else process, else DNS or host name, else the address"`
	Who          string      `col:"who" doc:"the workload as shown to readers: namespace and service, else workload, pod, process or name; outside the cluster the DNS or host name; else the address"`
	Kind         string      `col:"kind" enc:"dict" doc:"pod, service, node, process, host, outside or unknown"`
	Namespace    Opt[string] `col:"namespace" enc:"dict" doc:"Kubernetes namespace"`
	Pod          Opt[string] `col:"pod" doc:"pod name"`
	PodUID       Opt[string] `col:"pod_uid" doc:"pod UID"`
	Service      Opt[string] `col:"service" doc:"service that the call reached by its port, or that names a client (docs/format/identity.md); null if none did"`
	Services     []string    `col:"services" doc:"all services in front of it, sorted"`
	Workload     Opt[string] `col:"workload" doc:"owner: Deployment, StatefulSet, DaemonSet, Job or CronJob name"`
	WorkloadKind Opt[string] `col:"workload_kind" enc:"dict" doc:"kind of the owner"`
	Container    Opt[string] `col:"container" doc:"container name"`
	Image        Opt[string] `col:"image" doc:"container image"`
	Node         Opt[string] `col:"node" enc:"dict" doc:"node it runs on"`
	Labels       []Pair      `col:"labels" doc:"labels, sorted by name"`
	Process      Opt[string] `col:"process" doc:"process name"`
	PID          Opt[int64]  `col:"pid" doc:"process id on its node"`
	DNSName      Opt[string] `col:"dns_name" doc:"name of this address in DNS answers in the capture"`
	Hostname     Opt[string] `col:"hostname" doc:"name from a hosts file or a Name Resolution Block"`
	External     bool        `col:"external" doc:"the address is outside private, link-local, loopback and known cluster ranges"`
	HowKnown     string      `col:"how_known" enc:"dict" doc:"source of the identity: segment, kube, peer, ptcpdump, hosts, nrb, dns, dns_other (a guess) or none; if the process is known from its socket, the kind of knowledge: writer, last_user, acceptor, creator, holder_at_start, listener_inherited, shared_at_start (docs/format/owners.md)"`
	OwnerGuess   Opt[bool]   `col:"owner_guess" doc:"the process is a guess, because the kernel did not name the writer: it made, inherited, accepted or used the socket before; null if no process is known from its socket"`
	Exe          Opt[string] `col:"exe" doc:"program file of the process"`
	Command      []string    `col:"command" doc:"command line of the process, with secrets masked by the recorder"`
	User         Opt[string] `col:"user_name" enc:"dict" doc:"user of the process, by its name on the node, else by number"`
	StartedNs    Opt[int64]  `col:"started_ns" unit:"ns" doc:"start time of the process"`
	Cgroup       Opt[string] `col:"cgroup" doc:"control group of the process"`
	ContainerID  Opt[string] `col:"container_id" doc:"container id from the control group's path"`
}

// Flow is one conversation of two endpoints as seen at one vantage. "Client" is the side that
// opened it, "server" the other.
type Flow struct {
	FlowID    int64       `col:"flow_id" doc:"number from 0 without gaps, in the order of its first packet"`
	ConnID    int64       `col:"conn_id" doc:"connection it belongs to"`
	Transport string      `col:"transport" enc:"dict" doc:"tcp, udp, sctp, icmp or another IP protocol's name"`
	SrcIP     string      `col:"src_ip" doc:"client address, RFC 5952"`
	SrcPort   int32       `col:"src_port" doc:"client port; 0 if the transport has none"`
	DstIP     string      `col:"dst_ip" doc:"server address, RFC 5952"`
	DstPort   int32       `col:"dst_port" doc:"server port; 0 if the transport has none"`
	SrcID     int64       `col:"src_id" doc:"client; see table endpoints"`
	DstID     int64       `col:"dst_id" doc:"server; see table endpoints"`
	Protocol  Opt[string] `col:"protocol" enc:"dict" doc:"innermost application protocol, recognized by content; null if none was recognized"`
	Protocols []string    `col:"protocols" doc:"protocols, outermost first, such as tls, http2, grpc"`
	RoleKnown string      `col:"role_known" enc:"dict" doc:"how client and server were distinguished: syn, synack, protocol, port, first_packet"`
	Vantage   string      `col:"vantage" enc:"dict" doc:"where the flow was seen: client, server, middle or unknown"`
	Interface string      `col:"interface" enc:"dict" doc:"name of the interface of its first packet, empty if it has none"`
	Tunnel    Opt[string] `col:"tunnel" enc:"dict" doc:"tunnels around it, outermost first: vxlan, geneve, gre, ipip, gtpu, erspan, mpls, pppoe, teredo, tzsp, lisp, hep"`
	TunnelID  Opt[int64]  `col:"tunnel_id" doc:"VNI, key, TEID or session of the innermost tunnel that has one"`
	OuterSrc  Opt[string] `col:"outer_src_ip" doc:"source of the innermost tunnel's packets, from the first packet"`
	OuterDst  Opt[string] `col:"outer_dst_ip" doc:"destination of the innermost tunnel's packets"`
	VLAN      Opt[int32]  `col:"vlan" doc:"outermost VLAN id of the first packet"`

	FirstNs     int64  `col:"first_ns" unit:"ns" doc:"time of the first packet"`
	LastNs      int64  `col:"last_ns" unit:"ns" doc:"time of the last packet"`
	Ts          Micros `col:"ts" unit:"us" doc:"first_ns truncated to microseconds, UTC"`
	FirstPacket int64  `col:"first_packet" doc:"number of its first packet"`
	LastPacket  int64  `col:"last_packet" doc:"number of its last packet"`

	SrcPackets      int64 `col:"src_packets" doc:"packets from the client"`
	DstPackets      int64 `col:"dst_packets" doc:"packets from the server"`
	SrcBytes        int64 `col:"src_bytes" unit:"bytes" doc:"IP bytes the client sent"`
	DstBytes        int64 `col:"dst_bytes" unit:"bytes" doc:"IP bytes the server sent"`
	SrcPayloadBytes int64 `col:"src_payload_bytes" unit:"bytes" doc:"transport payload the client sent, retransmissions included"`
	DstPayloadBytes int64 `col:"dst_payload_bytes" unit:"bytes" doc:"transport payload the server sent, retransmissions included"`

	// The account of every payload byte, both directions together. Over the flows of a
	// connection, src_payload_bytes + dst_payload_bytes = cut_bytes + row_bytes + anomaly_bytes
	// + duplicate_bytes; the first flow holds the stream's part.
	CutBytes       int64 `col:"cut_bytes" unit:"bytes" doc:"payload bytes of captured packets that the snap length cut off"`
	RowBytes       int64 `col:"row_bytes" unit:"bytes" doc:"stream bytes that dissectors assigned to calls"`
	GapBytes       int64 `col:"gap_bytes" unit:"bytes" doc:"stream bytes missing from the capture: lost, or cut by the snap length and not seen again"`
	AnomalyBytes   int64 `col:"anomaly_bytes" unit:"bytes" doc:"payload bytes that no dissector could parse, that were dropped at a limit, or that assembly did not accept (docs/design/017-assembly.md); each has an anomaly"`
	DuplicateBytes int64 `col:"duplicate_bytes" unit:"bytes" doc:"payload that was seen again and compared with the kept bytes: retransmissions and second sightings"`

	State        Opt[string] `col:"state" enc:"dict" doc:"TCP state at the end: syn_sent, syn_received, established, closing, closed, reset, refused, midstream"`
	CloseReason  string      `col:"close_reason" enc:"dict" doc:"why the flow ended: fin, reset, timeout (or datagrams whose questions are all answered, among many), reuse, end_of_capture, evicted"`
	Completeness Opt[int32]  `col:"completeness" doc:"sum of SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32"`

	HandshakeClientUs Opt[int64] `col:"handshake_client_us" unit:"us" doc:"SYN to SYN-ACK at this vantage: the round trip from here to the server"`
	HandshakeServerUs Opt[int64] `col:"handshake_server_us" unit:"us" doc:"SYN-ACK to ACK at this vantage: the round trip from here to the client"`
	HandshakeUs       Opt[int64] `col:"handshake_us" unit:"us" doc:"SYN to the ACK that ends the handshake"`
	RTTMinUs          Opt[int64] `col:"rtt_min_us" unit:"us" doc:"smallest time from data to its acknowledgement, both directions, without retransmitted data (Karn)"`
	RTTAvgUs          Opt[int64] `col:"rtt_avg_us" unit:"us" doc:"mean of these times"`
	RTTMaxUs          Opt[int64] `col:"rtt_max_us" unit:"us" doc:"largest of these times"`
	RTTSamples        int64      `col:"rtt_samples" doc:"number of these times"`

	Retransmissions     int64      `col:"retransmissions" doc:"retransmitted segments"`
	FastRetransmissions int64      `col:"fast_retransmissions" doc:"retransmitted segments after two or more duplicate ACKs"`
	OutOfOrder          int64      `col:"out_of_order" doc:"segments that arrived late and filled a gap"`
	DuplicateAcks       int64      `col:"duplicate_acks" doc:"ACKs that repeat the previous one while data is in flight"`
	LostSegments        int64      `col:"lost_segments" doc:"number of places at which stream bytes are missing from the capture"`
	ZeroWindows         int64      `col:"zero_windows" doc:"segments that announce a window of 0"`
	WindowFull          int64      `col:"window_full" doc:"segments that fill the receiver's window"`
	KeepAlives          int64      `col:"keep_alives" doc:"keep-alive probes"`
	Resets              int64      `col:"resets" doc:"segments with RST"`
	Fins                int64      `col:"fins" doc:"segments with FIN"`
	OverlapConflicts    int64      `col:"overlap_conflicts" doc:"segments with different bytes for a place that was captured before; the first copy counts"`
	SnapCuts            int64      `col:"snap_cuts" doc:"packets whose payload was cut by the snap length"`
	MSS                 Opt[int32] `col:"mss" unit:"bytes" doc:"smaller of the two announced maximum segment sizes"`
	OneSided            bool       `col:"one_sided" doc:"packets of one direction only were seen"`
	Sightings           int64      `col:"sightings" doc:"packets that are the same packet seen again"`
	Turned              bool       `col:"turned" doc:"content showed that client and server are swapped compared with the first packet: the views swap packets.flags bit 0x100 and tcp_events.side, the files keep them as written before that was known"`
	CommunityID         string     `col:"community_id" doc:"Community ID version 1 with seed 0"`
}

// Connection is one TCP connection or UDP conversation, with one or more flows.
type Connection struct {
	ConnID     int64       `col:"conn_id" doc:"number from 0 without gaps"`
	Transport  string      `col:"transport" enc:"dict" doc:"tcp, udp, sctp, icmp or another IP protocol's name"`
	Protocol   Opt[string] `col:"protocol" enc:"dict" doc:"innermost application protocol"`
	SrcIP      string      `col:"src_ip" doc:"client address"`
	SrcPort    int32       `col:"src_port" doc:"client port"`
	DstIP      string      `col:"dst_ip" doc:"server address as used by the client"`
	DstPort    int32       `col:"dst_port" doc:"server port as used by the client"`
	SrcID      int64       `col:"src_id" doc:"client; see table endpoints"`
	DstID      int64       `col:"dst_id" doc:"server; see table endpoints"`
	Flows      int32       `col:"flows" doc:"number of flows that saw it"`
	PairMethod string      `col:"pair_method" enc:"dict" doc:"how its flows were recognized as one connection: single, five_tuple, sequence, connection_id (QUIC), payload, socket (reported by the recorder)"`
	FlowID     int64       `col:"flow_id" doc:"flow whose bytes were dissected"`
	FirstNs    int64       `col:"first_ns" unit:"ns" doc:"time of the first packet"`
	LastNs     int64       `col:"last_ns" unit:"ns" doc:"time of the last packet, by its clock"`
	Ts         Micros      `col:"ts" unit:"us" doc:"first_ns truncated to microseconds, UTC"`
	Calls      int64       `col:"calls" doc:"number of calls on it"`

	Payload  Opt[string] `col:"payload_protocol" enc:"dict" doc:"protocol that its payload without a dissector probably is; see docs/format/calls.md"`
	Evidence Opt[string] `col:"payload_evidence" enc:"dict" doc:"what payload_protocol is based on: content, upgrade or port"`

	Encryption        Opt[string] `col:"encryption" enc:"dict" doc:"its encryption: tls, dtls or quic; null if it is not encrypted"`
	KeyState          Opt[string] `col:"key_state" enc:"dict" doc:"verified: a key decrypted a record; unverified: there is a key with its client random, but it decrypted no record; none; null if nothing is encrypted"`
	KeyReason         Opt[string] `col:"key_reason" enc:"dict" doc:"why not all records were decrypted: no_key, no_handshake, gap, unsupported, wrong_key or unencrypted; see docs/format/keys.md"`
	ClientRandom      []byte      `col:"client_random" doc:"client random of its first handshake, which identifies its keys in a key log; null if it was not captured"`
	ClientRecords     Opt[int64]  `col:"client_records" doc:"encrypted records of TLS or DTLS, or packets of QUIC, from the client"`
	ServerRecords     Opt[int64]  `col:"server_records" doc:"encrypted records of TLS or DTLS, or packets of QUIC, from the server"`
	ClientRecordBytes Opt[int64]  `col:"client_record_bytes" unit:"bytes" doc:"bytes of the client's encrypted records on the wire"`
	ServerRecordBytes Opt[int64]  `col:"server_record_bytes" unit:"bytes" doc:"bytes of the server's encrypted records on the wire"`
	ClientOpened      Opt[int64]  `col:"client_opened" doc:"client records that a key decrypted and authenticated"`
	ServerOpened      Opt[int64]  `col:"server_opened" doc:"server records that a key decrypted and authenticated"`
	ClientPlainBytes  Opt[int64]  `col:"client_plain_bytes" unit:"bytes" doc:"application bytes decrypted from the client's records"`
	ServerPlainBytes  Opt[int64]  `col:"server_plain_bytes" unit:"bytes" doc:"application bytes decrypted from the server's records"`
	Alerts            []string    `col:"alerts" doc:"alerts after the handshake, in order, with their side, such as client close_notify; only decrypted ones"`
	RecordSizes       []int64     `col:"record_sizes" unit:"bytes" doc:"sizes of the first 64 encrypted records on the wire, in order; negative from server to client"`
	RecordTimes       []int64     `col:"record_times_us" unit:"us" doc:"times of the records in record_sizes since the first of them"`
}

// Packet is one packet of the bundle, with its position.
type Packet struct {
	PacketNo  int64      `col:"packet_no" doc:"number from 0 without gaps, over all files by time"`
	FileID    int32      `col:"file_id" doc:"number of the file in bundle.json"`
	Offset    int64      `col:"offset" unit:"bytes" doc:"offset of its block (pcapng) or record (pcap) in the file"`
	FileIndex int64      `col:"file_index" doc:"number of the packet in its file, from 0"`
	Frame     int64      `col:"frame" doc:"frame number in Wireshark, from 1"`
	TsNs      int64      `col:"ts_ns" unit:"ns" doc:"time stamp, nanoseconds since 1970 UTC"`
	FlowID    Opt[int64] `col:"flow_id" doc:"flow it belongs to; null for packets that are not IP"`
	CapLen    int32      `col:"caplen" unit:"bytes" doc:"bytes captured"`
	Len       int32      `col:"len" unit:"bytes" doc:"bytes on the wire"`
	Payload   int32      `col:"payload" unit:"bytes" doc:"transport payload bytes on the wire"`
	Flags     int32      `col:"flags" doc:"low byte: TCP flags; 0x100 server to client (see flows.turned); 0x200 retransmission; 0x400 second sighting; 0x800 cut by snap length; 0x1000 IP fragment; 0x2000 not decoded whole; 0x4000 out of order; 0x8000 wrong checksum"`
}

// TCPEvent is an event of a TCP connection.
type TCPEvent struct {
	TsNs     int64  `col:"ts_ns" unit:"ns" doc:"time of the packet"`
	Ts       Micros `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`
	FlowID   int64  `col:"flow_id" doc:"flow it happened in"`
	PacketNo int64  `col:"packet_no" doc:"packet that shows it"`
	Side     string `col:"side" enc:"dict" doc:"sender of that packet: client or server (see flows.turned)"`
	Event    string `col:"event" enc:"dict" doc:"reset, retransmission, fast_retransmission, out_of_order, gap, zero_window, overlap_conflict, keep_alive, syn_retransmission, refused"`
	Bytes    int64  `col:"payload_bytes" unit:"bytes" doc:"number of payload bytes affected"`
}

// Clock is a source of time stamps.
type Clock struct {
	ClockID  int32      `col:"clock_id" doc:"number from 0 without gaps"`
	Source   string     `col:"source" doc:"file and interface that use this clock"`
	SameAs   int32      `col:"same_as" doc:"smallest clock_id of the same clock; durations are computed between times of one clock only"`
	SameBy   string     `col:"same_by" enc:"dict" doc:"why it is the same: recording (interfaces of one pcap file or PCAPNG section), boot (segments of one node and boot), mark (pcapsule wrote the file and marked its clocks), merged (mergecap wrote the file: assumed for each interface), continued (assumed: the next of rotated files; docs/design/017-assembly.md)"`
	TickNs   Opt[int64] `col:"tick_ns" unit:"ns" doc:"resolution of its time stamps; 0 if finer than a nanosecond"`
	OffsetNs Opt[int64] `col:"offset_ns" unit:"ns" doc:"known offset to UTC, already applied"`
	ErrorNs  Opt[int64] `col:"error_ns" unit:"ns" doc:"largest known error; null if unknown"`

	Node         Opt[string] `col:"node" enc:"dict" doc:"node whose clock it is"`
	BootID       Opt[string] `col:"boot_id" enc:"dict" doc:"boot of that node"`
	Synchronized Opt[bool]   `col:"synchronized" doc:"the node's clock was synchronized whenever it was read; null if unknown"`
}

// K8sEvent is an event that Kubernetes reported about an object.
type K8sEvent struct {
	TsNs      int64       `col:"ts_ns" unit:"ns" doc:"time of the last occurrence"`
	Ts        Micros      `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`
	FirstNs   Opt[int64]  `col:"first_ns" unit:"ns" doc:"time of the first occurrence"`
	Type      Opt[string] `col:"type" enc:"dict" doc:"Normal or Warning"`
	Reason    Opt[string] `col:"reason" enc:"dict" doc:"reason word, such as BackOff"`
	Message   Opt[string] `col:"message" doc:"message text"`
	Kind      Opt[string] `col:"kind" enc:"dict" doc:"kind of the object"`
	Namespace Opt[string] `col:"namespace" enc:"dict" doc:"namespace of the object"`
	Name      Opt[string] `col:"name" doc:"name of the object"`
	UID       Opt[string] `col:"uid" doc:"UID of the object"`
	Count     Opt[int64]  `col:"count" doc:"number of occurrences"`
	Source    Opt[string] `col:"source" enc:"dict" doc:"component that reported it"`
	Node      Opt[string] `col:"node" enc:"dict" doc:"node of the reporter"`
}

// OSEvent is an event that the operating system of a node reported.
type OSEvent struct {
	TsNs    int64       `col:"ts_ns" unit:"ns" doc:"time of the event"`
	Ts      Micros      `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`
	Node    Opt[string] `col:"node" enc:"dict" doc:"node"`
	Event   string      `col:"event" enc:"dict" doc:"exec, exit, oom_kill, tcp_state, tcp_retransmit, tcp_reset_sent, tcp_reset_received, packet_drop, clock_set, …; see docs/format/events.md"`
	PID     Opt[int64]  `col:"pid" doc:"process id"`
	Process Opt[string] `col:"process" doc:"process name"`
	PodUID  Opt[string] `col:"pod_uid" doc:"pod UID"`
	Detail  Opt[string] `col:"detail" doc:"further information, as JSON"`

	FileID      int32       `col:"file_id" doc:"file in bundle.json that was recorded together with the event"`
	ParentPID   Opt[int64]  `col:"parent_pid" doc:"process id of the parent"`
	Exe         Opt[string] `col:"exe" doc:"program file"`
	User        Opt[string] `col:"user_name" enc:"dict" doc:"user, by its name on the node, else by number"`
	ExitCode    Opt[int32]  `col:"exit_code" doc:"exit code of an exit without a signal"`
	Signal      Opt[int32]  `col:"signal" doc:"signal that ended the process"`
	Transport   Opt[string] `col:"transport" enc:"dict" doc:"tcp, udp or another IP protocol's name"`
	LocalIP     Opt[string] `col:"local_ip" doc:"address of this machine's end"`
	LocalPort   Opt[int32]  `col:"local_port" doc:"port of this machine's end"`
	RemoteIP    Opt[string] `col:"remote_ip" doc:"address of the other end"`
	RemotePort  Opt[int32]  `col:"remote_port" doc:"port of the other end"`
	Before      Opt[string] `col:"state_before" enc:"dict" doc:"TCP state before"`
	After       Opt[string] `col:"state_after" enc:"dict" doc:"TCP state after"`
	Reason      Opt[string] `col:"reason" enc:"dict" doc:"the kernel's reason for dropping a packet"`
	Cgroup      Opt[string] `col:"cgroup" doc:"control group"`
	ContainerID Opt[string] `col:"container_id" doc:"container id from the control group's path"`
	LeftOut     Opt[int64]  `col:"left_out" doc:"number of events of this kind that were left out before this one, because there were too many at once"`
}

// Alert is what another program, such as Suricata, said about traffic. It is no verdict of ours.
type Alert struct {
	AlertNo     int64       `col:"alert_no" doc:"number from 0 without gaps, in the order of ts_ns"`
	Program     string      `col:"program" enc:"dict" doc:"program that said it: suricata or zeek"`
	Version     Opt[string] `col:"program_version" enc:"dict" doc:"its version, if its log says it"`
	Kind        string      `col:"kind" enc:"dict" doc:"alert, anomaly or fileinfo of Suricata; notice, intel, weird or conn of Zeek"`
	RuleID      Opt[string] `col:"rule_id" enc:"dict" doc:"rule: group, id and revision of a signature, type of a notice, name of an anomaly, state of a connection"`
	Rule        Opt[string] `col:"rule" enc:"dict" doc:"text of the rule; history of a connection"`
	Category    Opt[string] `col:"category" enc:"dict" doc:"category in the program's words"`
	Severity    Opt[string] `col:"severity" enc:"dict" doc:"severity in the program's words: 1 is Suricata's worst"`
	Action      Opt[string] `col:"action" enc:"dict" doc:"what the program did: allowed or blocked"`
	TsNs        int64       `col:"ts_ns" unit:"ns" doc:"time that the program said"`
	Ts          Micros      `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`
	EndNs       Opt[int64]  `col:"end_ns" unit:"ns" doc:"end of a connection, of conn"`
	Transport   Opt[string] `col:"transport" enc:"dict" doc:"protocol that it said: tcp, udp, sctp, icmp or another IP protocol's name"`
	SrcIP       Opt[string] `col:"src_ip" doc:"first address that it named: sender of a packet, of Zeek the client"`
	SrcPort     Opt[int32]  `col:"src_port" doc:"its port"`
	DstIP       Opt[string] `col:"dst_ip" doc:"other address"`
	DstPort     Opt[int32]  `col:"dst_port" doc:"its port"`
	CommunityID Opt[string] `col:"community_id" doc:"Community ID as the program said it"`
	SaidID      Opt[string] `col:"said_id" doc:"the program's own number of the connection: flow_id, uid"`
	Frame       Opt[int64]  `col:"frame" doc:"frame number that the program said, from 1"`
	Here        string      `col:"packets_here" enc:"dict" doc:"whether the packets that it is about are in this bundle: yes, no or unknown; docs/format/alerts.md has the rules"`
	Why         string      `col:"packets_why" enc:"dict" doc:"rule that decided it: packet, frame, no_flow, outside, no_packet, no_ends or excluded"`
	FlowID      Opt[int64]  `col:"flow_id" doc:"flow that it is about"`
	ConnID      Opt[int64]  `col:"conn_id" doc:"connection that it is about"`
	CallNos     []int64     `col:"call_nos" doc:"calls that it is about"`
	Cites       Cites       `col:"cites" unit:"packets" doc:"packets that it is about; see table packets"`
	Text        Opt[string] `col:"text" doc:"message with text from the traffic, such as the URL of an alert, or the text of a notice"`
	Detail      Opt[string] `col:"detail" doc:"further parts of the log's line, as JSON"`
	Source      Opt[string] `col:"source" enc:"dict" doc:"name of the log"`
	Line        Opt[int64]  `col:"line" doc:"number of the line in it"`
}

// Workload is one Kubernetes object with addresses, during the time for which it is known.
type Workload struct {
	Kind        string      `col:"kind" enc:"dict" doc:"pod, service, node, namespace or networkpolicy"`
	Namespace   Opt[string] `col:"namespace" enc:"dict" doc:"namespace"`
	Name        string      `col:"name" doc:"name"`
	UID         Opt[string] `col:"uid" doc:"UID"`
	Addresses   []string    `col:"addresses" doc:"addresses, sorted"`
	ValidFromNs int64       `col:"valid_from_ns" unit:"ns" doc:"start of its lifetime; 0 if unknown"`
	ValidToNs   Opt[int64]  `col:"valid_to_ns" unit:"ns" doc:"end of its lifetime, or the first complete dump without it or with another spec; null if the last dump has it"`
	Owner       Opt[string] `col:"owner" doc:"name of the topmost owner"`
	OwnerKind   Opt[string] `col:"owner_kind" enc:"dict" doc:"kind of the topmost owner"`
	Node        Opt[string] `col:"node" enc:"dict" doc:"node of a pod"`
	Labels      []Pair      `col:"labels" doc:"labels, sorted by name"`
	Services    []string    `col:"services" doc:"services in front of a pod, sorted"`
	Ports       []Pair      `col:"ports" doc:"ports of a service, such as tcp/80, and each port on which the pods behind it listen; named ports of a pod, such as tcp/http; empty if no dump contains them"`
	Spec        Opt[string] `col:"spec" doc:"spec of a network policy: JSON with the fields of networking.k8s.io/v1; null if it could not be read"`
	SeenNs      int64       `col:"seen_ns" unit:"ns" doc:"newest dump that shows it with these labels and this spec; 0 if unknown. A namespace with other labels in another dump, or a policy with another spec, has another row"`
	SinceNs     Opt[int64]  `col:"since_ns" unit:"ns" doc:"time from which its labels and its spec are known to be these: an earlier dump shows other labels, or the policy was not changed since it was made; null if no dump shows it"`
	Source      string      `col:"source" enc:"dict" doc:"input file that named it"`
}

// Coverage is a time range in which one source recorded, or a coverage gap with its reason.
type Coverage struct {
	FileID  int32      `col:"file_id" doc:"file in bundle.json; -1 for information from a ring about times that are in none of the files here"`
	Source  string     `col:"source" enc:"dict" doc:"interface, file, ring or node that recorded"`
	FromNs  int64      `col:"from_ns" unit:"ns" doc:"start of the time range; 0 if no time is known, because nothing of a file could be read"`
	ToNs    int64      `col:"to_ns" unit:"ns" doc:"end of the time range, included"`
	Kind    string     `col:"kind" enc:"dict" doc:"recorded, or hole for a coverage gap"`
	Reason  string     `col:"reason" enc:"dict" doc:"reason of a gap: filter, policy, drop, disk, restart, retention, missing, redaction, damaged, not_scheduled, not_read (by a live run so far); empty for recorded"`
	Packets int64      `col:"packets" doc:"number of packets recorded, or known to be lost in a gap"`
	Detail  string     `col:"detail" doc:"further information"`
	Silence Opt[int64] `col:"silence_ns" unit:"ns" doc:"longest time between two packets of a recorded time range; null for gaps"`
	Quiet   Opt[int64] `col:"quiet_from_ns" unit:"ns" doc:"start of the longest time between two packets; null if the recorder states what it did not record, as in a ring, so that nothing was sent then"`
}

// Anomaly is input that the decoder or a dissector could not accept.
type Anomaly struct {
	TsNs     int64      `col:"ts_ns" unit:"ns" doc:"time of the packet, or of the one before it; 0 if unknown"`
	Ts       Micros     `col:"ts" unit:"us" doc:"ts_ns truncated to microseconds, UTC"`
	Source   string     `col:"source" enc:"dict" doc:"component that found it: file, link, ip, tcp, engine or a protocol"`
	Kind     string     `col:"kind" enc:"dict" doc:"kind of anomaly, such as bad_length, overlap_conflict, limit, panic, withdrawn"`
	Detail   string     `col:"detail" doc:"what was expected and what was found"`
	FileID   Opt[int32] `col:"file_id" doc:"file, if the place is in a file"`
	Offset   Opt[int64] `col:"offset" unit:"bytes" doc:"offset in the file"`
	FlowID   Opt[int64] `col:"flow_id" doc:"flow, if there is one"`
	PacketNo Opt[int64] `col:"packet_no" doc:"packet, if there is one"`
	Bytes    int64      `col:"lost_bytes" unit:"bytes" doc:"number of bytes that could not be parsed because of it"`
	Count    int64      `col:"count" doc:"number of occurrences; above a limit, equal anomalies of a flow share a row"`
}

// All lists every table, without the protocols' own columns of calls, in the order of
// presentation.
func All() []*Schema {
	return []*Schema{
		SchemaOf("calls", "one row per call: a request with its response, or one message if a protocol has no pairs", Call{}),
		SchemaOf("bodies", "message bodies after transfer and content decoding, in parts", Body{}),
		SchemaOf("endpoints", "owners of addresses, with the times for which they are valid", Endpoint{}),
		SchemaOf("flows", "one row per conversation of two endpoints, as one vantage saw it", Flow{}),
		SchemaOf("connections", "one row per TCP connection or UDP conversation, behind one or more flows", Connection{}),
		SchemaOf("packets", "position of each packet in its file, and the flow that it belongs to", Packet{}),
		SchemaOf("tls_handshakes", "one row per TLS handshake", TLSHandshake{}),
		SchemaOf("tcp_events", "one row per event on a TCP connection", TCPEvent{}),
		SchemaOf("receipts", "whether the responses of calls on TCP were delivered, which is known only after their rows were made", Receipt{}),
		SchemaOf("workloads", "Kubernetes objects with addresses, and the times for which they are known", Workload{}),
		SchemaOf("clocks", "sources of time stamps", Clock{}),
		SchemaOf("k8s_events", "Kubernetes events and changes", K8sEvent{}),
		SchemaOf("os_events", "operating system events", OSEvent{}),
		SchemaOf("coverage", "what was recorded, where and when, and every coverage gap with its reason", Coverage{}),
		SchemaOf("anomalies", "what could not be decoded or had to be guessed, with its place", Anomaly{}),
		SchemaOf("alerts", "what other programs said: alerts of Suricata, logs of Zeek", Alert{}),
		SchemaOf("objects", "files seen in transfer, and bodies too large for the table bodies", Object{}),
	}
}
