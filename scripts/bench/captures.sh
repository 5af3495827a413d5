#!/usr/bin/env bash
# Makes large captures of mixed real traffic for scripts/bench.sh, between servers and
# load generators in two network namespaces of its own joined by a veth pair.
# usage: captures.sh DIR SMALL_BYTES LARGE_BYTES → DIR/small.pcap, DIR/large.pcap
# Needs root and Debian's packages; it stops everything that it starts, by process id.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
small=$2
large=$3
work=$dir/work
server=pcapsule-srv client=pcapsule-cli
ip=10.91.0.2
packages=(nginx-light redis-server redis-tools postgresql postgresql-contrib apache2-utils nghttp2-client nghttp2-server dnsmasq-base dnsutils tcpdump ethtool iproute2)
missing=()
for p in "${packages[@]}"; do dpkg -s "$p" >/dev/null 2>&1 || missing+=("$p"); done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
pgbin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
pids=()
stop() {
	su postgres -c "$pgbin/pg_ctl -D $work/pg -m immediate stop" >/dev/null 2>&1 || true
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	sleep 0.5
	ip netns del $server 2>/dev/null || true
	ip netns del $client 2>/dev/null || true
	rm -rf "$work"
}
trap stop EXIT
rm -rf "$work"
mkdir -p "$work/www"
chmod 755 "$dir" "$work"
# Do not use on with &: $! would be a shell's, and killing that leaves the program running.
on() { local ns=$1; shift; ip netns exec "$ns" "$@"; }

ip netns add $server
ip netns add $client
ip link add psrv netns $server type veth peer name pcli netns $client
ip -n $server addr add $ip/24 dev psrv
ip -n $client addr add 10.91.0.1/24 dev pcli
for pair in "$server psrv" "$client pcli"; do
	set -- $pair
	ip -n "$1" link set "$2" up
	ip -n "$1" link set lo up
	on "$1" ethtool -K "$2" tso off gso off gro off tx off rx off >/dev/null 2>&1 || true
done

item() { # one JSON object with changing content
	printf '{"id":%d,"sku":"SKU-%06d","price":%d.%02d,"note":"%s"}' "$1" $((RANDOM * 7 % 1000000)) $((RANDOM % 100)) $((RANDOM % 100)) "$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"
}
RANDOM=11
for f in s:3 m:24 l:180; do
	{ printf '['; for i in $(seq "${f#*:}"); do [ "$i" -gt 1 ] && printf ','; item "$i"; done; printf ']'; } >"$work/www/${f%:*}.json"
done
head -c 800000 /dev/urandom >"$work/www/blob.bin"
printf '{"order":[%s]}' "$(for i in $(seq 40); do [ "$i" -gt 1 ] && printf ','; printf '{"id":%d,"q":%d}' "$i" $((i % 7)); done)" >"$work/order.json"
cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.err;
events { worker_connections 512; }
http { access_log off; keepalive_requests 1000; types { application/json json; application/octet-stream bin; }
 client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
 server { listen $ip:8080; root $work/www;
  location = /api/fail { return 500 '{"error":"boom"}'; } location = /api/busy { return 503; }
  location = /api/order { return 201 '{"ok":true}'; } location /api/ { alias $work/www/; } } }
CONF
ip netns exec $server nginx -c "$work/nginx.conf" & pids+=($!)
ip netns exec $server nghttpd --no-tls -d "$work/www" -a $ip 8081 >/dev/null 2>&1 & pids+=($!)
ip netns exec $server redis-server --port 6379 --bind $ip --save '' --appendonly no --protected-mode no --dir "$work" >/dev/null & pids+=($!)
ip netns exec $server dnsmasq -k -C /dev/null -R -h -a $ip -z --local=/svc.local/ --address=/svc.local/10.91.0.9 & pids+=($!)
mkdir "$work/pg" && chown postgres "$work/pg"
su postgres -c "$pgbin/initdb -D $work/pg -A trust" >/dev/null
echo "host all all 10.91.0.0/24 trust" >>"$work/pg/pg_hba.conf"
on $server su postgres -c "$pgbin/pg_ctl -D $work/pg -w -o '-c listen_addresses=$ip -c unix_socket_directories=$work/pg -c fsync=off -c ssl=off' -l $work/pg/log start" >/dev/null
sleep 0.5
on $client pgbench -h $ip -U postgres -i -s 2 postgres >/dev/null 2>&1

round() {
	local u=http://$ip:8080 i
	on $client ab -q -k -n 1500 -c 8 $u/api/m.json
	on $client ab -q -k -n 500 -c 8 $u/api/l.json
	on $client ab -q -n 400 -c 4 $u/api/s.json
	on $client ab -q -k -n 400 -c 4 -p "$work/order.json" -T application/json $u/api/order
	on $client ab -q -n 60 -c 2 $u/api/missing
	on $client ab -q -k -n 40 -c 2 $u/api/fail
	on $client ab -q -n 20 -c 2 $u/api/busy
	on $client ab -q -n 4 -c 1 $u/blob.bin
	on $client h2load -n 1200 -c 4 -m 10 http://$ip:8081/m.json
	on $client h2load -n 200 -c 2 -m 5 http://$ip:8081/l.json
	on $client redis-benchmark -h $ip -q -n 1500 -c 10 -d 128 -r 5000 -t get,set,incr,lpush,lrange_100,mset,hset
	on $client pgbench -h $ip -U postgres -n -c 3 -t 150 postgres
	on $client pgbench -h $ip -U postgres -n -S -M extended -c 3 -t 300 postgres
	for i in $(seq 20); do on $client dig +tries=1 +time=1 @$ip "n$i.svc.local" A "n$i.svc.local" AAAA "n$i.nope.example" A; done
}
record() { # FILE BYTES
	ip netns exec $server tcpdump -i psrv -n -B 262144 -s 0 -w "$1" 2>"$work/tcpdump.log" &
	local pid=$! n=0
	sleep 1
	while [ "$(stat -c %s "$1")" -lt "$2" ]; do round >/dev/null 2>&1; n=$((n + 1)); done
	sleep 1
	kill -TERM $pid # a program in the background of a script ignores SIGINT
	wait $pid || true
	echo "$1: $n rounds; $(grep dropped "$work/tcpdump.log" | tr '\n' ' ')"
}
record "$dir/small.pcap" "$small"
record "$dir/large.pcap" "$large"
