// The desired state of a node as a set of entries, one per function: its digest, and what changes it.
import type { VersionSettings } from '../function.ts';
import { canonicalJson, type DesiredFunction, type DesiredState } from '../protocol.ts';
import type { RouteRule } from '../route.ts';
import type { Target } from '../target/target.ts';

/** An active deployment; the one with the highest rank that matches a node decides there. */
export type DeploymentFact = Target & { id: string; version: string; rank: number };
/** A published version. */
export type VersionFact = { version: string; settings: VersionSettings; sha256: string; size_bytes: number };
export type RouteFact = RouteRule & { id: string };

/** Everything that desired states hold of one function; the order of the lists does not matter. */
export type FunctionFacts = {
  id: string;
  project_id: string;
  name: string;
  deployments: readonly DeploymentFact[];
  versions: readonly VersionFact[];
  routes: readonly RouteFact[];
};

/** What a node receives for a version of a function; `text` is its canonical JSON, `hash` that of the text. */
export type DesiredEntry = {
  readonly desired: DesiredFunction;
  readonly text: string;
  readonly hash: number;
};

/** The entries of a node, ordered by function id. It never changes; nodes with the same entries share one. */
export type DesiredSet = {
  readonly entries: readonly DesiredEntry[];
  readonly hash: number;
  readonly desired: DesiredState;
  /** What `applied_digest` and `digest` of the heartbeat hold; computed once. */
  readonly digest: string;
  isSame(other: DesiredSet): boolean;
  find(function_id: string): DesiredEntry | null;
  /** The set with another entry for this function, or without one. */
  with(function_id: string, entry: DesiredEntry | null): DesiredSet;
};

/** Null where the version has no artifact. Routes are ordered by id, which is by age. */
export function entryOf(facts: FunctionFacts, version: string): DesiredEntry | null {
  const found = facts.versions.find((one) => one.version === version);
  if (found === undefined) return null;
  const { sha256, size_bytes, settings } = found;
  const ordered = [...facts.routes].sort((a, b) => (a.id < b.id ? -1 : 1));
  const desired: DesiredFunction = {
    function_id: facts.id,
    project_id: facts.project_id,
    name: facts.name,
    version,
    artifact_url: `/api/v1/artifacts/${facts.id}/${version}`,
    sha256,
    size_bytes,
    settings,
    routes: ordered.map(({ host, path, methods, priority }) => ({ host, path, methods, priority })),
  };
  const text = canonicalJson(desired);
  return { desired, text, hash: hashOf(text) };
}

/** `entries` has each function once, in any order. */
export function createDesiredSet(entries: readonly DesiredEntry[]): DesiredSet {
  return orderedSet([...entries].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1)));
}

/** SHA-256 in hex over the canonical JSON. */
export function desiredDigest(desired: DesiredState): string {
  return sha256(canonicalJson(desired));
}

function orderedSet(entries: readonly DesiredEntry[]): DesiredSet {
  let digest: string | null = null;
  const hash = entries.reduce((all, entry) => (Math.imul(all, 31) + entry.hash) | 0, 17);
  const placeOf = (id: string): number => {
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const entry = entries[middle];
      if (entry !== undefined && idOf(entry) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const holds = (place: number, id: string): boolean => entries[place]?.desired.function_id === id;
  return {
    entries,
    hash,
    get desired() {
      return { functions: entries.map((entry) => entry.desired) };
    },
    /** The bytes of `canonicalJson`, without writing each entry again. */
    get digest() {
      digest ??= sha256(`{"functions":[${entries.map((entry) => entry.text).join(',')}]}`);
      return digest;
    },
    isSame: (other) =>
      other.hash === hash &&
      other.entries.length === entries.length &&
      entries.every((entry, at) => entry === other.entries[at] || entry.text === other.entries[at]?.text),
    find(id) {
      const place = placeOf(id);
      return holds(place, id) ? (entries[place] ?? null) : null;
    },
    with(id, entry) {
      const place = placeOf(id);
      return orderedSet(
        entries.toSpliced(place, holds(place, id) ? 1 : 0, ...(entry === null ? [] : [entry])),
      );
    },
  };
}

/** FNV-1a; two texts with one hash are told apart by the texts. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash | 0;
}

function idOf({ desired }: DesiredEntry): string {
  return desired.function_id;
}

function sha256(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex');
}
