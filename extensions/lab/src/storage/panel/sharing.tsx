import { useState } from 'react';

import { Dialog } from '../../kit/dialog';
import { Ends, Field, inDays } from '../../kit/field';
import { Lines, Nothing, Problem } from '../../kit/lines';
import { Asked, useAsked } from '../../kit/query';
import { Tool } from '../../kit/tool';
import { ago, count, visible, when } from '../../kit/words';
import { Link, Share } from '../types';

import { KeysInUse } from './keys';
import { useShared } from './shared';

/** The lines of shares, each with its end. */
function ShareLines(props: { shares: Share[]; changed(): void; place: boolean }): JSX.Element {
  const { api, say } = useShared();
  const end = async (share: Share): Promise<void> => {
    await api.endShare(share.id).then(
      () => say(`${share.name} has no access any more.`, 'good'),
      error => say(String(error.message ?? error), 'bad')
    );
    props.changed();
  };
  return (
    <Lines>
      {props.shares.map(one => (
        <li key={one.id} data-share={one.id}>
          <span>
            <b>
              <bdi>{visible(one.name)}</bdi>
            </b>
            {one.kind === 'group' && ' (group)'} {one.mode === 'read' ? 'may read' : 'may read and write'}
            {props.place && (
              <>
                {' '}
                <bdi className="lb-Storage-key">
                  {one.bucket}/{visible(one.prefix)}
                </bdi>
              </>
            )}
            <span className="lb-Storage-age"> until {when(one.expires)}</span>
          </span>
          <Tool icon="close" label={`Revoke the share with ${one.name}`} bare onClick={() => void end(one)} />
        </li>
      ))}
    </Lines>
  );
}

/** Give somebody a bucket or folder, and see who has it. */
export function ShareDialog(props: { bucket: string; prefix: string; close(): void }): JSX.Element {
  const { api, say } = useShared();
  const { bucket, prefix } = props;
  const [kind, setKind] = useState<'user' | 'group'>('user');
  const [name, setName] = useState('');
  const [mode, setMode] = useState<'read' | 'read-write'>('read');
  const [days, setDays] = useState(30);
  const shares = useAsked(() => api.shares(), [bucket, prefix]);
  const here = shares.value?.filter(one => one.bucket === bucket && one.prefix === prefix) ?? [];
  const run = async (): Promise<boolean> => {
    await api.share({ bucket, prefix, mode, kind, name, expires: inDays(days) });
    say(`${name} ${mode === 'read' ? 'can read' : 'can read and write'} it now.`, 'good');
    setName('');
    shares.again();
    return false;
  };
  return (
    <Dialog
      title={`Share ${bucket}/${visible(prefix)}`}
      action="Share"
      leave="Close"
      ready={name !== ''}
      close={props.close}
      run={run}
    >
      {here.length > 0 && <ShareLines shares={here} changed={shares.again} place={false} />}
      <fieldset className="lb-Storage-choice">
        <legend>With</legend>
        {(['user', 'group'] as const).map(one => (
          <label key={one}>
            <input type="radio" name="kind" checked={kind === one} onChange={() => setKind(one)} />{' '}
            {one === 'user' ? 'a person' : 'a group'}
          </label>
        ))}
      </fieldset>
      <Field label={kind === 'user' ? 'User name' : 'Group'}>
        {id => (
          <input
            id={id}
            name="name"
            value={name}
            autoFocus
            autoComplete="off"
            spellCheck={false}
            onChange={event => setName(event.target.value)}
          />
        )}
      </Field>
      <div className="lb-Storage-pair">
        <Field label="May">
          {id => (
            <select id={id} name="mode" value={mode} onChange={event => setMode(event.target.value as typeof mode)}>
              <option value="read">read</option>
              <option value="read-write">read and write</option>
            </select>
          )}
        </Field>
        <Ends days={days} change={setDays} />
      </div>
    </Dialog>
  );
}

/** A link for everybody to one object. It is told only here. */
export function LinkDialog(props: { bucket: string; objectKey: string; close(): void }): JSX.Element {
  const { api, me } = useShared();
  const [days, setDays] = useState(7);
  const [url, setUrl] = useState('');
  const [copied, setCopied] = useState(false);
  const run = async (): Promise<boolean> => {
    const made = await api.link(props.bucket, props.objectKey, inDays(days));
    // A service that does not know its own name is asked by a relay, under any.
    const path = made.url ? new URL(made.url, window.location.origin).pathname : '';
    setUrl(me.pages ? (made.url ?? '') : path && window.location.origin + path);
    return false;
  };
  if (!url) {
    return (
      <Dialog title="Public link" action="Make link" close={props.close} run={run}>
        <p>
          Everybody who has the link can download <bdi className="lb-Storage-key">{visible(props.objectKey)}</bdi>,
          without signing in, until it ends or you end it.
        </p>
        <Ends days={days} change={setDays} />
      </Dialog>
    );
  }
  const copy = (): void => {
    void navigator.clipboard?.writeText(url).then(() => setCopied(true));
  };
  return (
    <Dialog title="Public link" close={props.close}>
      <Field label="Link" hint="It is shown only now: it cannot be looked up later.">
        {id => <input id={id} name="link" readOnly value={url} autoFocus onFocus={event => event.target.select()} />}
      </Field>
      {navigator.clipboard && (
        <button type="button" className="lb-Kit-button" onClick={copy}>
          {copied ? 'Copied' : 'Copy link'}
        </button>
      )}
    </Dialog>
  );
}

function LinkLines(props: { links: Asked<Link[]> }): JSX.Element {
  const { api, say } = useShared();
  const end = async (link: Link): Promise<void> => {
    await api.endLink(link.id).then(
      () => say('The link has ended.', 'good'),
      error => say(String(error.message ?? error), 'bad')
    );
    props.links.again();
  };
  return (
    <Lines>
      {props.links.value?.map(one => (
        <li key={one.id}>
          <span>
            <bdi className="lb-Storage-key">
              {one.bucket}/{visible(one.key)}
            </bdi>
            <span className="lb-Storage-age">
              {' '}
              until {when(one.expires)}, used {count(one.uses, 'time')}
              {one.last_used && `, last ${ago(one.last_used)}`}
            </span>
          </span>
          <Tool icon="close" label="End this link" bare onClick={() => void end(one)} />
        </li>
      ))}
    </Lines>
  );
}

/** All by which others and programs reach my data: shares, links, keys. */
export function Shares(): JSX.Element {
  const { api } = useShared();
  const shares = useAsked(() => api.shares(), []);
  const links = useAsked(() => api.links(), []);
  const problem = shares.problem || links.problem;
  return (
    <section className="lb-Storage-page" aria-label="Shares and keys">
      <Problem text={problem} />
      <h3>Shared with people and groups</h3>
      {shares.value?.length === 0 && <Nothing>You share nothing. Open a folder and press Share.</Nothing>}
      {shares.value && <ShareLines shares={shares.value} changed={shares.again} place />}
      <h3>Public links</h3>
      {links.value?.length === 0 && <Nothing>No public link of yours works.</Nothing>}
      <LinkLines links={links} />
      <KeysInUse />
    </section>
  );
}
