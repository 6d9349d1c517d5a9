import { useEffect, useMemo, useState } from 'react';

import { words } from '../../gateway/refused';
import { Lines, Nothing, Problem } from '../../kit/lines';
import { count, when } from '../../kit/words';
import { AuditEntry } from '../types';

import { historyLines } from './history';
import { useShared } from './shared';

const A_PAGE = 100;

/** What its user did, and what others did in the user's buckets, newest first. */
export function History(): JSX.Element {
  const { api, me } = useShared();
  const [entries, setEntries] = useState<AuditEntry[] | null>(null);
  const [more, setMore] = useState(false);
  const [problem, setProblem] = useState('');
  const read = (before: number): Promise<void> =>
    api.audit(before, A_PAGE).then(
      found => {
        setEntries(old => [...(before ? (old ?? []) : []), ...found]);
        setMore(found.length === A_PAGE);
        setProblem('');
      },
      error => setProblem(words(error))
    );
  useEffect(() => void read(0), [api]);
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
      {more && entries && (
        <button type="button" className="lb-Kit-button" onClick={() => void read(entries[entries.length - 1].id)}>
          More
        </button>
      )}
    </section>
  );
}
