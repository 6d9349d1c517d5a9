import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { refusal, Refused } from './refused';
import { Send } from './send';

/** Ask the notebook server, below its base URL; rejects with `Refused` for what it refuses. */
export async function call<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
  const answer = await asked(base => URLExt.join(base, path), method, body, 'The notebook server');
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

/** Send to the storage service through the notebook server, which adds its own token; never an object's bytes. */
export const relay: Send = async (method, path, body) => {
  // Not joined: names in the query are as they are.
  const url = (base: string) => `${URLExt.join(base, 'landbridge/storage')}/${path}`;
  return (await asked(url, method, body, 'The gateway')).json();
};

/** Send to what `who` answers by way of the notebook server. */
async function asked(url: (base: string) => string, method: string, body: unknown, who: string): Promise<Response> {
  const settings = ServerConnection.makeSettings();
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const answer = await ServerConnection.makeRequest(url(settings.baseUrl), init, settings).catch(() => {
    throw new Refused('The notebook server does not answer.', 0);
  });
  if (!answer.ok) {
    throw await refusal(answer, who);
  }
  return answer;
}

/** The gateway's own path; '' where JupyterLab runs without one. */
export function gatewayPath(): string {
  const hub = PageConfig.getOption('hubPrefix');
  return hub.replace(/hub\/?$/, '');
}
