import { useState } from 'react';

import { Refused } from '../../gateway/refused';
import { Dialog } from '../../kit/dialog';
import { Field } from '../../kit/field';
import { Nothing } from '../../kit/lines';
import { useAsked } from '../../kit/query';
import { Tool } from '../../kit/tool';
import { Api } from '../api';

const FIELDS = [
  ['access_key', 'Access key', 'text'],
  ['secret_key', 'Secret key', 'password'],
  ['session_token', 'Session token, if there is one', 'password']
] as const;

export const KEY_FAULT = 'The store does not take the key that you entered, or not for this.';

/** Whether the service said that the user's own key is not there, or is no good. */
export function isKeyFault(fault: unknown): boolean {
  return fault instanceof Refused && ['key-needed', 'store-denied'].includes(fault.code);
}

export function isKeyMissing(fault: unknown): boolean {
  return fault instanceof Refused && fault.code === 'key-needed';
}

/** The user's own key of the store: which one it is; another one; none any more. */
function KeyDialog(props: { api: Api; close(): void; kept(): void }): JSX.Element {
  const { api, close, kept } = props;
  const [key, setKey] = useState({ access_key: '', secret_key: '', session_token: '' });
  const [removing, setRemoving] = useState(false);
  const now = useAsked(() => api.ownKey(), [api]);
  const entered = now.value?.access_key ?? '';
  if (removing) {
    return (
      <Dialog
        title="Remove your key?"
        action="Remove key"
        danger
        close={() => setRemoving(false)}
        run={async () => {
          await api.forgetKey();
          kept();
          close();
          return false;
        }}
      >
        <p>
          The gateway forgets <bdi className="lb-Storage-key">{entered}</bdi>, and reaches no bucket for you until you
          enter one. Whoever has the key can still use it elsewhere.
        </p>
      </Dialog>
    );
  }
  return (
    <Dialog
      title="Your key of the store"
      action={entered ? 'Change' : 'Keep'}
      ready={key.access_key !== '' && key.secret_key !== ''}
      close={close}
      run={async () => {
        await api.keepKey(key);
        kept();
      }}
    >
      {entered && (
        <div className="lb-Storage-entered">
          <span>
            You entered <bdi className="lb-Storage-key">{entered}</bdi>. Another one takes its place.
          </span>
          <Tool icon="trash" label="Remove key" kind="danger" onClick={() => setRemoving(true)} />
        </div>
      )}
      <p>It is kept encrypted, and the gateway does for you what it allows.</p>
      {FIELDS.map(([name, label, type]) => (
        <Field key={name} label={label}>
          {id => (
            <input
              id={id}
              name={name}
              type={type}
              value={key[name]}
              autoComplete="off"
              spellCheck={false}
              onChange={event => setKey({ ...key, [name]: event.target.value.trim() })}
            />
          )}
        </Field>
      ))}
    </Dialog>
  );
}

/** Asks for a key of the store, where users bring their own and there is no good one. */
export function KeyForm(props: { api: Api; kept(): void }): JSX.Element {
  const [asking, setAsking] = useState(false);
  return (
    <Nothing>
      <button type="button" className="lb-Kit-button" data-kind="main" onClick={() => setAsking(true)}>
        Enter your key
      </button>
      {asking && <KeyDialog {...props} close={() => setAsking(false)} />}
    </Nothing>
  );
}

/** Shows, changes and removes the key that works. */
export function KeyTool(props: { api: Api; kept(): void }): JSX.Element {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <Tool icon="key" label="Your key" bare onClick={() => setAsking(true)} />
      {asking && <KeyDialog {...props} close={() => setAsking(false)} />}
    </>
  );
}
