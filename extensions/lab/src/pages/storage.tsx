import { createRoot } from 'react-dom/client';

import { pageSend } from '../gateway/send';
import { At } from '../storage/panel/browse';
import { Memory, StoragePanel } from '../storage/panel/panel';

// The gateway's own page: everything by the page's session, the place in its address.

/** The place in the part of the address behind `#`, so that Back and links work. */
const memory: Memory = {
  read(): At | null {
    try {
      const [bucket, ...rest] = decodeURIComponent(window.location.hash.slice(1)).split('/');
      return bucket ? { bucket, prefix: rest.join('/') } : null;
    } catch {
      return null; // not ours
    }
  },
  write({ bucket, prefix }: At): void {
    try {
      window.location.hash = encodeURIComponent(`${bucket}/${prefix}`);
    } catch {
      // not Unicode: such a place has no address
    }
  },
  watch(changed: () => void): () => void {
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }
};

function start(place: HTMLElement): void {
  const { prefix = '', xsrf = '' } = place.dataset;
  const send = pageSend(prefix, xsrf);
  createRoot(place).render(<StoragePanel send={send} host={{ previewUrl: `${prefix}preview` }} memory={memory} />);
}

const place = document.getElementById('storage');
if (place) {
  start(place);
}
