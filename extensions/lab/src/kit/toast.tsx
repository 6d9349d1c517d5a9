import { useCallback, useEffect, useState } from 'react';

const SAID_FOR = 6000;

/** Say something for a while, read out by screen readers. */
export type Say = (text: string, tone?: 'good' | 'bad') => void;

/** One line that says what has happened, for a while, and how to say it. */
export function useToast(): [JSX.Element, Say] {
  const [said, setSaid] = useState<{ text: string; tone: string } | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => setSaid(null), SAID_FOR);
    return () => clearTimeout(timer);
  }, [said]);
  const say = useCallback<Say>((text, tone = 'good') => setSaid({ text, tone }), []);
  const shown = (
    <div className="lb-Kit-toast" data-tone={said?.tone} role={said?.tone === 'bad' ? 'alert' : 'status'}>
      {said?.text}
    </div>
  );
  return [shown, say];
}
