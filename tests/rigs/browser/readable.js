// What a person with a screen reader, or with weak eyes, would stumble over on a page.
const problems = [];
const named = (e) => e.getAttribute('aria-label') || e.textContent.trim() || e.title
  || (e.labels && [...e.labels].some((l) => l.textContent.trim()));
for (const e of document.querySelectorAll('a[href], button, input, select, textarea'))
  if (e.type !== 'hidden' && e.checkVisibility() && !named(e))
    problems.push('no name: ' + e.outerHTML.slice(0, 120));
for (const e of document.querySelectorAll('[aria-describedby]'))
  for (const id of e.getAttribute('aria-describedby').split(' '))
    if (!document.getElementById(id)) problems.push('no such description: ' + id);
const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => problems.push('twice: ' + id));
if (document.querySelectorAll('h1').length !== 1) problems.push('not one h1');
if (!document.documentElement.lang) problems.push('no language');
if (!document.querySelector('main, [role=main]')) problems.push('no main part');
const rgb = (text) => text.match(/[\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  for (let at = e; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (style.backgroundImage !== 'none') return null;
    const colour = rgb(style.backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility() || e.closest('[disabled], .visually-hidden')) continue;
  const behind = ground(e);
  if (!behind) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(1)}: ${e.outerHTML.slice(0, 90)}`);
}
return problems;
