// The line that is always in sight: connection in words, applied position, and how far behind the writer it may be.

import { byId, setText } from './dom.js';
import { span } from './words.js';

/** Lag beyond this is bad even while connected: a quiet writer proves its head every 5 s, and three are two too many. */
const LATE_MS = 15_000;

export class StatusView {
  #reads;
  #follower;
  #clock;
  #connection = byId('connection');
  #words = byId('connection-words');
  #countdown = byId('connection-countdown');
  #action = byId('connection-action');
  #position = byId('position');
  #lag = byId('lag');
  #signInAgain;

  constructor({ reads, follower, clock, signInAgain, signal }) {
    this.#reads = reads;
    this.#follower = follower;
    this.#clock = clock;
    this.#signInAgain = signInAgain;
    this.#action.addEventListener('click', () => this.#act(), { signal });
    follower.addEventListener('state', () => this.draw(), { signal });
  }

  /** Brings everything up to date; called on changes and several times a second. */
  draw() {
    const status = this.#reads.status();
    const { state } = this.#follower;
    const { tone, words, countdown = '', action = '' } = this.#describe(state, status);
    this.#connection.dataset.tone = tone;
    // The countdown is apart from the words, which screen readers announce whenever they change.
    setText(this.#words, words);
    setText(this.#countdown, countdown);
    setText(this.#action, action);
    this.#action.hidden = action === '';
    setText(this.#position, status.position ?? 'none yet');
    this.#drawLag(status, state);
    document.title = tone === 'good' ? 'Headwater' : `${words} · Headwater`;
  }

  #describe(state, status) {
    switch (state.phase) {
      case 'connecting':
        return { tone: 'quiet', words: status.ready ? 'Reconnecting' : 'Connecting' };
      case 'connected':
        if (status.staging) return { tone: 'busy', words: status.ready ? 'Connected, taking a new baseline' : 'Connected, taking the first baseline' };
        return { tone: status.ready ? 'good' : 'busy', words: `Connected to ${status.parent ?? 'the node'}` };
      case 'waiting': {
        const left = Math.max(0, Math.ceil((state.until - this.#clock.mono()) / 1000));
        return { tone: 'bad', words: `Reconnecting: ${state.why}`, countdown: left > 0 ? `in ${left} s` : 'now', action: 'Try now' };
      }
      case 'paused':
        return { tone: 'quiet', words: 'Paused while hidden' };
      case 'refused':
        return { tone: 'bad', words: `Refused: ${state.why}`, action: 'Sign in again' };
      default:
        return { tone: 'quiet', words: 'Signed out' };
    }
  }

  #drawLag({ lagMs }, { phase }) {
    setText(this.#lag, lagMs === null ? 'unknown' : `at most ${span(lagMs)}`);
    const isLate = lagMs !== null && lagMs > LATE_MS;
    this.#lag.dataset.tone = phase === 'connected' && !isLate ? 'good' : 'bad';
  }

  #act() {
    if (this.#follower.state.phase === 'refused') this.#signInAgain();
    else this.#follower.start();
  }
}
