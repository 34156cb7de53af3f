# SPDX-License-Identifier: Apache-2.0
"""When a series of samples is flat. Nothing but numbers."""
import statistics

WARM_UP = 0.1  # of the way: caches fill, allocators find their size
SAMPLES_MIN = 8  # judged ones: two a quarter


class TooFew(ValueError):
    """A series that says nothing isn't flat."""


def judged_part(points):
    """[(x, value)] without the warm-up."""
    first, last = points[0][0], points[-1][0]
    return [p for p in points if p[0] >= first + WARM_UP * (last - first)]


def slope(points):
    """Of the line of least squares: value per x."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    mean_x, mean_y = (statistics.fmean(c) for c in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def judge(points, bound, least=SAMPLES_MIN):
    """Flat: the median of the last quarter is at most `bound` above that of the first one, after the warm-up.
    `seen_from` is the least growth per x that breaks this."""
    part = judged_part(points) if points else []
    if len(part) < least:
        raise TooFew("%d samples after the warm-up, at least %d are needed" % (len(part), least))
    quarter = max(1, len(part) // 4)
    ends = part[:quarter], part[-quarter:]
    first, last = (statistics.median(v for _, v in end) for end in ends)
    way = statistics.median(x for x, _ in ends[1]) - statistics.median(x for x, _ in ends[0])
    return {"first": first, "last": last, "growth": last - first, "bound": bound,
            "slope": slope(part[len(part) // 2:]), "seen_from": bound / way if way else None,
            "is_flat": last - first <= bound}
