# SPDX-License-Identifier: Apache-2.0
"""Bars as SVG: text as text, colours that read on a light and on a dark page. Nothing but strings."""
from xml.sax.saxutils import escape

STYLE = """text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 11px } .end { text-anchor: end } .head { font-weight: 600 }
.axis { stroke: #59636e; stroke-width: 1 } .grid { stroke: #59636e; stroke-opacity: .25 }
.limit { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 5 3 } .range { stroke: #1f2328; stroke-width: 1.2 }
.c0 { fill: #0969da } .c1 { fill: #9a6700 } .c2 { fill: #818b98 } .c3 { fill: #8250df } .bad { fill: #cf222e } .good { fill: #1a7f37 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .range { stroke: #e6edf3 } .axis, .grid, .limit { stroke: #9198a1 }
.c0 { fill: #4493f8 } .c1 { fill: #d29922 } .c2 { fill: #9198a1 } .c3 { fill: #ab7df8 } .bad { fill: #f85149 } .good { fill: #3fb950 } }"""
LEFT, RIGHT, BAR, GAP, TOP_PX = 330, 110, 13, 10, 64


class Drawing:
    def __init__(self, width, title, words):
        self.width, self.items, self.y = width, [], TOP_PX
        self.title = title
        self.text(10, 20, title, "head")
        self.text(10, 38, words, "small")

    def text(self, x, y, words, style=""):
        self.items.append('<text x="%g" y="%g"%s>%s</text>' % (x, y, ' class="%s"' % style if style else "", escape(words)))

    def line(self, x1, y1, x2, y2, style):
        self.items.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (x1, y1, x2, y2, style))

    def bar(self, x, y, width, style):
        self.items.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%d" class="%s"/>' % (x, y, max(width, 0.5), BAR - 2, style))

    def document(self):
        height = self.y + 14
        return '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">\n' \
            "<title>%s</title>\n<style>%s</style>\n%s\n</svg>\n" % (
                self.width, height, self.width, height, escape(self.title), STYLE, "\n".join(self.items))


def bars(title, words, groups, names, width=900):
    """`groups`: (label, {name: (middle, least, most)}, function(middle) -> words). A line from the least to the most is
    drawn over each bar; each group has a scale of its own, from zero to its largest."""
    d = Drawing(width, title, words)
    x = LEFT
    for i, name in enumerate(names):
        d.items.append('<rect x="%d" y="48" width="10" height="10" class="c%d"/>' % (x, i))
        d.text(x + 14, 57, name, "small")
        x += 30 + 7 * len(name)
    d.y += 8
    for label, columns, said in groups:
        most = max(high for _, _, high in columns.values())
        scale = (width - LEFT - RIGHT) / most if most else 0
        d.text(LEFT - 8, d.y + BAR * len(columns) / 2 + 4, label, "end")
        for name, (middle, least, high) in columns.items():
            d.bar(LEFT, d.y, middle * scale, "c%d" % names.index(name))
            if high > least:
                d.line(LEFT + least * scale, d.y + BAR / 2 - 1, LEFT + high * scale, d.y + BAR / 2 - 1, "range")
            d.text(LEFT + max(middle, high) * scale + 5, d.y + BAR - 3, said(middle), "small")
            d.y += BAR
        d.y += GAP
    d.line(LEFT, TOP_PX + 2, LEFT, d.y - GAP + 4, "axis")
    return d.document()


def against_limits(title, words, rows, width=900):
    """`rows`: (label, share of the limit, words). One line stands where the limit is; what is beyond it is red."""
    left, d = 500, Drawing(width, title, words)
    scale = (width - left - 90) / 2.0  # twice the limit, and what is more is cut there
    for label, share, said in rows:
        d.text(left - 8, d.y + BAR - 3, label, "end small")
        d.bar(left, d.y, min(share, 2.0) * scale, "good" if share <= 1 else "bad")
        d.text(left + 2.0 * scale + 8, d.y + BAR - 3, said, "small")
        d.y += BAR + 6
    d.line(left, TOP_PX - 6, left, d.y, "axis")
    d.line(left + scale, TOP_PX - 6, left + scale, d.y, "limit")
    return d.document()
