-- Questions over many large bundles of scripts/bench/calls, in SQL that DuckDB and Spark share. Days are
-- those of scripts/lake/bench.sh.

-- name: protocols, with failures and times
SELECT protocol, count(*) AS calls, sum(CASE WHEN failed THEN 1 ELSE 0 END) AS failed, max(elapsed_us) AS slowest_us FROM calls GROUP BY protocol ORDER BY protocol;

-- name: failed calls by endpoint
SELECT cluster, protocol, outcome, endpoint, count(*) AS calls FROM calls WHERE failed GROUP BY cluster, protocol, outcome, endpoint ORDER BY calls DESC, cluster, protocol, outcome, endpoint LIMIT 50;

-- name: calls by day and cluster
SELECT day, cluster, count(*) AS calls, min(ts) AS first_ts, max(ts) AS last_ts FROM calls GROUP BY day, cluster ORDER BY day, cluster;

-- name: who talks to whom
SELECT s.name AS src, d.name AS dst, c.protocol, count(*) AS calls FROM calls c
JOIN endpoints s ON s.bundle_id = c.bundle_id AND s.endpoint_id = c.src_id
JOIN endpoints d ON d.bundle_id = c.bundle_id AND d.endpoint_id = c.dst_id
GROUP BY s.name, d.name, c.protocol ORDER BY calls DESC, src, dst, c.protocol LIMIT 40;

-- name: slowest calls of one protocol
-- files: --protocol postgresql
SELECT ts, elapsed_us, endpoint FROM calls WHERE protocol = 'postgresql' ORDER BY elapsed_us DESC, ts, call_id LIMIT 20;

-- name: failed calls of one day, by endpoint
-- files: --since 2026-03-01 --until 2026-03-02
SELECT protocol, outcome, endpoint, count(*) AS calls FROM calls WHERE ts >= TIMESTAMP '2026-03-01 00:00:00' AND ts < TIMESTAMP '2026-03-02 00:00:00' AND failed GROUP BY protocol, outcome, endpoint ORDER BY calls DESC, protocol, outcome, endpoint LIMIT 50;

-- name: five minutes of one protocol
-- files: --protocol http1 --since 2026-03-01T10:00:00Z --until 2026-03-01T10:05:00Z
SELECT status_code, count(*) AS calls, max(elapsed_us) AS slowest_us FROM calls WHERE protocol = 'http1' AND ts >= TIMESTAMP '2026-03-01 10:00:00' AND ts < TIMESTAMP '2026-03-01 10:05:00' GROUP BY status_code ORDER BY status_code;

-- name: calls of a request id
SELECT cluster, day, ts, protocol, method, path FROM calls WHERE request_id = 'req-00000001' ORDER BY ts, call_id;
