/** Return a new element; its text is never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, kind: string, text = ''): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = kind;
  element.textContent = text;
  return element;
}
