import { useEffect, useRef, useState } from 'react';

import { reach, words } from './api';
import { Previewed, Previewer, ReadRange } from './host';
import { Tool } from './icons';
import { Row } from './listing';
import { useShared } from './shared';
import { SignedUrl } from './types';
import { visible } from './words';

const SOON = 60_000;

/** Reads ranges of one object straight from the store, by URLs that live minutes. */
function useRange(bucket: string, key: string): ReadRange {
  const { api, me } = useShared();
  const url = useRef<SignedUrl | null>(null);
  return async (offset, length) => {
    if (length <= 0) {
      return new ArrayBuffer(0);
    }
    if (!url.current || Date.parse(url.current.expires) - Date.now() < SOON) {
      url.current = await api.downloadUrl(bucket, key, true);
    }
    const headers = { ...url.current.headers, Range: `bytes=${offset}-${offset + length - 1}` };
    const answer = await fetch(reach(me, url.current), { headers, credentials: 'omit' });
    if (!answer.ok) {
      throw new Error(`The store answered ${answer.status}.`);
    }
    const bytes = await answer.arrayBuffer();
    // A store that does not know ranges sends everything.
    return answer.status === 206 ? bytes : bytes.slice(offset, offset + length);
  };
}

/** The preview of an object, beside the list or below it. */
export function Look(props: { bucket: string; row: Row; close(): void }): JSX.Element {
  const { api, host } = useShared();
  const { bucket, row } = props;
  const place = useRef<HTMLDivElement>(null);
  const shown = useRef<Previewer | null>(null);
  const [problem, setProblem] = useState('');
  const read = useRange(bucket, row.key);
  useEffect(() => {
    let alive = true;
    const made = place.current && host.preview ? host.preview(place.current) : null;
    shown.current = made;
    setProblem('');
    api.head(bucket, row.key).then(
      head => {
        const object: Previewed = { bucket, key: row.key, size: head.size, type: head.content_type, etag: head.etag };
        if (alive) {
          made?.show(object, read);
        }
      },
      error => alive && setProblem(words(error))
    );
    return () => {
      alive = false;
      made?.dispose();
    };
    // `read` belongs to bucket and key.
  }, [api, host, bucket, row.key]);
  return (
    <section className="lb-Storage-look" aria-label={`Preview of ${visible(row.key)}`}>
      <div className="lb-Storage-bar">
        <bdi className="lb-Storage-key">{visible(row.key)}</bdi>
        <span className="lb-Storage-push" />
        <Tool icon="close" label="Close the preview" bare onClick={props.close} />
      </div>
      {problem && (
        <p className="lb-Storage-problem" role="alert">
          {problem}
        </p>
      )}
      <div ref={place} className="lb-Storage-frame" />
    </section>
  );
}
