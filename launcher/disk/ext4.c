/* SPDX-License-Identifier: Apache-2.0 */
/* What mke2fs(8) does, without what it does for disks that live longer: e2fsprogs 1.47, mke2fs.c.
 */
#include "ext4.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include <teelaunch/cleanup.h>

#define BLOCK_BYTES 4096u
#define INODE_BYTES 256u
/* Metadata of so many groups lies together, so that few places are written however large the disk
 * is. Not more: descriptors (8 MiB at DISK_MAX_BYTES), bitmaps (4 MiB) and the first inodes must
 * lie within the zeroed head. */
#define FLEX_LOG2  9
#define UNIX_FLAGS (EXT2_FLAG_RW | EXT2_FLAG_EXCLUSIVE | EXT2_FLAG_64BITS)
#define COMPAT_FLAGS                                                                               \
	(EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX |                            \
	 EXT4_FEATURE_COMPAT_SPARSE_SUPER2)
#define INCOMPAT_FLAGS                                                                             \
	(EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |                          \
	 EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG)
#define RO_COMPAT_FLAGS                                                                            \
	(EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |                    \
	 EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |                   \
	 EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)

static void fs_freep(ext2_filsys *fs)
{
	if (*fs)
		ext2fs_free(*fs);
}
#define auto_fs __attribute__((cleanup(fs_freep)))

static void param_fill(struct ext2_super_block *param, uint64_t blocks)
{
	*param = (struct ext2_super_block){
		.s_rev_level = EXT2_DYNAMIC_REV,
		.s_log_block_size = 2, /* 1024 << 2 */
		.s_log_cluster_size = 2,
		.s_inode_size = INODE_BYTES,
		.s_log_groups_per_flex = FLEX_LOG2,
		.s_feature_compat = COMPAT_FLAGS,
		.s_feature_incompat = INCOMPAT_FLAGS,
		.s_feature_ro_compat = RO_COMPAT_FLAGS,
		/* sparse_super2: the groups with a backup are these; group 0 has the real one. */
		.s_backup_bgs = { 0, 0 },
		.s_errors = EXT2_ERRORS_RO,
	};
	ext2fs_blocks_count_set(param, blocks);
}

/* What ext2fs_initialize() leaves to its caller. */
static errcode_t super_finish(ext2_filsys fs)
{
	struct ext2_super_block *s = fs->super;

	if (getrandom(s->s_uuid, sizeof(s->s_uuid), 0) != (ssize_t)sizeof(s->s_uuid) ||
	    getrandom(s->s_hash_seed, sizeof(s->s_hash_seed), 0) != (ssize_t)sizeof(s->s_hash_seed))
		return EIO;
	s->s_checksum_type = EXT2_CRC32C_CHKSUM;
	s->s_def_hash_version = EXT2_HASH_HALF_MD4;
	s->s_flags |= (char)-1 < 0 ? EXT2_FLAGS_SIGNED_HASH : EXT2_FLAGS_UNSIGNED_HASH;
	s->s_min_extra_isize = s->s_want_extra_isize =
		sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
	s->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	s->s_max_mnt_count = -1;
	s->s_backup_bgs[0] = s->s_backup_bgs[1] = 0;
	ext2fs_init_csum_seed(fs);
	return 0;
}

static errcode_t inodes_reserve(ext2_filsys fs)
{
	for (ext2_ino_t ino = EXT2_BAD_INO; ino < EXT2_FIRST_INODE(fs->super); ino++)
		if (ino != EXT2_ROOT_INO)
			ext2fs_inode_alloc_stats2(fs, ino, +1, 0);
	ext2fs_mark_ib_dirty(fs);
	return 0;
}

static errcode_t folders_make(ext2_filsys fs)
{
	errcode_t rc = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);

	if (rc == 0)
		rc = inodes_reserve(fs);
	fs->umask = 077;
	if (rc == 0) /* e2fsck asks for it */
		rc = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
	return rc;
}

/* The device's fault, not that of a file system which can't be made: another try may work. */
static bool is_io_error(errcode_t rc)
{
	return rc == EIO || rc == ENXIO || rc == ENODEV || rc == EILSEQ ||
	       rc == EXT2_ET_SHORT_READ || rc == EXT2_ET_SHORT_WRITE;
}

int ext4_make(const char *path, uint64_t size_bytes, struct tl_error *err)
{
	auto_fs ext2_filsys fs = NULL;
	struct ext2_super_block param;
	errcode_t rc;

	param_fill(&param, size_bytes / BLOCK_BYTES);
	rc = ext2fs_initialize(path, UNIX_FLAGS, &param, unix_io_manager, &fs);
	if (rc == 0)
		rc = super_finish(fs);
	if (rc == 0)
		rc = ext2fs_allocate_tables(fs);
	if (rc == 0)
		rc = folders_make(fs);
	if (rc == 0) {
		ext2fs_set_gdt_csum(fs);
		rc = ext2fs_close_free(&fs);
	}
	if (rc == 0)
		return 0;
	initialize_ext2_error_table();
	return tl_fail(err, is_io_error(rc) ? TL_E_DISK_IO : TL_E_DISK_SETUP, EIO,
		       "make an ext4 on '%s': %s", path, error_message(rc));
}
