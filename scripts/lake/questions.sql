-- Questions over many bundles, in SQL that DuckDB, Spark and Trino share. Each begins with its name. A
-- bundle's local numbers, such as flow_id, are joined with bundle_id.

-- name: bundles, calls and protocols (question 23)
SELECT count(DISTINCT bundle_id) AS bundles, count(*) AS calls, count(DISTINCT protocol) AS protocols FROM calls;

-- name: which protocols, with their failures (26, 9)
SELECT protocol, count(*) AS calls, sum(CASE WHEN failed THEN 1 ELSE 0 END) AS failed FROM calls GROUP BY protocol ORDER BY protocol;

-- name: calls that failed, by endpoint (5)
SELECT cluster, protocol, outcome, endpoint, count(*) AS calls FROM calls WHERE failed GROUP BY cluster, protocol, outcome, endpoint ORDER BY calls DESC, cluster, protocol, outcome, endpoint LIMIT 50;

-- name: most used APIs (24)
SELECT method, path, count(*) AS calls, max(elapsed_us) AS slowest_us FROM calls WHERE protocol = 'http1' GROUP BY method, path ORDER BY calls DESC, method, path LIMIT 30;

-- name: database calls over 1 ms (32)
SELECT cluster, count(*) AS calls, sum(elapsed_us) AS us FROM calls WHERE protocol IN ('postgresql', 'mysql', 'mongodb', 'redis') AND elapsed_us > 1000 GROUP BY cluster ORDER BY cluster;

-- name: calls by day and cluster (10, 33)
SELECT day, cluster, count(*) AS calls, min(ts) AS first_ts, max(ts) AS last_ts FROM calls GROUP BY day, cluster ORDER BY day, cluster;

-- name: who talks to whom (18, 27)
SELECT s.name AS src, d.name AS dst, c.protocol, count(*) AS calls FROM calls c
JOIN endpoints s ON s.bundle_id = c.bundle_id AND s.endpoint_id = c.src_id
JOIN endpoints d ON d.bundle_id = c.bundle_id AND d.endpoint_id = c.dst_id
GROUP BY s.name, d.name, c.protocol ORDER BY calls DESC, src, dst, c.protocol LIMIT 40;

-- name: calls on connections with resets (8)
SELECT c.protocol, count(*) AS calls, sum(f.resets) AS resets FROM calls c JOIN flows f ON f.bundle_id = c.bundle_id AND f.flow_id = c.flow_id WHERE f.resets > 0 GROUP BY c.protocol ORDER BY c.protocol;

-- name: calls without an Authorization header (13)
SELECT count(*) AS calls FROM calls WHERE protocol = 'http1' AND auth_kind IS NULL;

-- name: all that one bundle has (35)
SELECT b.name, b.calls AS said, count(*) AS calls FROM bundles b JOIN calls c ON c.bundle_id = b.bundle_id WHERE b.name = 'shop' GROUP BY b.name, b.calls;

-- name: bodies with a word (16)
SELECT count(*) AS bodies FROM bodies WHERE text LIKE '%card%';

-- name: what was not understood, and lost bytes
SELECT kind, count(*) AS times, sum(lost_bytes) AS lost FROM anomalies GROUP BY kind ORDER BY kind;

-- name: what was removed, and what is left of it
SELECT r.namespace, count(*) AS bundles, sum(r.row_count) AS removed,
(SELECT count(*) FROM endpoints e WHERE e.namespace = 'kube-system') AS endpoints_left,
(SELECT count(*) FROM calls c JOIN endpoints e ON e.bundle_id = c.bundle_id AND e.endpoint_id = c.src_id WHERE e.namespace = 'kube-system') AS calls_left
FROM removals r GROUP BY r.namespace ORDER BY r.namespace;
