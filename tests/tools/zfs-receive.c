/*
 * This Source Code Form is subject to the terms of the Mozilla Public
 * License, v. 2.0. If a copy of the MPL was not distributed with this
 * file, You can obtain one at https://mozilla.org/MPL/2.0/.
 */

/*
 * zfs-receive: receives a ZFS send stream as the kernel would, by OpenZFS's
 * own code in user space (Debian's libzpool), and tells what came of it.
 *
 *   zfs-receive POOL STREAM [AGAIN]
 *
 * POOL, an absolute path, becomes a pool in a file. Every name of the received
 * snapshot is a line on stdout; with AGAIN the snapshot is sent to that file,
 * received a second time, and the lines are of what came through both.
 *
 * Fields, one blank between: mode (octal, with type), uid, gid, links, size,
 * mtime as seconds.nanoseconds, object, object of the parent, path, and for a
 * file the SHA-256 of its contents, for a link its target, else "-". Bytes
 * that are no plain letter or sign stand as \xHH.
 *
 * Exits 1 with a line on stderr when the stream is refused, or when what was
 * received contradicts itself.
 */

#include <sys/zfs_context.h>
#include <sys/spa.h>
#include <sys/dmu.h>
#include <sys/dmu_objset.h>
#include <sys/dmu_recv.h>
#include <sys/dmu_send.h>
#include <sys/sa.h>
#include <sys/zap.h>
#include <sys/zfs_acl.h>
#include <sys/zfs_file.h>
#include <sys/zfs_sa.h>
#include <sys/zfs_znode.h>
#include <sys/fs/zfs.h>
#include <sys/stat.h>
#include <zfeature_common.h>

/* Of libzpool, in a header that no package has. */
#define	SHA256_MECHANISM	0
typedef struct { uint64_t opaque[64]; } sha256_state_t;
extern void SHA2Init(uint64_t mechanism, sha256_state_t *state);
extern void SHA2Update(sha256_state_t *state, const void *data, size_t len);
extern void SHA2Final(void *digest, sha256_state_t *state);

extern char *spa_config_path;

#define	POOL "pool"
#define	PIECE (1 << 20)

/* What `list` carries from name to name. */
typedef struct listing {
	objset_t *os;
	sa_attr_type_t *attributes;
	char path[4096];
} listing_t;

static void
check(int error, const char *what)
{
	if (error == 0)
		return;
	fflush(stdout);
	fprintf(stderr, "zfs-receive: %s: %s\n", what, strerror(error));
	exit(1);
}

static void
insist(int holds, const char *what, const char *where)
{
	if (holds)
		return;
	fflush(stdout);
	fprintf(stderr, "zfs-receive: %s: %s\n", where, what);
	exit(1);
}

/* A pool with all features off: as old as any that takes our images. */
static void
make_pool(char *file)
{
	nvlist_t *root = fnvlist_alloc();
	nvlist_t *disk = fnvlist_alloc();

	fnvlist_add_string(disk, ZPOOL_CONFIG_TYPE, VDEV_TYPE_FILE);
	fnvlist_add_string(disk, ZPOOL_CONFIG_PATH, file);
	fnvlist_add_uint64(disk, ZPOOL_CONFIG_ASHIFT, 12);
	fnvlist_add_string(root, ZPOOL_CONFIG_TYPE, VDEV_TYPE_ROOT);
	fnvlist_add_nvlist_array(root, ZPOOL_CONFIG_CHILDREN, &disk, 1);
	check(spa_create(POOL, root, NULL, NULL, NULL), "create pool");
	fnvlist_free(disk);
	fnvlist_free(root);
}

/* Returns the name of the snapshot that came of it. */
static char *
receive(const char *stream, const char *name)
{
	dmu_replay_record_t begin;
	dmu_recv_cookie_t cookie;
	zfs_file_t *file;
	ssize_t missing = 0;
	offset_t offset = sizeof (begin);
	char *filesystem, *snapshot, *at;

	check(zfs_file_open(stream, O_RDONLY, 0, &file), stream);
	check(zfs_file_read(file, &begin, sizeof (begin), &missing), stream);
	insist(missing == 0, "incomplete stream", stream);
	insist(begin.drr_type == DRR_BEGIN &&
	    begin.drr_u.drr_begin.drr_magic == DMU_BACKUP_MAGIC,
	    "not a stream", stream);
	at = strchr(begin.drr_u.drr_begin.drr_toname, '@');
	insist(at != NULL, "no snapshot named", stream);

	filesystem = kmem_asprintf("%s/%s", POOL, name);
	check(dmu_recv_begin(filesystem, at + 1, &begin, B_FALSE, B_FALSE,
	    NULL, NULL, NULL, &cookie, file, &offset), "begin to receive");
	check(dmu_recv_stream(&cookie, &offset), "receive stream");
	check(dmu_recv_end(&cookie, NULL), "end receiving");
	zfs_file_close(file);
	snapshot = kmem_asprintf("%s@%s", filesystem, at + 1);
	kmem_strfree(filesystem);
	return (snapshot);
}

static int
to_file(objset_t *os, void *bytes, int len, void *file)
{
	return (fwrite(bytes, 1, len, file) == len ? 0 : EIO);
}

static void
send_again(const char *snapshot, const char *file)
{
	FILE *out = fopen(file, "w");
	offset_t offset = 0;
	dmu_send_outparams_t params = { to_file, out, B_FALSE };

	insist(out != NULL, strerror(errno), file);
	check(dmu_send(snapshot, NULL, B_FALSE, B_FALSE, B_FALSE, B_FALSE,
	    B_FALSE, 0, 0, NULL, -1, &offset, &params), "send again");
	insist(fclose(out) == 0, strerror(errno), file);
}

static void
print_escaped(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = text[i];
		if (byte > ' ' && byte < 127 && byte != '\\')
			putchar(byte);
		else
			printf("\\x%02x", byte);
	}
}

static uint64_t
number(listing_t *l, sa_handle_t *handle, zpl_attr_t attribute)
{
	uint64_t value = 0;
	check(sa_lookup(handle, l->attributes[attribute], &value,
	    sizeof (value)), l->path);
	return (value);
}

static void
print_digest(listing_t *l, uint64_t object, uint64_t size)
{
	static char piece[PIECE];
	unsigned char digest[32];
	sha256_state_t state;

	SHA2Init(SHA256_MECHANISM, &state);
	for (uint64_t offset = 0; offset < size; offset += PIECE) {
		uint64_t len = MIN(PIECE, size - offset);
		check(dmu_read(l->os, object, offset, len, piece,
		    DMU_READ_PREFETCH), l->path);
		SHA2Update(&state, piece, len);
	}
	SHA2Final(digest, &state);
	for (int i = 0; i < sizeof (digest); i++)
		printf("%02x", digest[i]);
}

static void
print_target(listing_t *l, sa_handle_t *handle, uint64_t size)
{
	char target[4096];
	int len = 0;

	check(sa_size(handle, l->attributes[ZPL_SYMLINK], &len), l->path);
	insist(len == size && size <= sizeof (target),
	    "length of the target is not the link's", l->path);
	check(sa_lookup(handle, l->attributes[ZPL_SYMLINK], target, len),
	    l->path);
	print_escaped(target, len);
}

/*
 * The ACL is what illumos checks. The trivial one of the mode, or else the
 * module would have written another: three entries at least, six at most,
 * the last three for owner, group and everyone with just the mode's bits.
 */
static void
check_acl(listing_t *l, sa_handle_t *handle, uint64_t mode)
{
	struct { uint16_t type, flags; uint32_t mask; } aces[6];
	uint64_t count = number(l, handle, ZPL_DACL_COUNT);
	int len = 0;

	check(sa_size(handle, l->attributes[ZPL_DACL_ACES], &len), l->path);
	insist(count >= 3 && count <= 6 && len == count * 8,
	    "length of the ACL", l->path);
	check(sa_lookup(handle, l->attributes[ZPL_DACL_ACES], aces, len),
	    l->path);
	for (int i = 0; i < 3; i++) {
		uint64_t bits = mode >> (6 - 3 * i) & 7;
		uint32_t mask = aces[count - 3 + i].mask;
		insist(!!(mask & 1) == !!(bits & 4) &&
		    !!(mask & 2) == !!(bits & 2) &&
		    !!(mask & 0x20) == !!(bits & 1),
		    "the ACL is not the mode's", l->path);
	}
}

static void list(listing_t *l, uint64_t object, uint64_t directory);

/* All names of a directory; each must be found by its hash, too. */
static void
list_names(listing_t *l, uint64_t directory, uint64_t size)
{
	size_t end = strlen(l->path);
	uint64_t names = 0, found;
	zap_cursor_t cursor;
	zap_attribute_t name;

	zap_cursor_init(&cursor, l->os, directory);
	while (zap_cursor_retrieve(&cursor, &name) == 0) {
		snprintf(l->path + end, sizeof (l->path) - end, "/%s",
		    name.za_name);
		check(zap_lookup(l->os, directory, name.za_name, 8, 1, &found),
		    l->path);
		insist(found == name.za_first_integer,
		    "another value by hash than in turn", l->path);
		list(l, found, directory);
		l->path[end] = 0;
		names++;
		zap_cursor_advance(&cursor);
	}
	zap_cursor_fini(&cursor);
	insist(names + 2 == size, "size of the directory", l->path);
}

static void
list(listing_t *l, uint64_t value, uint64_t directory)
{
	uint64_t object = ZFS_DIRENT_OBJ(value);
	uint64_t mode, size, parent, mtime[2] = { 0, 0 };
	sa_handle_t *handle;

	check(sa_handle_get(l->os, object, NULL, SA_HDL_PRIVATE, &handle),
	    l->path);
	mode = number(l, handle, ZPL_MODE);
	size = number(l, handle, ZPL_SIZE);
	parent = number(l, handle, ZPL_PARENT);
	check(sa_lookup(handle, l->attributes[ZPL_MTIME], mtime,
	    sizeof (mtime)), l->path);
	insist(object == directory || value >> 60 == IFTODT(mode),
	    "type in the directory is not the mode's", l->path);
	insist(!S_ISDIR(mode) || parent == directory, "parent", l->path);
	check_acl(l, handle, mode);

	printf("%06llo %llu %llu %llu %llu %llu.%09llu %llu %llu ",
	    (u_longlong_t)mode, (u_longlong_t)number(l, handle, ZPL_UID),
	    (u_longlong_t)number(l, handle, ZPL_GID),
	    (u_longlong_t)number(l, handle, ZPL_LINKS), (u_longlong_t)size,
	    (u_longlong_t)mtime[0], (u_longlong_t)mtime[1],
	    (u_longlong_t)object, (u_longlong_t)parent);
	print_escaped(*l->path ? l->path : "/", strlen(*l->path ? l->path : "/"));
	putchar(' ');
	if (S_ISREG(mode))
		print_digest(l, object, size);
	else if (S_ISLNK(mode))
		print_target(l, handle, size);
	else
		putchar('-');
	putchar('\n');
	sa_handle_destroy(handle);
	if (S_ISDIR(mode))
		list_names(l, object, size);
}

static void
list_snapshot(const char *snapshot)
{
	listing_t l = { 0 };
	uint64_t sa, root;

	check(dmu_objset_own(snapshot, DMU_OST_ZFS, B_TRUE, B_FALSE, FTAG,
	    &l.os), snapshot);
	check(zap_lookup(l.os, MASTER_NODE_OBJ, ZFS_SA_ATTRS, 8, 1, &sa),
	    "find the attributes");
	check(sa_setup(l.os, sa, zfs_attr_table, ZPL_END, &l.attributes),
	    "set the attributes up");
	check(zap_lookup(l.os, MASTER_NODE_OBJ, ZFS_ROOT_OBJ, 8, 1, &root),
	    "find the root");
	list(&l, root, root);
	dmu_objset_disown(l.os, B_FALSE, FTAG);
}

int
main(int argc, char **argv)
{
	char *snapshot;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: zfs-receive POOL STREAM [AGAIN]\n");
		return (64);
	}
	/* No pool of this machine is known here, and ours is told to nobody. */
	spa_config_path = "/dev/null/zpool.cache";
	kernel_init(SPA_MODE_READ | SPA_MODE_WRITE);
	make_pool(argv[1]);
	snapshot = receive(argv[2], "first");
	if (argc == 4) {
		send_again(snapshot, argv[3]);
		kmem_strfree(snapshot);
		snapshot = receive(argv[3], "second");
	}
	list_snapshot(snapshot);
	kmem_strfree(snapshot);
	check(spa_export(POOL, NULL, B_TRUE, B_FALSE), "export pool");
	kernel_fini();
	return (0);
}
