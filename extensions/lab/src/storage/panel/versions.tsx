import { useEffect, useState } from 'react';

import { Refused, words } from '../../gateway/refused';
import { Lines } from '../../kit/lines';
import { Tool } from '../../kit/tool';
import { size, when } from '../../kit/words';
import { Version, VersionsPage } from '../types';

import { download } from './download';
import { versionsOf } from './facts';
import { useShared } from './shared';

/** The versions of one object, page by page, newest first. */
function useVersions(bucket: string, key: string, turn: number) {
  const { api } = useShared();
  const [versions, setVersions] = useState<Version[]>([]);
  const [next, setNext] = useState<VersionsPage | null>(null);
  const [problem, setProblem] = useState('');
  const read = (after?: VersionsPage): Promise<void> =>
    api.versions(bucket, key, after).then(
      page => {
        const found = versionsOf(page, key);
        setVersions(old => [...(after ? old : []), ...found.versions]);
        setNext(found.more ? page : null);
        setProblem('');
      },
      error => {
        // A store without versions has nothing to be told of.
        setProblem(error instanceof Refused && error.code === 'not-supported' ? '' : words(error));
      }
    );
  useEffect(() => void read(), [api, bucket, key, turn]);
  return { versions, problem, more: next && (() => void read(next)) };
}

/** One version: what it is, and what can be done with it. */
function Line(props: { version: Version; save(): void; restore?(): void }): JSX.Element {
  const { version } = props;
  const told = version.deleted
    ? `deleted ${when(version.modified)}`
    : `${when(version.modified)}, ${size(version.size)}`;
  return (
    <li data-version={version.version}>
      <span>
        {told}
        {version.latest && <b> · current</b>}
      </span>
      {!version.deleted && (
        <span className="lb-Storage-tools">
          <Tool icon="download" label={`Download the version of ${told}`} bare onClick={props.save} />
          {props.restore && (
            <button
              type="button"
              className="lb-Kit-button"
              aria-label={`Make the version of ${told} current again`}
              onClick={props.restore}
            >
              Make current again
            </button>
          )}
        </span>
      )}
    </li>
  );
}

/** Earlier versions of an object, where there are any. */
export function Versions(props: {
  bucket: string;
  objectKey: string;
  write: boolean;
  /** Counts up when they are to be read again. */
  turn: number;
  restored(): void;
}): JSX.Element | null {
  const { api, me, say } = useShared();
  const { bucket, objectKey: key } = props;
  const { versions, problem, more } = useVersions(bucket, key, props.turn);
  const [failed, setFailed] = useState('');
  const [busy, setBusy] = useState(false);
  const attempt = (work: Promise<void>): void => {
    setFailed('');
    setBusy(true);
    void work.catch(error => setFailed(words(error))).finally(() => setBusy(false));
  };
  const restore = async (version: Version): Promise<void> => {
    await api.restore(bucket, key, version.version);
    say(`The version of ${when(version.modified)} is current again.`, 'good');
    props.restored();
  };
  if (versions.length < 2 && !problem) {
    return null;
  }
  return (
    <section aria-label="Versions">
      <h4>Versions</h4>
      {[problem, failed].filter(Boolean).map(one => (
        <p key={one} className="lb-Kit-problem" role="alert">
          {one}
        </p>
      ))}
      <Lines busy={busy}>
        {versions.map(one => (
          <Line
            key={one.version}
            version={one}
            save={() => attempt(download(api, me, bucket, key, one.version))}
            restore={props.write && !one.latest && !busy ? () => attempt(restore(one)) : undefined}
          />
        ))}
      </Lines>
      {more && (
        <button type="button" className="lb-Kit-button" onClick={more}>
          More
        </button>
      )}
    </section>
  );
}
