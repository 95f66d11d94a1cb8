"""The page that a report fills in: one HTML file that asks nothing of a network."""

import html
from collections.abc import Iterable, Sequence
from string import Template

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6670; --paper: #fbfbfa; --card: #fff;
  --line: #dfe3e6; --good: #17804a; --bad: #b3382c; --c0: #8a949d; --c1: #1f6fb5; --c2: #c7762b;
  --c3: #17804a; --c4: #8650a6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5af; --paper: #14171a;
  --card: #1c2024; --line: #333a41; --good: #4fc486; --bad: #f0796c; --c0: #7d8892; --c1: #5aa9ee;
  --c2: #e6a15f; --c3: #4fc486; --c4: #c196e0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p, li { max-width: 46rem; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; }
.card b { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .88rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; white-space: pre-line; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.side { display: flex; flex-wrap: wrap; gap: 1.2rem; } figure { margin: 0 0 1rem; }
img { display: block; border-radius: .4rem; image-rendering: pixelated; max-width: 100%;
  height: auto; background: var(--line); }
svg { width: 100%; max-width: 34rem; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 10px; }
.axis, .whisker { fill: none; stroke: var(--soft); } .whisker { stroke: var(--ink); }
.line { fill: none; stroke-width: 2; } .back { fill: var(--line); opacity: .5; }
.bar.c0, .dot.c0 { fill: var(--c0); } .bar.c1, .dot.c1 { fill: var(--c1); }
.dot.c2 { fill: var(--c2); } .dot.c3 { fill: var(--c3); } .dot.c4 { fill: var(--c4); }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .line.c4 { stroke: var(--c4); }
svg .key.c0 { fill: var(--c0); } svg .key.c1 { fill: var(--c1); } svg .key.c2 { fill: var(--c2); }
svg .key.c3 { fill: var(--c3); } svg .key.c4 { fill: var(--c4); }
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>$title</title>
<style>$style</style>
</head>
<body>
<h1>$title</h1>
<p class="soft">$lead</p>
$body
</body>
</html>
""")


def section(title: str, sentence: str, *parts: str) -> str:
    """Return a heading, a sentence that says what is seen, and what is seen."""
    return f"<h2>{escaped(title)}</h2>\n<p>{escaped(sentence)}</p>\n" + "\n".join(parts)


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; every cell is escaped."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def escaped(value: object) -> str:
    """Return a value as text that is safe inside HTML."""
    return html.escape(str(value))
