import { KeyboardEvent, MouseEvent, ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

import { Listing, Row } from './listing';

/** A line's height in pixels, as the style sheet has it. */
const LINE = 36;
/** Browsers draw nothing beyond some 33 million pixels: above this, lines move faster. */
const TALLEST = 8_000_000;
const SPARE = 6;
const TYPE_AHEAD = 900;

export interface TableProps {
  listing: Listing;
  /** Counts up when the listing has changed. */
  version: number;
  label: string;
  selected: ReadonlyMap<string, Row>;
  /** The line that the keyboard is at. */
  current: number;
  select(rows: Map<string, Row>, current: number): void;
  open(row: Row): void;
  up(): void;
  remove(): void;
  toEnd(): Promise<void>;
  /** Nothing known begins like this. */
  search(text: string): void;
  cells(row: Row, chosen: boolean, toggle: () => void): ReactNode;
  head: ReactNode;
  name(row: Row): string;
  drag?(row: Row): Record<string, string> | null;
}

/** What is to be drawn of a list that is too long to be drawn. */
function useWindow(lines: number): {
  ref: React.RefObject<HTMLDivElement>;
  height: number;
  first: number;
  last: number;
  top(line: number): number;
  show(line: number): void;
} {
  const ref = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const node = ref.current;
    if (!node) {
      return;
    }
    const read = () => setView({ top: node.scrollTop, height: node.clientHeight || 600 });
    const observer = new ResizeObserver(read);
    observer.observe(node);
    node.addEventListener('scroll', read, { passive: true });
    read();
    return () => {
      observer.disconnect();
      node.removeEventListener('scroll', read);
    };
  }, []);
  const whole = lines * LINE;
  const height = Math.min(whole, TALLEST);
  const faster = whole > TALLEST ? (whole - view.height) / (height - view.height) : 1;
  const above = view.top * faster;
  return {
    ref,
    height,
    first: Math.max(0, Math.floor(above / LINE) - SPARE),
    last: Math.min(lines - 1, Math.ceil((above + view.height) / LINE) + SPARE),
    top: line => view.top + (line * LINE - above),
    show: line => {
      const node = ref.current;
      if (!node) {
        return;
      }
      const at = node.scrollTop * faster;
      const room = node.clientHeight - LINE; // the head covers one line
      if (line * LINE < at) {
        node.scrollTop = (line * LINE) / faster;
      } else if ((line + 1) * LINE > at + room) {
        node.scrollTop = ((line + 1) * LINE - room) / faster;
      }
    }
  };
}

/** Where a key leads from a line; null for keys that move nothing. */
function target(key: string, at: number, lines: number, page: number): number | null {
  const moves: Record<string, number> = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: lines - 1
  };
  return key in moves ? Math.max(0, Math.min(lines - 1, moves[key])) : null;
}

function span(listing: Listing, from: number, to: number): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (let line = Math.min(from, to); line <= Math.max(from, to) && rows.size < 1000; line++) {
    const row = listing.row(line);
    if (row) {
      rows.set(row.key, row);
    }
  }
  return rows;
}

/** A grid of any length: keyboard, type-ahead, selection; only what shows is drawn. */
export function Table(props: TableProps): JSX.Element {
  const { listing, current, selected } = props;
  const view = useWindow(listing.length);
  const anchor = useRef(0);
  const typed = useRef({ text: '', at: 0 });
  const { first, last } = view;
  useEffect(() => {
    void listing.look(first, last);
  }, [listing, first, last, props.version]);
  const go = useCallback(
    (line: number, extend: boolean) => {
      const row = listing.row(line);
      if (!extend) {
        anchor.current = line;
      }
      const rows = extend ? span(listing, anchor.current, line) : new Map(row ? [[row.key, row]] : []);
      props.select(rows, line);
    },
    [listing, props]
  );
  // After all else has its place: a toolbar may have come for what was chosen.
  const { show } = view;
  useLayoutEffect(() => show(current), [current]);
  const ahead = (key: string): void => {
    const now = Date.now();
    const text = now - typed.current.at > TYPE_AHEAD ? key : typed.current.text + key;
    typed.current = { text, at: now };
    const low = text.toLowerCase();
    const line = listing.find(row => props.name(row).toLowerCase().startsWith(low));
    if (line >= 0) {
      go(line, false);
    } else if (!listing.complete) {
      props.search(text);
    }
  };
  const toggle = (line: number): void => {
    const row = listing.row(line);
    if (row) {
      const rows = new Map(selected);
      if (!rows.delete(row.key)) {
        rows.set(row.key, row);
      }
      anchor.current = line;
      props.select(rows, line);
    }
  };
  const press = (event: KeyboardEvent): void => {
    if (event.target instanceof HTMLInputElement && event.key !== 'Escape' && !event.key.startsWith('Arrow')) {
      return;
    }
    const page = Math.max(1, Math.floor((view.ref.current?.clientHeight ?? 600) / LINE) - 2);
    const line = target(event.key, current, listing.length, page);
    const row = listing.row(current);
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (line !== null && plain) {
      if (event.key === 'End') {
        void props.toEnd().then(() => go(listing.length - 1, false));
      } else {
        go(line, event.shiftKey);
      }
    } else if (event.key === 'Enter' && row) {
      props.open(row);
    } else if (event.key === ' ' && Date.now() - typed.current.at > TYPE_AHEAD) {
      toggle(current);
    } else if (event.key === 'Delete') {
      props.remove();
    } else if (event.key === 'Backspace') {
      props.up();
    } else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) {
      props.select(span(listing, 0, listing.length - 1), current);
    } else if (event.key === 'Escape') {
      props.select(new Map(), current);
    } else if (event.key.length === 1 && plain) {
      ahead(event.key);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const click = (event: MouseEvent, line: number): void => {
    if (event.ctrlKey || event.metaKey) {
      toggle(line);
    } else {
      go(line, event.shiftKey);
    }
  };
  const lines: JSX.Element[] = [];
  for (let line = first; line <= last; line++) {
    const row = listing.row(line);
    const chosen = row !== null && selected.has(row.key);
    const data = row && props.drag ? props.drag(row) : null;
    lines.push(
      <div
        key={line}
        id={`lb-storage-line-${line}`}
        role="row"
        className="lb-Storage-line"
        aria-rowindex={line + 2}
        aria-selected={chosen}
        data-current={line === current}
        data-kind={row ? (row.folder ? 'folder' : 'object') : 'waiting'}
        style={{ top: view.top(line) }}
        draggable={data !== null}
        onDragStart={event => {
          Object.entries(data ?? {}).forEach(([type, value]) => event.dataTransfer.setData(type, value));
        }}
        onClick={event => row && click(event, line)}
        onDoubleClick={() => row && props.open(row)}
      >
        {row ? (
          props.cells(row, chosen, () => toggle(line))
        ) : (
          <span role="gridcell" className="lb-Storage-waiting">
            {line === listing.gap && listing.known > line ? 'More lies between: scroll here to read on.' : 'Reading…'}
          </span>
        )}
      </div>
    );
  }
  return (
    <div
      ref={view.ref}
      className="lb-Storage-table"
      role="grid"
      tabIndex={0}
      aria-label={props.label}
      aria-multiselectable="true"
      aria-rowcount={listing.complete ? listing.length + 1 : -1}
      aria-busy={listing.busy}
      aria-activedescendant={listing.length ? `lb-storage-line-${current}` : undefined}
      onKeyDown={press}
    >
      <div role="row" className="lb-Storage-line lb-Storage-columns" aria-rowindex={1}>
        {props.head}
      </div>
      <div className="lb-Storage-rows" role="rowgroup" style={{ height: view.height }}>
        {lines}
      </div>
    </div>
  );
}
