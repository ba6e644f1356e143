# The edge worker's shim around a stand-in for the compiled worker (glue.js), with a module that can do one thing: trap.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "edge", worker = .edge), (name = "storage", disk = (path = "storage", writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  compatibilityDate = "2026-10-23",
  modules = [
    (name = "shim.js", esModule = embed "shim.js"),
    (name = "glue.js", esModule = embed "glue.js"),
    # (module (func (export "trap") unreachable))
    (name = "trap.wasm", wasm = 0x"0061736d0100000001040160000003020100070801047472617000000a05010300000b"),
  ],
  durableObjectNamespaces = [(className = "Replica", uniqueKey = "trap", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [(name = "REPLICA", durableObjectNamespace = "Replica")],
);
