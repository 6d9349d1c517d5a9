/** How amounts, times and names are told. */

const MINUTE = 60_000;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** "2 d 3 h", "2 h 15 min", "4 min", "less than a minute", of milliseconds. */
export function duration(left: number): string {
  const minutes = Math.floor(left / MINUTE);
  if (minutes < 1) {
    return 'less than a minute';
  }
  const [days, hours, rest] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24, minutes % 60];
  const parts = days ? [`${days} d`, hours && `${hours} h`] : [hours && `${hours} h`, rest && `${rest} min`];
  return parts.filter(Boolean).join(' ');
}

/** "2 h 15 min", "12 s": how long something may still take, of seconds. */
export function remaining(seconds: number): string {
  return seconds < 60 ? `${Math.max(1, Math.round(seconds))} s` : duration(Math.round(seconds / 60) * MINUTE);
}

/** How what has too many digits is told: `down` for the most, `up` for the least that may be. */
export type Rounding = 'near' | 'down' | 'up';

function rounded(value: number, rounding: Rounding): number {
  return rounding === 'near' ? Math.floor(value + 0.5) : rounding === 'down' ? Math.floor(value) : Math.ceil(value);
}

/**
 * "16 GB", "1.5 kB", of bytes: of memory, files and quotas alike.
 *
 * Units are powers of 1,000, as the gateway's Python tells them (`size_in_words`).
 */
export function size(bytes: number, rounding: Rounding = 'near'): string {
  let [power, factor] = [0, 1];
  while (rounded(bytes / factor, rounding) >= 1000 && power < UNITS.length - 1) {
    [power, factor] = [power + 1, factor * 1000];
  }
  const tenths = rounded((bytes * 10) / factor, rounding);
  const value = power === 0 || tenths >= 1000 ? rounded(bytes / factor, rounding) : tenths / 10;
  return `${value} ${UNITS[power]}`;
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

/** "3 min ago" */
export function ago(iso: string, now = Date.now()): string {
  const minutes = Math.floor((now - Date.parse(iso)) / 60_000);
  if (minutes < 1) {
    return 'just now';
  }
  if (minutes < 60) {
    return `${minutes} min ago`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} days ago`;
}

/** Local day and time of an ISO stamp; without seconds. */
export function when(iso: string): string {
  const at = new Date(iso);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** "1 GPU", "3,000 objects" */
export function count(number: number | bigint, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${BigInt(number) === 1n ? one : many}`;
}

const CONTROL_PICTURES = 0x2400;
// What shows as nothing, or turns the direction of the text after it.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu;

/** A name as it can be seen: nothing in it hides, breaks the line or turns the text. */
export function visible(name: string): string {
  return name.replace(INVISIBLE, char => {
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x20) {
      return String.fromCodePoint(CONTROL_PICTURES + code);
    }
    return code === 0x7f ? '␡' : `⟨${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
}
