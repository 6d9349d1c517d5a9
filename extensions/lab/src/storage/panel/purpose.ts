/** What keys are for, as those who asked for them said it. */

import { visible } from '../../kit/words';

/** Of a notebook server itself, and of its terminals. */
const SERVER = 'notebook';
/** "kernel of runs/a.ipynb", or "kernel" and the beginning of its id. */
const KERNEL = 'kernel ';
const COPIES = 'copies';

/** Whose keys a program may still be using that asks for new ones by itself. */
export function renews(purpose: string): boolean {
  return purpose === SERVER || purpose.startsWith(KERNEL);
}

/** "a notebook server", "the kernel of runs/a.ipynb": for within a sentence. */
export function forWhom(purpose: string): string {
  if (purpose === SERVER) {
    return 'a notebook server';
  }
  if (purpose === COPIES) {
    return 'copies to and from the home directory';
  }
  const shown = visible(purpose);
  return purpose.startsWith(KERNEL) ? `the ${shown}` : shown || 'a program';
}
