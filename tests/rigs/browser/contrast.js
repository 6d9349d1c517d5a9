// What stands out too little from its ground, below the element that is the argument.
const [root] = arguments;
const canvas = document.createElement('canvas');
canvas.width = canvas.height = 1;
const pen = canvas.getContext('2d', { willReadFrequently: true });
// Colours of any notation, one over the other, as the screen mixes them.
const mixed = (colours) => {
  pen.clearRect(0, 0, 1, 1);
  for (const colour of colours) {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
  }
  return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const light = (rgb) => rgb.map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const grounds = (e) => {
  const found = [];
  for (let at = e; at; at = at.parentElement) found.unshift(getComputedStyle(at).backgroundColor);
  return ['white', ...found];
};
const problems = [];
for (const e of document.querySelectorAll(`${root} *`)) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!(own || e.placeholder) || !e.checkVisibility() || e.closest('[disabled]')) continue;
  const style = getComputedStyle(e, e.placeholder ? '::placeholder' : null);
  const behind = grounds(e);
  const [a, b] = [light(mixed([...behind, style.color])), light(mixed(behind))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(1)}: ${e.outerHTML.slice(0, 120)}`);
  if (parseFloat(style.fontSize) < 11) problems.push(`${style.fontSize}: ${e.outerHTML.slice(0, 120)}`);
}
return problems;
