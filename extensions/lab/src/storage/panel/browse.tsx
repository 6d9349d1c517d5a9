import { DragEvent, useEffect, useMemo, useRef, useState } from 'react';

import { words } from '../../gateway/refused';
import { Icon } from '../../kit/icons';
import { Tool } from '../../kit/tool';
import { count, size, visible, when } from '../../kit/words';
import { above } from '../objectnames';
import { fromDrop, Picked } from '../upload/files';
import { AddButtons } from '../upload/view';

import { Place, Remove, Rename, selectionOf, tooMany } from './chosen';
import { Details } from './details';
import { download } from './download';
import { isKeyFault, KEY_FAULT, KeyForm } from './key';
import { Listing, Row } from './listing';
import { Look } from './look';
import { owned, shareable, useListing, useShared, writable } from './shared';
import { LinkDialog, ShareDialog } from './sharing';
import { Table } from './table';

/** Where one is: a prefix of a bucket. */
export interface At {
  bucket: string;
  prefix: string;
}

type Open = 'details' | 'remove' | 'rename' | 'place' | 'share' | 'link' | null;
const NOTHING = { what: null, rows: [] };

/** The way from the bucket to the prefix, each step to be pressed. */
function Crumbs(props: { at: At; root: string; go(prefix: string): void }): JSX.Element {
  const { bucket, prefix } = props.at;
  const rest = prefix.slice(props.root.length);
  const steps = rest.split('/').slice(0, -1);
  let path = props.root;
  return (
    <nav className="lb-Storage-crumbs" aria-label="Where you are">
      <ol>
        <li>
          <button type="button" aria-current={rest === '' ? 'page' : undefined} onClick={() => props.go(props.root)}>
            <bdi>
              {bucket}
              {props.root && `/${visible(props.root)}`}
            </bdi>
          </button>
        </li>
        {steps.map((step, i) => {
          path += `${step}/`;
          const here = path;
          return (
            <li key={i}>
              <button
                type="button"
                aria-current={i === steps.length - 1 ? 'page' : undefined}
                onClick={() => props.go(here)}
              >
                <bdi>{visible(step) || '(no name)'}</bdi>
              </button>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}

function Cells(props: { row: Row; name: string; chosen: boolean; toggle(): void; open(): void }): JSX.Element {
  const { row, name } = props;
  const shown = visible(name) || '(no name)';
  return (
    <>
      <span role="gridcell" className="lb-Storage-tick">
        <input
          type="checkbox"
          tabIndex={-1}
          checked={props.chosen}
          aria-label={`Select ${shown}`}
          onClick={event => event.stopPropagation()}
          onChange={props.toggle}
        />
      </span>
      <span role="gridcell" className="lb-Storage-name">
        <Icon name={row.folder ? 'folder' : 'object'} />
        <button
          type="button"
          tabIndex={-1}
          title={shown}
          onClick={event => {
            if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
              event.stopPropagation();
              props.open();
            }
          }}
        >
          <bdi>{shown}</bdi>
        </button>
      </span>
      <span role="gridcell" className="lb-Storage-size">
        {row.folder ? '' : size(row.size)}
      </span>
      <span role="gridcell" className="lb-Storage-when">
        {row.folder ? '' : when(row.modified)}
      </span>
    </>
  );
}

const HEAD = (
  <>
    <span role="columnheader" className="lb-Storage-tick" aria-label="Selected" />
    <span role="columnheader" className="lb-Storage-name">
      Name
    </span>
    <span role="columnheader" className="lb-Storage-size">
      Size
    </span>
    <span role="columnheader" className="lb-Storage-when">
      Changed
    </span>
  </>
);

/** What can be done with what is chosen. */
function Actions(props: { at: At; rows: Row[]; ask(what: Open): void; look(row: Row): void }): JSX.Element {
  const { api, me, host, buckets, say } = useShared();
  const { at, rows } = props;
  const objects = rows.filter(row => !row.folder);
  const one = rows.length === 1 ? rows[0] : null;
  const write = writable(buckets, at.bucket, at.prefix);
  const own = owned(buckets, at.bucket);
  const save = async (): Promise<void> => {
    for (const row of objects) {
      await download(api, me, at.bucket, row.key);
    }
  };
  const fine = objects.length === rows.length && objects.length <= 20;
  return (
    <div className="lb-Storage-bar lb-Storage-actions" role="toolbar" aria-label="What to do with the selection">
      <b>{count(rows.length, 'selected', 'selected')}</b>
      {one && !one.folder && host.previewUrl && <Tool icon="eye" label="Preview" onClick={() => props.look(one)} />}
      {one && !one.folder && (
        <Tool icon="info" label="Details" title="Details (Alt+Enter)" onClick={() => props.ask('details')} />
      )}
      {fine && (
        <Tool icon="download" label="Download" onClick={() => void save().catch(error => say(words(error), 'bad'))} />
      )}
      {one && !one.folder && host.insertCode && (
        <Tool icon="code" label="Insert code" onClick={() => host.insertCode?.(at.bucket, one.key)} />
      )}
      {host.copyToHome && (
        <Tool
          icon="home"
          label="Copy to home"
          onClick={() =>
            host.copyToHome?.(
              at.bucket,
              rows.map(row => row.key)
            )
          }
        />
      )}
      {shareable(buckets, at.bucket) && one?.folder && (
        <Tool icon="share" label="Share" onClick={() => props.ask('share')} />
      )}
      {own && one && !one.folder && me.public_links && (
        <Tool icon="link" label="Public link" onClick={() => props.ask('link')} />
      )}
      {write && one && <Tool icon="edit" label="Rename" onClick={() => props.ask('rename')} />}
      <Tool icon="copy" label="Copy or move" onClick={() => props.ask('place')} />
      {write && <Tool icon="trash" label="Delete" kind="danger" onClick={() => props.ask('remove')} />}
    </div>
  );
}

/** The tools of a place, and the search by beginning. */
function Bar(props: {
  at: At;
  filter: string;
  setFilter(text: string): void;
  search: React.RefObject<HTMLInputElement>;
  add(picked: Picked[]): void;
  share(): void;
  again(): void;
}): JSX.Element {
  const { host, buckets } = useShared();
  const { bucket, prefix } = props.at;
  const write = writable(buckets, bucket, prefix);
  return (
    <div className="lb-Storage-bar">
      <AddButtons add={props.add} disabled={!write} />
      {shareable(buckets, bucket) && <Tool icon="share" label="Share this" bare onClick={props.share} />}
      {host.copyFromHome && write && (
        <Tool icon="homeUp" label="Copy from home" bare onClick={() => host.copyFromHome?.(bucket, prefix)} />
      )}
      {host.openDrive && (
        <Tool icon="list" label="Open in the file browser" bare onClick={() => host.openDrive?.(bucket, prefix)} />
      )}
      <Tool icon="reload" label="Read again" bare onClick={props.again} />
      <input
        ref={props.search}
        type="search"
        className="lb-Storage-search"
        placeholder="Begins with…"
        aria-label="Show names that begin with"
        value={props.filter}
        onChange={event => props.setFilter(event.target.value)}
        onKeyDown={event => event.stopPropagation()}
      />
    </div>
  );
}

/** The window that asks about what is chosen. */
function Asking(props: {
  what: Open;
  at: At;
  rows: Row[];
  close(): void;
  done(): void;
  changed(): void;
}): JSX.Element | null {
  const { at, rows, close, done } = props;
  const selection = useMemo(() => selectionOf(at.bucket, rows), [at.bucket, rows]);
  const [first] = rows;
  switch (props.what) {
    case 'details':
      return <Details bucket={at.bucket} objectKey={first.key} close={close} changed={props.changed} />;
    case 'remove':
      return <Remove selection={selection} close={close} done={done} />;
    case 'rename':
      return <Rename selection={selection} close={close} done={done} />;
    case 'place':
      return <Place selection={selection} prefix={at.prefix} close={close} done={done} />;
    case 'share':
      return <ShareDialog bucket={at.bucket} prefix={first?.folder ? first.key : at.prefix} close={close} />;
    case 'link':
      return <LinkDialog bucket={at.bucket} objectKey={first.key} close={close} />;
    default:
      return null;
  }
}

/** What happens when files are dragged over a place and dropped there. */
function useDrop(write: boolean, add: (picked: AsyncIterable<Picked>) => void) {
  const [over, setOver] = useState(false);
  return {
    'data-over': over,
    onDragOver(event: DragEvent): void {
      if (write && event.dataTransfer.types.includes('Files')) {
        event.preventDefault();
        event.stopPropagation();
        setOver(true);
      }
    },
    onDragLeave: () => setOver(false),
    onDrop(event: DragEvent): void {
      if (event.dataTransfer.types.includes('Files')) {
        event.preventDefault();
        event.stopPropagation();
        setOver(false);
        if (write) {
          add(fromDrop(event.dataTransfer));
        }
      }
    }
  };
}

/** What is chosen at a place, and the line that the keyboard is at. */
function useChoice(listing: Listing, place: string) {
  const [choice, setChoice] = useState<{ rows: ReadonlyMap<string, Row>; line: number }>({ rows: new Map(), line: 0 });
  const [looking, look] = useState<Row | null>(null);
  const select = (rows: ReadonlyMap<string, Row>, line: number) => setChoice({ rows, line });
  useEffect(() => {
    select(new Map(), 0);
    look(null);
  }, [place]);
  // The same place was read again: what is no longer there is no longer chosen.
  useEffect(() => {
    if (listing.complete) {
      setChoice(old => {
        const now = [...old.rows.keys()].map(key => listing.row(listing.find(row => row.key === key)));
        const rows = now.filter(row => row !== null);
        return { rows: new Map(rows.map(row => [row.key, row])), line: old.line };
      });
    }
  }, [listing]);
  const current = Math.min(choice.line, Math.max(0, listing.length - 1));
  return { chosen: choice.rows, current, select, looking, look };
}

/** How many there are, or why there are none. */
function Foot(props: { listing: Listing; fault: unknown; filter: string; write: boolean; again(): void }): JSX.Element {
  const { listing, fault } = props;
  const { api, me, reread } = useShared();
  const ofKey = me.credentials === 'pasted' && isKeyFault(fault);
  return (
    <>
      {listing.complete && listing.length === 0 && (
        <p className="lb-Kit-nothing lb-Storage-empty">
          {props.filter ? 'Nothing begins like this.' : props.write ? 'Empty. Drop files here.' : 'Empty.'}
        </p>
      )}
      {fault !== null && (
        <p className="lb-Kit-problem" role="alert">
          {ofKey ? KEY_FAULT : words(fault)}{' '}
          <button type="button" className="lb-Kit-button" onClick={props.again}>
            Try again
          </button>
        </p>
      )}
      {ofKey && <KeyForm api={api} kept={() => (reread(), props.again())} />}
      <p className="lb-Storage-status" role="status">
        {fault !== null && (listing.known ? 'As read before: ' : 'Not read')}
        {(fault === null || listing.known > 0) &&
          `${listing.complete ? '' : 'more than '}${count(listing.known, 'entry', 'entries')}`}
        {listing.busy && fault === null && ', reading…'}
      </p>
    </>
  );
}

/** One prefix: its rows, the way to it, and what can be done there. */
export function Browse(props: {
  at: At;
  root: string;
  turn: number;
  go(prefix: string): void;
  again(): void;
}): JSX.Element {
  const { api, host, queue, buckets, say } = useShared();
  const { at, again } = props;
  const [filter, setFilter] = useState('');
  const [listing, version, fault] = useListing(api, at.bucket, at.prefix + filter, props.turn);
  const { chosen, current, select, looking, look } = useChoice(listing, `${at.bucket}/${at.prefix}${filter}`);
  // With what was chosen when it was asked: the list may be read again meanwhile.
  const [asking, setAsking] = useState<{ what: Open; rows: Row[] }>(NOTHING);
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => setFilter(''), [at.bucket, at.prefix]);
  const write = writable(buckets, at.bucket, at.prefix);
  const add = (picked: Iterable<Picked> | AsyncIterable<Picked>): void =>
    void queue.add(at.bucket, at.prefix, picked).catch(error => say(words(error), 'bad'));
  const rows = [...chosen.values()];
  const nameOf = (row: Row): string => row.key.slice(at.prefix.length);
  const open = (row: Row): void => {
    if (row.folder) {
      props.go(row.key);
    } else {
      select(
        new Map([[row.key, row]]),
        listing.find(other => other === row)
      );
      look(host.previewUrl ? row : null);
    }
  };
  const ask = (what: Open): void => {
    const problem = tooMany(selectionOf(at.bucket, rows));
    if (problem) {
      say(problem, 'bad');
    } else {
      setAsking({ what, rows });
    }
  };
  const done = (): void => {
    select(new Map(), current);
    again();
  };
  const shareHere = (): void => {
    select(new Map(), current);
    setAsking({ what: 'share', rows: [] });
  };
  return (
    <div className="lb-Storage-browse" {...useDrop(write, add)}>
      <Crumbs at={at} root={props.root} go={props.go} />
      <Bar {...{ at, filter, setFilter, search, add, again }} share={shareHere} />
      {rows.length > 0 && <Actions at={at} rows={rows} ask={ask} look={look} />}
      <Table
        {...{ listing, version, current, select, open }}
        label={`Objects in ${at.bucket}/${visible(at.prefix)}`}
        selected={chosen}
        up={() => at.prefix.length > props.root.length && props.go(above(at.prefix))}
        details={row => !row.folder && setAsking({ what: 'details', rows: [row] })}
        remove={() => write && rows.length > 0 && ask('remove')}
        toEnd={() => listing.toEnd(at.prefix + filter)}
        search={text => (setFilter(text), search.current?.focus())}
        head={HEAD}
        name={nameOf}
        drag={row => host.dragData?.(at.bucket, [row.key]) ?? null}
        cells={(row, on, toggle) => (
          <Cells row={row} name={nameOf(row)} chosen={on} toggle={toggle} open={() => open(row)} />
        )}
      />
      <Foot {...{ listing, fault, filter, write, again }} />
      {looking && <Look bucket={at.bucket} row={looking} close={() => look(null)} />}
      <Asking {...asking} at={at} close={() => setAsking(NOTHING)} done={done} changed={again} />
    </div>
  );
}
