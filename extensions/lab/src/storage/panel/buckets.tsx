import { useEffect, useState } from 'react';

import { Dialog } from '../../kit/dialog';
import { Field } from '../../kit/field';
import { Icon } from '../../kit/icons';
import { Meter } from '../../kit/meter';
import { Tool } from '../../kit/tool';
import { ago, count, size, visible, when } from '../../kit/words';
import { Bucket, Usage } from '../types';

import { KeyForm, KeyTool } from './key';
import { useShared } from './shared';

const NAME = /^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/;

const WHY: Record<Bucket['why'], (bucket: Bucket) => string> = {
  own: () => 'yours',
  group: bucket => `of group ${bucket.owner}`,
  site: () => 'of the site',
  key: () => 'by your key',
  share: bucket => `shared by ${bucket.owner}${bucket.expires ? ` until ${when(bucket.expires)}` : ''}`
};

/** How much of a quota is used. */
function Used(props: { used: number; quota: number }): JSX.Element {
  const percent = props.quota ? Math.min(100, (100 * props.used) / props.quota) : 100;
  return <Meter percent={percent} label={`${Math.round(percent)} % full`} warns />;
}

/** What all of one's own buckets hold together, where there is a limit to that. */
function Whole(): JSX.Element | null {
  const { me } = useShared();
  if (me.quota === null) {
    return null;
  }
  return (
    <p className="lb-Storage-fill lb-Storage-whole" data-whole>
      <Used used={me.used} quota={me.quota} />
      <span>
        {size(me.used)} of {size(me.quota)} in all your buckets
      </span>
    </p>
  );
}

/** What a bucket holds, and how old that knowledge is. */
export function Fill(props: { bucket: Bucket }): JSX.Element | null {
  const { api, reread } = useShared();
  const { name, prefix, why, usage: known } = props.bucket;
  // Only a group's limit is that of one bucket; a person's is of all that she owns.
  const quota = why === 'group' ? props.bucket.quota : null;
  const [measured, setMeasured] = useState<Usage | null>(null);
  useEffect(() => {
    // Never measured: have it done now. What lies beside a shared folder is not told.
    if (!known && !prefix) {
      api.usage(name).then(
        usage => {
          setMeasured(usage);
          reread(); // it counts for the whole, too
        },
        () => setMeasured(null)
      );
    }
  }, [api, name, prefix, known, reread]);
  const usage = known ?? measured;
  if (!usage) {
    return null;
  }
  const least = usage.complete ? '' : 'at least ';
  return (
    <span className="lb-Storage-fill">
      {quota !== null && <Used used={usage.bytes} quota={quota} />}
      <span>
        {least}
        {size(usage.bytes)}
        {quota !== null && ` of ${size(quota)}`} in {count(usage.objects, 'object')}
      </span>
      <span className="lb-Storage-age" title={`Measured ${when(usage.measured)}`}>
        measured {ago(usage.measured)}
      </span>
    </span>
  );
}

/** A new bucket of one's own. */
function NewBucket(props: { close(): void; made(bucket: Bucket): void }): JSX.Element {
  const { api, me } = useShared();
  const [name, setName] = useState('');
  return (
    <Dialog
      title="New bucket"
      action="Create"
      ready={NAME.test(name)}
      close={props.close}
      run={async () => props.made(await api.createBucket(name))}
    >
      <Field
        label="Name"
        hint={`Small letters, digits and hyphens, up to 30. It will be ${me.bucket || me.user}--${name || '…'}`}
      >
        {id => (
          <input
            id={id}
            value={name}
            autoFocus
            autoComplete="off"
            spellCheck={false}
            onChange={event => setName(event.target.value)}
          />
        )}
      </Field>
    </Dialog>
  );
}

function DeleteBucket(props: { bucket: Bucket; close(): void; gone(): void }): JSX.Element {
  const { api } = useShared();
  return (
    <Dialog
      title={`Delete bucket ${props.bucket.name}?`}
      action="Delete bucket"
      danger
      close={props.close}
      run={async () => {
        await api.deleteBucket(props.bucket.name);
        props.gone();
      }}
    >
      <p>It must be empty. Its shares and links end with it.</p>
    </Dialog>
  );
}

/** The buckets, and what is shared with me. */
export function Buckets(props: {
  chosen: { bucket: string; prefix: string } | null;
  choose(bucket: string, prefix: string): void;
}): JSX.Element {
  const { api, buckets, me, say, reread } = useShared();
  const own = me.credentials === 'pasted';
  const [making, setMaking] = useState(false);
  const [ending, setEnding] = useState<Bucket | null>(null);
  const isChosen = (one: Bucket) => props.chosen?.bucket === one.name && props.chosen.prefix.startsWith(one.prefix);
  return (
    <nav className="lb-Storage-buckets" aria-label="Buckets">
      <div className="lb-Storage-bar">
        <h3>Buckets</h3>
        <Tool icon="plus" label="New bucket" bare disabled={!me.may_create} onClick={() => setMaking(true)} />
        {own && <KeyTool api={api} kept={reread} />}
        <Tool icon="reload" label="Read buckets again" bare onClick={reread} />
      </div>
      <Whole />
      <ul>
        {buckets.map(one => (
          <li key={`${one.name}/${one.prefix}/${one.share}`} data-bucket={one.name}>
            <button
              type="button"
              className="lb-Storage-bucket"
              aria-current={isChosen(one) ? 'true' : undefined}
              onClick={() => props.choose(one.name, one.prefix)}
            >
              <Icon name="bucket" />
              <span className="lb-Storage-bucketWords">
                <bdi className="lb-Storage-bucketName">
                  {one.name}
                  {one.prefix && `/${visible(one.prefix)}`}
                </bdi>
                <span className="lb-Storage-age">
                  {WHY[one.why](one)}
                  {one.mode === 'read' && ', read only'}
                </span>
                <Fill bucket={one} />
              </span>
            </button>
            {one.why === 'own' && one.name !== me.bucket && (
              <Tool icon="trash" label={`Delete bucket ${one.name}`} bare onClick={() => setEnding(one)} />
            )}
          </li>
        ))}
      </ul>
      {buckets.length === 0 && <p>{own ? 'Your key shows no bucket.' : 'There is no bucket for you yet.'}</p>}
      {buckets.length === 0 && own && <KeyForm api={api} kept={reread} />}
      {making && (
        <NewBucket
          close={() => setMaking(false)}
          made={bucket => {
            say(`Bucket ${bucket.name} is there.`, 'good');
            reread();
            props.choose(bucket.name, '');
          }}
        />
      )}
      {ending && (
        <DeleteBucket
          bucket={ending}
          close={() => setEnding(null)}
          gone={() => {
            say(`Bucket ${ending.name} is gone.`, 'good');
            reread();
          }}
        />
      )}
    </nav>
  );
}
