import { useEffect, useState } from 'react';

import { words } from '../../gateway/refused';
import { Lines, Nothing, Problem } from '../../kit/lines';
import { Tool } from '../../kit/tool';
import { ago, visible } from '../../kit/words';
import { Unfinished as Upload, UnfinishedPage } from '../types';

import { useShared } from './shared';

function Line(props: { upload: Upload; ours: boolean; abort(): void }): JSX.Element {
  const { upload } = props;
  return (
    <li data-unfinished={upload.upload_id}>
      <span>
        <bdi className="lb-Storage-key">{visible(upload.key)}</bdi>
        <span className="lb-Storage-age">
          {upload.started && ` begun ${ago(upload.started)}`}
          {props.ours && ', in your list of uploads'}
        </span>
      </span>
      <Tool icon="trash" label={`Throw away the upload of ${visible(upload.key)}`} bare onClick={props.abort} />
    </li>
  );
}

/** Uploads in parts that nobody finished: they take room and show nowhere else. */
export function Unfinished(props: { bucket: string; prefix: string }): JSX.Element {
  const { api, queue, say } = useShared();
  const { bucket, prefix } = props;
  const [uploads, setUploads] = useState<Upload[] | null>(null);
  const [next, setNext] = useState<UnfinishedPage | null>(null);
  const [problem, setProblem] = useState('');
  const read = (after?: UnfinishedPage): Promise<void> =>
    api.unfinished(bucket, prefix, after).then(
      page => {
        setUploads(old => [...(after ? (old ?? []) : []), ...page.uploads]);
        setNext(page.next ? page : null);
        setProblem('');
      },
      error => setProblem(words(error))
    );
  useEffect(() => {
    setUploads(null);
    void read();
    // `read` is made of these.
  }, [api, bucket, prefix]);
  const abort = (one: Upload): void => {
    void api.abort(bucket, one.key, one.upload_id).then(
      () => {
        setUploads(old => old?.filter(other => other.upload_id !== one.upload_id) ?? null);
        say('The unfinished upload and its parts are gone.', 'good');
      },
      error => say(words(error), 'bad')
    );
  };
  return (
    <section className="lb-Storage-page" aria-label="Unfinished uploads">
      <h3>
        Unfinished uploads in {bucket}/{visible(prefix)}
      </h3>
      <p className="lb-Storage-age">
        Parts of files whose upload was begun and not ended, by whomever. The gateway throws them away after some days.
      </p>
      <Problem text={problem} />
      {uploads?.length === 0 && <Nothing>There are none.</Nothing>}
      <Lines>
        {uploads?.map(one => (
          <Line key={one.upload_id} upload={one} ours={queue.owns(one.upload_id)} abort={() => abort(one)} />
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
