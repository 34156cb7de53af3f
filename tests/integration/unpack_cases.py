# SPDX-License-Identifier: Apache-2.0
"""Layers that are odd, wrong or hostile, and what becomes of each.

SAME      containerd takes it, and the unpacker makes the same of it
REFUSED   containerd refuses it, and so does the unpacker
DECLINED  containerd takes it, and the unpacker says UNSUPPORTED: it goes the old way
"""
import collections

from layer_tar import (BLOCK, END, GNU, MTIME, USTAR, V7, binary, entry, folder, gnu_long, gzip_member,
                       gzip_of, hardlink, header, octal, padded, pax, record, symlink, tar, xattrs,
                       zstd_of, zstd_skippable)

SAME, REFUSED, DECLINED = "same", "refused", "declined"
# `layer` is as a registry has it; `base` a tar that lies below, or None.
Case = collections.namedtuple("Case", "name expected layer base media_type")
CASES = []

CAPABILITY = bytes.fromhex("0100000200240000000000000000000000000000")[:20]

# A tree with everything that a directory which a layer doesn't name can take from below.
BASE = tar(
    folder("usr", mode=0o711, uid=7, gid=8, mtime=1_300_000_000),
    folder("usr/share", mode=0o2770, uid=1000, gid=1001, mtime=1_300_000_001),
    xattrs(user__colour="blue", security__capability=CAPABILITY), folder("tagged", mode=0o1777, uid=9),
    folder("tagged/deeper", mode=0o700), entry("usr/file", b"below", mode=0o4755, uid=3),
    entry("usr/share/data", b"data"), symlink("link-to-usr", "usr"), symlink("dangling", "no/where"),
    symlink("absolute", "/usr/share"), symlink("out", "../../../../usr"), entry("plain", b"plain"),
    folder("empty"), entry("empty/../inside", b"x"))


def case(name, expected, *parts, base=None, end=END, wrap=gzip_of, media_type="+gzip"):
    layer = wrap(b"".join(parts) + end)
    CASES.append(Case(name, expected, layer, base, media_type))


def above(name, expected, *parts, **kwargs):
    case(name, expected, *parts, base=BASE, **kwargs)


F = entry("after", b"after")  # shows that the archive was read on

# --- modes, owners, attributes --------------------------------------------------------------------
case("modes", SAME, *(entry("f%o" % m, b"x", mode=m) for m in (
    0, 0o1, 0o777, 0o4755, 0o2755, 0o6755, 0o1755, 0o7777, 0o7000)))
case("modes of folders", SAME, *(folder("d%o" % m, mode=m) for m in (0, 0o777, 0o1777, 0o2755, 0o7777)))
case("bits above the mode", SAME, entry("f", mode=0o100644), folder("d", mode=0o40755),
     entry("g", mode=0o7777777))
case("owners", SAME, entry("a", uid=0o7777777, gid=1), entry("b", uid=65534, gid=65534),
     folder("c", uid=1, gid=2), symlink("d", "a", uid=5, gid=6), entry("e", mode=0o6755, uid=1, gid=1))
case("owners of 32 bits", SAME, entry("a", uid=binary(0xfffffffe, 8), gid=binary(0x80000000, 8)))
case("owner -1", DECLINED, entry("a", uid=binary(0xffffffff, 8), gid=binary(-1, 8)))
case("owners beyond 32 bits", DECLINED, entry("a", uid=binary(1 << 33, 8), gid=binary((1 << 32) + 5, 8)))
case("owners in pax", SAME, pax(("uid", "2097152"), ("gid", "4000000000")), entry("a"),
     pax(("uid", "")), entry("c", uid=4))
case("owner -1 in pax", DECLINED, pax(("uid", "-1")), entry("b"))
case("names of owners don't count", SAME, pax(("uname", "daemon"), ("gname", "tty")), entry("a"))
case("a capability", SAME, xattrs(security__capability=CAPABILITY), entry("ping", b"#!", mode=0o755))
case("a capability and setuid", SAME, xattrs(security__capability=CAPABILITY),
     entry("ping", b"#!", mode=0o6755, uid=4, gid=4))
case("a capability that is none", REFUSED, xattrs(security__capability=b"abc"), entry("ping", b"#!"))
case("user attributes", SAME, xattrs(user__a="1", user__empty="", user__b=bytes(range(1, 256))),
     entry("a"), xattrs(user__d="1"), folder("d"))
case("an attribute with NUL", SAME, xattrs(user__n=b"a\0b"), entry("a"))
case("an attribute with newlines and '='", SAME, xattrs(user__n=b"\n=\n 12 a=b\n"), entry("a"))
case("user attributes of links", SAME, xattrs(user__a="1"), symlink("s", "x"), F)
case("user attributes of a fifo", SAME, xattrs(user__a="1"), entry("p", kind=b"6"), F)
case("trusted attributes are left out", SAME, xattrs(trusted__overlay__opaque="y"), folder("d"),
     xattrs(trusted__x="y"), entry("f"), F)
case("a system attribute", SAME, xattrs(system__x="y"), entry("f"), F)
case("an ACL", SAME, xattrs(system__posix_acl_access=bytes.fromhex(
    "02000000 01000600ffffffff 02000600e8030000 04000400ffffffff 10000600ffffffff 20000400ffffffff".replace(
        " ", ""))), entry("f", mode=0o664), F)
case("an attribute of no namespace", SAME, pax(("SCHILY.xattr.colour", "x")), entry("f"), F)
case("an attribute without a name", REFUSED, pax(("SCHILY.xattr.", "x")), entry("f"), F)
case("an attribute with a name too long", REFUSED, pax(("SCHILY.xattr.user." + "n" * 300, "x")),
     entry("f"))
case("an attribute too large", REFUSED, xattrs(user__n=b"x" * 65537), entry("f"))
case("other archivers' attributes don't count", SAME,
     pax(("LIBARCHIVE.xattr.user.a", "eA=="), ("LIBARCHIVE.creationtime", "1"), ("SCHILY.fflags", "uchg"),
         ("SCHILY.acl.access", "user::rw-"), ("RHT.security.selinux", "x"), ("comment", "c"),
         ("SCHILY.dev", "1"), ("hdrcharset", "BINARY")), entry("a"), F)
case("a file of AppleDouble", SAME, entry("._a", b"\0\5\x16\7" + bytes(100)), entry("a", b"x"), F)

# --- times ----------------------------------------------------------------------------------------
case("times", SAME, entry("zero", mtime=0), entry("future", mtime=7_000_000_000),
     entry("hour", mtime=binary(1, 12)), folder("d", mtime=5), symlink("s", "x", mtime=9))
case("a time before 1970", SAME, entry("a", mtime=binary(-1, 12)), entry("b", mtime=binary(-10 ** 12, 12)))
case("huge times", DECLINED, entry("a", mtime=binary(2 ** 62, 12)), entry("b", mtime=binary(2 ** 63 - 1, 12)))
case("the last times that fit", SAME, entry("a", mtime=binary(9223372036, 12)),
     entry("b", mtime=binary(9223372037, 12)))
case("times in pax", SAME, pax(("mtime", "1350244992.023960108")), entry("a"),
     pax(("mtime", "1350244992.5")), entry("b"), pax(("mtime", "-1.5")), entry("c"),
     pax(("mtime", "9223372036.854775807")), entry("d"), pax(("mtime", "9223372036.854775808")),
     entry("e"), pax(("mtime", "1.0000000009")), folder("f"), pax(("mtime", "0.999999999999")), entry("g"),
     pax(("mtime", "1.")), entry("h"))
case("times of reading", SAME, pax(("atime", "1500000000.25"), ("mtime", "1400000000")), entry("later"),
     pax(("atime", "1300000000"), ("mtime", "1400000000")), entry("earlier"),
     pax(("atime", "1500000000.25"), ("ctime", "1")), folder("d"), pax(("atime", "-5")), entry("b"))
for text in ("", "x", ".5", "1.5x", "1e9", "+5", "5 ", "-", "99999999999999999999", "1.2.3", "-.5"):
    case("a time of %r" % text, SAME if text in ("", "+5") else REFUSED, pax(("mtime", text)),
         entry("a"), F)
case("times of GNU", SAME, header("a", magic=GNU, changes=[(345, octal(1_500_000_000, 12)),
                                                            (357, octal(1_600_000_000, 12))]), F)
case("folders keep their times", SAME, folder("d", mtime=1), entry("d/a"), folder("d/e", mtime=2),
     entry("d/e/f"), folder("d", mtime=3), entry("d/b"))
case("a folder's last entry says its time", SAME, folder("d", mtime=10), folder("e", mtime=11),
     folder("d", mtime=5, mode=0o700), entry("d/x"))

# --- names ----------------------------------------------------------------------------------------
case("names with './'", SAME, folder("./"), folder("./a/"), entry("./a/b", b"x"), entry(".//c", b"y"))
case("the root by several names", SAME, *(folder(n, mode=0o700, uid=5, mtime=7) for n in (
    ".", "./", "/", "..", "a/..", "", "//", "../..")), F)
case("the root as a file", SAME, entry(".", b"x"), entry("/", b"y"), F)
case("absolute names", SAME, entry("/abs", b"x"), folder("//d//"), entry("///d///f", b"y"))
case("names with '..'", SAME, entry("../up", b"x"), entry("../../up2", b"y"), folder("a"),
     entry("a/../b", b"z"), entry("a/../../../c", b"w"), entry("missing/../d", b"v"))
case("a name of '..' behind a link", SAME, folder("real/deep"), symlink("l", "real/deep"),
     entry("l/../x", b"text"))
case("odd bytes in names", SAME, entry("new\nline", b"1"), entry(b"\xff\xfe\x80", b"2"), entry("a b\t", b"3"),
     entry("back\\slash", b"4"), entry("*?[", b"5"), entry(b"\xc3\xa9", b"6"), entry("\x7f\x01", b"7"))
case("a name of 255", SAME, pax(("path", "n" * 255)), entry("short", b"x"))
case("a name of 256", REFUSED, pax(("path", "n" * 256)), entry("short", b"x"))
case("a name of 100", SAME, entry("n" * 100, b"x"), F)
case("a prefix", SAME, entry("name", b"x", prefix=b"pre/fix"), entry("n" * 100, b"y", prefix=b"p" * 155), F)
case("a prefix in GNU's format is none", SAME, entry("a", b"x", magic=GNU), F)
case("a prefix that an old Go's writer left", DECLINED, entry("a", b"x", magic=GNU, prefix=b"pre"), F)
case("a path of 3000", SAME, pax(("path", "/".join(["d" * 99] * 30))), entry("s", b"deep"), F)
case("a path of 5000", REFUSED, pax(("path", "/".join(["d" * 99] * 50))), entry("s", b"deep"), F)
case("200 levels", SAME, pax(("path", "d/" * 200 + "f")), entry("s", b"deep"), F)
case("a thousand levels", DECLINED, pax(("path", "d/" * 1000 + "f")), entry("s", b"deep"), F)
case("names of GNU", SAME, gnu_long("l" * 150), entry("l" * 100, b"x", magic=GNU),
     gnu_long("t" * 200, b"K"), gnu_long("s" * 200), symlink("s" * 100, "t" * 100, magic=GNU), F)
case("a name of GNU without NUL", SAME, gnu_long("l" * 150, terminator=b""), entry("x", b"x", magic=GNU), F)
case("a name of GNU that ends early", SAME, gnu_long("abc\0def"), entry("x", b"x", magic=GNU), F)
case("an empty name of GNU", SAME, gnu_long(""), entry("x", b"x", magic=GNU), F)
case("both kinds of long names", SAME, gnu_long("gnu"), pax(("path", "pax")), entry("x", b"x"), F)
case("both kinds, the other way round", SAME, pax(("path", "pax")), gnu_long("gnu"), entry("x", b"x"), F)
case("numbers in pax, then a name of GNU", SAME, pax(("uid", "1234"), ("mtime", "5")), gnu_long("l" * 150), entry("x", b"x"), F)
case("a number in pax where a name of GNU has digits", SAME, pax(("uid", "123456")), gnu_long("a" * 7 + "654321"),
     entry("x", b"x"), F)
case("attributes in pax, then both names of GNU", SAME, pax(("SCHILY.xattr.user.a", "value")), gnu_long("k" * 150, b"K"),
     gnu_long("l" * 150), entry("x", b"x"), F)
case("two pax headers", SAME, pax(("path", "one"), ("mtime", "5")), pax(("path", "two")), entry("x", b"x"), F)
case("a key twice", SAME, pax(("path", "one"), ("path", "two")), entry("x", b"x"), F)
case("a name with NUL in pax", REFUSED, pax(("path", b"a\0b")), entry("x", b"x"), F)
case("an empty path in pax", SAME, pax(("path", "")), entry("x", b"x"), F)
case("a long name and no entry", SAME, F, gnu_long("x"))
case("a pax header and no entry", SAME, F, pax(("path", "x")))
case("a pax header alone at the end", SAME, F, pax(("path", "x")), end=b"")
case("a GNU name too long for anybody", REFUSED, gnu_long("x" * ((1 << 20) + 1)), entry("x", b"x"), F)

# --- records of pax -------------------------------------------------------------------------------
case("size in pax", SAME, pax(("size", "5")), entry("a", b"", size=0, changes=()) + padded(b"hello"), F)
case("size of zero in pax", SAME, pax(("size", "0")), header("a", size=5), F)
case("an owner in pax that is no number", REFUSED, pax(("uid", "root")), entry("a"))
case("a negative size in pax", REFUSED, pax(("size", "-1")), entry("a"), F)
for number, body in enumerate((b"5 a=b\n", b"7 a=b\n", b"a=b\n", b"6 a=b", b"6 ab \n", b"6 =bc\n", b"0 a=b\n",
                               b"6  a=\n", b"99999999999999999999 a=b\n", b"-7 a=b\n", b"07 a=b\n",
                               b"+7 a=b\n", b"6 a=b\n\0\0", b"\n", b" 6 a=b\n", b"6 a=b\r")):
    CASES.append(Case("a record of %r" % body, SAME if number in (7, 10, 11) else REFUSED,
                      gzip_of(tar(pax(body=body), entry("a"), F)), None, "+gzip"))
case("an empty pax header", SAME, pax(body=b""), entry("a", b"x"), F)
case("a NUL in a key", REFUSED, pax(("a\0b", "x")), entry("a"), F)
case("a large pax header", SAME, pax(("comment", "x" * 900_000)), entry("a", b"x"), F)
case("a pax header too large", REFUSED, pax(("comment", "x" * (1 << 20))), entry("a", b"x"), F)
case("many attributes", SAME, xattrs(**{"user__n%d" % i: "x" for i in range(40)}), entry("a"), F)
case("a global header", DECLINED, pax(("comment", "0123"), kind=b"g", name="pax_global_header"),
     entry("a", b"x"), F)
case("a global header of GNU tar's name", DECLINED, pax(("mtime", "5"), kind=b"g",
                                                       name="/tmp/GlobalHead.1.1"), entry("a", b"x"), F)
case("a global header of Sun's kind", REFUSED, pax(("path", "z"), kind=b"X"), entry("a", b"x"), F)

# --- numbers --------------------------------------------------------------------------------------
for text in (b"0000644 ", b"   644 \0", b"644\0\0\0\0\0", b"\0\0\0\0\0\0\0\0", b"        ", b"0644\0xyz",
             b"00000644"):
    case("a mode of %r" % text, SAME, entry("a", b"x", mode=text), F)
for text in (b"0000648\0", b"-000644\0", b"0x00644\0", b"64 4\0\0\0\0", b"+000644\0", b"6_44\0\0\0\0"):
    case("a mode of %r, which is none" % text, REFUSED, entry("a", b"x", mode=text), F)
case("a size in base-256", SAME, entry("a", b"x" * 600, size=binary(600, 12)), F)
case("a negative size", REFUSED, header("a", size=binary(-512, 12)), F)
case("a size beyond 63 bits", REFUSED, header("a", size=b"\x80" + b"\xff" * 11), F)
case("a huge size", REFUSED, header("a", size=binary(1 << 40, 12)), F)
case("a size of 12 digits", SAME, entry("a", b"x" * 8, size=b"000000000010"), F)
case("signed checksum", SAME, (lambda h: h[:148] + b"%06o\0 " % (
    sum((b if b < 128 else b - 256) for b in h[:148] + b" " * 8 + h[156:])) + h[156:])(
        header(b"\xff", size=0)), F)
case("a checksum that is wrong", REFUSED, header("a", checksum=b"000000\0 "), F)
case("a checksum in another form", SAME, (lambda h: h[:148] + b"%7o\0" % sum(
    h[:148] + b" " * 8 + h[156:]) + h[156:])(header("a")), F)

# --- kinds of entries -----------------------------------------------------------------------------
case("devices", SAME, entry("c", kind=b"3", major=1, minor=3, mode=0o666),
     entry("b", kind=b"4", major=259, minor=70000), entry("p", kind=b"6", mode=0o600, uid=3),
     entry("zero", kind=b"3", uid=5, mode=0o640), F)
case("devices with numbers too large", DECLINED, entry("c", kind=b"3", major=binary((1 << 32) + 1, 8),
                                                   minor=binary(-1, 8)), F)
case("a device in V7's format", SAME, entry("c", kind=b"3", magic=V7), F)
case("V7", SAME, entry("a", b"x", magic=V7), entry("d/", kind=b"\0", magic=V7, mode=0o700),
     entry("d/f", b"y", kind=b"\0", magic=V7), hardlink("h", "a", magic=V7), symlink("s", "a", magic=V7))
case("the old kind of a file", SAME, entry("a", b"x", kind=b"\0"), entry("d/", kind=b"\0", mode=0o750), F)
case("an old folder with data", REFUSED, entry("d/", b"x" * 600, kind=b"\0"), F)
case("a file whose name ends in a slash", SAME, entry("a/", b"", mode=0o644), F)
case("a file with data whose name ends in a slash", SAME, entry("a/", b"data"), F)
case("a folder with a size", SAME, folder("d", size=1000), F)
case("links with a size", SAME, entry("a", b"x"), hardlink("h", "a", size=700), symlink("s", "a", size=700), F)
case("a fifo with a size", SAME, entry("p", kind=b"6", size=700), F)
case("contiguous files", REFUSED, entry("a", b"x", kind=b"7"), F)
for kind in b"89ADEIMNSVZ?\xff a":
    case("kind %r" % bytes([kind]), REFUSED, header("a", kind=bytes([kind])), F)
case("star's format", DECLINED, header("a", changes=[(508, b"tar\0"), (476, octal(5, 12))]), F)
case("a magic of nobody", SAME, entry("a", b"x", magic=b"ustaR\0" + b"00"), F)
case("another version of ustar", SAME, entry("a", b"x", magic=b"ustar\0" + b"zz"), F)
case("sparse, old GNU", REFUSED, header("a", kind=b"S", magic=GNU, size=512, changes=[
    (386, octal(0, 12) + octal(512, 12)), (483, octal(1024, 12))]) + bytes(512), F)
case("sparse, pax 0.0", DECLINED, pax(("GNU.sparse.size", "2048"), ("GNU.sparse.numblocks", "1"),
                                      ("GNU.sparse.offset", "1024"), ("GNU.sparse.numbytes", "512")),
     entry("a", b"x" * 512), F)
case("sparse, pax 0.1", DECLINED, pax(("GNU.sparse.size", "2048"), ("GNU.sparse.numblocks", "1"),
                                      ("GNU.sparse.map", "1024,512"), ("GNU.sparse.name", "sparse")),
     entry("a", b"x" * 512), F)
case("sparse, pax 1.0", DECLINED, pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"),
                                      ("GNU.sparse.realsize", "2048"), ("GNU.sparse.name", "sparse")),
     entry("a", padded(b"1\n1024\n512\n") + b"x" * 512), F)
case("sparse, a map that is wrong", REFUSED, pax(("GNU.sparse.size", "20"), ("GNU.sparse.map", "1024,512")),
     entry("a", b"x" * 512), F)

# --- links ----------------------------------------------------------------------------------------
case("hard links", SAME, entry("a", b"x", mode=0o640), hardlink("b", "a", mode=0o4755, uid=3, mtime=5),
     hardlink("c", "./b"), hardlink("d", "/a"), hardlink("e", "../../a"), folder("f"), hardlink("f/g", "a"))
case("a hard link to what is replaced later", SAME, entry("a", b"one"), hardlink("b", "a"),
     entry("a", b"two"), hardlink("c", "a"))
case("a hard link over its own target", REFUSED, entry("a", b"one"), hardlink("a", "a"))
case("a hard link to a symlink", SAME, entry("a", b"x"), symlink("s", "a"), hardlink("h", "s", uid=4))
case("a hard link to a dangling symlink", SAME, symlink("s", "nowhere"), hardlink("h", "s", mtime=4))
case("a hard link through a symlink", SAME, folder("d"), entry("d/a", b"x"), symlink("l", "d"),
     hardlink("h", "l/a"), symlink("m", "/d"), hardlink("i", "m/a"), symlink("o", "../../d"), hardlink("j", "o/a"))
case("a hard link to nothing", REFUSED, hardlink("h", "nothing"))
case("a hard link to a folder", REFUSED, folder("d"), hardlink("h", "d"))
case("a hard link to the root", REFUSED, hardlink("h", "."))
case("a hard link without a name", REFUSED, hardlink("h", ""))
case("a hard link to a fifo and a device", SAME, entry("p", kind=b"6"), hardlink("q", "p", mode=0o600),
     entry("c", kind=b"3", major=1, minor=5), hardlink("e", "c", mode=0o600))
case("a hard link with attributes", SAME, xattrs(user__a="1"), entry("a", b"x"), xattrs(user__b="2"),
     hardlink("b", "a"))
case("a hard link to the file of a lower layer", REFUSED, hardlink("h", "usr/file"))
above("a hard link to the file of the layer below", REFUSED, hardlink("h", "usr/file"))
case("symlinks", SAME, symlink("a", "/etc/passwd"), symlink("b", "../../x"), symlink("c", "a\nb"),
     symlink("d", "./x/"), symlink("e", b"\xff"), pax(("linkpath", "l" * 4000)), symlink("f", "x"))
case("a symlink to nothing", REFUSED, symlink("a", ""))
case("a symlink of 4096", REFUSED, pax(("linkpath", "l" * 4096)), symlink("f", "x"))
case("a symlink with NUL", REFUSED, pax(("linkpath", b"a\0b")), symlink("f", "x"))
case("below a symlink", SAME, folder("d", mode=0o700), symlink("l", "d"), entry("l/a", b"x"),
     symlink("m", "/d"), entry("m/b", b"y"), symlink("u", "../../d"), entry("u/c", b"z"))
case("below a symlink to a symlink", DECLINED, folder("d"), symlink("m", "/d"), symlink("chain", "m"),
     entry("chain/d", b"w"))
case("below a symlink to nothing", SAME, symlink("l", "new/folder"), entry("l/a", b"x"), entry("l/b", b"y"))
case("below a symlink to an absolute nothing", SAME, symlink("l", "/new/folder"), entry("l/a", b"x"))
case("below a symlink out of the root", SAME, symlink("l", "../../../../../../etc"), entry("l/a", b"x"))
case("below a symlink to the root", SAME, symlink("l", "/"), entry("l/a", b"x"), symlink("m", "."),
     entry("m/b", b"y"), symlink("n", ".."), entry("n/c", b"z"))
case("below a symlink to itself", REFUSED, symlink("l", "l"), entry("l/a", b"x"))
case("below two symlinks to one another", REFUSED, symlink("l", "m"), symlink("m", "l"), entry("l/a", b"x"))
case("below a symlink to a file", REFUSED, entry("f", b"x"), symlink("l", "f"), entry("l/a", b"x"))
case("below many symlinks", DECLINED, folder("d"), symlink("l0", "d"),
     *(symlink("l%d" % i, "l%d" % (i - 1)) for i in range(1, 30)), entry("l29/a", b"x"))
case("below 50 symlinks", DECLINED, folder("d"), symlink("l0", "d"),
     *(symlink("l%d" % i, "l%d" % (i - 1)) for i in range(1, 50)), entry("l49/a", b"x"))
case("below 300 symlinks", REFUSED, folder("d"), symlink("l0", "d"),
     *(symlink("l%d" % i, "l%d" % (i - 1)) for i in range(1, 300)), entry("l299/a", b"x"))
case("'..' in a symlink behind a symlink", DECLINED, folder("a/b"), symlink("x", "a/b"),
     symlink("y", "x/../z"), entry("y/f", b"x"))
case("a folder over a symlink to a folder", SAME, folder("d"), entry("d/a", b"x"), symlink("l", "d"),
     folder("l", mode=0o700), entry("l/b", b"y"))
case("a folder named by way of a symlink", SAME, folder("d"), symlink("l", "d"),
     folder("l/e", mode=0o700, mtime=5), entry("l/e/f", b"x"))
case("a folder's time by way of a symlink that turned", DECLINED, folder("d"), folder("other"), symlink("l", "d"),
     folder("l/e", mtime=5), folder("other/e", mtime=6), symlink("l", "other"))
case("a folder that was removed again", REFUSED, folder("d/e", mtime=5), entry("d", b"x"))

# --- one over another -----------------------------------------------------------------------------
KINDS = {"file": entry("x", b"file"), "folder": folder("x", mode=0o711), "link": symlink("x", "target"),
         "hard link": hardlink("x", "target"), "fifo": entry("x", kind=b"6")}
for one, a in KINDS.items():
    for other, b in KINDS.items():
        case("a %s over a %s" % (other, one), DECLINED if one == "folder" != other else SAME, entry("target", b"t"), a, b, F)
case("a file over a folder that isn't empty", DECLINED, entry("d/e/f"), entry("d", b"file"), F)
case("a file over a folder with one that was named", REFUSED, folder("d/e"), entry("d", b"file"), F)
case("a file where a folder has to be", REFUSED, entry("d", b"x"), entry("d/f", b"y"))
case("a folder over a folder with attributes", SAME, xattrs(user__a="1"), folder("d", mode=0o700, uid=3), entry("d/f", b"x"),
     xattrs(user__b="2"), folder("d", mode=0o755), F)
case("the same file twice", SAME, xattrs(user__a="1"), entry("f", b"long text", mode=0o4755, uid=5),
     entry("f", b"short", mode=0o600))
