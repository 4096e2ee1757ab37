"""The style sheet of the report: for phone and wide screen, light and dark, and paper."""

from .theme import DARK, LIGHT, variables

CSS = (
    f":root {{ color-scheme: light dark; {variables(LIGHT)} }}\n"
    "@media screen and (prefers-color-scheme: dark) {\n"
    f"  :root {{ {variables(DARK)} }}\n}}\n"
    """
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  -webkit-text-size-adjust: 100%;
}
main { max-width: 74rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 3rem); }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.9rem, 5vw, 3rem); letter-spacing: -0.02em; margin: 0.1em 0 0.35em; }
h2 { font-size: 1.45rem; letter-spacing: -0.01em; margin: 0 0 0.25rem; }
h3 { font-size: 1rem; margin: 0 0 0.6rem; }
p { margin: 0 0 0.75rem; max-width: 46rem; text-wrap: pretty; }
code {
  font: 0.88em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere;
}
section { margin-top: clamp(2.5rem, 6vw, 4.5rem); }
.kicker {
  color: var(--muted); font-size: 0.9rem; letter-spacing: 0.02em; margin: 0;
}
.summary { font-size: clamp(1.05rem, 2.2vw, 1.3rem); line-height: 1.45; }
.lead, .note, figcaption { color: var(--muted); }
.note { font-size: 0.92rem; margin-top: 1rem; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: 1px; margin: 1.75rem 0 0; background: var(--line);
  border: 1px solid var(--line); border-radius: 12px; overflow: hidden;
}
.facts div { background: var(--card); padding: 0.85rem 1rem; }
.facts dt { color: var(--muted); font-size: 0.85rem; }
.facts dd {
  margin: 0; font-size: 1.5rem; font-weight: 650; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums;
}
.facts small {
  display: block; color: var(--muted); font-size: 0.85rem; font-weight: 400; letter-spacing: 0;
}
.slots {
  display: flex; flex-wrap: wrap; gap: 0.15rem 1.2rem; max-width: none; margin: 1rem 0 0;
  color: var(--muted); font-size: 0.8rem;
}
.pair {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
  gap: 1.25rem; margin-top: 1.25rem;
}
figure, .card {
  margin: 0; padding: clamp(0.8rem, 2.5vw, 1.25rem); min-width: 0;
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
figure svg { display: block; width: 100%; max-width: 38rem; height: auto; margin: 0 auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: inherit !important; font-variant-numeric: tabular-nums; }
figcaption { font-size: 0.92rem; line-height: 1.5; margin-top: 0.7rem; text-wrap: pretty; }
.mosaics {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr));
  gap: 1.25rem; margin-top: 1.25rem;
}
.mosaics figure { padding: 0; overflow: hidden; }
.mosaics figcaption { padding: 0 1rem 0.9rem; display: grid; overflow-wrap: anywhere; }
.mosaics strong { color: var(--ink); font-size: 1.05rem; }
img { display: block; max-width: 100%; height: auto; }
.mosaics img { width: 100%; }
.neighbours {
  display: grid; grid-template-columns: 1fr 6fr 6fr; gap: 0.5rem 1.25rem; margin-top: 1.25rem;
  align-items: end;
}
.neighbours h3 { grid-column: 1 / -1; margin: 0; font-weight: 600; }
.neighbours img { width: 100%; border-radius: 3px; }
.neighbours h4 {
  margin: 0 0 0.35rem; font-size: 0.85rem; font-weight: 550; color: var(--muted);
  overflow-wrap: anywhere;
}
.absent { display: grid; align-content: center; min-height: 9rem; border-style: dashed; }
.absent p { margin: 0; }
.scroll {
  overflow: auto; max-height: 36rem; margin-top: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px;
}
.scroll:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td {
  padding: 0.5rem 0.85rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--grid);
}
tr:last-child > td, tr:last-child > th[scope="row"] { border-bottom: 0; }
thead th {
  position: sticky; top: 0; z-index: 1; background: var(--card); color: var(--muted);
  font-weight: 550; font-size: 0.85rem; white-space: nowrap; box-shadow: inset 0 -1px var(--line);
}
th[scope="row"] { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.words { min-width: 12rem; overflow-wrap: anywhere; }
.whole { white-space: nowrap; }
.key { min-width: 8.5rem; max-width: 18rem; overflow-wrap: anywhere; }
.card .key { min-width: 7.5rem; }
.card th, .card td { padding: 0.35rem 0.5rem; font-size: 0.85rem; }
.card > .scroll { margin: 0; border: 0; border-radius: 0; max-height: 24rem; }
.quiet { color: var(--muted); }
.best { font-weight: 650; color: var(--ink); }
.bar { min-width: 5rem; }
.bar span { display: block; height: 0.5rem; margin-top: 0.5rem; border-radius: 3px; }
.bar span { background: var(--blue); min-width: 2px; }
details summary { cursor: pointer; color: var(--muted); white-space: nowrap; }
details pre { margin: 0.4rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--muted); font-size: 0.88rem; }
@media (max-width: 46rem) {
  .neighbours { grid-template-columns: 1fr; }
  .neighbours .first { max-width: 16.6%; }
}
@media (max-width: 32rem) {
  th, td { padding: 0.45rem 0.5rem; font-size: 0.86rem; }
  thead th { font-size: 0.8rem; }
}
@media print {
  @page { margin: 14mm; }
  body { font-size: 10.5pt; background: none; }
  main { padding: 0; max-width: none; }
  section { margin-top: 1.6rem; }
  .pair { grid-template-columns: 1fr 1fr; }
  .scroll, .card > .scroll { overflow: visible; max-height: none; }
  .bar span { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  thead th { position: static; }
  .mosaics { grid-template-columns: 1fr 1fr; }
  figure, .card, .pair, .facts, tr { break-inside: avoid; }
  h2, .lead { break-after: avoid; break-inside: avoid; }
  figure, .card, .scroll, .facts, .facts div { background: none; }
}
"""
)
