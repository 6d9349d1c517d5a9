import { duration, Rounding, size } from '../words';

import { Bounds, Choice, Field, Options } from './types';

const GB = 1000 ** 3;

/** Units of time in the dialog, in seconds. */
export const UNITS = { min: 60, h: 3600, d: 86_400 } as const;
export type Unit = keyof typeof UNITS;

/** What the dialog's fields hold: texts, as typed. */
export interface Draft {
  /** "none", "any", or "=" and a model. */
  gpu: string;
  gpus: string;
  cpus: string;
  /** In GB. */
  memory: string;
  /** The bytes that `memory` was written of: as long as it stands there, it means them. */
  bytes?: number;
  time: string;
  unit: Unit;
  partition: string;
  account: string;
  qos: string;
}

export type Errors = Partial<Record<Field, string>>;

function gigabytes(bytes: number | undefined): string {
  return bytes === undefined ? '' : String(Number((bytes / GB).toFixed(3)));
}

/** The fields' first texts. */
export function draftOf(choice: Choice): Draft {
  const seconds = choice.time_limit ?? 0;
  const unit: Unit = seconds % UNITS.d === 0 && seconds > UNITS.d ? 'd' : seconds % UNITS.h === 0 ? 'h' : 'min';
  const text = (value: number | undefined) => (value === undefined ? '' : String(value));
  return {
    gpu: !choice.gpus ? 'none' : choice.gpu_model ? `=${choice.gpu_model}` : 'any',
    gpus: text(choice.gpus || 1),
    cpus: text(choice.cpus),
    memory: gigabytes(choice.memory),
    bytes: choice.memory,
    time: text(seconds ? Number((seconds / UNITS[unit]).toFixed(2)) : undefined),
    unit,
    partition: choice.partition ?? '',
    account: choice.account ?? '',
    qos: choice.qos ?? ''
  };
}

/** "1 to 64", "256 MB to 4 TB": what a number may be. */
export function range(field: Field, bounds: Bounds): string {
  const show = (value: number, rounding: Rounding) =>
    field === 'memory' ? size(value, rounding) : field === 'time_limit' ? duration(value * 1000) : String(value);
  if (bounds.max === undefined) {
    return '';
  }
  return `${show(bounds.min ?? 0, 'up')} to ${show(bounds.max, 'down')}`;
}

/** What the fields come to, and what is wrong with those that come to nothing. */
export function choiceOfDraft(draft: Draft, offer: Options): { choice: Choice; errors: Errors } {
  const choice: Choice = {};
  const errors: Errors = {};
  const number = (field: 'gpus' | 'cpus' | 'memory' | 'time_limit', text: string, unit: number) => {
    const bounds = offer.choices[field];
    if (!bounds || text.trim() === '') {
      return;
    }
    const isWritten = field === 'memory' && text === gigabytes(draft.bytes);
    const value = isWritten ? draft.bytes! : Math.round(Number(text) * unit);
    if (!Number.isSafeInteger(value) || (unit === 1 && !/^\s*\d+\s*$/.test(text))) {
      errors[field] = unit === 1 ? 'Write a whole number.' : 'Write a number.';
    } else if (value < (bounds.min ?? 0) || value > (bounds.max ?? Infinity)) {
      errors[field] = `Must be ${range(field, bounds)}.`;
    } else {
      choice[field] = value;
    }
  };
  const name = (field: 'partition' | 'account' | 'qos') => {
    if (offer.choices[field] && draft[field].trim()) {
      choice[field] = draft[field].trim();
    }
  };
  if (draft.gpu === 'none') {
    number('gpus', '0', 1);
  } else {
    number('gpus', draft.gpus.trim() || '1', 1);
    if (draft.gpu.startsWith('=') && offer.choices.gpu_model) {
      choice.gpu_model = draft.gpu.slice(1);
    }
  }
  number('cpus', draft.cpus, 1);
  number('memory', draft.memory, GB);
  number('time_limit', draft.time, UNITS[draft.unit]);
  name('partition');
  name('account');
  name('qos');
  return { choice, errors };
}
