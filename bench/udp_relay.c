/*
 * A plain relay between a TUN device and a UDP socket, one packet at a time: what podway's own
 * relay is measured against, and the peer that its tests speak to.
 *
 * It follows the wire rules of flannel's udp backend: the datagram is the inner IPv4 packet, bare;
 * the TTL goes down by one on either side, with the header checksum patched (RFC 1624); a packet
 * whose TTL ends or whose destination has no route is dropped. Both descriptors are read until
 * both are empty, and only then is poll(2) asked.
 *
 *     udp_relay TUN LOCAL PORT [SUBNET/LENGTH NEXTHOP]...
 *
 * Compiled by bench/udp.py and by the tests. It says "ready" on standard output when it is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTES_MAX 64
#define BUFFER_BYTES 65536

struct route {
	in_addr_t net, mask;
	struct sockaddr_in via;
};

static struct route routes[ROUTES_MAX];
static int routes_count;
static unsigned char buffer[BUFFER_BYTES] __attribute__((aligned(8)));

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_tun(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		die("open the TUN device");
	return fd;
}

static int open_socket(const char *address, int port)
{
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &local.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&local, sizeof local) < 0)
		die("bind the UDP socket");
	return fd;
}

static void add_route(char *subnet, const char *via, int port)
{
	struct route *route = &routes[routes_count++];
	char *slash = strchr(subnet, '/');
	struct in_addr net;

	if (routes_count > ROUTES_MAX || !slash)
		die("add a route");
	*slash = 0;
	inet_pton(AF_INET, subnet, &net);
	route->mask = htonl(~0U << (32 - atoi(slash + 1)));
	route->net = net.s_addr & route->mask;
	route->via.sin_family = AF_INET;
	route->via.sin_port = htons(port);
	inet_pton(AF_INET, via, &route->via.sin_addr);
}

static struct sockaddr_in *find_route(in_addr_t address)
{
	for (int i = 0; i < routes_count; i++)
		if ((address & routes[i].mask) == routes[i].net)
			return &routes[i].via;
	return NULL;
}

static int lives_on(struct iphdr *header)
{
	uint32_t sum = ntohs(header->check) + 0x100;

	header->check = htons((uint16_t)(sum + (sum >> 16)));
	return --header->ttl != 0;
}

static int tun_to_udp(int tun, int udp)
{
	struct iphdr *header = (struct iphdr *)buffer;
	ssize_t length = read(tun, buffer, sizeof buffer);
	struct sockaddr_in *via;

	if (length < (ssize_t)sizeof *header)
		return 0;
	via = header->version == 4 ? find_route(header->daddr) : NULL;
	if (via && lives_on(header))
		(void)!sendto(udp, buffer, length, 0, (struct sockaddr *)via, sizeof *via);
	return 1;
}

static int udp_to_tun(int udp, int tun)
{
	struct iphdr *header = (struct iphdr *)buffer;
	ssize_t length = recv(udp, buffer, sizeof buffer, 0);

	if (length < 0)
		return errno == ECONNREFUSED;
	if (length >= (ssize_t)sizeof *header && lives_on(header))
		(void)!write(tun, buffer, length);
	return 1;
}

int main(int argc, char **argv)
{
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};

	if (argc < 4)
		return 2;
	fds[0].fd = open_tun(argv[1]);
	fds[1].fd = open_socket(argv[2], atoi(argv[3]));
	for (int i = 4; i + 1 < argc; i += 2)
		add_route(argv[i], argv[i + 1], atoi(argv[3]));
	puts("ready");
	fflush(stdout);
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die("poll");
		while (tun_to_udp(fds[0].fd, fds[1].fd) + udp_to_tun(fds[1].fd, fds[0].fd))
			;
	}
}
