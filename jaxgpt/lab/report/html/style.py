"""The page's look: one column, system fonts, light and dark by the reader's own setting."""

from jaxgpt.lab.report.html.svg import variable
from jaxgpt.plots.palette import INK, MUTED, PAGE, RULE, dark_twins


def css() -> str:
    """The style sheet, with the palette as variables."""
    light = "".join(f"{variable(colour)}:{colour};" for colour in dark_twins())
    dark = "".join(f"{variable(colour)}:{twin};" for colour, twin in dark_twins().items())
    rules = _RULES
    for name, colour in {"INK": INK, "MUTED": MUTED, "RULE": RULE, "PAGE": PAGE}.items():
        rules = rules.replace(f"${name}", f"var({variable(colour)})")
    day = f":root{{{light}--panel:#f6f8fa}}"
    night = f"@media(prefers-color-scheme:dark){{:root{{{dark}--panel:#1c2229}}}}"
    return day + night + rules


_RULES = """
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{margin:0;background:$PAGE;color:$INK;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
-webkit-text-size-adjust:100%}
main{max-width:68rem;margin:0 auto;padding:3rem 1.25rem 5rem}
header p.name{margin:0;color:$MUTED;font-size:.85rem}
h1{font-size:clamp(1.5rem,4.5vw,2.1rem);line-height:1.2;margin:.25rem 0 1rem;letter-spacing:-.01em;text-wrap:balance}
h2{font-size:1.1rem;margin:2.75rem 0 .6rem}
.verdict{font-size:clamp(1.05rem,2.6vw,1.2rem);line-height:1.5;margin:0 0 1.75rem;padding:.9rem 1.1rem;
background:var(--panel);border-left:4px solid var(--accent);border-radius:0 6px 6px 0}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;min-width:100%}
th,td{padding:.42rem .75rem .42rem 0;text-align:left;white-space:nowrap;border-bottom:1px solid $RULE}
th{color:$MUTED;font-weight:500;font-size:.8rem;vertical-align:bottom}
.scroll td:first-child,.scroll th:first-child{position:sticky;left:0;background:$PAGE}
td.figure,th.figure{text-align:right}
th:last-child,td:last-child{padding-right:0}
.arm{font-weight:600}
.arm::before{content:"";display:inline-block;width:.65em;height:.65em;border-radius:50%;margin-right:.5em;background:var(--arm)}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.5rem;margin:2rem 0 0}
.panels svg{display:block;width:100%;height:auto}
figure{margin:0}
figcaption,.note{color:$MUTED;font-size:.85rem;max-width:46rem}
ul.remarks{list-style:none;margin:-1rem 0 1.75rem;padding:.1rem 1.1rem;border-left:4px solid #d55e00;font-size:.92rem}
ul.remarks li{margin:.35rem 0;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1.75rem 0 .4rem}
small{color:$MUTED;display:block;white-space:normal;max-width:20rem;line-height:1.35}
sup{line-height:0}
.scroll+.scroll{margin-top:1.25rem}
details{margin:.6rem 0}
code,pre{font:.85em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--panel);padding:.9rem 1.1rem;border-radius:6px;overflow-x:auto}
a{color:inherit;text-decoration-color:$MUTED;text-underline-offset:.15em}
tr:has(:target){outline:2px solid var(--accent)}
.scroll tr:has(:target) td{background:var(--panel)}
:target{scroll-margin-top:4rem}
summary{cursor:pointer;color:$MUTED;font-size:.9rem}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.3rem 1.25rem;font-size:.9rem;margin:0}
dt{color:$MUTED}
dd{margin:0;overflow-wrap:anywhere}
@media print{main{padding:0}.verdict{break-inside:avoid}}
"""
