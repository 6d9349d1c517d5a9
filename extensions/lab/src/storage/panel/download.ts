import { Api, reach } from '../api';
import { Me } from '../types';

/** Have the browser save an object, or one version of it, straight from the store. */
export async function download(api: Api, me: Me, bucket: string, key: string, version = ''): Promise<void> {
  const link = document.createElement('a');
  link.href = reach(me, await api.downloadUrl(bucket, key, false, version));
  link.rel = 'noopener noreferrer';
  link.download = '';
  link.click();
}
