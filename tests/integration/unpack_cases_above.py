# SPDX-License-Identifier: Apache-2.0
"""More of unpack_cases.py: what a layer makes of those below it, and what it is wrapped in."""
import random
import zlib

from layer_tar import (END, entry, folder, gnu_long, gzip_member, gzip_of, hardlink, header, padded, pax,
                       symlink, tar, xattrs, zstd_of, zstd_skippable)
from unpack_cases import BASE, DECLINED, F, REFUSED, SAME, above, case

# --- whiteouts ------------------------------------------------------------------------------------
above("whiteouts", SAME, entry("usr/.wh.file", uid=3, gid=4), entry(".wh.plain", mode=0o600), entry(".wh.empty"), F)
above("an opaque folder", SAME, folder("usr", mode=0o755), entry("usr/.wh..wh..opq"), entry("usr/new", b"x"))
above("an opaque folder that isn't named", SAME, entry("usr/share/.wh..wh..opq"), F)
above("an opaque root", SAME, entry(".wh..wh..opq"), F)
above("opaque, said last", SAME, entry("usr/new", b"x"), entry("usr/.wh..wh..opq"))
above("opaque, then a file over it", DECLINED, entry("usr/.wh..wh..opq"), entry("usr", b"x"))
above("a whiteout of what isn't there", SAME, entry(".wh.nothing"), entry("usr/.wh.nothing"),
      entry("new/folder/.wh.nothing"))
above("a whiteout of this layer's own file", REFUSED, entry("plain", b"x"), entry(".wh.plain"))
above("a file over a whiteout", SAME, entry(".wh.plain"), entry("plain", b"new"), F)
above("a folder over a whiteout", SAME, entry(".wh.usr"), folder("usr", mode=0o700), entry("usr/a", b"x"))
above("a folder that is needed over a whiteout", REFUSED, entry(".wh.usr"), entry("usr/a", b"x"))
above("a whiteout twice", REFUSED, entry(".wh.plain"), entry(".wh.plain"))
above("a whiteout of nothing", REFUSED, entry(".wh."))
above("a whiteout of '.'", REFUSED, entry(".wh.."))
above("a whiteout of '..'", REFUSED, entry("usr/.wh..."))
above("aufs' own names", SAME, entry(".wh..wh.aufs"))
above("aufs' folder of hard links", SAME, folder(".wh..wh.plnk"), entry(".wh..wh.plnk/1.2", b"x"))
above("a whiteout of a whiteout", SAME, entry(".wh..wh.x"))
above("a whiteout that is a folder", SAME, folder(".wh.plain"), F)
above("a whiteout that is a link", SAME, symlink(".wh.plain", "x"), F)
above("a whiteout that is a hard link to nothing", SAME, hardlink(".wh.plain", "nothing"), F)
above("a whiteout with data", SAME, entry(".wh.plain", b"x" * 600), F)
above("a whiteout with attributes", SAME, xattrs(user__a="1"), entry(".wh.plain"), F)
above("a whiteout with a slash", SAME, entry(".wh.plain/", kind=b"\0"), F)
above("a whiteout through a symlink", SAME, folder("d"), symlink("l", "d"), entry("l/.wh.x"),
      entry("l/.wh..wh..opq"))
above("a whiteout through a symlink to above", SAME, symlink("l", "../../.."), entry("l/.wh.plain"), F)
above("a folder of a whiteout's name as parent", SAME, entry(".wh.dir/file", b"x"), F)
above("a whiteout of 255", SAME, pax(("path", ".wh." + "n" * 251)), entry("x"), F)
above("a kind nobody knows, as a whiteout", DECLINED, header(".wh.plain", kind=b"Z"), F)
# containerd removes files where no layer is below, and writes no whiteout.
case("whiteouts in the first layer", DECLINED, entry("a", b"x"), entry(".wh.a"), F)
case("a whiteout of nothing there in the first layer", DECLINED, entry(".wh.a"), F)
case("opaque in the first layer", DECLINED, folder("d"), entry("d/a", b"x"), entry("d/.wh..wh..opq"), F)

# --- folders that a layer doesn't name ------------------------------------------------------------
case("a folder that nobody names", SAME, entry("a/b/c", b"x"), entry("a/d", b"y"))
case("a folder that is named later", SAME, entry("a/b/c", b"x"), folder("a", mode=0o700, uid=5, mtime=9),
     folder("a/b", mode=0o1777, mtime=8))
above("folders as they are below", SAME, entry("usr/new", b"x"), entry("tagged/deeper/new", b"z"),
      entry("nowhere/new", b"w"))
above("a folder of a group as it is below", SAME, entry("usr/share/new", b"y"))
above("a folder in one of a group, as it is below", DECLINED, entry("usr/share/deeper/new", b"y"))
above("a folder from below, named later", SAME, entry("tagged/new", b"x"), xattrs(user__own="1"),
      folder("tagged", mode=0o700))
above("a folder from below, named later, with the same attribute", SAME, entry("tagged/new", b"x"),
      xattrs(user__colour="red"), folder("tagged", mode=0o700))
above("a folder from below, named first", SAME, folder("tagged", mode=0o700), entry("tagged/new", b"x"))
above("a folder from below, gone and back", DECLINED, entry("tagged/new", b"x"), entry("tagged", b"file"),
      folder("tagged", mode=0o700))
above("a folder from below, gone, and needed again", REFUSED, entry("tagged/new", b"x"),
      entry("tagged", b"file"), entry("tagged/other", b"y"))
above("a folder from below, gone by a whiteout", REFUSED, entry("tagged/new", b"x"), entry(".wh.tagged"))
above("a folder where there is a file below", SAME, entry("plain/new", b"x"))
above("a folder where there is a file two levels below", REFUSED, entry("plain/two/new", b"x"))
above("a folder where there is a link to a folder below", SAME, entry("link-to-usr/new", b"x"),
      entry("absolute/new", b"y"), entry("out/new", b"z"))
above("a folder where there is a dangling link below", SAME, entry("dangling/new", b"x"))
above("a folder behind a link below", SAME, entry("link-to-usr/share/new", b"x"))
above("a folder behind a link of this layer", SAME, symlink("l", "usr/share"), entry("l/new", b"x"))
above("a folder only for opaque", SAME, entry("usr/.wh..wh..opq"))
above("a folder only for a folder", SAME, folder("usr/share/new", mtime=3), F)

MIDDLE = tar(entry(".wh.usr"), symlink("tagged", "plain-folder"), folder("plain-folder", mode=0o750, uid=77),
             entry("empty", b"now a file"))
TWO = [BASE, MIDDLE]
case("a folder where a whiteout is below", SAME, entry("usr/new", b"x"), base=TWO)
case("a folder two levels below a whiteout", REFUSED, entry("usr/share/new", b"x"), base=TWO)
case("a folder where a link is in one layer and a folder in another", SAME, entry("tagged/new", b"x"), base=TWO)
case("a folder where a file is over a folder below", SAME, entry("empty/new", b"x"), base=TWO)
case("a folder that only the lowest layer has", SAME, entry("tagged/deeper/new", b"x"),
     base=[BASE, tar(entry("other", b"x"))])
ODD = tar(symlink("loop", "loop"), symlink("far", "x/../usr"), folder("x"), symlink("deep", "a/b/c/d"))
case("a folder where a loop of links is below", REFUSED, entry("loop/new", b"x"), base=[ODD])
case("a folder where a link with '..' is below", DECLINED, entry("far/new", b"x"), base=[ODD])
case("a folder where a link to nothing is below", SAME, entry("deep/new", b"x"), base=[ODD])

# --- ends -----------------------------------------------------------------------------------------
case("nothing but the end", SAME)
case("nothing at all", SAME, end=b"")
case("no end", SAME, F, end=b"")
case("one block of the end", SAME, F, end=bytes(512))
case("half a block of the end", REFUSED, F, end=bytes(300))
case("one block of the end and another entry", REFUSED, F, bytes(512), entry("more", b"x"))
case("bytes after the end", SAME, F, END, b"garbage" * 5000)
case("entries after the end", SAME, F, END, entry("more", b"x"))
case("much after the end", SAME, F, END, bytes(3 << 20))
case("cut in a header", REFUSED, F, header("a", size=5)[:300], end=b"")
case("cut in data", REFUSED, F, header("a", size=5000), b"x" * 1000, end=b"")
case("cut in padding", SAME, F, header("a", size=5), b"hello", end=b"")
case("cut in what is skipped", REFUSED, F, folder("d"), header("d", size=5000, kind=b"5"), b"x" * 1000, end=b"")
case("cut in a pax header", REFUSED, F, pax(("path", "x" * 2000))[:700], end=b"")
case("cut in a long name", REFUSED, F, gnu_long("x" * 2000)[:700], end=b"")
case("garbage only", REFUSED, b"no tar at all" * 100, end=b"")
case("a few bytes", REFUSED, b"abc", end=b"", wrap=lambda t: t)

# --- what it is wrapped in ------------------------------------------------------------------------
BIG = random.Random(5).randbytes(300_000) + bytes(700_000)
BODY = (entry("big", BIG), F)
TAR = b"".join(BODY)
def wrapped(name, expected, wrap, media_type="+gzip"):
    case(name, expected, TAR, wrap=wrap, media_type=media_type)


wrapped("no wrapping", SAME, bytes, "")
wrapped("no wrapping, though the type says gzip", SAME, bytes)
wrapped("zstd, though the type says gzip", SAME, zstd_of)
wrapped("gzip, though the type says zstd", SAME, gzip_of, "+zstd")
wrapped("members of gzip", SAME, lambda t: gzip_of(t, 50_000))
wrapped("many members of gzip", SAME, lambda t: gzip_of(t, 700))
wrapped("all fields of gzip", SAME, lambda t: gzip_member(
    t, flags=0x1f, extra=b"\3\0abcname\0comment\0", header_crc=-1))
wrapped("a name of 511 in gzip", SAME, lambda t: gzip_member(t, flags=8, extra=b"n" * 511 + b"\0"))
wrapped("a name of 512 in gzip", REFUSED, lambda t: gzip_member(t, flags=8, extra=b"n" * 512 + b"\0"))
wrapped("a true CRC of gzip's header", SAME, lambda t: gzip_member(t, flags=2, header_crc=-1))
wrapped("a false CRC of gzip's header", REFUSED, lambda t: gzip_member(t, flags=2, header_crc=7))
wrapped("flags that gzip reserves", SAME, lambda t: gzip_member(t, flags=0xe0))
wrapped("a false CRC", REFUSED, lambda t: gzip_member(t, crc=1))
wrapped("a false size", REFUSED, lambda t: gzip_member(t, size=1))
wrapped("a false CRC in the second member", REFUSED, lambda t: gzip_member(t) + gzip_member(b"x", crc=1))
wrapped("zeros after gzip", REFUSED, lambda t: gzip_of(t) + bytes(512))
wrapped("garbage after gzip", REFUSED, lambda t: gzip_of(t) + b"garbage, 10 or more bytes")
wrapped("a byte after gzip", REFUSED, lambda t: gzip_of(t) + b"x")
wrapped("half a header after gzip", REFUSED, lambda t: gzip_of(t) + b"\x1f\x8b\x08")
wrapped("gzip without its trailer", REFUSED, lambda t: gzip_of(t)[:-8])
wrapped("gzip without a byte", REFUSED, lambda t: gzip_of(t)[:-1])
wrapped("gzip cut in the middle", REFUSED, lambda t: gzip_of(t)[:150_000])
wrapped("gzip with another method", REFUSED, lambda t: gzip_of(t) + b"\x1f\x8b\x07" + gzip_of(b"")[3:])
wrapped("gzip with damage", REFUSED, lambda t: (lambda g: g[:1000] + bytes(50) + g[1050:])(gzip_of(t)))
wrapped("gzip's header alone", REFUSED, lambda t: gzip_of(t)[:10])
wrapped("three bytes of gzip", REFUSED, lambda t: gzip_of(t)[:3])
wrapped("two bytes of gzip", REFUSED, lambda t: gzip_of(t)[:2])
wrapped("stored blocks", SAME, lambda t: gzip_member(t, level=0))
wrapped("the best compression", SAME, lambda t: gzip_member(t, level=9))
wrapped("zlib's own format", REFUSED, zlib.compress)
wrapped("zstd", SAME, zstd_of, "+zstd")
wrapped("zstd without a checksum", SAME, lambda t: zstd_of(t, "-3", "--no-check"), "+zstd")
wrapped("zstd, the best of the usual", SAME, lambda t: zstd_of(t, "-19"), "+zstd")
wrapped("zstd, a window of 128 MiB", DECLINED, lambda t: zstd_of(t, "-3", "--long=27"), "+zstd")
wrapped("frames of zstd", SAME, lambda t: zstd_of(t[:100_000]) + zstd_of(t[100_000:]), "+zstd")
wrapped("frames of zstd to skip", SAME, lambda t: zstd_skippable(b"first" * 100) + zstd_of(t[:99]) + zstd_skippable(
    b"", 15) + zstd_of(t[99:]) + zstd_skippable(b"last"), "+zstd")
wrapped("empty frames of zstd", SAME, lambda t: zstd_of(b"") + zstd_of(t) + zstd_of(b""), "+zstd")
wrapped("zstd with garbage after it", REFUSED, lambda t: zstd_of(t) + b"garbage", "+zstd")
wrapped("zstd with zeros after it", REFUSED, lambda t: zstd_of(t) + bytes(8), "+zstd")
wrapped("zstd cut", REFUSED, lambda t: zstd_of(t)[:-3], "+zstd")
wrapped("zstd cut in a frame to skip", REFUSED, lambda t: zstd_of(t) + zstd_skippable(b"last")[:-2], "+zstd")
wrapped("zstd cut in the middle", REFUSED, lambda t: zstd_of(t)[:150_000], "+zstd")
wrapped("zstd with a false checksum", REFUSED, lambda t: zstd_of(t)[:-4] + bytes(4), "+zstd")
wrapped("zstd with damage", REFUSED, lambda t: (lambda z: z[:1000] + bytes(50) + z[1050:])(zstd_of(t)), "+zstd")
wrapped("a frame of zstd in gzip", REFUSED, lambda t: gzip_of(zstd_of(t)))
wrapped("gzip in gzip", REFUSED, lambda t: gzip_of(gzip_of(t)))
