import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { refusal, Refused } from './refused';
import { Send } from './send';

/** Ask the notebook server, below its base URL; rejects with `Refused` for what it refuses. */
export async function call<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, path);
  const answer = await ServerConnection.makeRequest(url, request(method, body), settings);
  if (!answer.ok) {
    throw await refusal(answer, 'The notebook server');
  }
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

/** Send to the storage service through the notebook server, which adds its own token; never an object's bytes. */
export const relay: Send = async (method, path, body) => {
  const settings = ServerConnection.makeSettings();
  // Not joined: names in the query are as they are.
  const url = `${URLExt.join(settings.baseUrl, 'landbridge/storage')}/${path}`;
  const answer = await ServerConnection.makeRequest(url, request(method, body), settings).catch(() => {
    throw new Refused('The notebook server does not answer.', 0);
  });
  if (!answer.ok) {
    throw await refusal(answer, 'The gateway');
  }
  return answer.json();
};

function request(method: string, body: unknown): RequestInit {
  return body === undefined ? { method } : { method, body: JSON.stringify(body) };
}

/** The gateway's own path; '' where JupyterLab runs without one. */
export function gatewayPath(): string {
  const hub = PageConfig.getOption('hubPrefix');
  return hub.replace(/hub\/?$/, '');
}
