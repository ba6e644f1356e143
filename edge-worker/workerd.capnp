# Runs the edge worker in plain workerd, for tests and `./dev run`; deployment is wrangler.toml's.
#
#   NODE=edge-1 PARENT_URL=http://127.0.0.1:7070 \
#     workerd serve workerd.capnp --socket-addr=http=127.0.0.1:0 --directory-path=storage=DIR --control-fd=1
#
# Settings come from the environment, so no secret is ever in a file. With `--control-fd=1` the first line on
# standard output that is `{"event":"listen","socket":"http","port":N}` says that it serves, and on which port.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    # The parent is usually another process on this machine.
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "storage", disk = (path = "storage", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  compatibilityDate = "2026-10-23",
  modules = [
    (name = "index.js", esModule = embed "index.js"),
    (name = "index_bg.wasm", wasm = embed "index_bg.wasm"),
  ],
  durableObjectNamespaces = [(className = "Replica", uniqueKey = "headwater-replica", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [
    (name = "REPLICA", durableObjectNamespace = "Replica"),
    (name = "NODE", fromEnvironment = "NODE"),
    (name = "DEV", fromEnvironment = "DEV"),
    (name = "HOSTS", fromEnvironment = "HOSTS"),
    (name = "AUTH_STALENESS_MAX_MS", fromEnvironment = "AUTH_STALENESS_MAX_MS"),
    (name = "REGION", fromEnvironment = "REGION"),
    (name = "PARENT_URL", fromEnvironment = "PARENT_URL"),
    (name = "PARENT_APIKEY", fromEnvironment = "PARENT_APIKEY"),
    (name = "PARENT_SECRET", fromEnvironment = "PARENT_SECRET"),
  ],
);
