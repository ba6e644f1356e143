// One signed-in stay: a replica, its stream, and the views that show it.

import { Changes } from './changes.js';
import { Clock } from './clock.js';
import { CollectionsView } from './collections-view.js';
import { byId } from './dom.js';
import { EntryView } from './entry-view.js';
import { Follower } from './follower.js';
import { KeysView } from './keys-view.js';
import { emptyTable } from './lessons.js';
import { makeReads } from './reads.js';
import { StatusView } from './status-view.js';

/** How often lag and ages are written anew, in ms. */
const TICK_MS = 250;
/** Least time between two redraws for changes, in ms; what comes between is gathered. */
const REDRAW_MS = 100;

export class Session {
  #clock = new Clock();
  #listeners = new AbortController();
  #changes = new Changes();
  #replica;
  #follower;
  /** What the views ask; the page offers it as `window.headwater`. */
  reads;
  #status;
  #collections;
  #keys;
  #entry;
  #panes = byId('panes');
  #redrawTimer = null;
  #tickTimer = null;

  /** Takes over `replica` and frees it at the end; `signOut(words)` is called when the node refuses the credentials. */
  constructor({ replica, credentials, signOut }) {
    const { signal } = this.#listeners;
    this.#replica = replica;
    this.#follower = new Follower({ replica, clock: this.#clock, credentials });
    this.reads = makeReads(replica, this.#follower, this.#clock);
    const { reads } = this;
    // First of all listeners: once the replica is broken, no view may ask it anything.
    this.#follower.addEventListener('state', () => {
      const { phase, code, why } = this.#follower.state;
      if (phase === 'broken') signOut(`The replica in this page failed (${why}). Please reload the page.`);
      // Refused before anything was ever held: there is nothing to show but the form.
      if (phase === 'refused' && !reads.status().ready) {
        signOut(code === 'forbidden' ? `${why[0].toUpperCase()}${why.slice(1)}.` : `The node refused: ${why}`);
      }
    });
    this.#status = new StatusView({ reads, follower: this.#follower, clock: this.#clock, signInAgain: () => signOut(), signal });
    this.#entry = new EntryView({ reads, close: () => this.#closeEntry(), signal });
    this.#keys = new KeysView({
      reads,
      choose: (key) => this.#openEntry(key),
      teach: (shown) => emptyTable({ ...shown, status: reads.status(), narrow: (prefix) => this.#keys.narrow(prefix) }),
      signal,
    });
    this.#collections = new CollectionsView({ reads, choose: (name) => this.#chooseCollection(name) });
    this.#follower.addEventListener('change', ({ detail }) => this.#changed(detail));
    document.addEventListener('visibilitychange', () => this.#visibilityChanged(), { signal });
    window.addEventListener('online', () => this.#visibilityChanged(), { signal });
  }

  start() {
    this.#chooseCollection(null);
    this.#collections.draw();
    this.#tickTimer = setInterval(() => this.#tick(), TICK_MS);
    this.#follower.start();
  }

  end() {
    clearInterval(this.#tickTimer);
    clearTimeout(this.#redrawTimer);
    this.#listeners.abort();
    const isBroken = this.#follower.state.phase === 'broken';
    this.#follower.end();
    this.#entry.show(null, null);
    if (!isBroken) this.#replica.free();
  }

  #visibilityChanged() {
    if (document.visibilityState === 'hidden') this.#follower.pause();
    else this.#follower.start();
  }

  #tick() {
    this.#status.draw();
    this.#keys.tick();
    this.#entry.tick();
  }

  #changed(list) {
    this.#changes.add(list);
    this.#redrawTimer ??= setTimeout(() => this.#redraw(), REDRAW_MS);
  }

  #redraw() {
    this.#redrawTimer = null;
    const changes = this.#changes;
    this.#changes = new Changes();
    this.#status.draw();
    this.#collections.draw(changes.collections());
    const { chosen } = this.#collections;
    this.#keys.update(chosen === null ? null : changes.keysOf(chosen));
    this.#entry.update(changes.keysOf(chosen));
  }

  #chooseCollection(name) {
    this.#hideEntry();
    this.#keys.show(name);
  }

  #openEntry(key) {
    this.#keys.mark(key);
    this.#panes.dataset.open = 'entry';
    this.#entry.show(this.#collections.chosen, key);
  }

  #closeEntry() {
    const { key } = this.#entry;
    this.#hideEntry();
    this.#keys.focus(key);
  }

  #hideEntry() {
    delete this.#panes.dataset.open;
    this.#entry.show(null, null);
    this.#keys.mark(null);
  }
}
