// Keeps one stream from this node into the browser's replica: connect, feed, watch the deadline, back off, resume.
//
// What a line means, when a silent node counts as dead and how long to back off is all decided by the replica in
// WebAssembly; this file only carries bytes and times. It shows nothing: it tells listeners, and the views ask the replica.

import { Closing } from './pkg/headwater_web.js';
import { randomBits, randomHex } from './random.js';

/** Most bytes handed to the replica in one call. */
const CHUNK_BYTES_MAX = 64 * 1024;
/** How often the deadline and sleep are looked at, in ms. */
const WATCH_MS = 250;
/** Answers that asking again with the same credentials cannot change. */
const FINAL = new Set([400, 401, 403, 404, 405, 421]);

/** Words for a reader of the page, where the node's own message speaks to who sends requests. */
const WORDS = { forbidden: 'the node does not accept these credentials, or they do not cover reading' };

/**
 * What a follower does, as `follower.state`:
 * `{phase: 'connecting'}`, `{phase: 'connected'}`, `{phase: 'paused'}`, `{phase: 'ended'}`,
 * `{phase: 'waiting', why, until}` until a moment of the clock's `mono()`, `{phase: 'refused', code, why}` when asking
 * again is useless, `{phase: 'broken', why}` when the replica itself failed and must not be called any more.
 *
 * Events: `state` after each change of it; `change` with what changed as `detail`, as the replica names it.
 */
export class Follower extends EventTarget {
  state = { phase: 'ended' };
  #replica;
  #clock;
  /** Headers that show who asks. */
  #credentials;
  /** The open or opening stream's AbortController. */
  #stream = null;
  #watch = null;
  #retry = null;

  constructor({ replica, clock, credentials }) {
    super();
    this.#replica = replica;
    this.#clock = clock;
    this.#credentials = credentials;
  }

  /** Opens the stream now, also out of a back-off. */
  start() {
    if (this.#stream === null && this.state.phase !== 'refused') this.#open();
  }

  /** Closes the stream but stays ready to start again: a hidden page costs the node nothing. */
  pause() {
    if (this.state.phase === 'refused' || this.state.phase === 'ended') return;
    this.#close();
    this.#become({ phase: 'paused' });
  }

  /** Closes the stream for good. */
  end() {
    this.#close();
    this.#become({ phase: 'ended' });
  }

  async #open() {
    clearTimeout(this.#retry);
    const stream = new AbortController();
    this.#stream = stream;
    this.#become({ phase: 'connecting' });
    const body = this.#replica.request(this.#clock.wall(), this.#clock.mono());
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    let failure;
    try {
      failure = await this.#follow(body, stream.signal);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) {
        this.#break(error);
        return;
      }
      failure = failureOf(error);
    }
    if (this.#stream === stream) this.#fail(failure);
  }

  /** Feeds one stream until it ends and returns why it did; throws what broke it. */
  async #follow(body, signal) {
    const response = await fetch(new URL('/v1/replicate', location.href), {
      method: 'POST',
      headers: { ...this.#credentials, 'content-type': 'application/json', accept: 'application/x-ndjson' },
      body,
      signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    });
    if (!response.ok) return refusal(response);
    this.#become({ phase: 'connected' });
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return { why: 'the node closed the stream' };
      for (let at = 0; at < value.length; at += CHUNK_BYTES_MAX) {
        const goesOn = this.#receive(value.subarray(at, at + CHUNK_BYTES_MAX));
        if (!goesOn) return { why: `the node ended the stream: ${this.#replica.ended()}` };
      }
    }
  }

  #receive(bytes) {
    try {
      return this.#replica.receive(bytes, this.#clock.wall(), this.#clock.mono());
    } finally {
      // What came before an offence was applied all the same.
      const changes = this.#replica.takeChanges();
      if (changes !== undefined) this.dispatchEvent(new CustomEvent('change', { detail: changes }));
    }
  }

  #look() {
    if (this.#clock.mono() < this.#replica.deadlineMs()) return;
    this.#fail({ why: 'the node has gone silent', closing: Closing.Silent });
  }

  /** Drops the stream and, unless asking again is useless, opens the next one after the replica's back-off. */
  #fail({ why, code, isFinal = false, closing = Closing.Lost, retryAfter }) {
    const delay = this.#close(closing, retryAfter);
    if (isFinal) {
      this.#become({ phase: 'refused', code, why });
      return;
    }
    this.#retry = setTimeout(() => this.#open(), delay);
    this.#become({ phase: 'waiting', why, until: this.#clock.mono() + delay });
  }

  /** Drops whatever is open or about to open; returns the back-off in ms. */
  #close(closing = Closing.Own, retryAfter = undefined) {
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    const stream = this.#stream;
    if (stream === null) return 0;
    this.#stream = null;
    stream.abort();
    return this.#replica.closed(closing, retryAfter, randomBits(), randomHex(16));
  }

  /** The replica trapped: its memory cannot be trusted any more, so it is not even asked for a back-off. */
  #break(error) {
    clearInterval(this.#watch);
    this.#stream.abort();
    this.#stream = null;
    this.#become({ phase: 'broken', why: error.message });
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state'));
  }
}

/** What an answer other than a stream means: its code, its message, and whether asking again can help. */
async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return {
    closing: Closing.Refused,
    isFinal: FINAL.has(response.status),
    code: body.error ?? `http_${response.status}`,
    why: WORDS[body.error] ?? body.message ?? `the node answered ${response.status}`,
    retryAfter: response.headers.get('retry-after') ?? undefined,
  };
}

/** Browsers say "Failed to fetch" or "network error" for every way a connection can fail; say it in plain words. */
function failureOf(error) {
  if (error instanceof TypeError) return { why: 'the node cannot be reached' };
  return { code: error.name, why: error.message };
}
