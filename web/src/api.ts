// Answers of the REST paths, as the OpenAPI description has them. Generated: go test ./mcp -run PageTypes -update

// GET /mcp/cases
export type Cases = {
  cases: Array<{
    bundle: number;
    bytes: number;
    calls: Record<string, number>;
    from?: string;
    inputs: Array<{
      damaged_places: number;
      drops: number;
      format: string;
      name: string;
      packets: number;
      sha256: string;
    }> | null;
    kubernetes: boolean;
    made_by: string;
    packets: number;
    path: string;
    to?: string;
    verified: string;
    warnings?: Array<string> | null;
  }> | null;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
};

// GET /mcp/calls
export type Calls = {
  calls: Array<{
    conn_id?: null | number;
    dst: {
      ip: string;
      name?: string;
      node?: string;
      ns?: string;
      pod?: string;
      port?: number;
      svc?: string;
    };
    error?: string;
    failed: boolean;
    flow_id?: null | number;
    headers?: Array<{
      kind: string;
      name: string;
      value: string;
    }> | null;
    id: string;
    latency_ms?: null | number;
    method?: string;
    outcome?: string;
    packets: string;
    path?: string;
    proto: string;
    req_size?: null | number;
    resp_size?: null | number;
    src: {
      ip: string;
      name?: string;
      node?: string;
      ns?: string;
      pod?: string;
      port?: number;
      svc?: string;
    };
    status?: null | number;
    summary?: string;
    ts: number;
  }>;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  next_cursor?: string;
  total: number;
  truncated: boolean;
};

// GET /mcp/calls/buckets
export type Buckets = {
  buckets: Array<{
    calls: number;
    failed: number;
    no: number;
    p50_ms: null | number;
    p99_ms: null | number;
  }> | null;
  calls: number;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  failed: number;
  from_ms: number;
  gaps: Array<{
    from_ms: number;
    packets?: number;
    reason: string;
    source?: string;
    to_ms: number;
  }> | null;
  length_ms: number;
  to_ms: number;
};

// GET /mcp/calls/groups
export type Groups = {
  by: string;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  groups: Array<{
    calls: number;
    failed: number;
    first: string;
    kfl?: string;
    last: string;
    p50_ms: null | number;
    p99_ms: null | number;
    value: string;
  }> | null;
  truncated: boolean;
};

// GET /mcp/calls/{id}/packets
export type Packets = {
  list: Array<{
    dst_ip?: string;
    file: string;
    frame: number;
    len: number;
    packet_no: number;
    protocol: string;
    sender: string;
    src_ip?: string;
    summary: string;
    ts: string;
  }> | null;
  next?: number;
  total: number;
  truncated: boolean;
};

// GET /mcp/calls/{id}/packet
export type Packet = {
  bytes: Array<null | number> | null;
  dst_ip?: string;
  file: string;
  frame: number;
  layers: Array<{
    end: number;
    fields: Array<{
      end: number;
      field: string;
      start: number;
      value: string;
    }> | null;
    layer: string;
    start: number;
  }> | null;
  len: number;
  link_type: number;
  masked_bytes: number;
  notes?: Array<string> | null;
  packet_no: number;
  protocol: string;
  sender: string;
  src_ip?: string;
  summary: string;
  ts: string;
};

// GET /mcp/marks
export type Marks = {
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  marks: Array<{
    at_ms: number;
    event: string;
    failed: boolean;
    kind: string;
    of?: string;
    times: number;
    what?: string;
  }> | null;
  truncated: boolean;
};

// GET /mcp/reports
export type Reports = {
  formats: Array<string> | null;
  templates: Array<{
    template: string;
    title: string;
    what: string;
  }> | null;
};

// GET /mcp/flows
export type Flows = {
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  flows: Array<{
    client: {
      ip: string;
      name?: string;
      node?: string;
      ns?: string;
      pod?: string;
      port?: number;
      svc?: string;
    };
    client_stats: {
      bytes?: number;
      pkts?: number;
      retransmissions?: null | number;
      rx_bytes?: number;
      rx_pkts?: number;
      tcp_handshake_us?: null | number;
      tx_bytes?: number;
      tx_pkts?: number;
    };
    first_ts: number;
    flow_id: number;
    last_ts: number;
    proto: string;
    server: {
      ip: string;
      name?: string;
      node?: string;
      ns?: string;
      pod?: string;
      port?: number;
      svc?: string;
    };
    server_stats: {
      bytes?: number;
      pkts?: number;
      retransmissions?: null | number;
      rx_bytes?: number;
      rx_pkts?: number;
      tcp_handshake_us?: null | number;
      tx_bytes?: number;
      tx_pkts?: number;
    };
    state?: string;
    totals: {
      bytes?: number;
      pkts?: number;
      retransmissions?: null | number;
      rx_bytes?: number;
      rx_pkts?: number;
      tcp_handshake_us?: null | number;
      tx_bytes?: number;
      tx_pkts?: number;
    };
  }> | null;
  next_cursor?: string;
  total: number;
  truncated: boolean;
};

// GET /mcp/kfl/complete
export type Completions = {
  completions: Array<{
    doc?: string;
    end: number;
    kind: string;
    start: number;
    text: string;
  }> | null;
};

// POST /mcp/tools/run_sql
export type Sql = {
  answer: string;
  citations?: Array<string> | null;
  columns: Array<{
    absent?: boolean;
    doc?: string;
    name: string;
    protocols?: Array<string> | null;
    type: string;
    unit?: string;
  }> | null;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  rows: Array<Array<unknown> | null> | null;
  truncated: boolean;
  verified: boolean;
};

// POST /mcp/tools/get_api_call_details
export type Details = {
  anomalies?: Array<Record<string, unknown>> | null;
  call: Record<string, unknown>;
  client: Record<string, unknown>;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  delivery?: string;
  flow?: Record<string, unknown>;
  notes?: Array<string> | null;
  packets: string;
  places: Array<{
    file: string;
    frame: number;
    len: number;
    packet_no: number;
    ts: string;
  }> | null;
  provenance: string;
  request?: null | {
    complete: boolean;
    content_type?: string;
    decoded?: string;
    headers?: Array<{
      name: string;
      value: string;
    }> | null;
    hex?: string;
    sha256?: string;
    size: number;
    text?: string;
    truncated?: boolean;
  };
  response?: null | {
    complete: boolean;
    content_type?: string;
    decoded?: string;
    headers?: Array<{
      name: string;
      value: string;
    }> | null;
    hex?: string;
    sha256?: string;
    size: number;
    text?: string;
    truncated?: boolean;
  };
  server: Record<string, unknown>;
  tls?: Record<string, unknown>;
  truncated?: boolean;
  verified: boolean;
};

// POST /mcp/ask/get_overview
export type Overview = {
  answer?: string;
  calls: number;
  connections: {
    decrypted: number;
    encrypted: number;
    not_accepted: number;
    total: number;
    without_calls: number;
  };
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  edges: Array<{
    calls: number;
    connections: number;
    connections_not_accepted?: number;
    connections_without_calls?: number;
    cross_namespace?: boolean;
    dst: string;
    encrypted: string;
    failed: number;
    faults?: number;
    kfl?: string;
    p50_ms?: null | number;
    p99_ms?: null | number;
    protocols: Array<{
      call_id: string;
      calls: number;
      failed?: number;
      protocol: string;
    }> | null;
    request_kb: number;
    response_kb: number;
    src: string;
  }> | null;
  endpoints: Array<{
    call_id: string;
    calls: number;
    dst: string;
    endpoint: string;
    failed: number;
    kfl: string;
    max_ms?: null | number;
    p50_ms?: null | number;
    p90_ms?: null | number;
    p99_ms?: null | number;
    protocol: string;
  }> | null;
  external_domains: Array<{
    calls: number;
    clients: Array<string> | null;
    domain: string;
    failed: number;
    kb: number;
    names: Array<string> | null;
  }> | null;
  failed: number;
  failures: Array<{
    call_ids: Array<string> | null;
    calls: number;
    dst: string;
    endpoint: string;
    protocol: string;
    status: string;
  }> | null;
  icmp_errors: Array<{
    call_ids: Array<string> | null;
    dst: string;
    first: string;
    last: string;
    port?: null | number;
    ports?: number;
    protocol: string;
    reported_by: Array<string> | null;
    reports: number;
    src: string;
    what: string;
  }> | null;
  ingress: Array<{
    calls: number;
    failed: number;
    from: Array<string> | null;
    kfl: string;
    service: string;
  }> | null;
  matched: string;
  namespaces: Array<string> | null;
  next_cursor?: string;
  not_ip: Array<{
    count: number;
    kind: string;
  }> | null;
  notes?: Array<string> | null;
  now?: string;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  protocols: Array<{
    calls: number;
    clients: number;
    example: {
      call_id: string;
      dst: string;
      elapsed_ms?: number;
      packets: string;
      protocol: string;
      src: string;
      status?: string;
      summary: string;
      time: string;
    };
    failed: number;
    kfl: string;
    protocol: string;
    servers: number;
  }> | null;
  requests: number;
  services: Array<{
    calls_in: number;
    calls_out: number;
    failed_in: number;
    labels?: Array<string> | null;
    name: string;
    namespace?: string;
    place: string;
    replicas?: number;
    seen?: string;
    workloads?: Array<string> | null;
  }> | null;
  summary: Array<string> | null;
  truncated?: boolean;
  trust?: string;
  undissected: Array<{
    connections: number;
    evidence: string;
    kfl: string;
    protocol: string;
    servers: number;
  }> | null;
  verified: boolean;
};

// POST /mcp/ask/find_failures
export type Failures = {
  answer?: string;
  calls: number;
  causes: Array<{
    call_ids: Array<string> | null;
    chains?: number;
    confidence: number;
    dst: string;
    elapsed_ms: number;
    endpoint: string;
    number?: number;
    packets?: string;
    protocol: string;
    said?: string;
    src: string;
    status?: string;
    sure: string;
    way: string;
    what: string;
  }> | null;
  classes: Array<{
    calls: number;
    class: string;
  }> | null;
  connections: Array<{
    connections: number;
    dst: string;
    first: string;
    flow_ids: Array<string> | null;
    last: string;
    packets: string;
    port?: null | number;
    ports?: number;
    reset_by?: string;
    retransmissions: number;
    src: string;
    what: string;
    without_calls: number;
  }> | null;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  dns: Array<{
    call_ids: Array<string> | null;
    calls: number;
    client: string;
    clients: number;
    first: string;
    last: string;
    name: string;
    search_list?: boolean;
    servers: Array<string> | null;
    status: string;
  }> | null;
  failed_calls: number;
  groups: Array<{
    at_limit?: string;
    began?: Array<{
      calls: number;
      cause: number;
      confidence: number;
      sure: string;
    }> | null;
    call_ids: Array<string> | null;
    calls: number;
    class: string;
    clients?: number;
    delivery?: string;
    dst: string;
    endpoint: string;
    examined?: number;
    first: string;
    last: string;
    max_ms?: null | number;
    min_ms?: null | number;
    own?: number;
    p50_ms?: null | number;
    protocol: string;
    said?: Array<string> | null;
    src: string;
    status: string;
    when: string;
  }> | null;
  happened?: null | {
    call_ids: Array<string> | null;
    clients?: Array<string> | null;
    failed?: number;
    from?: string;
    holders?: Array<{
      client: string;
      connections: number;
    }> | null;
    of?: number;
    origin?: string;
    service?: string;
    to?: string;
    users?: boolean;
    what: string;
  };
  icmp_errors: Array<{
    call_ids: Array<string> | null;
    dst: string;
    first: string;
    last: string;
    port?: null | number;
    ports?: number;
    protocol: string;
    reported_by: Array<string> | null;
    reports: number;
    src: string;
    what: string;
  }> | null;
  listed?: Array<{
    call_id: string;
    dst: string;
    elapsed_ms?: number;
    packets: string;
    protocol: string;
    src: string;
    status?: string;
    summary: string;
    time: string;
  }> | null;
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  truncated?: boolean;
  trust?: string;
  unanswered?: Array<{
    calls: number;
    delivery: string;
  }> | null;
  unanswered_datagrams?: number;
  verified: boolean;
};

// POST /mcp/ask/get_service_map
export type ServiceMap = {
  answer?: string;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  diagram?: string;
  diagram_format?: string;
  edges: Array<{
    calls: number;
    connections: number;
    connections_not_accepted?: number;
    connections_without_calls?: number;
    cross_namespace?: boolean;
    dst: string;
    encrypted: string;
    failed: number;
    faults?: number;
    kfl?: string;
    p50_ms?: null | number;
    p99_ms?: null | number;
    protocols: Array<{
      call_id: string;
      calls: number;
      failed?: number;
      protocol: string;
    }> | null;
    request_kb: number;
    response_kb: number;
    src: string;
  }> | null;
  external_domains: Array<{
    calls: number;
    clients: Array<string> | null;
    domain: string;
    failed: number;
    kb: number;
    names: Array<string> | null;
  }> | null;
  group_by: string;
  ingress: Array<{
    calls: number;
    failed: number;
    from: Array<string> | null;
    kfl: string;
    service: string;
  }> | null;
  matched: string;
  next_cursor?: string;
  nodes: Array<{
    calls_in: number;
    calls_out: number;
    failed_in: number;
    labels?: Array<string> | null;
    name: string;
    namespace?: string;
    place: string;
    replicas?: number;
    seen?: string;
    workloads?: Array<string> | null;
  }> | null;
  notes?: Array<string> | null;
  now?: string;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  reachable?: Array<{
    calls: number;
    depth: number;
    failed: number;
    kfl: Array<string> | null;
    name: string;
    place: string;
    protocols: Array<string> | null;
    via: Array<string> | null;
  }> | null;
  total_calls: number;
  total_edges: number;
  truncated?: boolean;
  trust?: string;
  verified: boolean;
};

// POST /mcp/ask/compare_periods
export type Comparison = {
  answer?: string;
  baseline: {
    calls: number;
    coverage: {
      from?: string;
      holes?: Array<{
        detail?: string;
        from: string;
        packets?: number;
        reason: string;
        source: string;
        sources?: number;
        to: string;
      }> | null;
      more_holes?: number;
      quiet?: Array<{
        from: string;
        to: string;
      }> | null;
      state: string;
      to?: string;
      unread?: boolean;
    };
    failed: number;
    from: string;
    to: string;
  };
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  endpoints: Array<{
    calls: Array<number>;
    calls_per_minute: Array<number>;
    changed: Array<string> | null;
    dst?: string;
    endpoint?: string;
    error_rate: Array<number>;
    errors?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    failed: Array<number>;
    kfl?: string;
    latency?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    maybe?: Array<string> | null;
    mix?: string;
    p50_ms?: Array<number> | null;
    p90_ms?: Array<number> | null;
    p99_ms?: Array<number> | null;
    slower_in?: null | number;
    slowest?: null | {
      calls: Array<number>;
      high?: null | number;
      low?: null | number;
      over_ms: number;
      p?: null | number;
      state: string;
      value: number;
    };
    src?: string;
    volume?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    words?: string;
  }> | null;
  matched: string;
  new: Array<{
    call_ids: Array<string> | null;
    calls: number;
    dst: string;
    kind: string;
    src?: string;
    what?: string;
  }> | null;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  pairs: Array<{
    calls: Array<number>;
    calls_per_minute: Array<number>;
    changed: Array<string> | null;
    dst?: string;
    endpoint?: string;
    error_rate: Array<number>;
    errors?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    failed: Array<number>;
    kfl?: string;
    latency?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    maybe?: Array<string> | null;
    mix?: string;
    p50_ms?: Array<number> | null;
    p90_ms?: Array<number> | null;
    p99_ms?: Array<number> | null;
    slower_in?: null | number;
    slowest?: null | {
      calls: Array<number>;
      high?: null | number;
      low?: null | number;
      over_ms: number;
      p?: null | number;
      state: string;
      value: number;
    };
    src?: string;
    volume?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    words?: string;
  }> | null;
  period: {
    calls: number;
    coverage: {
      from?: string;
      holes?: Array<{
        detail?: string;
        from: string;
        packets?: number;
        reason: string;
        source: string;
        sources?: number;
        to: string;
      }> | null;
      more_holes?: number;
      quiet?: Array<{
        from: string;
        to: string;
      }> | null;
      state: string;
      to?: string;
      unread?: boolean;
    };
    failed: number;
    from: string;
    to: string;
  };
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  services: Array<{
    calls: Array<number>;
    calls_per_minute: Array<number>;
    changed: Array<string> | null;
    dst?: string;
    endpoint?: string;
    error_rate: Array<number>;
    errors?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    failed: Array<number>;
    kfl?: string;
    latency?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    maybe?: Array<string> | null;
    mix?: string;
    p50_ms?: Array<number> | null;
    p90_ms?: Array<number> | null;
    p99_ms?: Array<number> | null;
    slower_in?: null | number;
    slowest?: null | {
      calls: Array<number>;
      high?: null | number;
      low?: null | number;
      over_ms: number;
      p?: null | number;
      state: string;
      value: number;
    };
    src?: string;
    volume?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    words?: string;
  }> | null;
  tests: number;
  total?: null | {
    calls: Array<number>;
    calls_per_minute: Array<number>;
    changed: Array<string> | null;
    dst?: string;
    endpoint?: string;
    error_rate: Array<number>;
    errors?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    failed: Array<number>;
    kfl?: string;
    latency?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    maybe?: Array<string> | null;
    mix?: string;
    p50_ms?: Array<number> | null;
    p90_ms?: Array<number> | null;
    p99_ms?: Array<number> | null;
    slower_in?: null | number;
    slowest?: null | {
      calls: Array<number>;
      high?: null | number;
      low?: null | number;
      over_ms: number;
      p?: null | number;
      state: string;
      value: number;
    };
    src?: string;
    volume?: null | {
      high?: null | number;
      low?: null | number;
      p?: null | number;
      state: string;
      value: number;
    };
    words?: string;
  };
  truncated?: boolean;
  trust?: string;
  vanished: Array<{
    call_ids: Array<string> | null;
    calls: number;
    dst: string;
    kind: string;
    src?: string;
    what?: string;
  }> | null;
  verdict: Array<string> | null;
  verified: boolean;
};

// POST /mcp/ask/get_dependencies
export type Dependencies = {
  answer?: string;
  blast_radius?: null | {
    ambiguous: number;
    calls: number;
    endpoints: Array<{
      call_ids: Array<string> | null;
      calls: number;
      confidence: string;
      depth: number;
      dst: string;
      endpoint: string;
      share: number;
      touching: number;
    }> | null;
    explained: number;
    from?: string;
    how: string;
  };
  bypass?: Array<{
    call_id: string;
    calls: number;
    client: string;
    kfl: string;
    protocols: Array<string> | null;
  }> | null;
  calls_through_via?: number;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  direct_dependents: Array<string> | null;
  downstream: Array<{
    calls: number;
    depth: number;
    dst: string;
    error_rate: number;
    failed: number;
    faults?: number;
    health: string;
    kfl?: string;
    p50_ms?: null | number;
    p99_ms?: null | number;
    place: string;
    protocols: Array<string> | null;
    src: string;
    why?: string;
  }> | null;
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  services: Array<{
    calls_in: number;
    calls_out: number;
    failed_in: number;
    labels?: Array<string> | null;
    name: string;
    namespace?: string;
    place: string;
    replicas?: number;
    seen?: string;
    workloads?: Array<string> | null;
  }> | null;
  single_points: Array<string> | null;
  summary: Array<string> | null;
  transitive_dependents: Array<string> | null;
  truncated?: boolean;
  trust?: string;
  upstream: Array<{
    calls: number;
    depth: number;
    dst: string;
    error_rate: number;
    failed: number;
    faults?: number;
    health: string;
    kfl?: string;
    p50_ms?: null | number;
    p99_ms?: null | number;
    place: string;
    protocols: Array<string> | null;
    src: string;
    why?: string;
  }> | null;
  verified: boolean;
};

// GET /mcp/data-boundaries
export type Boundaries = {
  cluster: {
    newest: string;
    newest_ts: number;
    oldest: string;
    oldest_ts: number;
  };
  live: boolean;
  nodes: Array<{
    holes: number;
    name: string;
    newest: string;
    newest_ts: number;
    oldest: string;
    oldest_ts: number;
    packet_count: number;
    recording: boolean;
    segments: number;
    size_bytes: number;
  }> | null;
  ring: boolean;
};

// POST /mcp/snapshots
export type Snapshot = {
  created_at: string;
  dissections: Array<string> | null;
  duration_ms?: number;
  end_ts?: number;
  error?: string;
  filter?: string;
  from?: string;
  missing?: Array<string> | null;
  name: string;
  node_count: number;
  packet_count: number;
  page?: string;
  seals?: string;
  segment_count: number;
  size_bytes: number;
  start_ts?: number;
  status: string;
  to?: string;
};

// POST /mcp/ask/get_api_stats
export type ApiStats = {
  answer?: string;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  endpoints: Array<{
    bytes: number;
    call_ids: Array<string> | null;
    calls: number;
    dst: string;
    endpoint: string;
    failed: number;
    kfl: string;
    p50_ms?: null | number;
    p90_ms?: null | number;
    p99_ms?: null | number;
    protocol: string;
  }> | null;
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  total_calls: number;
  truncated?: boolean;
  trust?: string;
  verified: boolean;
};

// POST /mcp/ask/trace_request
export type Trace = {
  answer?: string;
  calls_found: number;
  calls_traced: number;
  chains: Array<{
    calls: number;
    elapsed_ms: number;
    origin?: null | {
      call_ids: Array<string> | null;
      chains?: number;
      confidence: number;
      dst: string;
      elapsed_ms: number;
      endpoint: string;
      number?: number;
      packets?: string;
      protocol: string;
      said?: string;
      src: string;
      status?: string;
      sure: string;
      way: string;
      what: string;
    };
    steps: Array<{
      asked?: boolean;
      at_ms: number;
      call_id: string;
      confidence?: number;
      dst: string;
      elapsed_ms?: number;
      failed?: boolean;
      how?: string;
      note?: string;
      packets: string;
      parent?: number;
      protocol: string;
      queue_ms?: number;
      rivals?: Array<string> | null;
      said?: string;
      self_ms: number;
      src: string;
      status?: string;
      step: number;
      summary: string;
      sure?: string;
      time: string;
    }> | null;
    time: string;
    what: string;
  }> | null;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  hops: Array<{
    async?: boolean;
    call_ids: Array<string> | null;
    calls: number;
    dst: string;
    endpoint: string;
    p50_ms: number;
    protocol: string;
    queue_ms?: number;
    self_ms: number;
    share: number;
    src: string;
  }> | null;
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  origins: Array<{
    call_ids: Array<string> | null;
    chains?: number;
    confidence: number;
    dst: string;
    elapsed_ms: number;
    endpoint: string;
    number?: number;
    packets?: string;
    protocol: string;
    said?: string;
    src: string;
    status?: string;
    sure: string;
    way: string;
    what: string;
  }> | null;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  total_chains: number;
  truncated?: boolean;
  trust?: string;
  verified: boolean;
};

// POST /mcp/ask/list_findings
export type Findings = {
  answer?: string;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  findings: Array<{
    accepted?: null | {
      by: string;
      expired?: boolean;
      reason: string;
      until: string;
    };
    call_ids: Array<string> | null;
    confidence: string;
    controls?: Array<string> | null;
    count: number;
    cves?: Array<string> | null;
    dst?: string;
    encrypted?: boolean;
    evidence: Array<string> | null;
    finding: string;
    first: string;
    flow_ids?: Array<string> | null;
    id: string;
    indicator?: null | {
      feed?: string;
      file: string;
      kind: string;
      line: number;
      name?: string;
      port?: number;
      seen_as: Array<string> | null;
      valid: boolean;
      valid_from?: string;
      valid_until?: string;
      value: string;
    };
    kfl?: string;
    kind?: string;
    last: string;
    not_proved?: string;
    said_by?: null | {
      alert_no: number;
      kind: string;
      packets_here: string;
      program: string;
      rule?: string;
      rule_id?: string;
      severity?: string;
      version?: string;
    };
    severity: string;
    src?: string;
    techniques?: Array<string> | null;
    via?: string;
    what: string;
  }> | null;
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  searched: string;
  summary: Array<{
    cut?: boolean;
    finding: string;
    found: number;
    nothing_to_examine?: string;
    title: string;
    worst?: string;
  }> | null;
  truncated?: boolean;
  trust?: string;
  verified: boolean;
};

// POST /mcp/ask/list_objects
export type Objects = {
  answer?: string;
  coverage: {
    from?: string;
    holes?: Array<{
      detail?: string;
      from: string;
      packets?: number;
      reason: string;
      source: string;
      sources?: number;
      to: string;
    }> | null;
    more_holes?: number;
    quiet?: Array<{
      from: string;
      to: string;
    }> | null;
    state: string;
    to?: string;
    unread?: boolean;
  };
  matched: string;
  next_cursor?: string;
  notes?: Array<string> | null;
  now?: string;
  objects: Array<{
    call_id: string;
    complete: boolean;
    declared_type?: string;
    detected_type?: string;
    direction: string;
    dst: string;
    name?: string;
    named_by?: string;
    object_id: string;
    packets: string;
    protocol: string;
    sha256: string;
    size: number;
    src: string;
    time: string;
    why?: string;
  }> | null;
  places?: Array<{
    address: string;
    asn?: number;
    country?: string;
    name?: string;
    operator?: string;
  }> | null;
  total_bytes: number;
  total_objects: number;
  truncated?: boolean;
  trust?: string;
  verified: boolean;
};

// GET /mcp/custody
export type Custody = {
  bundles: Array<{
    bundle: number;
    damaged?: string;
    entries: Array<{
      details?: Record<string, string>;
      event: string;
      host?: string;
      note?: string;
      time: string;
      tool?: string;
      user?: string;
    }> | null;
    left_out?: number;
  }> | null;
};

// GET /mcp/snapshots
export type Snapshots = {
  snapshots: Array<{
    created_at: string;
    dissections: Array<string> | null;
    duration_ms?: number;
    end_ts?: number;
    error?: string;
    filter?: string;
    from?: string;
    missing?: Array<string> | null;
    name: string;
    node_count: number;
    packet_count: number;
    page?: string;
    seals?: string;
    segment_count: number;
    size_bytes: number;
    start_ts?: number;
    status: string;
    to?: string;
  }> | null;
  total: number;
};
