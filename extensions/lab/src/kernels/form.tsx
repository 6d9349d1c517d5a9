import { useEffect, useRef, useState } from 'react';

import { Refused } from '../gateway/refused';

import * as api from './api';
import { models, outlook } from './choice';
import { choiceOfDraft, Draft, Errors } from './draft';
import { Gpus, NameRows, NumberRow, RowsProps, UnitField } from './rows';
import { Choice, Field, Options } from './types';

const CHECK_AFTER = 250;

export interface FormProps {
  /** The id that the kernel will have: what is checked is kept under it. */
  kernelId: string;
  offer: Options;
  first: Draft;
  /** Told at every change; null where the fields come to nothing. */
  onChange: (choice: Choice | null, draft: Draft) => void;
}

/** What the server says to the choice: its summary, or errors by field. */
function useCheck(kernelId: string, choice: Choice | null): { summary: string; errors: Errors; other: string } {
  const [told, setTold] = useState<ReturnType<typeof useCheck>>({ summary: '', errors: {}, other: '' });
  const asked = JSON.stringify(choice);
  useEffect(() => {
    if (asked === 'null') {
      return;
    }
    let isOver = false;
    const check = async (): Promise<void> => {
      const next = await ask(kernelId, JSON.parse(asked) as Choice);
      if (!isOver) {
        setTold(next);
      }
    };
    const timer = window.setTimeout(() => void check(), CHECK_AFTER);
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [kernelId, asked]);
  return told;
}

async function ask(kernelId: string, choice: Choice): Promise<{ summary: string; errors: Errors; other: string }> {
  try {
    return { summary: await api.choose(kernelId, choice), errors: {}, other: '' };
  } catch (error) {
    if (error instanceof Refused) {
      const words = plain(error);
      return error.field
        ? { summary: '', errors: { [error.field]: words }, other: `${error.field}: ${words}` }
        : { summary: '', errors: {}, other: words };
    }
    return { summary: '', errors: {}, other: 'The notebook server cannot be reached.' };
  }
}

/** "Must be …", without the field's name, beside which it stands. */
function plain(error: Refused): string {
  const said = error.message.startsWith(`${error.field}: `)
    ? error.message.slice(error.field.length + 2)
    : error.message;
  return [said.charAt(0).toUpperCase() + said.slice(1), error.hint].filter(Boolean).join(' ');
}

/** The fields of "Choose resources". */
export function ChooseForm(props: FormProps): JSX.Element {
  const { offer } = props;
  const [draft, setDraft] = useState(props.first);
  const own = choiceOfDraft(draft, offer);
  const isWhole = !Object.keys(own.errors).length;
  const told = useCheck(props.kernelId, isWhole ? own.choice : null);
  const errors: Errors = isWhole ? told.errors : own.errors;
  const isGood = isWhole && !told.other;
  const tell = useRef(props.onChange);
  tell.current = props.onChange;
  useEffect(() => tell.current(isGood ? own.choice : null, draft), [JSON.stringify(draft), isGood]);

  const change = (part: Partial<Draft>) => setDraft(last => ({ ...last, ...part }));
  const can = (field: Field) => offer.choices[field] !== undefined;
  const rows: RowsProps = { offer, draft, errors, change };
  const pools = offer.gpus.filter(one => !draft.partition || one.partition === draft.partition);
  const offered = models(pools, offer.choices.gpu_model);
  const shown = isGood ? outlook(own.choice, offered) : '';
  const fixed = Object.keys(errors).length ? '' : told.other;
  return (
    <form className="lb-Choose" onSubmit={event => event.preventDefault()}>
      {can('gpus') && (
        <Gpus
          draft={draft}
          offered={offered}
          byModel={can('gpu_model')}
          error={errors.gpus ?? errors.gpu_model}
          change={change}
        />
      )}
      <NumberRow {...rows} field="cpus" label="CPUs" step="1" />
      <NumberRow {...rows} field="memory" label="Memory" step="any">
        <span className="lb-Choose-unit">GB</span>
      </NumberRow>
      <NumberRow {...rows} field="time_limit" label="Time limit" step="any">
        <UnitField draft={draft} change={change} />
      </NumberRow>
      <NameRows {...rows} />
      <div className="lb-Choose-sum" role="status" data-wrong={fixed ? 'yes' : 'no'}>
        <strong>{isGood ? told.summary || 'Checking…' : fixed || 'Please correct the marked field.'}</strong>
        <span>{shown}</span>
        <span className="lb-Choose-age">{age(offer.age)}</span>
      </div>
    </form>
  );
}

function age(seconds: number | null): string {
  if (seconds === null) {
    return 'What is idle is not known at the moment.';
  }
  const ago = seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
  return seconds < 10 ? '' : `The cluster was last read ${ago} ago.`;
}
