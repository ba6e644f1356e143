// One entry in full: its value laid out, its version, seq and time, kept current while it is looked at.

import { byId, flash, make, setText } from './dom.js';
import { entry, tokens } from './json-text.js';
import { ago, bytes, count, moment, visible } from './words.js';

/** Values longer than this are shown without colours, in characters. */
const COLOURED_CHARS_MAX = 128 * 1024;
/** Least time between two announcements to screen readers, in ms. */
const ANNOUNCE_MS_MIN = 3000;

export class EntryView {
  #reads;
  #close;
  #collection = null;
  #key = null;
  /** The entry shown, or the last one before it was deleted. */
  #entry = null;
  #announced = -Infinity;
  #pane = byId('entry');
  #title = byId('entry-key');
  #gone = byId('entry-gone');
  #facts = byId('entry-facts');
  #value = byId('entry-value');
  #asStored = byId('entry-as-stored');
  #copy = byId('entry-copy');
  #announcement = byId('entry-announcement');
  #updated = null;

  constructor({ reads, close, signal }) {
    this.#reads = reads;
    this.#close = close;
    const listen = (element, type, handler) => element.addEventListener(type, handler, { signal });
    listen(byId('entry-close'), 'click', () => this.#close());
    listen(this.#pane, 'keydown', (event) => { if (event.key === 'Escape') this.#close(); });
    listen(this.#asStored, 'change', () => this.#drawValue());
    listen(this.#copy, 'click', () => this.#copyValue());
    // Browsers offer the clipboard to secure pages only.
    this.#copy.hidden = navigator.clipboard === undefined;
  }

  get key() {
    return this.#key;
  }

  /** Shows an entry, or nothing for `null`. */
  show(collection, key) {
    this.#collection = collection;
    this.#key = key;
    this.#entry = null;
    this.#pane.hidden = key === null;
    setText(this.#announcement, '');
    if (key === null) return;
    setText(this.#title, visible(key));
    this.#read();
    this.#draw();
    this.#title.focus({ preventScroll: true });
  }

  /** Reads anew if the entry is among these keys; `null` for any key. */
  update(keys) {
    if (this.#key === null || !(keys === null || keys.has(this.#key))) return;
    const before = this.#entry?.seq;
    const wasGone = !this.#gone.hidden;
    const isHeld = this.#read();
    if (this.#entry?.seq === before && wasGone === !isHeld) return;
    this.#draw();
    flash(this.#value);
    flash(this.#facts);
    const now = performance.now();
    if (now - this.#announced < ANNOUNCE_MS_MIN) return;
    this.#announced = now;
    const what = isHeld ? `changed, now version ${this.#entry.version}` : 'was deleted';
    setText(this.#announcement, `${visible(this.#key)} ${what}`);
  }

  /** Writes the age anew. */
  tick() {
    if (this.#updated !== null && this.#entry !== null) setText(this.#updated, ago(Date.now() - this.#entry.updatedMs));
  }

  /** Takes the entry from the replica; keeps the last one known and says so when it is gone. */
  #read() {
    const answer = this.#reads.get(this.#collection, this.#key);
    const isHeld = answer.status === 200;
    if (isHeld) this.#entry = entry(answer.body);
    this.#gone.hidden = isHeld;
    return isHeld;
  }

  #draw() {
    setText(this.#gone, this.#entry === null ? 'This key does not exist.' : 'This key was deleted. Below is its last value.');
    this.#pane.classList.toggle('is-gone', !this.#gone.hidden);
    this.#facts.replaceChildren();
    this.#updated = null;
    if (this.#entry === null) {
      this.#value.replaceChildren();
      return;
    }
    const { version, seq, updatedMs, value } = this.#entry;
    this.#updated = make('span');
    const time = make('time', { dateTime: new Date(updatedMs).toISOString() }, this.#updated, ` · ${moment(updatedMs)}`);
    const size = bytes(new TextEncoder().encode(value).length);
    const facts = { Collection: this.#collection, Version: count(version), Seq: count(seq), Updated: time, Size: size };
    for (const [name, fact] of Object.entries(facts)) {
      this.#facts.append(make('div', {}, make('dt', { textContent: name }), make('dd', {}, fact)));
    }
    this.tick();
    this.#drawValue();
  }

  #drawValue() {
    if (this.#entry === null) return;
    const { value } = this.#entry;
    this.#value.classList.toggle('wraps', this.#asStored.checked);
    if (this.#asStored.checked) {
      this.#value.textContent = value;
      return;
    }
    if (value.length > COLOURED_CHARS_MAX) {
      this.#value.textContent = Array.from(tokens(value), ({ before, text }) => before + text).join('');
      return;
    }
    this.#value.replaceChildren(...Array.from(tokens(value)).flatMap(({ kind, before, text }) => [
      before,
      kind === 'mark' ? text : make('span', { className: `json-${kind}`, textContent: visible(text) }),
    ]));
  }

  async #copyValue() {
    if (this.#entry === null) return;
    try {
      await navigator.clipboard.writeText(this.#entry.value);
      setText(this.#announcement, 'Copied');
      setText(this.#copy, 'Copied');
    } catch {
      setText(this.#copy, 'Not allowed here');
    }
    setTimeout(() => setText(this.#copy, 'Copy'), 1500);
  }
}
