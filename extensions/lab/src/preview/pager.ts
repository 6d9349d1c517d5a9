import { make } from './make';
import { COLUMNS_AT_ONCE, MOST_ROWS, Place, Span, Window } from './sheet';

/** How far a step back goes; a step on goes to the window's end. */
const STEP: Record<Noun, number> = { row: MOST_ROWS, column: COLUMNS_AT_ONCE };

export type Turn = (place: Place) => void;
type Noun = 'row' | 'column';

/** Controls that move a table's window. There are no forms: they are forbidden here. */
export function pager(window: Window, turn: Turn): HTMLElement {
  const element = make('div', 'pager');
  element.setAttribute('role', 'group');
  element.setAttribute('aria-label', 'What is shown of the table');
  const status = make('p', 'status');
  status.setAttribute('role', 'status');
  const { rows, columns } = window;
  const place = { row: rows.first, column: columns.first };
  const go = (noun: Noun, at: number) => {
    // One at a time: what comes back is for what was asked last.
    if (element.dataset.state !== 'busy') {
      setStatus(element, 'Reading…', 'busy');
      turn({ ...place, [noun]: at });
    }
  };
  element.append(line('row', rows, go, text => setStatus(element, text, 'stuck')));
  if (columns.count < columns.total) {
    element.append(line('column', columns, go, text => setStatus(element, text, 'stuck')));
  }
  element.append(status);
  return element;
}

/** Say below the controls what became of the last wish. */
export function setStatus(element: HTMLElement, text: string, state: 'busy' | 'stuck'): void {
  element.dataset.state = state;
  element.querySelector('.status')!.textContent = text;
}

function line(noun: Noun, span: Span, go: (noun: Noun, at: number) => void, tell: (text: string) => void): HTMLElement {
  const element = make('div', 'pager-line');
  const end = span.first + span.count;
  const isLast = end >= span.total && !span.isOpen;
  element.append(make('span', 'pager-told', told(noun, span)));
  if (span.first === 0 && isLast) {
    return element;
  }
  const input = make('input', '');
  input.inputMode = 'numeric';
  input.dataset.control = `${noun}-number`;
  input.setAttribute('aria-label', `${named(noun)} to go to`);
  input.placeholder = named(noun);
  const jump = () => {
    const wanted = Number(input.value.replace(/[\s,]/g, ''));
    if (Number.isSafeInteger(wanted) && wanted > 0) {
      go(noun, wanted - 1);
    } else {
      tell(`Type the number of a ${noun}, from 1 on.`);
    }
  };
  input.addEventListener('keydown', event => {
    if (event.key === 'Enter') {
      jump();
    }
  });
  element.append(
    button(noun, 'Previous', span.first === 0, () => go(noun, Math.max(0, span.first - STEP[noun]))),
    button(noun, 'Next', isLast, () => go(noun, end)),
    input,
    button(noun, 'Go', false, jump)
  );
  return element;
}

function button(noun: Noun, text: string, isOff: boolean, act: () => void): HTMLElement {
  const element = make('button', 'pager-button', text);
  element.type = 'button';
  element.disabled = isOff;
  element.dataset.control = `${noun}-${text.toLowerCase()}`;
  element.setAttribute('aria-label', text === 'Go' ? `Go to this ${noun}` : `${text} ${noun}s`);
  element.addEventListener('click', act);
  return element;
}

function told(noun: Noun, { first, count, total, isOpen }: Span): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const shown = count === 0 ? `No ${noun}s` : `${named(noun)}s ${number(first + 1)} to ${number(first + count)}`;
  return `${shown} of ${number(total)}${isOpen ? ' or more' : ''}`;
}

function named(noun: Noun): string {
  return noun === 'row' ? 'Row' : 'Column';
}
