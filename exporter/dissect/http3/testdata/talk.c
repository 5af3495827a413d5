/*
 * Writes talk.txt: what a client and a server of nghttp3 say to each other, with dynamic
 * tables both ways.
 *
 *   cc -O1 -o /tmp/talk talk.c -lnghttp3 && /tmp/talk > talk.txt
 *
 * Made with nghttp3 0.8.0. Lines, in the order in which things happened:
 *
 *   c STREAM FIN HEX     bytes of the client on a stream; FIN is 1 where they end it
 *   s STREAM FIN HEX     bytes of the server
 *   r STREAM PATH STATUS SENT GOT TOKEN TRAILER
 *                        a request: bytes of both bodies, value of x-token both ways,
 *                        value of the response's trailer or -
 */
#include <nghttp3/nghttp3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS 60

static unsigned long long state = 88172645463325252ULL;

static unsigned rnd(unsigned n) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (unsigned)((state * 2685821657736338717ULL) >> 33) % n;
}

static void check(long long rv, const char *what) {
  if (rv < 0) {
    fprintf(stderr, "%s: %s\n", what, nghttp3_strerror((int)rv));
    exit(1);
  }
}

struct request {
  int64_t id;
  char path[32], token[32], status[4], trailer[16];
  size_t up, down, upleft, downleft;
  int complete;
} requests[REQUESTS];

static uint8_t letters[4096];
static nghttp3_conn *client, *server;

static void set(nghttp3_nv *nv, const char *name, const char *value) {
  nv->name = (uint8_t *)name;
  nv->namelen = strlen(name);
  nv->value = (uint8_t *)value;
  nv->valuelen = strlen(value);
  nv->flags = NGHTTP3_NV_FLAG_NONE;
}

static nghttp3_ssize body(size_t *left, nghttp3_vec *vec, uint32_t *flags) {
  size_t n = *left < 1000 ? *left : 1000;
  vec[0].base = letters;
  vec[0].len = n;
  *left -= n;
  if (*left == 0) {
    *flags |= NGHTTP3_DATA_FLAG_EOF;
  }
  return n ? 1 : 0;
}

static nghttp3_ssize read_up(nghttp3_conn *c, int64_t id, nghttp3_vec *vec, size_t n, uint32_t *flags, void *u, void *su) {
  (void)c, (void)n, (void)u, (void)su;
  return body(&requests[id / 4].upleft, vec, flags);
}

static nghttp3_ssize read_down(nghttp3_conn *c, int64_t id, nghttp3_vec *vec, size_t n, uint32_t *flags, void *u, void *su) {
  (void)n, (void)u, (void)su;
  struct request *r = &requests[id / 4];
  nghttp3_ssize k = body(&r->downleft, vec, flags);
  if (r->downleft == 0 && r->trailer[0]) {
    nghttp3_nv nv;
    set(&nv, "x-trailer", r->trailer);
    *flags |= NGHTTP3_DATA_FLAG_NO_END_STREAM;
    check(nghttp3_conn_submit_trailers(c, id, &nv, 1), "trailers");
  }
  return k;
}

static int end_request(nghttp3_conn *c, int64_t id, void *u, void *su) {
  (void)u, (void)su;
  struct request *r = &requests[id / 4];
  nghttp3_nv nv[8];
  if (rnd(5) == 0) {
    set(&nv[0], ":status", "103");
    set(&nv[1], "link", "</style.css>; rel=preload");
    check(nghttp3_conn_submit_info(c, id, nv, 2), "info");
  }
  set(&nv[0], ":status", r->status);
  set(&nv[1], "server", "peer");
  set(&nv[2], "x-token", r->token);
  set(&nv[3], "content-type", "text/plain");
  set(&nv[4], "set-cookie", "session=0123456789abcdef; path=/");
  nghttp3_data_reader dr = {read_down};
  check(nghttp3_conn_submit_response(c, id, nv, 5, &dr), "response");
  r->complete = 1;
  return 0;
}

/* say lets one side write what it can and gives it to the other. */
static int say(nghttp3_conn *from, nghttp3_conn *to, char name) {
  nghttp3_vec vec[8];
  int64_t id = -1;
  int fin = 0;
  nghttp3_ssize n = nghttp3_conn_writev_stream(from, &id, &fin, vec, 8);
  check(n, "write");
  if (n == 0 && id == -1) {
    return 0;
  }
  size_t size = 0;
  printf("%c %lld %d ", name, (long long)id, fin);
  for (nghttp3_ssize i = 0; i < n; i++) {
    for (size_t k = 0; k < vec[i].len; k++) {
      printf("%02x", vec[i].base[k]);
    }
    size += vec[i].len;
  }
  printf("%s\n", size ? "" : "-");
  for (nghttp3_ssize i = 0; i < n || (n == 0 && i == 0); i++) {
    static uint8_t none[1];
    const uint8_t *p = n ? vec[i].base : none;
    check(nghttp3_conn_read_stream(to, id, p, n ? vec[i].len : 0, fin && i + 1 >= n), "read");
  }
  check(nghttp3_conn_add_write_offset(from, id, size), "write offset");
  check(nghttp3_conn_add_ack_offset(from, id, size), "ack offset");
  return 1;
}

int main(void) {
  const nghttp3_mem *mem = nghttp3_mem_default();
  nghttp3_callbacks callbacks;
  nghttp3_settings settings;
  for (size_t i = 0; i < sizeof(letters); i++) {
    letters[i] = (uint8_t)('a' + i % 26);
  }
  nghttp3_settings_default(&settings);
  settings.qpack_max_dtable_capacity = 4096;
  settings.qpack_encoder_max_dtable_capacity = 4096;
  settings.qpack_blocked_streams = 100;
  memset(&callbacks, 0, sizeof(callbacks));
  check(nghttp3_conn_client_new(&client, &callbacks, &settings, mem, NULL), "client");
  callbacks.end_stream = end_request;
  check(nghttp3_conn_server_new(&server, &callbacks, &settings, mem, NULL), "server");
  nghttp3_conn_set_max_client_streams_bidi(server, REQUESTS);
  check(nghttp3_conn_bind_control_stream(client, 2), "control");
  check(nghttp3_conn_bind_qpack_streams(client, 6, 10), "qpack");
  check(nghttp3_conn_bind_control_stream(server, 3), "control");
  check(nghttp3_conn_bind_qpack_streams(server, 7, 11), "qpack");

  int next = 0;
  for (int idle = 0; next < REQUESTS || idle < 2;) {
    if (next < REQUESTS && rnd(3) == 0) {
      struct request *r = &requests[next];
      r->id = 4 * next;
      sprintf(r->path, "/item/%u", rnd(20));
      sprintf(r->token, "token-%u", rnd(200));
      strcpy(r->status, rnd(4) ? "200" : "404");
      if (rnd(4) == 0) {
        sprintf(r->trailer, "t%u", rnd(3));
      }
      r->up = r->upleft = rnd(3) ? 0 : rnd(1500);
      r->down = r->downleft = rnd(3) ? rnd(300) : rnd(3000);
      nghttp3_nv nv[8];
      set(&nv[0], ":method", r->up ? "POST" : "GET");
      set(&nv[1], ":scheme", "https");
      set(&nv[2], ":authority", "peer.example");
      set(&nv[3], ":path", r->path);
      set(&nv[4], "user-agent", "nghttp3/talk");
      set(&nv[5], "x-token", r->token);
      set(&nv[6], "cookie", "session=0123456789abcdef");
      nghttp3_data_reader dr = {read_up};
      check(nghttp3_conn_submit_request(client, r->id, nv, 7, r->up ? &dr : NULL, NULL), "request");
      next++;
      idle = 0;
    }
    int said = rnd(2) ? say(client, server, 'c') : say(server, client, 's');
    if (said) {
      idle = 0;
    } else if (next == REQUESTS) {
      idle = say(client, server, 'c') || say(server, client, 's') ? 0 : idle + 1;
    }
  }
  for (int i = 0; i < REQUESTS; i++) {
    struct request *r = &requests[i];
    printf("r %lld %s %s %zu %zu %s %s\n", (long long)r->id, r->path, r->status, r->up, r->down, r->token, r->trailer[0] ? r->trailer : "-");
  }
  return 0;
}
