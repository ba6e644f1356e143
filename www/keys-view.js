// The table of one collection's keys: a page at a time, narrowed by prefix, rows lit up as their values change.
//
// Only the page shown is read from the replica, so that a collection of a million keys costs no more than one of a hundred.

import { byId, flash, make, setText } from './dom.js';
import { compareKeys, elements, entry } from './json-text.js';
import { ago, count, counted, moment, visible } from './words.js';

/** Keys on a page. */
const PAGE_KEYS = 100;
/** Characters of a value's text in the table. */
const PREVIEW_CHARS = 160;
/** Pause after the last keystroke before the filter acts, in ms. */
const FILTER_MS = 120;

export class KeysView {
  #reads;
  #choose;
  #teach;
  #collection = null;
  #chosen = null;
  /** For each page before the one shown and for itself: the key behind which it begins; null for the first. */
  #pages = [null];
  #hasNext = false;
  /** The replica's answer that the page shows. */
  #answer = null;
  /** Rows on the page by key, in key order. */
  #rows = new Map();
  #filterTimer = null;
  #title = byId('keys-title');
  #body = byId('keys');
  #table = byId('keys-table');
  #scroll = byId('keys-scroll');
  #empty = byId('keys-empty');
  #filter = byId('filter');
  #prefix = byId('prefix');
  #pager = byId('pager');
  #range = byId('page-range');
  #previous = byId('page-previous');
  #next = byId('page-next');

  /**
   * `choose` is called with the key that was clicked; `teach({collection, prefix, answer})` returns what a table without
   * rows says.
   */
  constructor({ reads, choose, teach, signal }) {
    this.#reads = reads;
    this.#choose = choose;
    this.#teach = teach;
    this.#prefix.value = '';
    const listen = (element, type, handler) => element.addEventListener(type, handler, { signal });
    listen(this.#prefix, 'input', () => {
      clearTimeout(this.#filterTimer);
      this.#filterTimer = setTimeout(() => this.#turn([null]), FILTER_MS);
    });
    signal.addEventListener('abort', () => clearTimeout(this.#filterTimer));
    listen(this.#previous, 'click', () => this.#turn(this.#pages.slice(0, -1)));
    listen(this.#next, 'click', () => this.#turn([...this.#pages, this.#lastKey()]));
    listen(this.#body, 'click', (event) => this.#clicked(event));
    listen(this.#body, 'keydown', (event) => this.#pressed(event));
  }

  /** Shows a collection from its first key on; `null` shows why there is none. */
  show(collection) {
    this.#collection = collection;
    this.#prefix.value = '';
    this.#filter.hidden = collection === null;
    setText(this.#title, collection ?? 'No collection');
    this.#turn([null]);
  }

  /** Narrows the table to the keys that begin with `prefix`. */
  narrow(prefix) {
    this.#prefix.value = prefix;
    this.#turn([null]);
  }

  /** Marks a row as the one whose entry is shown beside. */
  mark(key) {
    this.#showOpen(false);
    this.#chosen = key;
    this.#showOpen(true);
  }

  /** Puts the focus on a row, or on the title when that row is gone. */
  focus(key) {
    (this.#rows.get(key)?.button ?? this.#title).focus();
  }

  /** Draws anew what these keys touch; `null` for any key. */
  update(keys) {
    if (keys !== null && ![...keys].some((key) => this.#mayShow(key))) return;
    this.#draw(true);
  }

  /** Writes ages anew. */
  tick() {
    const now = Date.now();
    for (const row of this.#rows.values()) setText(row.time, ago(now - row.entry.updatedMs));
  }

  #showOpen(isOpen) {
    const row = this.#rows.get(this.#chosen);
    row?.row.classList.toggle('is-open', isOpen);
    if (isOpen) row?.button.setAttribute('aria-current', 'true');
    else row?.button.removeAttribute('aria-current');
  }

  #lastKey() {
    return [...this.#rows.keys()].at(-1) ?? null;
  }

  #mayShow(key) {
    if (!key.startsWith(this.#prefix.value)) return false;
    const after = this.#pages.at(-1);
    if (after !== null && compareKeys(key, after) <= 0) return false;
    return !this.#hasNext || compareKeys(key, this.#lastKey()) <= 0;
  }

  #turn(pages) {
    this.#pages = pages;
    this.#draw(false);
    this.#scroll.scrollTop = 0;
  }

  #read() {
    if (this.#collection === null) {
      this.#answer = null;
      return [];
    }
    const after = this.#pages.at(-1) ?? undefined;
    this.#answer = this.#reads.list(this.#collection, this.#prefix.value, after, PAGE_KEYS);
    return this.#answer.status === 200 ? elements(this.#answer.body).map(entry) : [];
  }

  #draw(lightUp) {
    let entries = this.#read();
    if (entries.length === 0 && this.#pages.length > 1) {
      this.#pages = [null];
      entries = this.#read();
    }
    this.#hasNext = this.#answer?.headers.link !== undefined;
    const before = this.#rows;
    this.#rows = new Map();
    for (const found of entries) {
      const kept = before.get(found.key);
      const isNew = kept === undefined;
      const row = kept ?? this.#make(found.key);
      const changed = isNew || row.entry.seq !== found.seq;
      this.#rows.set(found.key, row);
      if (!changed) continue;
      this.#fill(row, found);
      if (lightUp) flash(row.row);
    }
    this.#place([...this.#rows.values()].map(({ row }) => row));
    this.#showOpen(true);
    this.#drawAround(entries);
  }

  /** Puts the rows in order, moving only those out of place so that the focus stays where it is. */
  #place(rows) {
    const wanted = new Set(rows);
    for (const row of [...this.#body.children]) if (!wanted.has(row)) row.remove();
    let place = this.#body.firstElementChild;
    for (const row of rows) {
      if (row === place) place = place.nextElementSibling;
      else this.#body.insertBefore(row, place);
    }
  }

  #drawAround(entries) {
    const isEmpty = entries.length === 0;
    this.#table.hidden = isEmpty;
    this.#empty.hidden = !isEmpty;
    if (isEmpty) {
      const shown = { collection: this.#collection, prefix: this.#prefix.value, answer: this.#answer };
      this.#empty.replaceChildren(...this.#teach(shown));
    }
    const first = (this.#pages.length - 1) * PAGE_KEYS + 1;
    this.#pager.hidden = isEmpty;
    setText(this.#range, rangeOf(first, entries.length, this.#pages.length === 1 && !this.#hasNext));
    this.#previous.disabled = this.#pages.length === 1;
    this.#next.disabled = !this.#hasNext;
    this.#previous.hidden = this.#next.hidden = this.#pages.length === 1 && !this.#hasNext;
    this.tick();
  }

  #make(key) {
    const cell = (className, ...children) => make('td', { className, role: 'cell' }, ...children);
    const button = make('button', { type: 'button', className: 'key mono', textContent: visible(key) });
    const row = {
      button,
      value: make('code'),
      version: make('td', { className: 'number', role: 'cell' }),
      seq: make('td', { className: 'number', role: 'cell' }),
      time: make('time'),
    };
    button.addEventListener('click', () => this.#choose(key));
    row.row = make('tr', { role: 'row' }, cell('key-cell', button), cell('value-cell', row.value), row.version, row.seq, cell('time', row.time));
    return row;
  }

  #fill(row, found) {
    row.entry = { seq: found.seq, updatedMs: found.updatedMs };
    const clipped = found.value.length > PREVIEW_CHARS;
    const preview = visible(found.value.slice(0, PREVIEW_CHARS));
    setText(row.value, clipped ? `${preview}…` : preview);
    setText(row.version, count(found.version));
    setText(row.seq, count(found.seq));
    row.time.dateTime = new Date(found.updatedMs).toISOString();
    row.time.title = moment(found.updatedMs);
  }

  /** A click anywhere in a row is one on its key. */
  #clicked({ target }) {
    if (target.closest('button') === null) target.closest('tr')?.querySelector('button').click();
  }

  /** Arrow keys walk from key to key. */
  #pressed(event) {
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    const target = step && event.target.closest('tr')?.[step]?.querySelector('button');
    if (!target) return;
    event.preventDefault();
    target.focus();
  }
}

/** Which keys of how many are on the page: "3 keys" where that is all, "Keys 101 to 200", "Key 101". */
function rangeOf(first, length, isAll) {
  if (isAll) return counted(length, 'key');
  if (length === 1) return `Key ${count(first)}`;
  return `Keys ${count(first)} to ${count(first + length - 1)}`;
}
