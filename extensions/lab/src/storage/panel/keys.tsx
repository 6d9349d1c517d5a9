import { useState } from 'react';

import { words } from '../../gateway/refused';
import { Dialog } from '../../kit/dialog';
import { Lines, Nothing, Problem } from '../../kit/lines';
import { useAsked } from '../../kit/query';
import { count, visible, when } from '../../kit/words';
import { Credential, Grant } from '../types';

import { forWhom, renews } from './purpose';
import { useShared } from './shared';

const NAMED = 3;

/** "The kernel of runs/a.ipynb"; what a program says of itself stays as it is. */
function purposeOf(key: Credential): string {
  const words = forWhom(key.purpose);
  return words === visible(key.purpose) ? words : words[0].toUpperCase() + words.slice(1);
}

function placeOf(grant: Grant): string {
  const place = grant.prefix ? `${grant.bucket}/${visible(grant.prefix)}` : grant.bucket;
  return `${place} (${grant.mode === 'read' ? 'read' : 'read and write'})`;
}

/** "alice (read and write), bob/runs/ (read) and 4 more places" */
function placesOf(key: Credential): string {
  const rest = key.grants.length - NAMED;
  const named = key.grants.slice(0, NAMED).map(placeOf).join(', ');
  return rest > 0 ? `${named} and ${count(rest, 'more place')}` : named;
}

function KeyLine(props: { found: Credential; end?(): void }): JSX.Element {
  const { found } = props;
  return (
    <li data-key={found.id}>
      <span>
        <b>{purposeOf(found)}</b> <bdi className="lb-Storage-key">{placesOf(found)}</bdi>
        <span className="lb-Storage-age">
          {' '}
          made {when(found.created)}
          {found.expires && `, ${props.end ? 'ends' : 'asks again'} ${when(found.expires)}`}
        </span>
      </span>
      {props.end && (
        <button
          type="button"
          className="lb-Kit-button"
          aria-label={`End now: keys of ${when(found.created)} to ${placesOf(found)}`}
          onClick={props.end}
        >
          End now
        </button>
      )}
    </li>
  );
}

/** The user's keys that are still good, each with its end. */
export function KeysInUse(): JSX.Element | null {
  const { api, me, say } = useShared();
  const keys = useAsked(() => api.credentials(), []);
  const [ending, setEnding] = useState<Credential | null>(null);
  if (me.credentials === 'none') {
    return null;
  }
  const end = async (key: Credential): Promise<void> => {
    await api.endCredential(key.id);
    say('These keys have ended.', 'good');
    keys.again();
  };
  const ask = (key: Credential): void => {
    if (renews(key.purpose)) {
      setEnding(key);
    } else {
      void end(key).catch(error => (say(words(error), 'bad'), keys.again()));
    }
  };
  const own = me.credentials === 'pasted';
  return (
    <>
      <h3>Keys in use</h3>
      <Problem text={keys.problem} />
      {own && (
        <p className="lb-Storage-age">
          These programs were lent your own key. Only the store’s portal can end it; once you remove it here, no program
          is given it any more.
        </p>
      )}
      {keys.value?.length === 0 && <Nothing>No program has keys for your buckets now.</Nothing>}
      <Lines>
        {keys.value?.map(one => (
          <KeyLine key={one.id} found={one} end={own ? undefined : () => ask(one)} />
        ))}
      </Lines>
      {ending && (
        <Dialog
          title={`End the keys of ${forWhom(ending.purpose)}?`}
          action="End now"
          danger
          close={() => setEnding(null)}
          run={() => end(ending)}
        >
          <p>
            If it still runs, its programs are refused at once, also in the middle of reading or writing. They get new
            keys by <code>storage.renew()</code>, or within the hour by themselves.
          </p>
        </Dialog>
      )}
    </>
  );
}
