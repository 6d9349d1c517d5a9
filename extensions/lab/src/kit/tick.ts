import { useEffect, useState } from 'react';

const TICK = 10_000;

/** Draw again now and then: what is shown counts minutes. */
export function useTick(): void {
  const [, setTick] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => setTick(tick => tick + 1), TICK);
    return () => window.clearInterval(timer);
  }, []);
}
