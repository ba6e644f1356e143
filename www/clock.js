// Time for the replica: the wall clock, and a clock that only runs forward and counts sleep.
//
// `performance.now()` may stand still while a machine sleeps, and lag measured by it would then look fresher than it is.
// So where the wall clock ran ahead of it by more than a second between two looks, the difference counts as time passed.
// A wall clock set forward looks like a sleep: it costs one reconnect and never hides lag.

/** The smallest lead of the wall clock, in ms, that is taken for sleep and not for the two clocks' usual drift. */
const SLEEP_MS_MIN = 1000;

export class Clock {
  #mono = 0;
  #seen = { wall: Date.now(), run: performance.now() };

  /** Unix time in ms. */
  wall() {
    return Date.now();
  }

  /** Milliseconds since some fixed moment. Look at least every few seconds, so that no sleep hides in the drift. */
  mono() {
    const now = { wall: Date.now(), run: performance.now() };
    const ran = now.run - this.#seen.run;
    const lead = now.wall - this.#seen.wall - ran;
    this.#mono += lead > SLEEP_MS_MIN ? ran + lead : ran;
    this.#seen = now;
    return this.#mono;
  }
}
