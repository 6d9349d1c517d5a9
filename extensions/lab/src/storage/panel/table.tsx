import { KeyboardEvent, MouseEvent, ReactNode, useEffect, useLayoutEffect, useRef, useState } from 'react';

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
  details(row: Row): void;
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

/** Go somewhere, tick a line, or find one by typing its beginning. */
function useMoves(props: TableProps) {
  const { listing, selected } = props;
  const anchor = useRef(0);
  const typed = useRef({ text: '', at: 0 });
  const go = (line: number, extend: boolean): void => {
    const row = listing.row(line);
    if (!extend) {
      anchor.current = line;
    }
    props.select(extend ? span(listing, anchor.current, line) : new Map(row ? [[row.key, row]] : []), line);
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
  const typing = (): boolean => Date.now() - typed.current.at < TYPE_AHEAD;
  const ahead = (key: string): void => {
    const text = typing() ? typed.current.text + key : key;
    typed.current = { text, at: Date.now() };
    const low = text.toLowerCase();
    const line = listing.find(row => props.name(row).toLowerCase().startsWith(low));
    if (line >= 0) {
      go(line, false);
    } else if (!listing.complete) {
      props.search(text);
    }
  };
  return { go, toggle, ahead, typing };
}

type Moves = ReturnType<typeof useMoves>;

/** What a key does; false for one that does nothing here. */
function act(event: KeyboardEvent, props: TableProps, moves: Moves, page: number): boolean {
  const { listing, current } = props;
  const { key } = event;
  const command = event.ctrlKey || event.metaKey;
  const plain = !command && !event.altKey;
  const line = target(key, current, listing.length, page);
  const row = listing.row(current);
  if (key === 'End' && plain) {
    void props.toEnd().then(() => moves.go(listing.length - 1, false));
  } else if (line !== null && plain) {
    moves.go(line, event.shiftKey);
  } else if (key === 'Enter' && event.altKey && row) {
    props.details(row);
  } else if (key === 'Enter' && row) {
    props.open(row);
  } else if (key === ' ' && !moves.typing()) {
    moves.toggle(current);
  } else if (key === 'Delete') {
    props.remove();
  } else if (key === 'Backspace') {
    props.up();
  } else if (key === 'a' && command) {
    props.select(span(listing, 0, listing.length - 1), current);
  } else if (key === 'Escape') {
    props.select(new Map(), current);
  } else if (key.length === 1 && plain) {
    moves.ahead(key);
  } else {
    return false;
  }
  return true;
}

/** One line, or what stands for it while it is not there. */
function Line(props: { table: TableProps; moves: Moves; line: number; top: number }): JSX.Element {
  const { table, moves, line } = props;
  const { listing } = table;
  const row = listing.row(line);
  const chosen = row !== null && table.selected.has(row.key);
  const data = row && table.drag ? table.drag(row) : null;
  const click = (event: MouseEvent): void => {
    if (event.ctrlKey || event.metaKey) {
      moves.toggle(line);
    } else {
      moves.go(line, event.shiftKey);
    }
  };
  return (
    <div
      id={`lb-storage-line-${line}`}
      role="row"
      className="lb-Storage-line"
      aria-rowindex={line + 2}
      aria-selected={chosen}
      data-current={line === table.current}
      data-kind={row ? (row.folder ? 'folder' : 'object') : 'waiting'}
      style={{ top: props.top }}
      draggable={data !== null}
      onDragStart={event => {
        Object.entries(data ?? {}).forEach(([type, value]) => event.dataTransfer.setData(type, value));
      }}
      onClick={event => row && click(event)}
      onDoubleClick={() => row && table.open(row)}
    >
      {row ? (
        table.cells(row, chosen, () => moves.toggle(line))
      ) : (
        <span role="gridcell" className="lb-Storage-waiting">
          {line === listing.gap && listing.known > line
            ? 'More lies between: scroll here to read on.'
            : listing.fault === null
              ? 'Reading…'
              : 'Not read.'}
        </span>
      )}
    </div>
  );
}

/** A grid of any length: keyboard, type-ahead, selection; only what shows is drawn. */
export function Table(props: TableProps): JSX.Element {
  const { listing, current } = props;
  const view = useWindow(listing.length);
  const moves = useMoves(props);
  const { first, last, show } = view;
  useEffect(() => {
    void listing.look(first, last);
  }, [listing, first, last, props.version]);
  // After all else has its place: a toolbar may have come for what was chosen.
  useLayoutEffect(() => show(current), [current]);
  const press = (event: KeyboardEvent): void => {
    const typing = event.target instanceof HTMLInputElement && event.key === ' ';
    const page = Math.max(1, Math.floor((view.ref.current?.clientHeight ?? 600) / LINE) - 2);
    if (!typing && act(event, props, moves, page)) {
      event.preventDefault();
      event.stopPropagation();
    }
  };
  const lines = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
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
        {lines.map(line => (
          <Line key={line} table={props} moves={moves} line={line} top={view.top(line)} />
        ))}
      </div>
    </div>
  );
}
