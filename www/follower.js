// Keeps one stream from this node into the browser's replica: connect, feed, watch the deadline, back off, resume.
//
// What a line means, when a silent node counts as dead and how long to back off is all decided by the replica in
// WebAssembly; this file only carries bytes and times. It shows nothing: it tells listeners, and the views ask the replica.

/** Most bytes handed to the replica in one call. */
const CHUNK_BYTES_MAX = 64 * 1024;
/** How often the deadline and sleep are looked at, in ms. */
const WATCH_MS = 250;
/** Answers that a repeat with the same pair cannot change. */
const REFUSALS = new Set([400, 401, 403, 404, 405, 421]);

/**
 * What a follower does, as `follower.state`:
 * `{phase: 'connecting'}`, `{phase: 'connected'}`, `{phase: 'paused'}`, `{phase: 'ended'}`,
 * `{phase: 'waiting', why, until}` until a moment of the clock's `mono()`, `{phase: 'refused', code, why}`.
 *
 * Events: `state` after each change of it; `change` with `detail` as the replica reports it.
 */
export class Follower extends EventTarget {
  state = { phase: 'ended' };
  #replica;
  #clock;
  #pair;
  /** The open or opening stream's AbortController. */
  #stream = null;
  #watch = null;
  #retry = null;

  constructor({ replica, clock, pair }) {
    super();
    this.#replica = replica;
    this.#clock = clock;
    this.#pair = pair;
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
    this.#replica.dialled(this.#clock.mono());
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    let failure;
    try {
      failure = await this.#follow(stream.signal);
    } catch (error) {
      failure = { why: wordsFor(error) };
    }
    if (this.#stream === stream) this.#fail(failure);
  }

  /** Feeds one stream until it ends and returns why it did; throws what broke it. */
  async #follow(signal) {
    const response = await fetch(new URL('/v1/replicate', location.href), {
      method: 'POST',
      headers: { ...this.#pair, 'content-type': 'application/json', accept: 'application/x-ndjson' },
      body: this.#replica.request(),
      signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    });
    if (!response.ok) return refusal(response);
    this.#replica.connected(this.#clock.wall(), this.#clock.mono());
    this.#become({ phase: 'connected' });
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return { why: 'the node closed the stream' };
      for (let at = 0; at < value.length; at += CHUNK_BYTES_MAX) {
        this.#receive(value.subarray(at, at + CHUNK_BYTES_MAX));
      }
    }
  }

  #receive(bytes) {
    const detail = this.#replica.receive(bytes, this.#clock.wall(), this.#clock.mono());
    if (detail !== undefined) this.dispatchEvent(new CustomEvent('change', { detail }));
  }

  #look() {
    if (this.#clock.mono() >= this.#replica.deadlineMs()) this.#fail({ why: 'the node has gone silent' });
  }

  /** Drops the stream and, unless it was refused, opens the next after the replica's back-off. */
  #fail({ why, code, refused = false, retryMs = 0 }) {
    const delay = this.#close(retryMs);
    if (refused) {
      this.#become({ phase: 'refused', code, why });
      return;
    }
    this.#retry = setTimeout(() => this.#open(), delay);
    this.#become({ phase: 'waiting', why, until: this.#clock.mono() + delay });
  }

  /** Drops whatever is open or about to open; returns the back-off in ms. */
  #close(retryMs = 0) {
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    const stream = this.#stream;
    if (stream === null) return 0;
    this.#stream = null;
    stream.abort();
    const random = crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
    return this.#replica.closed(retryMs, this.#clock.wall(), this.#clock.mono(), random);
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state'));
  }
}

/** What an answer other than a stream means: its code, its message, and whether asking again can help. */
async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get('retry-after'));
  return {
    refused: REFUSALS.has(response.status),
    code: body.error ?? `http_${response.status}`,
    why: body.message ?? `the node answered ${response.status}`,
    retryMs: Number.isFinite(retryAfter) ? retryAfter * 1000 : 0,
  };
}

/** Browsers say "Failed to fetch" or "network error" for every way a connection can fail; say it in plain words. */
function wordsFor(error) {
  return error instanceof TypeError ? 'the node cannot be reached' : error.message;
}
