// Connects the Rust worker to the Workers runtime and brings it back after a trap.
//
// A Rust panic is a WebAssembly trap: the instance's memory can no longer be trusted, its pending futures never
// resolve, and every object of the isolate lives in that one instance. Left alone, calls in flight would hang for ever
// and the isolate would stay broken until the runtime happens to drop it. So:
// 1. a trap, wherever it surfaces, rejects every call in flight at once;
// 2. the next call starts a new instance first;
// 3. an object of an older instance is built anew, from its storage, when it is next called.
// What the old instance still had open (timers, streams) throws when it calls back and does no more.

import * as glue from "./glue.js";

// `criticalError` is also set by the panic hook; `instanceId` grows with every start of the wasm module.
const wasm = glue.__worker_init_state();
const callsInFlight = new Set();

function isTrap(error) {
  return error instanceof WebAssembly.RuntimeError;
}

function trapped(error) {
  console.error("headwater: the wasm instance trapped", error?.stack ?? error);
  wasm.criticalError = true;
  for (const reject of callsInFlight) reject(error);
  callsInFlight.clear();
}

// Most of the Rust code runs in promise callbacks, whose traps reach no caller but this event.
addEventListener("error", (event) => {
  if (wasm.criticalError || isTrap(event.error)) trapped(event.error);
});

function startOverAfterTrap() {
  if (!wasm.criticalError) return;
  glue.__wbg_reset_state();
  wasm.criticalError = false;
}

// Runs one call into the instance; the answer comes from it or, should it trap meanwhile, from `trapped`.
function guarded(run) {
  startOverAfterTrap();
  return new Promise((resolve, reject) => {
    callsInFlight.add(reject);
    // Not `resolve(answer)`: a promise that waits for another can no longer be rejected.
    const answer = new Promise((started) => started(run()));
    answer.then(resolve, reject).finally(() => callsInFlight.delete(reject));
    answer.catch((error) => isTrap(error) && trapped(error));
  });
}

// Wraps a Rust object class; the runtime sees the handlers that the Rust class has and no others.
function hosted(name) {
  class Hosted {
    constructor(state, env) {
      this.construct = () => {
        this.rust = new glue[name](state, env);
        this.instanceId = wasm.instanceId;
      };
      startOverAfterTrap();
      try {
        this.construct();
      } catch (error) {
        if (isTrap(error)) trapped(error);
        throw error;
      }
    }
  }
  for (const method of Object.getOwnPropertyNames(glue[name].prototype)) {
    if (method === "constructor" || method === "free" || method.startsWith("__")) continue;
    Hosted.prototype[method] = function (...args) {
      return guarded(() => {
        if (this.instanceId !== wasm.instanceId) this.construct();
        return this.rust[method](...args);
      });
    };
  }
  return Hosted;
}

export const Replica = hosted("Replica");

export default {
  // Whatever escapes the Rust code is still an answer in the API's own form.
  fetch: (request, env, context) =>
    guarded(() => glue.fetch(request, env, context)).catch(() =>
      Response.json({ ok: false, error: "internal_error", message: "the worker failed" }, { status: 500 }),
    ),
};
