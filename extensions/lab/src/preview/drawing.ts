const MOST_ELEMENTS = 100_000;
const DEEPEST = 100;

/** Whether an SVG is well formed, and small also after its `<use>`s are followed. */
export function isDrawable(svg: string): boolean {
  // Entities can make a few lines into gigabytes, and drawings need none.
  if (/<!ENTITY/i.test(svg)) {
    return false;
  }
  const found = new DOMParser().parseFromString(svg, 'image/svg+xml');
  if (found.documentElement.tagName !== 'svg' || found.querySelector('parsererror')) {
    return false;
  }
  return elements(found.documentElement, new Map(), DEEPEST) <= MOST_ELEMENTS;
}

function elements(element: Element, known: Map<Element, number>, depth: number): number {
  const before = known.get(element);
  if (before !== undefined) {
    return before;
  }
  if (depth === 0) {
    return Infinity;
  }
  known.set(element, Infinity); // one that uses itself has no end
  let count = 1;
  for (const child of element.children) {
    count += elements(child, known, depth - 1);
  }
  if (element.localName === 'use') {
    const target = element.getAttribute('href') ?? element.getAttribute('xlink:href') ?? '';
    const used = target.startsWith('#') ? element.ownerDocument.getElementById(target.slice(1)) : null;
    count += used ? elements(used, known, depth - 1) : 0;
  }
  known.set(element, count);
  return count;
}
