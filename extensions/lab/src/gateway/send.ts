import { refusal, Refused } from './refused';

/** Sends one request, `path` with its query, and gives the answer's JSON. */
export type Send = (method: string, path: string, body?: unknown) => Promise<unknown>;

/** Send from a page of the gateway itself, with its session's XSRF token. */
export function pageSend(prefix: string, xsrf: string): Send {
  return async (method, path, body) => {
    const headers: Record<string, string> = { Accept: 'application/json', 'X-XSRFToken': xsrf };
    if (body !== undefined) {
      headers['Content-Type'] = 'application/json';
    }
    const init = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
    const answer = await fetch(`${prefix}api/v1/${path}`, init).catch(() => {
      throw new Refused('The gateway does not answer.', 0, '', 'Check your network; this page tries again.');
    });
    if (!answer.ok) {
      const refused = await refusal(answer, 'The gateway');
      const isSignedOut = refused.code === 'session-ended' || refused.code === 'not-signed-in';
      throw isSignedOut
        ? new Refused('You are signed out.', refused.status, refused.code, 'Reload this page to sign in again.')
        : refused;
    }
    return answer.json();
  };
}
