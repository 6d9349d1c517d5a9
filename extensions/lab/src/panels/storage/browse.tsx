import { DragEvent, useEffect, useRef, useState } from 'react';

import { reach, words } from './api';
import { Place, Remove, Rename, selectionOf, tooMany } from './chosen';
import { Icon, Tool } from './icons';
import { Row } from './listing';
import { Look } from './look';
import { owned, useListing, useShared, writable } from './shared';
import { LinkDialog, ShareDialog } from './sharing';
import { Table } from './table';
import { fromDrop, Picked } from './upload/files';
import { AddButtons } from './upload/view';
import { above, count, size, visible, when } from './words';

/** Where one is: a prefix of a bucket. */
export interface At {
  bucket: string;
  prefix: string;
}

type Open = 'remove' | 'rename' | 'place' | 'share' | 'link' | null;

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
              <button type="button" aria-current={i === steps.length - 1 ? 'page' : undefined} onClick={() => props.go(here)}>
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
  const download = async (): Promise<void> => {
    for (const row of objects) {
      const link = document.createElement('a');
      link.href = reach(me, await api.downloadUrl(at.bucket, row.key));
      link.rel = 'noopener noreferrer';
      link.download = '';
      link.click();
    }
  };
  const fine = objects.length === rows.length && objects.length <= 20;
  return (
    <div className="lb-Storage-bar lb-Storage-actions" role="toolbar" aria-label="What to do with the selection">
      <b>{count(rows.length, 'selected', 'selected')}</b>
      {one && !one.folder && host.previewUrl && <Tool icon="eye" label="Preview" onClick={() => props.look(one)} />}
      {fine && (
        <Tool icon="download" label="Download" onClick={() => void download().catch(error => say(words(error), 'bad'))} />
      )}
      {one && !one.folder && host.insertCode && (
        <Tool icon="code" label="Insert code" onClick={() => host.insertCode?.(at.bucket, one.key)} />
      )}
      {host.copyToHome && (
        <Tool icon="home" label="Copy to home" onClick={() => host.copyToHome?.(at.bucket, rows.map(row => row.key))} />
      )}
      {own && one?.folder && <Tool icon="share" label="Share" onClick={() => props.ask('share')} />}
      {own && one && !one.folder && me.public_links && (
        <Tool icon="link" label="Public link" onClick={() => props.ask('link')} />
      )}
      {write && one && <Tool icon="edit" label="Rename" onClick={() => props.ask('rename')} />}
      <Tool icon="copy" label="Copy or move" onClick={() => props.ask('place')} />
      {write && <Tool icon="trash" label="Delete" kind="danger" onClick={() => props.ask('remove')} />}
    </div>
  );
}

/** One prefix: its rows, the way to it, and what can be done there. */
export function Browse(props: { at: At; root: string; turn: number; go(prefix: string): void; again(): void }): JSX.Element {
  const { api, host, queue, buckets, say } = useShared();
  const { at } = props;
  const [filter, setFilter] = useState('');
  const [listing, version] = useListing(api, at.bucket, at.prefix + filter, props.turn);
  const [selected, setSelected] = useState<ReadonlyMap<string, Row>>(new Map());
  const [current, setCurrent] = useState(0);
  const [asking, setAsking] = useState<Open>(null);
  const [looking, setLooking] = useState<Row | null>(null);
  const [over, setOver] = useState(false);
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    setSelected(new Map());
    setCurrent(0);
    setLooking(null);
  }, [listing]);
  useEffect(() => setFilter(''), [at.bucket, at.prefix]);
  const write = writable(buckets, at.bucket, at.prefix);
  const nameOf = (row: Row): string => row.key.slice(at.prefix.length);
  const open = (row: Row): void => {
    if (row.folder) {
      props.go(row.key);
    } else {
      setSelected(new Map([[row.key, row]]));
      if (host.previewUrl) {
        setLooking(row);
      }
    }
  };
  const add = (picked: Iterable<Picked> | AsyncIterable<Picked>): void => {
    void queue.add(at.bucket, at.prefix, picked).catch(error => say(words(error), 'bad'));
  };
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    event.stopPropagation();
    setOver(false);
    if (write) {
      add(fromDrop(event.dataTransfer));
    }
  };
  const drag = (event: DragEvent): void => {
    if (write && event.dataTransfer.types.includes('Files')) {
      event.preventDefault();
      event.stopPropagation();
      setOver(true);
    }
  };
  const rows = [...selected.values()];
  const selection = selectionOf(at.bucket, rows);
  const ask = (what: Open): void => {
    const problem = tooMany(selection);
    if (problem) {
      say(problem, 'bad');
    } else {
      setAsking(what);
    }
  };
  const ended = { close: () => setAsking(null), done: props.again };
  return (
    <div className="lb-Storage-browse" data-over={over} onDragOver={drag} onDragLeave={() => setOver(false)} onDrop={drop}>
      <Crumbs at={at} root={props.root} go={props.go} />
      <div className="lb-Storage-bar">
        <AddButtons add={add} disabled={!write} />
        {owned(buckets, at.bucket) && (
          <Tool icon="share" label="Share this" bare onClick={() => (setSelected(new Map()), setAsking('share'))} />
        )}
        {host.copyFromHome && write && (
          <Tool icon="home" label="Copy from home" bare onClick={() => host.copyFromHome?.(at.bucket, at.prefix)} />
        )}
        {host.openDrive && (
          <Tool icon="folder" label="Open in the file browser" bare onClick={() => host.openDrive?.(at.bucket, at.prefix)} />
        )}
        <Tool icon="reload" label="Read again" bare onClick={props.again} />
        <input
          ref={search}
          type="search"
          className="lb-Storage-search"
          placeholder="Begins with…"
          aria-label="Show names that begin with"
          value={filter}
          onChange={event => setFilter(event.target.value)}
          onKeyDown={event => event.stopPropagation()}
        />
      </div>
      {rows.length > 0 && <Actions at={at} rows={rows} ask={ask} look={setLooking} />}
      {listing.fault !== null && (
        <p className="lb-Storage-problem" role="alert">
          {words(listing.fault)}{' '}
          <button type="button" className="lb-Storage-button" onClick={props.again}>
            Try again
          </button>
        </p>
      )}
      <Table
        listing={listing}
        version={version}
        label={`Objects in ${at.bucket}/${visible(at.prefix)}`}
        selected={selected}
        current={current}
        select={(map, line) => {
          setSelected(map);
          setCurrent(line);
        }}
        open={open}
        up={() => at.prefix.length > props.root.length && props.go(above(at.prefix))}
        remove={() => write && rows.length > 0 && ask('remove')}
        toEnd={() => listing.toEnd(at.prefix + filter)}
        search={text => {
          setFilter(text);
          search.current?.focus();
        }}
        head={HEAD}
        name={nameOf}
        drag={row => host.dragData?.(at.bucket, [row.key]) ?? null}
        cells={(row, chosen, toggle) => (
          <Cells row={row} name={nameOf(row)} chosen={chosen} toggle={toggle} open={() => open(row)} />
        )}
      />
      {listing.complete && listing.length === 0 && (
        <p className="lb-Storage-none lb-Storage-empty">
          {filter ? 'Nothing begins like this.' : write ? 'Empty. Drop files here.' : 'Empty.'}
        </p>
      )}
      <p className="lb-Storage-status" role="status">
        {listing.complete ? '' : 'more than '}
        {count(listing.known, 'entry', 'entries')}
        {listing.busy && ', reading…'}
      </p>
      {looking && <Look bucket={at.bucket} row={looking} close={() => setLooking(null)} />}
      {asking === 'remove' && <Remove selection={selection} {...ended} />}
      {asking === 'rename' && rows.length === 1 && <Rename selection={selection} {...ended} />}
      {asking === 'place' && <Place selection={selection} prefix={at.prefix} {...ended} />}
      {asking === 'share' && (
        <ShareDialog bucket={at.bucket} prefix={rows[0]?.folder ? rows[0].key : at.prefix} close={ended.close} />
      )}
      {asking === 'link' && rows.length === 1 && <LinkDialog bucket={at.bucket} objectKey={rows[0].key} close={ended.close} />}
    </div>
  );
}
