// Numbers and times in words. Nothing here rounds a delay down: a lag is never shown smaller than it is.

const numbers = new Intl.NumberFormat('en');
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** 1204 -> "1,204". */
export function count(n) {
  return numbers.format(n);
}

/** "1 key", "1,204 keys". */
export function counted(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** A span of time, rounded up: "840 ms", "3.2 s", "4 min 10 s", "2 h 5 min", "3 d 4 h". */
export function span(ms) {
  if (ms < 1000) return `${Math.ceil(ms)} ms`;
  if (ms < 10_000) return `${(Math.ceil(ms / 100) / 10).toFixed(1)} s`;
  const s = Math.ceil(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  const min = Math.ceil(s / 60);
  if (min < 1440) return `${Math.floor(min / 60)} h ${min % 60} min`;
  const h = Math.ceil(min / 60);
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** How long ago a moment was, coarsely: "now", "12 s ago", "3 h ago". */
export function ago(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 2) return 'now';
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return `${count(Math.floor(s / 86_400))} d ago`;
}

/** A moment in the reader's own time zone and language. */
export function moment(ms) {
  return moments.format(ms);
}

// Control characters, and the marks that turn the direction of writing around.
const UNSEEN = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** A text as it can be shown: nothing in it is invisible, breaks the line or makes it read in another order. */
export function visible(text) {
  return text.replace(UNSEEN, (unseen) => `\\u${unseen.codePointAt(0).toString(16).padStart(4, '0')}`);
}

/** "612 bytes", "1.4 KiB", "3.0 MiB". */
export function bytes(n) {
  if (n < 1024) return counted(n, 'byte');
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} KiB`;
  return `${(n / 1024 / 1024).toFixed(1)} MiB`;
}
