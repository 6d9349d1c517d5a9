import { useState } from 'react';

import { Api } from './api';
import { Dialog, Field } from './dialog';

/** Asks for a key of the store, where users bring their own. */
export function KeyForm(props: { api: Api; kept(): void }): JSX.Element {
  const [asking, setAsking] = useState(false);
  const [key, setKey] = useState({ access_key: '', secret_key: '', session_token: '' });
  const fields = [
    ['access_key', 'Access key', 'text'],
    ['secret_key', 'Secret key', 'password'],
    ['session_token', 'Session token, if there is one', 'password']
  ] as const;
  return (
    <p className="lb-Storage-none">
      <button type="button" className="lb-Storage-button" data-kind="main" onClick={() => setAsking(true)}>
        Enter your key
      </button>
      {asking && (
        <Dialog
          title="Your key of the store"
          action="Keep"
          ready={key.access_key !== '' && key.secret_key !== ''}
          close={() => setAsking(false)}
          run={async () => {
            await props.api.keepKey(key);
            props.kept();
          }}
        >
          <p>It is kept encrypted, and the gateway does for you what it allows.</p>
          {fields.map(([name, label, type]) => (
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
      )}
    </p>
  );
}
