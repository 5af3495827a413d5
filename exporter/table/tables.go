package table

// Body is one distinct message body after transfer and content decoding. Equal bodies
// are stored once a window, so one hash may have a few rows.
type Body struct {
	SHA256      Hash        `col:"sha256" doc:"SHA-256 of the whole decoded body"`
	Part        int32       `col:"part" doc:"number of the part, from 0; a part holds at most 1 MiB and parts overlap by 4 KiB"`
	Offset      int64       `col:"offset" unit:"bytes" doc:"where in the body this part begins"`
	Size        int64       `col:"size" unit:"bytes" doc:"size of the whole decoded body"`
	WireSize    int64       `col:"wire_size" unit:"bytes" doc:"size before content decoding, of the first sighting"`
	ContentType Opt[string] `col:"content_type" enc:"dict" doc:"Content-Type of the first sighting"`
	Encoding    Opt[string] `col:"encoding" enc:"dict" doc:"content encoding that was undone: gzip, deflate, br, zstd"`
	Complete    bool        `col:"complete" doc:"no byte of the body is missing and decoding reached its end"`
	Text        Opt[string] `col:"text" doc:"this part as text where it is valid UTF-8 without control characters but tab and line ends"`
	Bytes       []byte      `col:"bytes" doc:"this part's bytes where it is not text"`
	FirstCallNo int64       `col:"first_call_no" doc:"first call that carried it in this window"`
}

// Object is a body too large for bodies: its bytes are cut from the packets when asked.
type Object struct {
	SHA256      Hash        `col:"sha256" doc:"SHA-256 of the body as far as it was seen, before content decoding"`
	Size        int64       `col:"size" unit:"bytes" doc:"bytes seen, before content decoding"`
	ContentType Opt[string] `col:"content_type" enc:"dict" doc:"Content-Type of the message"`
	Encoding    Opt[string] `col:"encoding" enc:"dict" doc:"content encoding that was not undone"`
	Complete    bool        `col:"complete" doc:"no byte is missing"`
	CallNo      int64       `col:"call_no" doc:"call that carried it"`
	Side        string      `col:"side" enc:"dict" doc:"request or response"`
	Cites       Cites       `col:"cites" unit:"packets" doc:"the packets that carry it"`
}

// Endpoint is who stood behind an address at a time.
type Endpoint struct {
	EndpointID   int64       `col:"endpoint_id" doc:"dense number, from 0, in the order of first appearance"`
	IP           string      `col:"ip" doc:"address, RFC 5952"`
	ValidFromNs  int64       `col:"valid_from_ns" unit:"ns" doc:"from when this identity holds; 0 where unknown"`
	Name         string      `col:"name" doc:"best name: pod, else service, else node, else process, else DNS or host name, else the address"`
	Who          string      `col:"who" doc:"the workload for a person: namespace and service, else workload, pod, process or name; outside the cluster the DNS or host name; else the address"`
	Kind         string      `col:"kind" enc:"dict" doc:"pod, service, node, process, host, outside or unknown"`
	Namespace    Opt[string] `col:"namespace" enc:"dict" doc:"Kubernetes namespace"`
	Pod          Opt[string] `col:"pod" doc:"pod name"`
	PodUID       Opt[string] `col:"pod_uid" doc:"pod UID"`
	Service      Opt[string] `col:"service" doc:"service in front of it (first by name where several)"`
	Services     []string    `col:"services" doc:"all services in front of it, sorted"`
	Workload     Opt[string] `col:"workload" doc:"owner: Deployment, StatefulSet, DaemonSet, Job or CronJob name"`
	WorkloadKind Opt[string] `col:"workload_kind" enc:"dict" doc:"kind of the owner"`
	Container    Opt[string] `col:"container" doc:"container name"`
	Image        Opt[string] `col:"image" doc:"container image"`
	Node         Opt[string] `col:"node" enc:"dict" doc:"node it runs on"`
	Labels       []Pair      `col:"labels" doc:"labels, sorted by name"`
	Process      Opt[string] `col:"process" doc:"process name"`
	PID          Opt[int64]  `col:"pid" doc:"process id on its node"`
	DNSName      Opt[string] `col:"dns_name" doc:"name that DNS answers in the capture gave this address"`
	Hostname     Opt[string] `col:"hostname" doc:"name from a hosts file or a Name Resolution Block"`
	External     bool        `col:"external" doc:"the address is outside private, link-local, loopback and known cluster ranges"`
	HowKnown     string      `col:"how_known" enc:"dict" doc:"source of the identity: segment, kube, peer, ptcpdump, hosts, nrb, dns or none; where the process is known from its socket the kind of knowledge: writer, last_user, acceptor, creator, holder_at_start, listener_inherited, shared_at_start (docs/format/owners.md)"`
	OwnerGuess   Opt[bool]   `col:"owner_guess" doc:"the process made or inherited the socket and another may use it; null where no process is known from its socket"`
	Exe          Opt[string] `col:"exe" doc:"program file of the process"`
	Command      []string    `col:"command" doc:"its command line, with secrets masked by the recorder"`
	User         Opt[string] `col:"user_name" enc:"dict" doc:"its user, by the node's name, else by number"`
	StartedNs    Opt[int64]  `col:"started_ns" unit:"ns" doc:"when the process began"`
	Cgroup       Opt[string] `col:"cgroup" doc:"control group of the process"`
	ContainerID  Opt[string] `col:"container_id" doc:"id of its container, as the control group's path has it"`
}

// Flow is one conversation of two endpoints as one vantage saw it. "Client" is the
// side that opened it, "server" the other.
type Flow struct {
	FlowID    int64       `col:"flow_id" doc:"dense number, from 0, in the order of its first packet"`
	ConnID    int64       `col:"conn_id" doc:"connection it belongs to"`
	Transport string      `col:"transport" enc:"dict" doc:"tcp, udp, sctp, icmp or another IP protocol's name"`
	SrcIP     string      `col:"src_ip" doc:"client address, RFC 5952"`
	SrcPort   int32       `col:"src_port" doc:"client port; 0 where the transport has none"`
	DstIP     string      `col:"dst_ip" doc:"server address, RFC 5952"`
	DstPort   int32       `col:"dst_port" doc:"server port; 0 where the transport has none"`
	SrcID     int64       `col:"src_id" doc:"client; see table endpoints"`
	DstID     int64       `col:"dst_id" doc:"server; see table endpoints"`
	Protocol  Opt[string] `col:"protocol" enc:"dict" doc:"innermost application protocol told by content; null where none was"`
	Protocols []string    `col:"protocols" doc:"protocols from outside in, such as tls, http2, grpc"`
	RoleKnown string      `col:"role_known" enc:"dict" doc:"how client and server were told apart: syn, synack, protocol, port, first_packet"`
	Vantage   string      `col:"vantage" enc:"dict" doc:"where it was seen: client, server, middle or unknown"`
	Interface string      `col:"interface" enc:"dict" doc:"name of the interface of its first packet, empty where unnamed"`
	Tunnel    Opt[string] `col:"tunnel" enc:"dict" doc:"tunnels around it from outside in: vxlan, geneve, gre, ipip, gtpu, erspan, mpls, pppoe, teredo"`
	TunnelID  Opt[int64]  `col:"tunnel_id" doc:"VNI, key, TEID or session of the innermost tunnel that has one"`
	OuterSrc  Opt[string] `col:"outer_src_ip" doc:"source of the innermost tunnel's packets, from the first packet"`
	OuterDst  Opt[string] `col:"outer_dst_ip" doc:"destination of the innermost tunnel's packets"`
	VLAN      Opt[int32]  `col:"vlan" doc:"outermost VLAN id of the first packet"`

	FirstNs     int64  `col:"first_ns" unit:"ns" doc:"time of the first packet"`
	LastNs      int64  `col:"last_ns" unit:"ns" doc:"time of the last packet"`
	Ts          Micros `col:"ts" unit:"us" doc:"first_ns cut to microseconds, UTC"`
	FirstPacket int64  `col:"first_packet" doc:"number of its first packet"`
	LastPacket  int64  `col:"last_packet" doc:"number of its last packet"`

	SrcPackets      int64 `col:"src_packets" doc:"packets the client sent"`
	DstPackets      int64 `col:"dst_packets" doc:"packets the server sent"`
	SrcBytes        int64 `col:"src_bytes" unit:"bytes" doc:"IP bytes the client sent"`
	DstBytes        int64 `col:"dst_bytes" unit:"bytes" doc:"IP bytes the server sent"`
	SrcPayloadBytes int64 `col:"src_payload_bytes" unit:"bytes" doc:"transport payload the client sent, retransmissions included"`
	DstPayloadBytes int64 `col:"dst_payload_bytes" unit:"bytes" doc:"transport payload the server sent, retransmissions included"`

	// Where every payload byte went, both directions together. Over the flows of a
	// connection, src_payload_bytes + dst_payload_bytes = cut_bytes + row_bytes +
	// anomaly_bytes + duplicate_bytes; the first flow holds the stream's part of it.
	CutBytes       int64 `col:"cut_bytes" unit:"bytes" doc:"payload bytes of captured packets that the snap length cut off"`
	RowBytes       int64 `col:"row_bytes" unit:"bytes" doc:"stream bytes that dissectors took into calls"`
	GapBytes       int64 `col:"gap_bytes" unit:"bytes" doc:"stream bytes that the capture lacks: lost, or cut by the snap length and not seen again"`
	AnomalyBytes   int64 `col:"anomaly_bytes" unit:"bytes" doc:"payload bytes that no dissector could accept, that were dropped at a limit, or that assembly did not take (docs/design/017-assembly.md); each has an anomaly"`
	DuplicateBytes int64 `col:"duplicate_bytes" unit:"bytes" doc:"payload seen again and compared with what was kept: retransmissions and second sightings"`

	State        Opt[string] `col:"state" enc:"dict" doc:"TCP state at the end: syn_sent, syn_received, established, closing, closed, reset, refused, midstream"`
	CloseReason  string      `col:"close_reason" enc:"dict" doc:"why the flow ended: fin, reset, timeout, reuse, end_of_capture, evicted"`
	Completeness Opt[int32]  `col:"completeness" doc:"sum of SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32"`

	HandshakeClientUs Opt[int64] `col:"handshake_client_us" unit:"us" doc:"SYN to SYN-ACK at this vantage: the handshake as the client's side of it sees it"`
	HandshakeServerUs Opt[int64] `col:"handshake_server_us" unit:"us" doc:"SYN-ACK to ACK at this vantage: the handshake as the server's side of it sees it"`
	HandshakeUs       Opt[int64] `col:"handshake_us" unit:"us" doc:"SYN to the ACK that ends the handshake"`
	RTTMinUs          Opt[int64] `col:"rtt_min_us" unit:"us" doc:"smallest time from data to its acknowledgement, both directions, retransmitted data left out (Karn)"`
	RTTAvgUs          Opt[int64] `col:"rtt_avg_us" unit:"us" doc:"mean of these times"`
	RTTMaxUs          Opt[int64] `col:"rtt_max_us" unit:"us" doc:"largest of these times"`
	RTTSamples        int64      `col:"rtt_samples" doc:"number of these times"`

	Retransmissions     int64      `col:"retransmissions" doc:"segments sent again"`
	FastRetransmissions int64      `col:"fast_retransmissions" doc:"of these, after two or more duplicate ACKs"`
	OutOfOrder          int64      `col:"out_of_order" doc:"segments that came late and fill a gap"`
	DuplicateAcks       int64      `col:"duplicate_acks" doc:"ACKs that repeat the last one while data is on the way"`
	LostSegments        int64      `col:"lost_segments" doc:"places where the capture lacks stream bytes"`
	ZeroWindows         int64      `col:"zero_windows" doc:"segments that announce a window of 0"`
	WindowFull          int64      `col:"window_full" doc:"segments that fill the receiver's window"`
	KeepAlives          int64      `col:"keep_alives" doc:"keep-alive probes"`
	Resets              int64      `col:"resets" doc:"segments with RST"`
	Fins                int64      `col:"fins" doc:"segments with FIN"`
	OverlapConflicts    int64      `col:"overlap_conflicts" doc:"segments with other bytes at a place captured before; the first copy counts"`
	SnapCuts            int64      `col:"snap_cuts" doc:"packets whose payload was cut by the snap length"`
	MSS                 Opt[int32] `col:"mss" unit:"bytes" doc:"smaller of the two announced maximum segment sizes"`
	OneSided            bool       `col:"one_sided" doc:"packets of one direction only were seen"`
	Sightings           int64      `col:"sightings" doc:"packets that are the same packet seen again"`
	Turned              bool       `col:"turned" doc:"content showed that client and server are the other way round than the first packet suggested: the views turn packets.flags bit 0x100 and tcp_events.side round, the files have them as written before that was known"`
	CommunityID         string     `col:"community_id" doc:"Community ID version 1 with seed 0"`
}

// Connection is one TCP connection or UDP conversation, behind one or more flows.
type Connection struct {
	ConnID     int64       `col:"conn_id" doc:"dense number, from 0"`
	Transport  string      `col:"transport" enc:"dict" doc:"tcp, udp, sctp, icmp or another IP protocol's name"`
	Protocol   Opt[string] `col:"protocol" enc:"dict" doc:"innermost application protocol"`
	SrcIP      string      `col:"src_ip" doc:"client address"`
	SrcPort    int32       `col:"src_port" doc:"client port"`
	DstIP      string      `col:"dst_ip" doc:"server address as dialled"`
	DstPort    int32       `col:"dst_port" doc:"server port as dialled"`
	SrcID      int64       `col:"src_id" doc:"client; see table endpoints"`
	DstID      int64       `col:"dst_id" doc:"server; see table endpoints"`
	Flows      int32       `col:"flows" doc:"number of flows that saw it"`
	PairMethod string      `col:"pair_method" enc:"dict" doc:"how its flows were found to be one connection: single, five_tuple, sequence, connection_id (QUIC), payload"`
	FlowID     int64       `col:"flow_id" doc:"flow whose bytes were dissected"`
	FirstNs    int64       `col:"first_ns" unit:"ns" doc:"time of the first packet"`
	LastNs     int64       `col:"last_ns" unit:"ns" doc:"time of the last packet"`
	Ts         Micros      `col:"ts" unit:"us" doc:"first_ns cut to microseconds, UTC"`
	Calls      int64       `col:"calls" doc:"calls on it"`

	Encryption        Opt[string] `col:"encryption" enc:"dict" doc:"what encrypts it: tls, dtls or quic; null where nothing does"`
	KeyState          Opt[string] `col:"key_state" enc:"dict" doc:"verified: a record opened with a key; unverified: a key with its client random is there and opened none; none; null where nothing is encrypted"`
	KeyReason         Opt[string] `col:"key_reason" enc:"dict" doc:"why not all records were opened: no_key, no_handshake, gap, unsupported, wrong_key or unencrypted; see docs/format/keys.md"`
	ClientRandom      []byte      `col:"client_random" doc:"client random of its first handshake, which finds its keys in a key log; null where it was not captured"`
	ClientRecords     Opt[int64]  `col:"client_records" doc:"encrypted records of TLS or DTLS, or packets of QUIC, from the client"`
	ServerRecords     Opt[int64]  `col:"server_records" doc:"the same from the server"`
	ClientRecordBytes Opt[int64]  `col:"client_record_bytes" unit:"bytes" doc:"bytes of these records on the wire"`
	ServerRecordBytes Opt[int64]  `col:"server_record_bytes" unit:"bytes" doc:"the same from the server"`
	ClientOpened      Opt[int64]  `col:"client_opened" doc:"of the client's records, those that authenticated with a key"`
	ServerOpened      Opt[int64]  `col:"server_opened" doc:"the same from the server"`
	ClientPlainBytes  Opt[int64]  `col:"client_plain_bytes" unit:"bytes" doc:"application bytes that came out of them"`
	ServerPlainBytes  Opt[int64]  `col:"server_plain_bytes" unit:"bytes" doc:"the same from the server"`
	Alerts            []string    `col:"alerts" doc:"alerts after the handshake, in order, with their side, as in client close_notify; only what was opened"`
	RecordSizes       []int64     `col:"record_sizes" unit:"bytes" doc:"sizes of the first 64 encrypted records on the wire, in order; negative from server to client"`
	RecordTimes       []int64     `col:"record_times_us" unit:"us" doc:"times of the same records since the first of them"`
}

// Packet is one packet of the bundle, with the place where it lies.
type Packet struct {
	PacketNo  int64      `col:"packet_no" doc:"dense number, from 0, over all files by time"`
	FileID    int32      `col:"file_id" doc:"number of the file in bundle.json"`
	Offset    int64      `col:"offset" unit:"bytes" doc:"offset of its block (pcapng) or record (pcap) in the file"`
	FileIndex int64      `col:"file_index" doc:"number of the packet in its file, from 0"`
	Frame     int64      `col:"frame" doc:"frame number that Wireshark gives it, from 1"`
	TsNs      int64      `col:"ts_ns" unit:"ns" doc:"time stamp, nanoseconds since 1970 UTC"`
	FlowID    Opt[int64] `col:"flow_id" doc:"flow it belongs to; null for what is not IP"`
	CapLen    int32      `col:"caplen" unit:"bytes" doc:"bytes captured"`
	Len       int32      `col:"len" unit:"bytes" doc:"bytes on the wire"`
	Payload   int32      `col:"payload" unit:"bytes" doc:"transport payload bytes on the wire"`
	Flags     int32      `col:"flags" doc:"low byte: TCP flags; 0x100 server to client (see flows.turned); 0x200 retransmission; 0x400 second sighting; 0x800 cut by snap length; 0x1000 IP fragment; 0x2000 not decoded whole; 0x4000 out of order; 0x8000 wrong checksum"`
}

// TCPEvent is one thing that happened to a TCP connection.
type TCPEvent struct {
	TsNs     int64  `col:"ts_ns" unit:"ns" doc:"time of the packet"`
	Ts       Micros `col:"ts" unit:"us" doc:"ts_ns cut to microseconds, UTC"`
	FlowID   int64  `col:"flow_id" doc:"flow it happened in"`
	PacketNo int64  `col:"packet_no" doc:"packet that shows it"`
	Side     string `col:"side" enc:"dict" doc:"who sent that packet: client or server (see flows.turned)"`
	Event    string `col:"event" enc:"dict" doc:"reset, retransmission, fast_retransmission, out_of_order, gap, zero_window, overlap_conflict, keep_alive, syn_retransmission, refused"`
	Bytes    int64  `col:"payload_bytes" unit:"bytes" doc:"payload bytes concerned"`
}

// Clock is a source of time stamps.
type Clock struct {
	ClockID  int32      `col:"clock_id" doc:"dense number, from 0"`
	Source   string     `col:"source" doc:"file and interface whose clock it is"`
	TickNs   Opt[int64] `col:"tick_ns" unit:"ns" doc:"resolution of its time stamps; 0 where finer than a nanosecond"`
	OffsetNs Opt[int64] `col:"offset_ns" unit:"ns" doc:"known offset to UTC, already applied"`
	ErrorNs  Opt[int64] `col:"error_ns" unit:"ns" doc:"known largest error; null where unknown"`

	Node         Opt[string] `col:"node" enc:"dict" doc:"node whose clock it is"`
	BootID       Opt[string] `col:"boot_id" enc:"dict" doc:"boot of that node"`
	Synchronized Opt[bool]   `col:"synchronized" doc:"the node's clock was synchronized whenever it was read; null where nobody says"`
}

// K8sEvent is something Kubernetes said about an object.
type K8sEvent struct {
	TsNs      int64       `col:"ts_ns" unit:"ns" doc:"when it last happened"`
	Ts        Micros      `col:"ts" unit:"us" doc:"ts_ns cut to microseconds, UTC"`
	FirstNs   Opt[int64]  `col:"first_ns" unit:"ns" doc:"when it first happened"`
	Type      Opt[string] `col:"type" enc:"dict" doc:"Normal or Warning"`
	Reason    Opt[string] `col:"reason" enc:"dict" doc:"reason word, such as BackOff"`
	Message   Opt[string] `col:"message" doc:"message for people"`
	Kind      Opt[string] `col:"kind" enc:"dict" doc:"kind of the object"`
	Namespace Opt[string] `col:"namespace" enc:"dict" doc:"namespace of the object"`
	Name      Opt[string] `col:"name" doc:"name of the object"`
	UID       Opt[string] `col:"uid" doc:"UID of the object"`
	Count     Opt[int64]  `col:"count" doc:"how often"`
	Source    Opt[string] `col:"source" enc:"dict" doc:"component that reported it"`
	Node      Opt[string] `col:"node" enc:"dict" doc:"node of the reporter"`
}

// OSEvent is something the operating system of a node saw.
type OSEvent struct {
	TsNs    int64       `col:"ts_ns" unit:"ns" doc:"when"`
	Ts      Micros      `col:"ts" unit:"us" doc:"ts_ns cut to microseconds, UTC"`
	Node    Opt[string] `col:"node" enc:"dict" doc:"node"`
	Event   string      `col:"event" enc:"dict" doc:"exec, exit, oom_kill, tcp_state, tcp_retransmit, tcp_reset_sent, tcp_reset_received, packet_drop, clock_set, …; see docs/format/events.md"`
	PID     Opt[int64]  `col:"pid" doc:"process id"`
	Process Opt[string] `col:"process" doc:"process name"`
	PodUID  Opt[string] `col:"pod_uid" doc:"pod UID"`
	Detail  Opt[string] `col:"detail" doc:"what else is known, as JSON"`

	FileID      int32       `col:"file_id" doc:"file in bundle.json beside which it stood"`
	ParentPID   Opt[int64]  `col:"parent_pid" doc:"process id of the parent"`
	Exe         Opt[string] `col:"exe" doc:"program file"`
	User        Opt[string] `col:"user_name" enc:"dict" doc:"user, by the node's name, else by number"`
	ExitCode    Opt[int32]  `col:"exit_code" doc:"exit code of an exit without a signal"`
	Signal      Opt[int32]  `col:"signal" doc:"signal that ended the process"`
	Transport   Opt[string] `col:"transport" enc:"dict" doc:"tcp, udp or another IP protocol's name"`
	LocalIP     Opt[string] `col:"local_ip" doc:"this machine's end"`
	LocalPort   Opt[int32]  `col:"local_port" doc:"its port"`
	RemoteIP    Opt[string] `col:"remote_ip" doc:"the other end"`
	RemotePort  Opt[int32]  `col:"remote_port" doc:"its port"`
	Before      Opt[string] `col:"state_before" enc:"dict" doc:"TCP state before"`
	After       Opt[string] `col:"state_after" enc:"dict" doc:"TCP state after"`
	Reason      Opt[string] `col:"reason" enc:"dict" doc:"the kernel's word for why a packet was dropped"`
	Cgroup      Opt[string] `col:"cgroup" doc:"control group"`
	ContainerID Opt[string] `col:"container_id" doc:"id of the container, as the control group's path has it"`
	LeftOut     Opt[int64]  `col:"left_out" doc:"events of this kind that were left out before this one, since there were too many at once"`
}

// Workload is one Kubernetes object with addresses, for as long as it was known.
type Workload struct {
	Kind        string      `col:"kind" enc:"dict" doc:"pod, service or node"`
	Namespace   Opt[string] `col:"namespace" enc:"dict" doc:"namespace"`
	Name        string      `col:"name" doc:"name"`
	UID         Opt[string] `col:"uid" doc:"UID"`
	Addresses   []string    `col:"addresses" doc:"addresses, sorted"`
	ValidFromNs int64       `col:"valid_from_ns" unit:"ns" doc:"from when; 0 where unknown"`
	ValidToNs   Opt[int64]  `col:"valid_to_ns" unit:"ns" doc:"until when; null where it still lived at the last dump"`
	Owner       Opt[string] `col:"owner" doc:"name of the topmost owner"`
	OwnerKind   Opt[string] `col:"owner_kind" enc:"dict" doc:"kind of the topmost owner"`
	Node        Opt[string] `col:"node" enc:"dict" doc:"node of a pod"`
	Labels      []Pair      `col:"labels" doc:"labels, sorted by name"`
	Services    []string    `col:"services" doc:"services in front of a pod, sorted"`
	Ports       []Pair      `col:"ports" doc:"ports of a service, such as tcp/80, and the port on which the pods behind it listen; empty if no dump says it"`
	Source      string      `col:"source" enc:"dict" doc:"input file that named it"`
}

// Coverage is a stretch of time in which one source recorded, or a hole with its reason.
type Coverage struct {
	FileID  int32  `col:"file_id" doc:"file in bundle.json; -1 for what a ring says of what is in none of its files here"`
	Source  string `col:"source" enc:"dict" doc:"interface, file, ring or node that recorded"`
	FromNs  int64  `col:"from_ns" unit:"ns" doc:"start"`
	ToNs    int64  `col:"to_ns" unit:"ns" doc:"end, included"`
	Kind    string `col:"kind" enc:"dict" doc:"recorded or hole"`
	Reason  string `col:"reason" enc:"dict" doc:"of a hole: filter, policy, drop, disk, restart, retention, missing, redaction, damaged, not_scheduled; empty for recorded"`
	Packets int64  `col:"packets" doc:"packets recorded, or known to be lost in a hole"`
	Detail  string `col:"detail" doc:"what else is known, for a person"`
}

// Anomaly is something that the decoder or a dissector met and could not accept.
type Anomaly struct {
	TsNs     int64      `col:"ts_ns" unit:"ns" doc:"time of the packet, or of the one before it; 0 where unknown"`
	Ts       Micros     `col:"ts" unit:"us" doc:"ts_ns cut to microseconds, UTC"`
	Source   string     `col:"source" enc:"dict" doc:"who met it: file, link, ip, tcp, engine or a protocol"`
	Kind     string     `col:"kind" enc:"dict" doc:"word for the kind, such as bad_length, overlap_conflict, limit, panic, withdrawn"`
	Detail   string     `col:"detail" doc:"what was wanted and what came"`
	FileID   Opt[int32] `col:"file_id" doc:"file, where the place is in a file"`
	Offset   Opt[int64] `col:"offset" unit:"bytes" doc:"offset in the file"`
	FlowID   Opt[int64] `col:"flow_id" doc:"flow, where there is one"`
	PacketNo Opt[int64] `col:"packet_no" doc:"packet, where there is one"`
	Bytes    int64      `col:"lost_bytes" unit:"bytes" doc:"bytes that were not understood because of it"`
	Count    int64      `col:"count" doc:"how often; above a limit a flow's equal anomalies share a row"`
}

// All lists every table but the protocols' own columns of calls, in the order that
// people should meet them.
func All() []*Schema {
	return []*Schema{
		SchemaOf("calls", "one row a call: a request with its response, or one message where a protocol has no pairs", Call{}),
		SchemaOf("bodies", "message bodies after transfer and content decoding, in parts", Body{}),
		SchemaOf("endpoints", "who stood behind an address at a time", Endpoint{}),
		SchemaOf("flows", "one row a conversation of two endpoints, as one vantage saw it", Flow{}),
		SchemaOf("connections", "one row a TCP connection or UDP conversation, behind one or more flows", Connection{}),
		SchemaOf("packets", "where each packet lies and which flow it belongs to", Packet{}),
		SchemaOf("tls", "one row a TLS handshake", TLSHandshake{}),
		SchemaOf("tcp_events", "one row for each thing that happened to a TCP connection", TCPEvent{}),
		SchemaOf("workloads", "Kubernetes objects with addresses, as long as they were known", Workload{}),
		SchemaOf("clocks", "sources of time stamps", Clock{}),
		SchemaOf("k8s_events", "Kubernetes events and changes", K8sEvent{}),
		SchemaOf("os_events", "operating system events", OSEvent{}),
		SchemaOf("coverage", "what was recorded, where and when, and every hole with its reason", Coverage{}),
		SchemaOf("anomalies", "what could not be accepted, with its place", Anomaly{}),
		SchemaOf("objects", "bodies too large for the table bodies", Object{}),
	}
}
