"""nginx passes requests to PHP's php-fpm on another host by FastCGI."""
import os, subprocess, sys, tempfile, time, urllib.error, urllib.request

SCRIPTS = {
    "index.php": '<?php header("X-Shop: open"); echo "hello ", $_GET["name"] ?? "nobody";',
    "order.php": '<?php http_response_code(201); header("Content-Type: application/json"); echo json_encode(["items" => strlen(file_get_contents("php://input"))]);',
    "missing.php": '<?php http_response_code(404); echo "no such item";',
    "broken.php": '<?php error_log("the stock database is away"); http_response_code(500);',
    "moved.php": '<?php header("Location: /index.php");',
}


def server(address):
    d = tempfile.mkdtemp()
    os.chmod(d, 0o755)
    for name, text in SCRIPTS.items():
        open(f"{d}/{name}", "w").write(text)
    with open(d + "/fpm.conf", "w") as f:
        f.write(f"""[global]
error_log = {d}/log
[www]
user = www-data
listen = {address}:9000
pm = static
pm.max_children = 2
catch_workers_output = yes
php_admin_value[log_errors] = on
php_admin_value[error_log] =
""")
    open("/tmp/pcapsule-fastcgi-root", "w").write(d)
    subprocess.Popen(["php-fpm8.2", "-F", "-R", "-y", d + "/fpm.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    print("ready", flush=True)
    time.sleep(600)


def client(address, said):
    root = open("/tmp/pcapsule-fastcgi-root").read()
    os.remove("/tmp/pcapsule-fastcgi-root")
    d = tempfile.mkdtemp()
    with open(d + "/nginx.conf", "w") as f:
        f.write(f"""daemon off; pid {d}/pid; error_log {d}/error; user root;
events {{}}
http {{ access_log off; client_body_temp_path {d}/b; fastcgi_temp_path {d}/f; proxy_temp_path {d}/p; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
upstream php {{ server {address}:9000; keepalive 2; }}
server {{ listen 127.0.0.1:8080; server_name shop.example; location / {{
include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME {root}$fastcgi_script_name; fastcgi_param DB_PASSWORD sample-password; fastcgi_keep_conn on; fastcgi_pass php; }} }} }}
""")
    p = subprocess.Popen(["nginx", "-e", d + "/error", "-c", d + "/nginx.conf"])
    time.sleep(1)
    out = open(said, "w")
    print("# method, path, status, bytes of the response", file=out)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None
    opener = urllib.request.build_opener(Stay)
    for method, path, body in (("GET", "/index.php?name=ann", None), ("GET", "/index.php", None), ("POST", "/order.php", b"x" * 70000), ("POST", "/order.php", b"item=7"), ("GET", "/missing.php", None), ("GET", "/broken.php", None),
                               ("GET", "/moved.php", None), ("HEAD", "/index.php", None)):
        r = urllib.request.Request("http://127.0.0.1:8080" + path, data=body, method=method, headers={"User-Agent": "shop/1.0", "Host": "shop.example"})
        try:
            a = opener.open(r, timeout=10)
        except urllib.error.HTTPError as e:
            a = e
        n = len(a.read())
        print(method, path.split("?")[0], a.status, n, sep="\t", file=out)
    p.terminate()
    p.wait()


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
