const MINUTE = 60_000;
const GIB = 1024 ** 3;

/** "2 d 3 h", "2 h 15 min", "4 min", "less than a minute", of milliseconds. */
export function duration(left: number): string {
  const minutes = Math.floor(left / MINUTE);
  if (minutes < 1) {
    return 'less than a minute';
  }
  const [days, hours, rest] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24, minutes % 60];
  const parts = days
    ? [`${days} d`, hours && `${hours} h`]
    : [hours && `${hours} h`, rest && `${rest} min`];
  return parts.filter(Boolean).join(' ');
}

/** "16 GB", "512 MB", of bytes. */
export function memory(bytes: number): string {
  const [size, unit] = bytes >= GIB ? [bytes / GIB, 'GB'] : [bytes / 1024 ** 2, 'MB'];
  return `${Number(size.toFixed(1))} ${unit}`;
}

/** The hour and minute of a moment, with the day if that is not today's. */
export function clock(moment: string, today = new Date()): string {
  const date = new Date(moment);
  const time: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  return date.toDateString() === today.toDateString()
    ? date.toLocaleTimeString([], time)
    : date.toLocaleString([], { weekday: 'short', day: 'numeric', month: 'short', ...time });
}

/** A moment of the coming days in few words: "14:32", "Wed 14:32"; later ones as `clock`. */
export function soonClock(moment: string, today = new Date()): string {
  const date = new Date(moment);
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const isFar = date.getTime() - today.getTime() > 6 * 24 * 60 * MINUTE;
  const isToday = date.toDateString() === today.toDateString();
  return isFar || isToday ? clock(moment, today) : `${date.toLocaleDateString([], { weekday: 'short' })} ${time}`;
}

/** "1 GPU", "3 GPUs" */
export function count(number: number, one: string): string {
  return `${number} ${one}${number === 1 ? '' : 's'}`;
}
