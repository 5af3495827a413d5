/*
 * Writes vectors.txt: what the QPACK encoder of nghttp3 makes of random header lists.
 *
 *   cc -O1 -o /tmp/vectors vectors.c -lnghttp3 && /tmp/vectors > vectors.txt
 *
 * Made with nghttp3 0.8.0. Lines, in the order in which things happened:
 *
 *   conn CAPACITY BLOCKED SEED   a connection: SETTINGS of the side that decodes
 *   e HEX                        bytes of the encoder stream
 *   s STREAM HEX                 a field section
 *   h NAME<TAB>VALUE             a field of it; H where it is never to be indexed
 *   d HEX                        bytes of the decoder stream
 */
#include <nghttp3/nghttp3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long state;

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

static void hex(const uint8_t *p, size_t n) {
  while (n--) {
    printf("%02x", *p++);
  }
  putchar('\n');
}

static const char *names[] = {":authority", ":path",      "cookie",     "user-agent",     "accept",
                              "referer",    "x-trace-id", "x-tenant",   "content-type",   "etag",
                              "if-none-match", "x-a",     "set-cookie", "authorization", "content-length"};

/* value is one of a few for each name, so that entries are used again, or a fresh one. */
static void value(char *to, unsigned name) {
  if (rnd(4) != 0) {
    sprintf(to, "v%u-%.*s", rnd(3), (int)(5 + name * 3), "the quick brown fox jumps over the lazy dog 0123456789");
    return;
  }
  unsigned n = rnd(60);
  for (unsigned i = 0; i < n; i++) {
    to[i] = (char)(33 + rnd(94));
  }
  to[n] = 0;
}

#define PENDING 64

static void connection(unsigned capacity, unsigned blocked, unsigned seed, unsigned sections) {
  const nghttp3_mem *mem = nghttp3_mem_default();
  nghttp3_qpack_encoder *enc;
  nghttp3_qpack_decoder *dec;
  nghttp3_buf prefix, section, stream, waiting, sent[PENDING];
  int64_t ids[PENDING];
  unsigned nsent = 0;
  uint8_t acks[4096];

  state = seed * 2654435761ULL + 1;
  printf("conn %u %u %u\n", capacity, blocked, seed);
  check(nghttp3_qpack_encoder_new(&enc, capacity, mem), "encoder");
  nghttp3_qpack_encoder_set_max_dtable_capacity(enc, capacity);
  nghttp3_qpack_encoder_set_max_blocked_streams(enc, blocked);
  check(nghttp3_qpack_decoder_new(&dec, capacity, blocked, mem), "decoder");
  nghttp3_qpack_decoder_set_max_concurrent_streams(dec, 100);
  nghttp3_buf_init(&prefix);
  nghttp3_buf_init(&section);
  nghttp3_buf_init(&stream);

  for (unsigned i = 0; i < sections; i++) {
    char text[16][128];
    nghttp3_nv nv[16];
    unsigned n = 1 + rnd(10);
    /* two sections in a row on some streams, as a response with trailers has */
    int64_t id = 4 * (int64_t)(i / 4 * 4 + i % 4 - (i % 4 == 3));
    for (unsigned k = 0; k < n; k++) {
      unsigned name = rnd(sizeof(names) / sizeof(names[0]));
      value(text[k], name);
      nv[k].name = (uint8_t *)names[name];
      nv[k].namelen = strlen(names[name]);
      nv[k].value = (uint8_t *)text[k];
      nv[k].valuelen = strlen(text[k]);
      nv[k].flags = rnd(12) == 0 ? NGHTTP3_NV_FLAG_NEVER_INDEX : NGHTTP3_NV_FLAG_NONE;
    }
    check(nghttp3_qpack_encoder_encode(enc, &prefix, &section, &stream, id, nv, n), "encode");
    if (nghttp3_buf_len(&stream)) {
      printf("e ");
      hex(stream.pos, nghttp3_buf_len(&stream));
      for (size_t left = nghttp3_buf_len(&stream); left;) {
        nghttp3_ssize k = nghttp3_qpack_decoder_read_encoder(dec, stream.pos, left);
        check(k, "read encoder stream");
        stream.pos += k;
        left -= (size_t)k;
      }
    }
    printf("s %lld ", (long long)id);
    for (uint8_t *p = prefix.pos; p < prefix.last; p++) {
      printf("%02x", *p);
    }
    hex(section.pos, nghttp3_buf_len(&section));
    for (unsigned k = 0; k < n; k++) {
      printf("%c %s\t%s\n", nv[k].flags ? 'H' : 'h', nv[k].name, nv[k].value);
    }
    nghttp3_buf_init(&waiting);
    waiting.begin = waiting.pos = mem->malloc(4096, NULL);
    waiting.last = waiting.pos;
    waiting.end = waiting.begin + 4096;
    memcpy(waiting.last, prefix.pos, nghttp3_buf_len(&prefix));
    waiting.last += nghttp3_buf_len(&prefix);
    memcpy(waiting.last, section.pos, nghttp3_buf_len(&section));
    waiting.last += nghttp3_buf_len(&section);
    ids[nsent] = id;
    sent[nsent++] = waiting;
    nghttp3_buf_reset(&prefix);
    nghttp3_buf_reset(&section);
    nghttp3_buf_reset(&stream);

    if (nsent < PENDING && rnd(6) != 0) {
      continue;
    }
    for (unsigned k = 0; k < nsent; k++) { /* the other side reads what is on its way */
      nghttp3_qpack_stream_context *ctx;
      check(nghttp3_qpack_stream_context_new(&ctx, ids[k], mem), "context");
      for (;;) {
        nghttp3_qpack_nv out;
        uint8_t flags;
        nghttp3_ssize m = nghttp3_qpack_decoder_read_request(dec, ctx, &out, &flags, sent[k].pos, nghttp3_buf_len(&sent[k]), 1);
        check(m, "read section");
        sent[k].pos += m;
        if (flags & NGHTTP3_QPACK_DECODE_FLAG_EMIT) {
          nghttp3_rcbuf_decref(out.name);
          nghttp3_rcbuf_decref(out.value);
        }
        if (flags & NGHTTP3_QPACK_DECODE_FLAG_FINAL) {
          break;
        }
      }
      nghttp3_qpack_stream_context_del(ctx);
      nghttp3_buf_free(&sent[k], mem);
    }
    nsent = 0;
    nghttp3_buf_init(&waiting);
    waiting.begin = waiting.pos = waiting.last = acks;
    waiting.end = acks + sizeof(acks);
    nghttp3_qpack_decoder_write_decoder(dec, &waiting);
    if (nghttp3_buf_len(&waiting)) {
      printf("d ");
      hex(waiting.pos, nghttp3_buf_len(&waiting));
      check(nghttp3_qpack_encoder_read_decoder(enc, waiting.pos, nghttp3_buf_len(&waiting)), "read decoder stream");
    }
  }
  nghttp3_qpack_encoder_del(enc);
  nghttp3_qpack_decoder_del(dec);
}

int main(void) {
  connection(4096, 100, 1, 80);
  connection(4096, 0, 2, 60);
  connection(256, 16, 3, 100); /* small: numbers wrap and entries go often */
  connection(512, 4, 4, 80);
  connection(65536, 100, 5, 40);
  connection(0, 0, 6, 10);
  return 0;
}
