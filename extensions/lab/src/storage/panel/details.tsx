import { useState } from 'react';

import { Dialog } from '../../kit/dialog';
import { Problem } from '../../kit/lines';
import { useAsked } from '../../kit/query';
import { size, visible, when } from '../../kit/words';
import { lastPart } from '../objectnames';
import { Head } from '../types';

import { useShared, writable } from './shared';
import { TagLines, useTags } from './tags';
import { Versions } from './versions';

/** Name and value of what a store knows of an object; empty where it tells nothing. */
function factsOf(bucket: string, head: Head): [string, string][] {
  const exact = head.size >= 1000 ? ` (${head.size.toLocaleString('en')} bytes)` : '';
  const facts: [string, string][] = [
    ['Place', `s3://${bucket}/${head.key}`],
    ['Size', `${size(head.size)}${exact}`],
    ['Type', head.content_type],
    ['Encoding', head.content_encoding],
    ['Changed', head.modified ? when(head.modified) : ''],
    ['ETag', head.etag],
    ['Storage class', head.storage_class],
    ...Object.entries(head.checksums).map(([name, value]): [string, string] => [name.toUpperCase(), value])
  ];
  return facts.filter(([, value]) => value !== '');
}

function Facts(props: { facts: [string, string][] }): JSX.Element {
  return (
    <dl className="lb-Storage-facts">
      {props.facts.map(([name, value]) => (
        <div key={name}>
          <dt>
            <bdi>{visible(name)}</bdi>
          </dt>
          <dd>
            <bdi>{visible(value)}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** All that is known of one object: its facts, tags and versions. */
export function Details(props: { bucket: string; objectKey: string; close(): void; changed(): void }): JSX.Element {
  const { api, buckets } = useShared();
  const { bucket, objectKey: key } = props;
  const head = useAsked(() => api.head(bucket, key), [bucket, key]);
  const tags = useTags(bucket, key);
  const [turn, setTurn] = useState(0);
  const [kept, setKept] = useState(false);
  const write = writable(buckets, bucket, key);
  const editable = write && tags.asked.value !== null && !tags.asked.problem;
  const restored = (): void => {
    head.again();
    tags.again();
    setTurn(old => old + 1);
    props.changed();
  };
  return (
    <Dialog
      title={`Details of ${visible(lastPart(key))}`}
      action={editable ? 'Save tags' : undefined}
      leave="Close"
      wide
      ready={tags.ready}
      close={props.close}
      run={async () => {
        await tags.save();
        setKept(true);
        return false;
      }}
    >
      <Problem text={head.problem} />
      {!head.value && !head.problem && <p className="lb-Storage-age">Reading…</p>}
      {head.value && <Facts facts={factsOf(bucket, head.value)} />}
      {head.value && Object.keys(head.value.metadata).length > 0 && (
        <section aria-label="Metadata">
          <h4>Metadata</h4>
          <Facts facts={Object.entries(head.value.metadata)} />
        </section>
      )}
      <section aria-label="Tags">
        <h4>Tags</h4>
        <TagLines tags={tags} write={write} />
        <p className="lb-Storage-age" role="status">
          {kept && !tags.ready && 'The tags are kept.'}
        </p>
      </section>
      <Versions bucket={bucket} objectKey={key} write={write} turn={turn} restored={restored} />
    </Dialog>
  );
}
