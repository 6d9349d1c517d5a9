import { ReactNode, useEffect, useId, useRef, useState } from 'react';

import * as api from './api';
import { Model, models, outlook } from './choice';
import { choiceOfDraft, Draft, Errors, range, Unit, UNITS } from './draft';
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

/** A label, a field, and one line that is its hint or its error. */
function Row(props: {
  label: string;
  hint: string;
  error: string | undefined;
  children: (id: string, described: string) => ReactNode;
}): JSX.Element {
  const id = useId();
  return (
    <div className="lb-Choose-row" data-wrong={props.error ? 'yes' : 'no'}>
      <label htmlFor={id}>{props.label}</label>
      <div className="lb-Choose-field">{props.children(id, `${id}-hint`)}</div>
      <div className="lb-Choose-hint" id={`${id}-hint`} role={props.error ? 'alert' : undefined}>
        {props.error ?? props.hint}
      </div>
    </div>
  );
}

function idleWords(idle: number, total: number): string {
  return `${idle || 'none'} of ${total} idle`;
}

/** How many GPUs a node has of what is chosen. */
function most(draft: Draft, offered: Model[]): string {
  const fits = offered.filter(one => draft.gpu === 'any' || draft.gpu === `=${one.model}`);
  return fits.length ? `up to ${Math.max(...fits.map(one => one.perNode))} on one node` : '';
}

/** GPUs by model, with what is idle now. */
function Gpus(props: {
  draft: Draft;
  offered: Model[];
  byModel: boolean;
  error: string | undefined;
  change: (part: Partial<Draft>) => void;
}): JSX.Element {
  const { draft, offered, error, change } = props;
  const group = useId();
  const all = offered.reduce((sum, one) => ({ idle: sum.idle + one.idle, total: sum.total + one.total }), {
    idle: 0,
    total: 0
  });
  const rows = [
    { value: 'none', label: 'No GPU', told: '', busy: false },
    {
      value: 'any',
      label: offered.length ? 'Any model' : 'GPU',
      told: offered.length ? idleWords(all.idle, all.total) : '',
      busy: offered.length > 0 && !all.idle
    },
    ...(props.byModel ? offered : []).map(one => ({
      value: `=${one.model}`,
      label: one.model,
      told: idleWords(one.idle, one.total),
      busy: !one.idle
    }))
  ];
  return (
    <fieldset className="lb-Choose-gpus">
      <legend>GPUs</legend>
      {rows.map(row => (
        <label key={row.value} className="lb-Choose-gpu" data-on={draft.gpu === row.value}>
          <input
            type="radio"
            name={group}
            value={row.value}
            checked={draft.gpu === row.value}
            onChange={() => change({ gpu: row.value })}
          />
          <span>{row.label}</span>
          <span className="lb-Choose-idle" data-busy={row.busy}>
            {row.told}
          </span>
        </label>
      ))}
      <div className="lb-Choose-row" data-wrong={error ? 'yes' : 'no'}>
        <label htmlFor={`${group}-count`}>How many</label>
        <div className="lb-Choose-field">
          <input
            id={`${group}-count`}
            name="gpus"
            type="number"
            min="1"
            step="1"
            disabled={draft.gpu === 'none'}
            aria-invalid={!!error}
            aria-describedby={`${group}-hint`}
            value={draft.gpu === 'none' ? '' : draft.gpus}
            onChange={event => change({ gpus: event.target.value })}
          />
        </div>
        <div className="lb-Choose-hint" id={`${group}-hint`} role={error ? 'alert' : undefined}>
          {error ?? most(draft, offered)}
        </div>
      </div>
    </fieldset>
  );
}

/** One of the names that there are, or any name if these are not known. */
function NameField(props: {
  id: string;
  described: string;
  name: string;
  value: string;
  known: string[];
  wrong: boolean;
  change: (value: string) => void;
}): JSX.Element {
  const common = {
    id: props.id,
    name: props.name,
    value: props.value,
    'aria-describedby': props.described,
    'aria-invalid': props.wrong
  };
  if (!props.known.length) {
    return (
      <input
        {...common}
        placeholder="as the site says"
        onChange={event => props.change(event.target.value)}
      />
    );
  }
  const known = props.value && !props.known.includes(props.value) ? [props.value, ...props.known] : props.known;
  return (
    <select {...common} onChange={event => props.change(event.target.value)}>
      <option value="">as the site says</option>
      {known.map(name => (
        <option key={name}>{name}</option>
      ))}
    </select>
  );
}

/** What the server says to the choice: its summary, or errors by field. */
function useCheck(kernelId: string, choice: Choice | null): { summary: string; errors: Errors; other: string } {
  const [told, setTold] = useState({ summary: '', errors: {} as Errors, other: '' });
  const asked = JSON.stringify(choice);
  useEffect(() => {
    if (asked === 'null') {
      return;
    }
    let isOver = false;
    const timer = window.setTimeout(async () => {
      const next = await ask(kernelId, JSON.parse(asked) as Choice);
      if (!isOver) {
        setTold(next);
      }
    }, CHECK_AFTER);
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [kernelId, asked]);
  return told;
}

async function ask(
  kernelId: string,
  choice: Choice
): Promise<{ summary: string; errors: Errors; other: string }> {
  try {
    return { summary: await api.choose(kernelId, choice), errors: {}, other: '' };
  } catch (error) {
    if (error instanceof api.Refused) {
      const words = plain(error);
      return error.field
        ? { summary: '', errors: { [error.field]: words }, other: `${error.field}: ${words}` }
        : { summary: '', errors: {}, other: words };
    }
    return { summary: '', errors: {}, other: 'The notebook server cannot be reached.' };
  }
}

/** "Must be …", without the field's name, beside which it stands. */
function plain(error: api.Refused): string {
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
  const hint = (field: Field) => range(field, offer.choices[field] ?? {});
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
      {can('cpus') && (
        <Row label="CPUs" hint={hint('cpus')} error={errors.cpus}>
          {(id, described) => (
            <input
              id={id}
              name="cpus"
              type="number"
              min="1"
              step="1"
              aria-describedby={described}
              aria-invalid={!!errors.cpus}
              value={draft.cpus}
              onChange={event => change({ cpus: event.target.value })}
            />
          )}
        </Row>
      )}
      {can('memory') && (
        <Row label="Memory" hint={hint('memory')} error={errors.memory}>
          {(id, described) => (
            <>
              <input
                id={id}
                name="memory"
                type="number"
                min="0"
                step="any"
                aria-describedby={described}
                aria-invalid={!!errors.memory}
                value={draft.memory}
                onChange={event => change({ memory: event.target.value })}
              />
              <span className="lb-Choose-unit">GB</span>
            </>
          )}
        </Row>
      )}
      {can('time_limit') && (
        <Row label="Time limit" hint={hint('time_limit')} error={errors.time_limit}>
          {(id, described) => (
            <>
              <input
                id={id}
                name="time_limit"
                type="number"
                min="0"
                step="any"
                aria-describedby={described}
                aria-invalid={!!errors.time_limit}
                value={draft.time}
                onChange={event => change({ time: event.target.value })}
              />
              <select
                aria-label="Unit of the time limit"
                name="unit"
                value={draft.unit}
                onChange={event => change({ unit: event.target.value as Unit })}
              >
                {Object.keys(UNITS).map(unit => (
                  <option key={unit} value={unit}>
                    {{ min: 'minutes', h: 'hours', d: 'days' }[unit as Unit]}
                  </option>
                ))}
              </select>
            </>
          )}
        </Row>
      )}
      {(['account', 'partition', 'qos'] as const).filter(can).map(field => (
        <Row
          key={field}
          label={{ account: 'Account', partition: 'Partition', qos: 'Quality of service' }[field]}
          hint=""
          error={errors[field]}
        >
          {(id, described) => (
            <NameField
              id={id}
              described={described}
              name={field}
              value={draft[field]}
              known={namesOf(offer, field)}
              wrong={!!errors[field]}
              change={value => change({ [field]: value })}
            />
          )}
        </Row>
      ))}
      <div className="lb-Choose-sum" role="status" data-wrong={fixed ? 'yes' : 'no'}>
        <strong>{isGood ? told.summary || 'Checking…' : fixed || 'Please correct the marked field.'}</strong>
        <span>{shown}</span>
        <span className="lb-Choose-age">{age(offer.age)}</span>
      </div>
    </form>
  );
}

function namesOf(offer: Options, field: 'account' | 'partition' | 'qos'): string[] {
  const listed = offer.choices[field]?.values;
  if (listed) {
    return listed;
  }
  return { account: offer.accounts, partition: offer.partitions.map(one => one.name), qos: [] }[field];
}

function age(seconds: number | null): string {
  if (seconds === null) {
    return 'What is idle is not known at the moment.';
  }
  const ago = seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
  return seconds < 10 ? '' : `The cluster was last read ${ago} ago.`;
}
