import { useEffect, useMemo, useState } from 'react';

import { words } from '../../gateway/refused';
import { Lines, Nothing, Problem } from '../../kit/lines';
import { count, when } from '../../kit/words';
import { AuditEntry } from '../types';

import { historyLines } from './history';
import { useShared } from './shared';

/** What its user did, and what others did in the user's buckets, newest first. */
export function History(): JSX.Element {
  const { api, me } = useShared();
  const [entries, setEntries] = useState<AuditEntry[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [problem, setProblem] = useState('');
  const read = (cursor: string | null): Promise<void> =>
    api.audit(cursor).then(
      page => {
        setEntries(old => [...(cursor ? (old ?? []) : []), ...page.entries]);
        setNext(page.next);
        setProblem('');
      },
      error => setProblem(words(error))
    );
  useEffect(() => void read(null), [api]);
  const lines = useMemo(() => historyLines(entries ?? [], me.user), [entries, me.user]);
  return (
    <section className="lb-Storage-page" aria-label="History">
      <h3>History</h3>
      <p className="lb-Storage-age">
        What you did here, and what others did in your buckets: shares, links, keys, deletions, copies.
      </p>
      <Problem text={problem} />
      {entries?.length === 0 && <Nothing>Nothing has been done yet.</Nothing>}
      <Lines className="lb-Storage-history">
        {lines.map(line => (
          <li key={line.id}>
            <time dateTime={line.at}>{when(line.at)}</time>
            <span>
              <bdi>{line.text}</bdi>
              {line.times > 1 && (
                <span className="lb-Storage-age">
                  {' '}
                  {count(line.times, 'time')} since {when(line.since)}
                </span>
              )}
            </span>
          </li>
        ))}
      </Lines>
      {next && (
        <button type="button" className="lb-Kit-button" onClick={() => void read(next)}>
          More
        </button>
      )}
    </section>
  );
}
