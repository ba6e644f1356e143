// Stands in for what wasm-bindgen generates: the exports that the shim uses, over a module that can only trap.
// Like the real thing it runs asynchronous work in microtasks, where a trap reaches no caller.
import trapModule from "./trap.wasm";

const state = { criticalError: false, instanceId: 1 };
let wasm = new WebAssembly.Instance(trapModule).exports;

export const __worker_init_state = () => state;

export function __wbg_reset_state() {
  wasm = new WebAssembly.Instance(trapModule).exports;
  state.instanceId += 1;
}

const never = () => new Promise(() => {});

export class Replica {
  constructor() {
    this.instanceId = state.instanceId;
    this.calls = 0;
    this.waiting = 0;
  }

  async fetch(request) {
    switch (new URL(request.url).pathname) {
      case "/trap":
        wasm.trap();
      case "/trap-in-microtask":
        queueMicrotask(() => wasm.trap());
        return never();
      case "/wait":
        this.waiting += 1;
        // Kept alive by a timer, as a call that waits for its parent is.
        return new Promise((resolve) => setTimeout(() => resolve(new Response("waited")), 60_000));
      case "/waiting":
        return Response.json(this.waiting);
      default:
        this.calls += 1;
        return Response.json({ instance: state.instanceId, object: this.instanceId, calls: this.calls });
    }
  }
}

export async function fetch(request, env) {
  if (new URL(request.url).pathname === "/trap-in-front") wasm.trap();
  return env.REPLICA.get(env.REPLICA.idFromName("one")).fetch(request);
}
