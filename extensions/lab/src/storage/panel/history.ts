import { count, visible, when } from '../../kit/words';
import { AuditEntry } from '../types';

import { forWhom } from './purpose';

type Facts = Record<string, unknown>;

/** One line of the history: what happened, and how often in a row. */
export interface HistoryLine {
  id: number;
  /** When it happened last. */
  at: string;
  /** When it happened first, where it did more than once. */
  since: string;
  times: number;
  text: string;
}

function factsOf(detail: string): Facts {
  try {
    const facts: unknown = JSON.parse(detail);
    return typeof facts === 'object' && facts !== null ? (facts as Facts) : {};
  } catch {
    return {};
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? visible(value) : '';
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** "a.txt, runs/ and 3 more", of the names that were kept and how many there were. */
function some(facts: Facts, all: number): string {
  // Older entries hold one name, or none.
  const kept = Array.isArray(facts.first) ? facts.first : [facts.first];
  const names = kept.map(text).filter(Boolean);
  const rest = all - names.length;
  if (names.length === 0) {
    return all ? count(all, 'object') : 'objects';
  }
  return names.join(', ') + (rest > 0 ? ` and ${rest.toLocaleString('en')} more` : '');
}

function until(facts: Facts): string {
  return typeof facts.until === 'string' ? `, until ${when(facts.until)}` : '';
}

function whom(facts: Facts): string {
  const [kind, ...name] = text(facts.to).split(' ');
  return `${kind === 'group' ? 'group ' : ''}${name.join(' ')}`;
}

function moved(verb: string): (bucket: string, facts: Facts) => string {
  return (bucket, facts) => {
    const what = some(facts, number(facts.keys) + number(facts.prefixes));
    return `began to ${verb} ${what} from ${bucket} to ${text(facts.to)}/${text(facts.prefix)}`;
  };
}

/** Where keys reach: their first bucket, and how many more places. */
function reach(bucket: string, facts: Facts): string {
  const more = number(facts.grants) - 1;
  return `${bucket}${more > 0 ? ` and ${count(more, 'more place')}` : ''}`;
}

function forWhat(facts: Facts): string {
  return typeof facts.purpose === 'string' && facts.purpose ? ` for ${forWhom(facts.purpose)}` : '';
}

const WORDS: Record<string, (bucket: string, facts: Facts) => string> = {
  'create-bucket': bucket => `made the bucket ${bucket}`,
  'delete-bucket': bucket => `deleted the bucket ${bucket}`,
  share: (bucket, facts) => {
    const may = facts.mode === 'read' ? 'to read' : 'to read and write';
    return `shared ${bucket}/${text(facts.prefix)} with ${whom(facts)}, ${may}${until(facts)}`;
  },
  'end-share': (bucket, facts) =>
    facts.to ? `ended the share of ${bucket}/${text(facts.prefix)} with ${whom(facts)}` : `ended a share of ${bucket}`,
  'make-link': (bucket, facts) => `made a public link to ${bucket}/${text(facts.key)}${until(facts)}`,
  'end-link': (bucket, facts) => `ended a public link to ${bucket}/${text(facts.key)}`,
  'issue-keys': (bucket, facts) => `got keys to ${reach(bucket, facts)}${forWhat(facts)}`,
  'revoke-keys': (bucket, facts) => `ended keys to ${bucket}${forWhat(facts)}`,
  'keep-key': (_, facts) => `entered the key ${text(facts.access_key)} of the store`,
  'forget-key': () => 'removed the key of the store',
  restore: (bucket, facts) => `made an earlier version of ${bucket}/${text(facts.key)} current again`,
  'delete-objects': (bucket, facts) => `deleted ${some(facts, number(facts.objects))} in ${bucket}`,
  delete: (bucket, facts) => `began to delete ${some(facts, number(facts.keys) + number(facts.prefixes))} in ${bucket}`,
  copy: moved('copy'),
  move: moved('move'),
  'abort-upload': bucket => `threw away an unfinished upload in ${bucket}`
};

/** "You shared alice/runs/ with bob, to read, until 2026-12-28 09:30." */
export function sentence(entry: AuditEntry, user: string): string {
  const gateway = entry.actor === 'landbridge' && entry.action === 'abort-upload';
  const who = entry.actor === user ? 'You' : gateway ? 'The gateway' : visible(entry.actor);
  const words = WORDS[entry.action];
  const what = words ? words(entry.bucket, factsOf(entry.detail)) : `${visible(entry.action)} ${entry.bucket}`.trim();
  return `${who} ${what}.`;
}

/** Entries, newest first, as lines; the same thing in a row is one line. */
export function historyLines(entries: AuditEntry[], user: string): HistoryLine[] {
  const lines: HistoryLine[] = [];
  for (const entry of entries) {
    const words = sentence(entry, user);
    const last = lines[lines.length - 1];
    if (last?.text === words) {
      last.times += 1;
      last.since = entry.at;
    } else {
      lines.push({ id: entry.id, at: entry.at, since: entry.at, times: 1, text: words });
    }
  }
  return lines;
}
