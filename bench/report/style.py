"""How the page looks: one restrained palette, twice, and figures that stand under each other.

The colours are named once, for light and for dark; text has a contrast of at least 4.5 to its
ground, and the lines of plots at least 3 (WCAG 2.2, AA). The characters `<` and `&` must not occur.
"""

LIGHT = {
    "paper": "#ffffff",
    "panel": "#f5f6f8",
    "ink": "#1a1f26",
    "soft": "#57606c",
    "rule": "#d9dde3",
    "good": "#1b7446",
    "bad": "#b3261e",
    "s0": "#7c8794",
    "s1": "#1f5f9e",
    "s2": "#b4511a",
    "s3": "#2f7d52",
    "s4": "#7b4b9e",
    "s5": "#86691a",
    "s6": "#a23a61",
}
DARK = {
    "paper": "#14171b",
    "panel": "#1c2026",
    "ink": "#e7eaee",
    "soft": "#a3adb8",
    "rule": "#333a43",
    "good": "#5fca92",
    "bad": "#ff8d82",
    "s0": "#7f8a97",
    "s1": "#6db0ee",
    "s2": "#f09a63",
    "s3": "#78c694",
    "s4": "#c0a0e2",
    "s5": "#d8b95f",
    "s6": "#ee92b2",
}


def stylesheet() -> str:
    """Give the page's whole style."""
    series = "\n".join(
        f".s{n}{{--c:var(--s{n})}}" for n in range(sum(name[1:].isdigit() for name in LIGHT))
    )
    return (
        f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}\n"
        f"{_PAGE}\n{series}\n{_PLOTS}\n"
        f"@media print{{:root{{color-scheme:light;{_variables(LIGHT)}}}{_PRINT}}}\n"
    )


def _variables(palette: dict[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in palette.items())


_PAGE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
 font-variant-numeric:tabular-nums}
main{max-width:70rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
.eyebrow{margin:0;color:var(--soft);font-size:.8125rem;letter-spacing:.06em;text-transform:uppercase}
h1{margin:.25rem 0 .5rem;font-size:1.875rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;
 text-wrap:balance}
h2{margin:2.75rem 0 .75rem;font-size:1.125rem;font-weight:650}
.made{margin:0;color:var(--soft);font-size:.875rem;overflow-wrap:anywhere}
.verdict{margin:1.5rem 0 0;padding:.75rem 1rem;background:var(--panel);
 border-left:4px solid var(--good)}
.verdict strong{color:var(--good)}
.verdict.faulty{border-color:var(--bad)}
.verdict.faulty strong{color:var(--bad)}
.verdict ul{margin:.25rem 0 0;padding-left:1.25rem}
.key-figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1.25rem;
 margin:2rem 0 0;padding:1.25rem 0;border-top:1px solid var(--rule);
 border-bottom:1px solid var(--rule)}
.key-figures div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
.key-figures dt{color:var(--soft);font-size:.8125rem;line-height:1.35}
.key-figures dd{margin:0;font-size:1.5rem;font-weight:600;line-height:1.25;letter-spacing:-.01em}
.key-figures small{font-size:.875rem;font-weight:400;color:var(--soft);letter-spacing:0}
.plots{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));
 gap:2.5rem 2rem;margin-top:2.75rem}
figure{margin:0;grid-column:1/-1;min-width:0}
figure.half{grid-column:auto}
figcaption h2{margin:0}
figcaption p,.note{margin:.25rem 0 .5rem;color:var(--soft);font-size:.875rem;max-width:46rem}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.25rem 0 .5rem;padding:0;
 list-style:none;font-size:.8125rem}
.legend li{display:flex;align-items:center;gap:.4rem}
.table{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem}
th,td{padding:.375rem .75rem;text-align:right;vertical-align:top;
 border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{padding-left:0}
th{font-weight:400;color:var(--soft)}
thead th{vertical-align:bottom}
tbody th{color:var(--ink);font-weight:500;white-space:nowrap}
.word{text-align:left}
td.word{overflow-wrap:anywhere}
td.ok{color:var(--good);font-weight:600}
td.not{color:var(--bad);font-weight:600}
details{margin-top:.25rem;font-size:.8125rem}
summary{color:var(--soft);cursor:pointer;width:max-content}
summary:focus-visible{outline:2px solid var(--s1);outline-offset:2px}
details .table{max-height:20rem;overflow:auto;margin-top:.5rem}
@media (max-width:48rem){.plots{grid-template-columns:minmax(0,1fr)}
 main{padding:1.5rem 1rem 3rem}h1{font-size:1.5rem}}
"""

# Dashes and widths tell lines apart without their colours.
_PLOTS = """
.s2{--d:7 3}.s3{--d:2 3}.s4{--d:9 3 2 3}.s5{--d:4 2}.s6{--d:1 2}
svg.plot{display:block;width:100%;height:auto;overflow:hidden}
svg.key{flex:none}
.plot text{font-size:12px;fill:var(--soft)}
.plot .label,.plot .note{fill:var(--ink)}
.start{text-anchor:start}.middle{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:var(--rule);stroke-width:1}
.axis,.tick{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke:var(--c);stroke-width:1.75;stroke-linejoin:round;stroke-dasharray:var(--d,none)}
.line.s0{stroke-width:1.25}
.area{fill:var(--c);fill-opacity:.18;stroke:var(--c);stroke-width:1;stroke-opacity:.7}
.fill{fill:var(--c)}
.band{fill:var(--s1);fill-opacity:.14}
.rule{stroke:var(--ink);stroke-width:1}
.rule.bound{stroke:var(--bad);stroke-dasharray:6 4}
.whisker{stroke:var(--ink);stroke-width:1.5}
.dot.good{fill:var(--s1);fill-opacity:.55;stroke:var(--s1)}
.dot.bad{fill:none;stroke:var(--bad);stroke-width:2}
.tip{fill:transparent}
.tip:hover{fill:var(--ink);fill-opacity:.07}
"""

_PRINT = """
body{font-size:11pt}main{max-width:none;padding:0}
details{display:none}
figure,table,.verdict,.key-figures{break-inside:avoid}
h2{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
"""
