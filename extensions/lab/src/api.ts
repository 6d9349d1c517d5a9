import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { Job } from './types';

/** Ask a route of our server extension for JSON. */
async function get<T>(route: string): Promise<T> {
  const settings = ServerConnection.makeSettings();
  const url = URLExt.join(settings.baseUrl, 'landbridge', route);
  const answer = await ServerConnection.makeRequest(url, {}, settings);
  if (!answer.ok) {
    throw new ServerConnection.ResponseError(answer);
  }
  return (await answer.json()) as T;
}

/** The job that this notebook server runs in. */
export function job(): Promise<Job> {
  return get<Job>('job');
}
