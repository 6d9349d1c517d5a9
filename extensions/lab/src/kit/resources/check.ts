import { useEffect, useState } from 'react';

import { Refused, words } from '../../gateway/refused';

import { Errors } from './draft';
import { Check, Choice } from './types';

const CHECK_AFTER = 250;

/** What is said to a choice: its summary, or what is wrong, by field where it has one. */
export interface Verdict {
  summary: string;
  errors: Errors;
  other: string;
}

/** What is said to a choice, asked a moment after it was made; nothing yet for null. */
export function useCheck(check: Check, choice: Choice | null): Verdict {
  const [told, setTold] = useState<Verdict>({ summary: '', errors: {}, other: '' });
  const asked = JSON.stringify(choice);
  useEffect(() => {
    if (asked === 'null') {
      return;
    }
    let isOver = false;
    const run = async (): Promise<void> => {
      const next = await ask(check, JSON.parse(asked) as Choice);
      if (!isOver) {
        setTold(next);
      }
    };
    const timer = window.setTimeout(() => void run(), CHECK_AFTER);
    return () => {
      isOver = true;
      window.clearTimeout(timer);
    };
  }, [check, asked]);
  return told;
}

/** Ask, and sort what is said by the fields that it is about. */
export async function ask(check: Check, choice: Choice): Promise<Verdict> {
  try {
    return { summary: await check(choice), errors: {}, other: '' };
  } catch (error) {
    if (error instanceof Refused && error.field) {
      const told = plain(error);
      return { summary: '', errors: { [error.field]: told }, other: `${error.field}: ${told}` };
    }
    return { summary: '', errors: {}, other: words(error) };
  }
}

/** "Must be …", without the field's name, beside which it stands. */
function plain(error: Refused): string {
  const said = error.message.startsWith(`${error.field}: `)
    ? error.message.slice(error.field.length + 2)
    : error.message;
  return [said.charAt(0).toUpperCase() + said.slice(1), error.hint].filter(Boolean).join(' ');
}
