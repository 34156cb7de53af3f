# SPDX-License-Identifier: Apache-2.0
"""Rows of samples. A row has columns; what has the same place in two columns was measured in the same round,
one right after the other, so a ratio is made of each round and not of two medians."""
import statistics


def spread(values):
    """Of one column, or None of an empty one."""
    if not values:
        return None
    ordered = sorted(values)
    return {"n": len(ordered), "median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1],
            "p99": percentile(ordered, 0.99)}


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Rows:
    """In the order in which they first came."""

    def __init__(self):
        self.rows = {}

    def add(self, name, unit, **columns):
        """One sample for each column named; a name with a blank is passed as a dict by `add_columns`."""
        self.add_columns(name, unit, columns)

    def add_columns(self, name, unit, columns):
        row = self.rows.setdefault(name, {"unit": unit, "columns": {}})
        for column, value in columns.items():
            row["columns"].setdefault(column, []).append(value)

    def document(self):
        return [{"name": name, "unit": row["unit"], "columns": row["columns"],
                 "spread": {c: spread(v) for c, v in row["columns"].items()},
                 "ratios": ratios(row["columns"])} for name, row in self.rows.items()]


def ratios(columns):
    """{"a / b": spread} of the first column by each other that has as many samples."""
    names = list(columns)
    found = {}
    for other in names[1:]:
        pairs = [(a, b) for a, b in zip(columns[names[0]], columns[other]) if b]
        if pairs and len(columns[names[0]]) == len(columns[other]):
            found["%s / %s" % (names[0], other)] = spread([a / b for a, b in pairs])
    return found


def find(document, section, name):
    """A row of a results document, or None."""
    for row in document["sections"].get(section, {}).get("rows", []):
        if row["name"] == name:
            return row
    return None


def line(rows, name):
    """A row so far, for a person who waits."""
    row = rows.rows[name]
    return "%-42s %s" % (name, "  ".join("%s %s" % (c, cell(v[-1:], row["unit"])) for c, v in row["columns"].items()))


def number(value):
    """Three digits that mean something."""
    if abs(value) >= 100 or value == int(value):
        return "{:,.0f}".format(value)
    return "%.1f" % value if abs(value) >= 10 else "%.2f" % value


def cell(values, unit):
    """Median and range, in a larger unit where that reads better."""
    if not values:
        return "-"
    scale, unit = scaled(statistics.median(values), unit)
    text = "%s%s" % (number(statistics.median(values) / scale), " " + unit if unit else "")
    if len(values) == 1:
        return text
    return "%s (%s to %s)" % (text, number(min(values) / scale), number(max(values) / scale))


def scaled(value, unit):
    if unit == "ms" and abs(value) >= 2000:
        return 1000, "s"
    if unit == "KiB" and abs(value) >= 1024:
        return 1024, "MiB"
    if unit == "bytes":
        return (1e6, "MB") if value >= 1e6 else (1024, "KiB") if value >= 10240 else (1, "bytes")
    return 1, unit
