/** What a server said no to, in its words. */
export class Refused extends Error {
  constructor(
    message: string,
    /** Of HTTP; 0 if there was no answer. */
    readonly status: number,
    readonly code = '',
    readonly hint = '',
    /** The field of a form that it is about. */
    readonly field = ''
  ) {
    super(message);
  }

  /** Whether the same request may work a little later. */
  get passing(): boolean {
    return (
      this.status === 0 || this.status === 429 || (this.status >= 500 && this.status !== 501 && this.status !== 507)
    );
  }
}

/**
 * Make a `Refused` of an answer that is no success.
 *
 * @param who - answered, for an answer without words.
 */
export async function refusal(answer: Response, who: string): Promise<Refused> {
  const body = (await answer.json().catch(() => null)) as { error?: Record<string, unknown>; message?: unknown } | null;
  const error = body?.error ?? { message: body?.message };
  const text = (value: unknown) => (typeof value === 'string' ? value : '');
  return new Refused(
    text(error.message) || `${who} answered ${answer.status}.`,
    answer.status,
    text(error.code),
    text(error.hint),
    text(error.field)
  );
}

/** Words for whatever went wrong, with what to try. */
export function words(error: unknown): string {
  if (error instanceof Refused) {
    return [error.message, error.hint].filter(Boolean).join(' ');
  }
  return error instanceof Error ? error.message : String(error);
}
