/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of one object; linkers make two to five. */
#define SEGMENTS_MAX 16

struct segment {
	uintptr_t from, to;
};

/* Those that are never written: others have pages that aren't the file's. */
static size_t segments_of(const struct dl_phdr_info *object, struct segment *ret)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t n = 0;

	for (size_t i = 0; i < object->dlpi_phnum && n < SEGMENTS_MAX; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];
		uintptr_t from = object->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			ret[n++] = (struct segment){ from & ~(page - 1), from + p->p_memsz };
	}
	return n;
}

/* The program headers lie in one of the segments: they are read before any is given back. */
static int object_give_back(struct dl_phdr_info *object, size_t size, void *ctx)
{
	struct segment segments[SEGMENTS_MAX];
	size_t n = segments_of(object, segments);

	(void)size;
	(void)ctx;
	for (size_t i = 0; i < n; i++)
		(void)madvise((void *)segments[i].from, segments[i].to - segments[i].from,
			      MADV_PAGEOUT);
	return 0;
}

void memory_give_back(void)
{
	(void)malloc_trim(0);
	(void)dl_iterate_phdr(object_give_back, NULL);
}
