// What the views and `window.headwater` may ask of the replica: reads only, with the time filled in.

/**
 * Makes the reads of one session, frozen so that a page's console cannot bend them.
 *
 * `list` and `get` return `{status, headers, body}`, byte for byte what every node answers to
 * `GET /v1/collections/{collection}/keys` and `.../entry?key=`; `collections` returns `[{name, keys, lastSeq, digest}]`;
 * `status` what README.md says.
 */
export function makeReads(replica, follower, clock) {
  return Object.freeze({
    status: () => ({ ...JSON.parse(replica.status(clock.wall(), clock.mono())), connection: follower.state.phase }),
    collections: () => JSON.parse(replica.collections()),
    list: (collection, prefix = '', after = undefined, limit = undefined) =>
      replica.list(collection, prefix, after, limit, clock.wall(), clock.mono()),
    get: (collection, key) => replica.get(collection, key, clock.wall(), clock.mono()),
  });
}
