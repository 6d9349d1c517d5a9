import { useCallback, useEffect, useState } from 'react';

import { Refused, words } from '../gateway/refused';

/** What was read, what went wrong, and how to read it again. */
export interface Asked<T> {
  value: T | null;
  problem: string;
  /** Whether it may work by itself a little later. */
  passing: boolean;
  /** What it was refused for. */
  fault: unknown;
  /** How many answers there were, good or bad. */
  answers: number;
  again(): void;
}

/** Read something when shown and whenever `again` is called. */
export function useAsked<T>(read: () => Promise<T>, deps: unknown[]): Asked<T> {
  const [state, set] = useState<Omit<Asked<T>, 'again'>>({
    value: null,
    problem: '',
    passing: false,
    fault: null,
    answers: 0
  });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let alive = true;
    read().then(
      value => alive && set(old => ({ value, problem: '', passing: false, fault: null, answers: old.answers + 1 })),
      error => {
        const told = error instanceof Refused ? error : null;
        if (alive) {
          set(old => ({
            value: old.value,
            problem: words(error),
            passing: told?.passing ?? false,
            fault: error,
            answers: old.answers + 1
          }));
        }
      }
    );
    return () => {
      alive = false;
    };
    // `read` is new at each drawing; what it depends on is in `deps`.
  }, [...deps, turn]);
  return { ...state, again: useCallback(() => setTurn(old => old + 1), []) };
}
