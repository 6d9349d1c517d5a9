import { useState } from 'react';

import { Dialog } from '../../kit/dialog';
import { Field } from '../../kit/field';
import { useAsked } from '../../kit/query';
import { count, size, visible } from '../../kit/words';
import { above, lastPart } from '../objectnames';
import { Selection } from '../types';

import { Row } from './listing';
import { useShared } from './shared';

const MOST_KEYS = 1000;
const MOST_PREFIXES = 100;

/** The service's form of some rows. */
export function selectionOf(bucket: string, rows: Iterable<Row>): Selection {
  const all = [...rows];
  return {
    bucket,
    keys: all.filter(row => !row.folder).map(row => row.key),
    prefixes: all.filter(row => row.folder).map(row => row.key)
  };
}

/** Why so many cannot be taken at once; '' if they can. */
export function tooMany(selection: Selection): string {
  const fits = selection.keys.length <= MOST_KEYS && selection.prefixes.length <= MOST_PREFIXES;
  return fits
    ? ''
    : `At most ${MOST_KEYS} objects and ${MOST_PREFIXES} folders at once: choose the folder that holds them.`;
}

function told(selection: Selection): string {
  const all = [...selection.prefixes, ...selection.keys];
  if (all.length === 1) {
    return visible(lastPart(all[0])) || '(no name)';
  }
  return [
    selection.prefixes.length && count(selection.prefixes.length, 'folder'),
    selection.keys.length && count(selection.keys.length, 'object')
  ]
    .filter(Boolean)
    .join(' and ');
}

/** What a deletion would take, counted before it is begun. */
export function Remove(props: { selection: Selection; close(): void; done(): void }): JSX.Element {
  const { api, say, tasksChanged } = useShared();
  const { selection } = props;
  const [sure, setSure] = useState(false);
  const counted = useAsked(() => api.count(selection), [selection]);
  const many = (counted.value?.objects ?? 0) > MOST_KEYS || !(counted.value?.complete ?? true);
  const run = async (): Promise<void> => {
    if (selection.prefixes.length) {
      await api.begin({ kind: 'delete', source: selection });
      tasksChanged();
    } else {
      const { deleted, failures } = await api.deleteKeys(selection.bucket, selection.keys);
      const left = failures.length ? ` ${count(failures.length, 'object')} stayed: ${failures[0].message}` : '';
      say(`Deleted ${count(deleted, 'object')}.${left}`, failures.length ? 'bad' : 'good');
    }
    props.done();
  };
  const what =
    counted.value &&
    `${counted.value.complete ? '' : 'at least '}${count(counted.value.objects, 'object')}, ${size(counted.value.bytes)}`;
  return (
    <Dialog
      title={`Delete ${told(selection)}?`}
      action="Delete"
      danger
      ready={counted.value !== null && (!many || sure)}
      close={props.close}
      run={run}
    >
      {counted.problem && <p className="lb-Kit-problem">{counted.problem}</p>}
      <p aria-live="polite" className="lb-Storage-count">
        {what ? `This deletes ${what}. It cannot be undone.` : 'Counting what would be deleted…'}
      </p>
      {many && (
        <label className="lb-Storage-check">
          <input type="checkbox" checked={sure} onChange={event => setSure(event.target.checked)} /> Yes, delete all of
          them
        </label>
      )}
    </Dialog>
  );
}

/** A new name for one object or folder. */
export function Rename(props: { selection: Selection; close(): void; done(): void }): JSX.Element {
  const { api, tasksChanged } = useShared();
  const { bucket, keys, prefixes } = props.selection;
  const old = keys[0] ?? prefixes[0];
  const before = lastPart(old).replace(/\/$/, '');
  const [name, setName] = useState(before);
  const run = async (): Promise<void> => {
    await api.begin({ kind: 'move', source: props.selection, bucket, prefix: above(old), name });
    tasksChanged();
    props.done();
  };
  return (
    <Dialog
      title={`Rename ${visible(before)}`}
      action="Rename"
      ready={name !== '' && name !== before}
      close={props.close}
      run={run}
    >
      <Field label="New name" hint={prefixes.length ? 'Every object in it is copied and then deleted here.' : ''}>
        {id => (
          <input
            id={id}
            value={name}
            autoFocus
            spellCheck={false}
            onFocus={event => event.target.select()}
            onChange={event => setName(event.target.value)}
          />
        )}
      </Field>
    </Dialog>
  );
}

/** Another place for some objects or folders. */
export function Place(props: { selection: Selection; prefix: string; close(): void; done(): void }): JSX.Element {
  const { api, buckets, tasksChanged } = useShared();
  const targets = buckets.filter(one => one.mode === 'read-write');
  const [kind, setKind] = useState<'copy' | 'move'>('copy');
  const [bucket, setBucket] = useState(
    targets.some(one => one.name === props.selection.bucket) ? props.selection.bucket : (targets[0]?.name ?? '')
  );
  const [prefix, setPrefix] = useState(props.prefix);
  const [overwrite, setOverwrite] = useState(false);
  const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
  const same = bucket === props.selection.bucket && folder === props.prefix;
  const run = async (): Promise<void> => {
    await api.begin({ kind, source: props.selection, bucket, prefix: folder, overwrite });
    tasksChanged();
    props.done();
  };
  return (
    <Dialog
      title={`Copy or move ${told(props.selection)}`}
      action={kind === 'copy' ? 'Copy' : 'Move'}
      ready={bucket !== '' && !same}
      close={props.close}
      run={run}
    >
      <fieldset className="lb-Storage-choice">
        <legend>What to do</legend>
        {(['copy', 'move'] as const).map(one => (
          <label key={one}>
            <input type="radio" name="kind" checked={kind === one} onChange={() => setKind(one)} />{' '}
            {one === 'copy' ? 'Copy, and leave it here too' : 'Move'}
          </label>
        ))}
      </fieldset>
      <Field label="Bucket">
        {id => (
          <select id={id} value={bucket} onChange={event => setBucket(event.target.value)}>
            {[...new Set(targets.map(one => one.name))].map(one => (
              <option key={one}>{one}</option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Folder" hint="Empty for the top. It need not exist.">
        {id => (
          <input
            id={id}
            value={prefix}
            spellCheck={false}
            placeholder="results/2026/"
            onChange={event => setPrefix(event.target.value)}
          />
        )}
      </Field>
      <label className="lb-Storage-check">
        <input type="checkbox" checked={overwrite} onChange={event => setOverwrite(event.target.checked)} /> Replace
        what has the same name there
      </label>
    </Dialog>
  );
}
