import { useEffect, useRef, useState } from 'react';

import { words } from '../../gateway/refused';
import { Problem } from '../../kit/lines';
import { Tool } from '../../kit/tool';
import { visible } from '../../kit/words';
import { Preview, rangeReader, zarrNeighbours } from '../../preview';
import { reach } from '../api';

import { Row } from './listing';
import { useShared } from './shared';

/** The preview of an object, beside the list or below it. */
export function Look(props: { bucket: string; row: Row; close(): void }): JSX.Element {
  const { api, me, host } = useShared();
  const { bucket, row } = props;
  const place = useRef<HTMLDivElement>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    if (!place.current || !host.previewUrl) {
      return;
    }
    let alive = true;
    const preview = new Preview(place.current, me.pages ? `${me.pages}preview` : host.previewUrl);
    const sign = async (key: string) => {
      const signed = await api.downloadUrl(bucket, key, true);
      return { url: reach(me, signed), expires: signed.expires };
    };
    setProblem('');
    api.head(bucket, row.key).then(
      ({ size, content_type: type, etag }) => {
        if (alive) {
          const object = { bucket, key: row.key, size, type, etag };
          preview.show(object, rangeReader(sign, row.key, etag), zarrNeighbours(sign));
        }
      },
      error => alive && setProblem(words(error))
    );
    return () => {
      alive = false;
      preview.dispose();
    };
  }, [api, me, host, bucket, row.key]);
  return (
    <section className="lb-Storage-look" aria-label={`Preview of ${visible(row.key)}`}>
      <div className="lb-Storage-bar">
        <bdi className="lb-Storage-key">{visible(row.key)}</bdi>
        <span className="lb-Storage-push" />
        <Tool icon="close" label="Close the preview" bare onClick={props.close} />
      </div>
      <Problem text={problem} />
      <div ref={place} className="lb-Storage-frame" />
    </section>
  );
}
