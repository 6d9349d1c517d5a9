import { ReactNode, useId } from 'react';

import { Model } from './choice';
import { Draft, Errors, range, Unit, UNITS } from './draft';
import { Options } from './types';

/** A label, a field, and one line that is its hint or its error. */
export function Row(props: {
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
export function Gpus(props: {
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
    return <input {...common} placeholder="as the site says" onChange={event => props.change(event.target.value)} />;
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

/** What the rows of the form have in common. */
export interface RowsProps {
  offer: Options;
  draft: Draft;
  errors: Errors;
  change: (part: Partial<Draft>) => void;
}

/** A number with its bounds; nothing where it may not be chosen. */
export function NumberRow(
  props: RowsProps & {
    field: 'cpus' | 'memory' | 'time_limit';
    label: string;
    step: string;
    children?: ReactNode;
  }
): JSX.Element | null {
  const { offer, draft, errors, field } = props;
  const bounds = offer.choices[field];
  const key = field === 'time_limit' ? 'time' : field;
  return bounds ? (
    <Row label={props.label} hint={range(field, bounds)} error={errors[field]}>
      {(id, described) => (
        <>
          <input
            id={id}
            name={field}
            type="number"
            min="0"
            step={props.step}
            aria-describedby={described}
            aria-invalid={!!errors[field]}
            value={draft[key]}
            onChange={event => props.change({ [key]: event.target.value })}
          />
          {props.children}
        </>
      )}
    </Row>
  ) : null;
}

const UNIT_WORDS: Record<Unit, string> = { min: 'minutes', h: 'hours', d: 'days' };

export function UnitField(props: Pick<RowsProps, 'draft' | 'change'>): JSX.Element {
  return (
    <select
      aria-label="Unit of the time limit"
      name="unit"
      value={props.draft.unit}
      onChange={event => props.change({ unit: event.target.value as Unit })}
    >
      {(Object.keys(UNITS) as Unit[]).map(unit => (
        <option key={unit} value={unit}>
          {UNIT_WORDS[unit]}
        </option>
      ))}
    </select>
  );
}

const NAMES = { account: 'Account', partition: 'Partition', qos: 'Quality of service' } as const;

/** Account, partition and quality of service, as far as they may be chosen. */
export function NameRows(props: RowsProps): JSX.Element {
  const { offer, draft, errors, change } = props;
  const fields = (Object.keys(NAMES) as (keyof typeof NAMES)[]).filter(one => offer.choices[one]);
  return (
    <>
      {fields.map(field => (
        <Row key={field} label={NAMES[field]} hint="" error={errors[field]}>
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
    </>
  );
}

function namesOf(offer: Options, field: 'account' | 'partition' | 'qos'): string[] {
  const listed = offer.choices[field]?.values;
  if (listed) {
    return listed;
  }
  return { account: offer.accounts, partition: offer.partitions.map(one => one.name), qos: [] }[field];
}
