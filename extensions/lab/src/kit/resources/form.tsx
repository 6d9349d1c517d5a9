import { useEffect, useRef, useState } from 'react';

import { useCheck } from './check';
import { models, outlook } from './choice';
import { choiceOfDraft, Draft, Errors } from './draft';
import { Gpus, NameRows, NumberRow, RowsProps, UnitField } from './rows';
import { Check, Choice, Field, Options } from './types';

export interface FormProps {
  /** Asked a moment after each change; must be the same function at each drawing. */
  check: Check;
  offer: Options;
  first: Draft;
  /** Told at every change; null where the fields come to nothing. */
  onChange: (choice: Choice | null, draft: Draft) => void;
}

/** GPUs, CPUs, memory, time, account: what a job may have, checked as it is chosen. */
export function ResourceForm(props: FormProps): JSX.Element {
  const { offer } = props;
  const [draft, setDraft] = useState(props.first);
  const own = choiceOfDraft(draft, offer);
  const isWhole = !Object.keys(own.errors).length;
  const told = useCheck(props.check, isWhole ? own.choice : null);
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
