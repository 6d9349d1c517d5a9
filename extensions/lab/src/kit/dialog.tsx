import { FormEvent, ReactNode, useEffect, useId, useRef, useState } from 'react';

import { words } from '../gateway/refused';

import { Problem } from './lines';

/** A question in a window of its own; Escape and Cancel close it. */
export function Dialog(props: {
  title: string;
  children: ReactNode;
  /** The button that does it; without, there is only Close. */
  action?: string;
  danger?: boolean;
  /** With room for long lines. */
  wide?: boolean;
  /** What leaving it is called; else Cancel, or Close where nothing can be done. */
  leave?: string;
  ready?: boolean;
  /** Does it; what it rejects with is shown, and the window stays. */
  run?(): Promise<boolean | void>;
  close(): void;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const node = ref.current;
    const before = document.activeElement;
    node?.showModal();
    return () => {
      node?.close();
      if (before instanceof HTMLElement) {
        before.focus();
      }
    };
  }, []);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setProblem('');
    try {
      if ((await props.run?.()) !== false) {
        props.close();
        return;
      }
    } catch (error) {
      setProblem(words(error));
    }
    setBusy(false);
  };
  return (
    <dialog
      ref={ref}
      className="lb-Kit-dialog"
      data-wide={props.wide}
      data-lm-suppress-shortcuts="true"
      aria-labelledby={id}
      onCancel={event => {
        event.preventDefault();
        props.close();
      }}
      onKeyDown={event => event.stopPropagation()}
    >
      <form method="dialog" onSubmit={event => void submit(event)}>
        <h3 id={id}>{props.title}</h3>
        {props.children}
        <Problem text={problem} />
        <div className="lb-Kit-buttons">
          <button type="button" className="lb-Kit-button" onClick={props.close}>
            {props.leave ?? (props.action ? 'Cancel' : 'Close')}
          </button>
          {props.action && (
            <button
              type="submit"
              className="lb-Kit-button"
              data-kind={props.danger ? 'danger' : 'main'}
              disabled={busy || props.ready === false}
            >
              {busy ? 'Working…' : props.action}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}
