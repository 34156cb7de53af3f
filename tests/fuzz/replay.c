/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds every file of the folders named on the command line to one fuzz target, without libFuzzer.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/error.h>
#include <teelaunch/file.h>

#define INPUT_MAX_BYTES (16u << 20)

/* A copy of exactly the input's size, so that AddressSanitizer sees a read past its end. */
static void feed(const void *data, size_t size)
{
	auto_free uint8_t *copy = malloc(size ? size : 1);

	FUZZ_CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
}

static int replay_file(const char *path)
{
	struct tl_error err = { 0 };
	auto_buf struct tl_buf input = { 0 };

	tl_buf_init(&input, INPUT_MAX_BYTES);
	if (tl_file_read(path, &input, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return -1;
	}
	/* Named before it runs: when it crashes, the last line says which input did it. */
	printf("%s: %zu bytes\n", path, input.len_bytes);
	fflush(stdout);
	feed(input.data, input.len_bytes);
	return 0;
}

/* Returns the number of inputs, or -1. */
static int replay_folder(const char *folder)
{
	struct dirent **names = NULL;
	int n = scandir(folder, &names, NULL, alphasort);
	int replayed = 0;

	if (n < 0)
		perror(folder);
	for (int i = 0; i < n; i++) {
		auto_free struct dirent *entry = names[i];
		auto_free char *path = NULL;

		if (replayed < 0 || entry->d_name[0] == '.')
			continue;
		if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0 || replay_file(path) < 0)
			replayed = -1;
		else
			replayed++;
	}
	free(names);
	return n < 0 ? -1 : replayed;
}

int main(int argc, char **argv)
{
	feed("", 0);
	for (int i = 1; i < argc; i++) {
		int n = replay_folder(argv[i]);

		if (n == 0)
			fprintf(stderr, "%s: no inputs: a corpus must not be empty\n", argv[i]);
		if (n <= 0)
			return 1;
	}
	return argc > 1 ? 0 : 2;
}
