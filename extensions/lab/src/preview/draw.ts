import DOMPurify from 'dompurify';

import { isDrawable } from './drawing';
import { make } from './make';
import { pager, setStatus, Turn } from './pager';
import { PreviewObject } from './protocol';
import { Fact, Node, Page, Part, Sheet, Table } from './sheet';

// Everything that came from an object is put in as text, or as a picture. Only HTML of
// notebooks is made into elements, after DOMPurify: and this frame has no origin.

type Open = (what: string) => void;

/** Show that the object is being read. */
export function drawWaiting(object: PreviewObject): void {
  const note = make('p', 'note', 'Reading…');
  note.setAttribute('role', 'status');
  body(make('h1', '', nameOf(object)), note);
}

/** Show why there is nothing to be seen. */
export function drawFailure(object: PreviewObject, message: string): void {
  const note = make('p', 'failure', message);
  note.setAttribute('role', 'alert');
  body(make('h1', '', nameOf(object)), note);
}

/** Show a sheet; `open` gets the node that somebody picks, `turn` where in its table to go. */
export function drawSheet(object: PreviewObject, sheet: Sheet, open: Open, turn: Turn): void {
  body(
    make('h1', '', nameOf(object)),
    facts([['Format', sheet.format], ...sheet.facts]),
    notShown(sheet.left),
    ...sheet.parts.map(part => section(part, open, turn))
  );
  document.body.dataset.state = 'shown';
}

/** Show another window of the sheet's table where the last one was. */
export function drawPage(page: Page, turn: Turn): void {
  const before = document.querySelector('.is-window');
  if (!before) {
    return;
  }
  const control = before.contains(document.activeElement) && (document.activeElement as HTMLElement).dataset.control;
  const after = section(page.table, () => undefined, turn);
  before.replaceWith(after);
  document.querySelector('.left')?.replaceWith(notShown(page.left));
  // Where the focus was; at the table's end there is no further step, so into the table.
  if (control) {
    const same = after.querySelector<HTMLElement>(`[data-control="${control}"]:enabled`);
    (same ?? after.querySelector<HTMLElement>('.scrolls'))?.focus();
  }
}

/** Say why the table's window stays where it is. */
export function drawStuck(message: string): void {
  const element = document.querySelector<HTMLElement>('.is-window .pager');
  if (element) {
    setStatus(element, message, 'stuck');
  }
}

/** Show what a node holds, before all else. */
export function drawParts(what: string, parts: Part[]): void {
  const place = make('div', 'opened');
  place.dataset.what = what;
  place.append(
    ...parts.map(part =>
      section(
        part,
        () => undefined,
        () => undefined
      )
    )
  );
  document.querySelector('.opened')?.remove();
  const first = document.querySelector('section');
  if (first) {
    first.before(place);
  } else {
    document.body.append(place);
  }
  place.tabIndex = -1;
  place.focus();
}

function body(...elements: HTMLElement[]): void {
  const main = make('main', '');
  main.append(...elements);
  document.body.replaceChildren(main);
  document.body.dataset.state = elements.some(one => one.className === 'failure') ? 'failed' : 'waiting';
}

function nameOf(object: PreviewObject): string {
  return object.key.split('/').filter(Boolean).pop() ?? object.key;
}

function facts(all: Fact[]): HTMLElement {
  const list = make('dl', 'facts');
  for (const [name, value] of all) {
    list.append(make('dt', '', name), make('dd', '', value));
  }
  return list;
}

function notShown(left: string[]): HTMLElement {
  const list = make('ul', 'left');
  list.append(...left.map(sentence => make('li', '', sentence)));
  list.hidden = !left.length;
  return list;
}

function section(part: Part, open: Open, turn: Turn): HTMLElement {
  const element = make('section', `part-${part.kind}`);
  const title = make('h2', '', part.title);
  if (part.title) {
    element.append(title);
  }
  if (part.kind === 'table' && part.window) {
    element.classList.add('is-window');
    element.append(pager(part.window, turn));
  }
  element.append(content(part, open));
  return element;
}

function content(part: Part, open: Open): Element {
  switch (part.kind) {
    case 'text':
      return scrolling(make('pre', '', part.text), part.title);
    case 'table':
      return table(part);
    case 'tree':
      return tree(part.nodes, open, true);
    case 'picture':
      return picture(part.bytes, part.type, part.title);
    case 'drawing':
      return drawing(part.svg, part.title);
    case 'bitmap':
      return bitmap(part.bitmap, `${part.title}: ${part.text}`);
    case 'markup':
      return markup(part.html);
  }
}

/** What is wider than the frame scrolls by itself, by keyboard too. */
function scrolling(inner: HTMLElement, title: string): HTMLElement {
  const outer = make('div', 'scrolls');
  outer.tabIndex = 0;
  outer.setAttribute('role', 'region');
  outer.setAttribute('aria-label', title);
  outer.append(inner);
  return outer;
}

function table({ columns, rows, title, window }: Table): HTMLElement {
  const element = make('table', '');
  const head = element.createTHead().insertRow();
  if (window && columns.length) {
    head.append(make('th', 'number', 'row'));
  }
  for (const column of columns) {
    const cell = make('th', '', column.name);
    cell.scope = 'col';
    if (column.type) {
      cell.append(make('span', 'type', column.type.toLowerCase()));
    }
    head.append(cell);
  }
  const rest = element.createTBody();
  rows.forEach((row, at) => {
    const line = rest.insertRow();
    if (window) {
      const number = make('th', 'number', (window.rows.first + at + 1).toLocaleString('en-US'));
      number.scope = 'row';
      line.append(number);
    }
    columns.forEach((_, index) => (line.insertCell().textContent = row[index] ?? ''));
  });
  return scrolling(element, title);
}

function tree(nodes: Node[], open: Open, isTop: boolean): HTMLElement {
  const list = make('ul', 'tree');
  for (const node of nodes) {
    const item = make('li', '');
    const line = label(node, open);
    if (node.children?.length || node.facts?.length) {
      const details = make('details', '');
      details.open = isTop && nodes.length <= 50;
      const summary = make('summary', '');
      summary.append(line);
      details.append(summary);
      if (node.facts?.length) {
        details.append(facts(node.facts));
      }
      if (node.children?.length) {
        details.append(tree(node.children, open, false));
      }
      item.append(details);
    } else {
      item.append(line);
    }
    list.append(item);
  }
  return list;
}

function label(node: Node, open: Open): HTMLElement {
  const line = make('span', 'node');
  const { open: what } = node;
  if (what === undefined) {
    line.append(make('b', '', node.name));
  } else {
    const button = make('button', '', node.name);
    button.type = 'button';
    button.title = `Show values of ${node.name}`;
    button.addEventListener('click', () => open(what));
    line.append(button);
  }
  line.append(' ', make('span', 'type', node.detail));
  return line;
}

function picture(data: Uint8Array<ArrayBuffer>, type: string, title: string): HTMLElement {
  const image = make('img', '');
  image.alt = title;
  image.src = URL.createObjectURL(new Blob([data], { type }));
  image.addEventListener('error', () => image.replaceWith(make('p', 'failure', 'This picture is damaged or cut off.')));
  return image;
}

/** Inside `<img>` an SVG runs no scripts and loads nothing. */
function drawing(svg: string, title: string): HTMLElement {
  if (!isDrawable(svg)) {
    const text = scrolling(make('pre', '', svg.slice(0, 20_000)), title);
    const why = 'This drawing is damaged, or repeats its parts so often that it is not drawn. This is its source.';
    const both = make('div', '');
    both.append(make('p', 'failure', why), text);
    return both;
  }
  return picture(new TextEncoder().encode(svg), 'image/svg+xml', title);
}

function bitmap(source: ImageBitmap, text: string): HTMLElement {
  const canvas = make('canvas', '');
  [canvas.width, canvas.height] = [source.width, source.height];
  canvas.getContext('bitmaprenderer')?.transferFromImageBitmap(source);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', text);
  return canvas;
}

function markup(html: string): HTMLElement {
  const element = make('div', 'markup');
  element.append(
    DOMPurify.sanitize(html, {
      RETURN_DOM_FRAGMENT: true,
      USE_PROFILES: { html: true },
      FORBID_TAGS: ['style', 'form', 'input', 'button', 'textarea', 'select', 'dialog', 'audio', 'video', 'source'],
      FORBID_ATTR: ['style', 'id', 'name', 'class', 'srcset', 'popover', 'target']
    })
  );
  // A link would lead this frame away.
  element.querySelectorAll('a, area').forEach(link => link.removeAttribute('href'));
  return element;
}
