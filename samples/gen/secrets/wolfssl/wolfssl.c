/*
 * wolfssl SERVER|CLIENT port suite flags... speaks DTLS 1.3 on 127.0.0.1. The server echoes
 * each datagram; the client sends each line it reads and prints what comes back. A line
 * ^rekey^ asks for new keys. Flags: cid, update (the server takes new keys after its second
 * answer), group (the client sends no share the server wants, so it is asked again).
 *
 * Needs wolfSSL 5.5 or newer with DTLS 1.3 and its secret callback, which Debian's package
 * lacks; wolfssl.sh builds both.
 */
#include "user_settings.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wolfssl/ssl.h>

static void die(const char *what, int code)
{
	fprintf(stderr, "wolfssl: %s: %d\n", what, code);
	exit(1);
}

/* Writes a secret as a line of a key log (RFC 9850). */
static int secret(WOLFSSL *ssl, int id, const unsigned char *key, int size, void *path)
{
	static const char *labels[] = { "CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
		"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EARLY_EXPORTER_MASTER_SECRET", "EXPORTER_SECRET" };
	unsigned char random[32];
	FILE *f;
	if (id < 0 || id > 6 || wolfSSL_get_client_random(ssl, random, sizeof random) != sizeof random)
		return 0;
	if (!(f = fopen(path, "a")))
		return -1;
	fprintf(f, "%s ", labels[id]);
	for (int i = 0; i < 32; i++)
		fprintf(f, "%02x", random[i]);
	fputc(' ', f);
	for (int i = 0; i < size; i++)
		fprintf(f, "%02x", key[i]);
	fputc('\n', f);
	return fclose(f);
}

static int flag(int argc, char **argv, const char *name)
{
	for (int i = 4; i < argc; i++)
		if (!strcmp(argv[i], name))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	char buf[2048], *keys = getenv("SSLKEYLOGFILE");
	struct sockaddr_in a = { .sin_family = AF_INET }, peer;
	socklen_t size = sizeof peer;
	int server, fd, n, answers = 0;
	WOLFSSL_CTX *ctx;
	WOLFSSL *ssl;

	if (argc < 4)
		die("arguments missing", argc);
	server = !strcmp(argv[1], "server");
	a.sin_port = htons(atoi(argv[2]));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	wolfSSL_Init();
	ctx = wolfSSL_CTX_new(server ? wolfDTLSv1_3_server_method() : wolfDTLSv1_3_client_method());
	if (wolfSSL_CTX_set_cipher_list(ctx, argv[3]) != WOLFSSL_SUCCESS)
		die("suite", 0);
	if (server) {
		if (bind(fd, (struct sockaddr *)&a, sizeof a))
			die("bind", 0);
		if (wolfSSL_CTX_use_certificate_file(ctx, "ec.pem", WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS ||
		    wolfSSL_CTX_use_PrivateKey_file(ctx, "ec.key", WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
			die("certificate", 0);
		/* The first datagram says who the client is; it stays for wolfSSL to read. */
		if (recvfrom(fd, buf, sizeof buf, MSG_PEEK, (struct sockaddr *)&peer, &size) < 0)
			die("recvfrom", 0);
		a = peer;
	} else if (wolfSSL_CTX_load_verify_locations(ctx, "ca.pem", 0) != WOLFSSL_SUCCESS) {
		die("authority", 0);
	}
	if (connect(fd, (struct sockaddr *)&a, sizeof a))
		die("connect", 0);
	ssl = wolfSSL_new(ctx);
	wolfSSL_dtls_set_peer(ssl, &a, sizeof a);
	wolfSSL_set_fd(ssl, fd);
	if (!server && keys) {
		wolfSSL_KeepArrays(ssl);
		wolfSSL_set_tls13_secret_cb(ssl, secret, keys);
	}
	if (!server && flag(argc, argv, "group"))
		wolfSSL_NoKeyShares(ssl);
	if (flag(argc, argv, "cid")) {
		wolfSSL_dtls_cid_use(ssl);
		wolfSSL_dtls_cid_set(ssl, (unsigned char *)(server ? "server" : "cl"), server ? 6 : 2);
	}
	n = server ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl);
	if (n != WOLFSSL_SUCCESS)
		die("handshake", wolfSSL_get_error(ssl, n));
	if (server) {
		while ((n = wolfSSL_read(ssl, buf, sizeof buf)) > 0) {
			if (wolfSSL_write(ssl, buf, n) != n)
				die("write", n);
			if (++answers == 2 && flag(argc, argv, "update"))
				wolfSSL_update_keys(ssl);
		}
		wolfSSL_shutdown(ssl);
		return 0;
	}
	for (;;) {
		struct pollfd p[2] = { { 0, POLLIN, 0 }, { fd, POLLIN, 0 } };
		if (poll(p, 2, -1) < 0)
			break;
		if (p[1].revents & POLLIN) {
			wolfSSL_dtls_set_using_nonblock(ssl, 1);
			n = (int)recv(fd, buf, 1, MSG_PEEK | MSG_DONTWAIT);
			if (n >= 0 && (n = wolfSSL_read(ssl, buf, sizeof buf)) > 0 && write(1, buf, n) != n)
				break;
		}
		if (p[0].revents) {
			if ((n = (int)read(0, buf, sizeof buf)) <= 0)
				break;
			if (buf[0] == '^')
				wolfSSL_update_keys(ssl);
			else if (wolfSSL_write(ssl, buf, n) != n)
				die("write", n);
		}
	}
	wolfSSL_shutdown(ssl);
	return 0;
}
