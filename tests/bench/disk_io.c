/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_io DEVICE OFFSET_MIB SIZE_MIB OPERATIONS: how fast a block device is, past the page cache.
 *
 * Writes the whole range in requests of 1 MiB and syncs, reads it, then writes (and syncs) and
 * reads OPERATIONS blocks of 4 KiB at random places in it. One number a line: MB/s, MB/s, and
 * operations per second. For tests/bench/disk.py, which runs it in a machine.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MIB   (1 << 20)
#define BLOCK 4096

static int fd;
static char *buffer;

static void fail(const char *what)
{
	perror(what);
	abort();
}

static long number_of(const char *text)
{
	long n = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		n = n * 10 + (*text - '0');
	if (*text || !n)
		fail("number");
	return n;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void transfer(int is_write, size_t n, off_t at)
{
	ssize_t done = is_write ? pwrite(fd, buffer, n, at) : pread(fd, buffer, n, at);

	if (done != (ssize_t)n)
		fail(is_write ? "write" : "read");
}

static double sequential(int is_write, off_t start, off_t size)
{
	double begin = now();

	for (off_t at = 0; at < size; at += MIB)
		transfer(is_write, MIB, start + at);
	if (is_write && fsync(fd) < 0)
		fail("fsync");
	return (double)size / 1e6 / (now() - begin);
}

static double random_blocks(int is_write, off_t start, off_t size, int operations)
{
	double begin = now();

	for (int i = 0; i < operations; i++)
		transfer(is_write, BLOCK, start + random() % (size / BLOCK) * BLOCK);
	if (is_write && fsync(fd) < 0)
		fail("fsync");
	return operations / (now() - begin);
}

int main(int argc, char **argv)
{
	off_t start, size;
	int operations;

	if (argc != 5)
		fail("disk_io DEVICE OFFSET_MIB SIZE_MIB OPERATIONS");
	start = number_of(argv[2]) * MIB;
	size = number_of(argv[3]) * MIB;
	operations = (int)number_of(argv[4]);
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0)
		fail(argv[1]);
	buffer = aligned_alloc(BLOCK, MIB);
	for (size_t i = 0; buffer && i < MIB; i++)
		buffer[i] = (char)random();
	printf("%.3f\n", sequential(1, start, size));
	printf("%.3f\n", sequential(0, start, size));
	printf("%.1f\n", random_blocks(1, start, size, operations));
	printf("%.1f\n", random_blocks(0, start, size, operations));
	return 0;
}
