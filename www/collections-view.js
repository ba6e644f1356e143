// The list of collections with their numbers of keys.

import { byId, flash, make, setText } from './dom.js';
import { count, counted } from './words.js';

export class CollectionsView {
  chosen = null;
  #reads;
  #choose;
  #list = byId('collections');
  #empty = byId('collections-empty');
  /** Rows on the page by collection. */
  #rows = new Map();

  /** `choose` is called with a name, or with `null` when there is nothing left to choose. */
  constructor({ reads, choose }) {
    this.#reads = reads;
    this.#choose = choose;
    this.#list.replaceChildren();
  }

  /** Brings the list up to date and lights up the collections named in `changed`. */
  draw(changed = []) {
    const collections = this.#reads.collections();
    const held = new Set(collections.map(({ name }) => name));
    for (const [name, row] of this.#rows) {
      if (!held.has(name)) {
        row.item.remove();
        this.#rows.delete(name);
      }
    }
    let before = null;
    for (const { name, keys } of collections) {
      const row = this.#rows.get(name) ?? this.#add(name);
      setText(row.keys, count(keys));
      row.keys.title = counted(keys, 'key');
      const place = before === null ? this.#list.firstChild : before.nextSibling;
      if (place !== row.item) this.#list.insertBefore(row.item, place);
      before = row.item;
    }
    this.#empty.hidden = collections.length > 0;
    for (const name of changed) {
      const row = this.#rows.get(name);
      if (row !== undefined) flash(row.keys);
    }
    if (!held.has(this.chosen)) this.select(collections[0]?.name ?? null);
  }

  select(name) {
    if (name === this.chosen) return;
    this.chosen = name;
    for (const [other, row] of this.#rows) {
      if (other === name) row.button.setAttribute('aria-current', 'true');
      else row.button.removeAttribute('aria-current');
    }
    this.#choose(name);
  }

  #add(name) {
    const keys = make('span', { className: 'count' });
    const button = make('button', { type: 'button' }, make('span', { className: 'name', textContent: name }), keys);
    button.addEventListener('click', () => this.select(name));
    const row = { item: make('li', {}, button), button, keys };
    this.#rows.set(name, row);
    return row;
  }
}
