// The commands that show and delete functions; each makes one or a few calls of the API.
import { Type } from '@sinclair/typebox';
import type { Clock } from '../base/clock.ts';
import { EdgeFunction, Version } from '../model/function.ts';
import type { Labels } from '../model/names.ts';
import { Route } from '../model/route.ts';
import type { Api } from './api.ts';
import { nodesThatRun, printInterpreted } from './deployments/active.ts';
import { CliFailure } from './failure.ts';
import { listAll, listVersions, requireFunction } from './lookup.ts';
import type { Terminal } from './terminal.ts';

export type ManageInput = {
  api: Api;
  terminal: Terminal;
  clock: Clock;
  /** Print one JSON value instead of text. */
  json: boolean;
  project: string | null;
  /** The first word after the command; empty where there is none. */
  name: string;
  /** The second word after the command. */
  version: string | null;
  /** The words after the second. */
  words: readonly string[];
  waitSecs: number;
  /** Of rollback: the version to leave. */
  from: string | null;
  /** Of rollback: the nodes that go back; without it and `pop`, every target that runs what is left. */
  selector: string | null;
  pop: readonly string[];
  /** Of a join token: what the node that joins with it is. */
  label: Labels;
  tokenNode: string | null;
};

export async function showFunctions({ api, terminal, json, project }: ManageInput): Promise<void> {
  const functions = await listAll(api, '/functions', EdgeFunction, project === null ? {} : { project });
  if (json) return terminal.printJson(functions);
  if (functions.length === 0)
    return terminal.note('There is no function yet: edge deploy FILE.wasm --route /path');
  const rows = functions.map((one) => [one.name, one.latest_version ?? 'none', one.project_id, one.id]);
  terminal.printTable([['NAME', 'LATEST', 'PROJECT', 'ID'], ...rows]);
}

export async function showVersions(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const versions = await listVersions(api, owner.id);
  if (input.json) return terminal.printJson(versions);
  const rows = versions.map((one) => [
    one.version,
    one.status,
    one.size_bytes === null ? '' : `${one.size_bytes}`,
    one.sha256?.slice(0, 12) ?? '',
    one.created_at,
  ]);
  terminal.printTable([['VERSION', 'STATUS', 'BYTES', 'SHA256', 'CREATED'], ...rows]);
}

/** Shows what the module check reported, for a version that has an artifact. */
export async function inspect(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  const number = input.version ?? owner.latest_version;
  if (number === null) {
    throw new CliFailure('version_not_published', `${owner.name} has no published release yet.`, {
      hint: 'Run `edge deploy` again to upload its module; a pre-release is shown by its number.',
    });
  }
  const path = `/functions/${owner.id}/versions/${encodeURIComponent(number)}`;
  const version = await api.get(path, Version);
  const report = version.status === 'published' ? await api.get(`${path}/inspect`, Type.Unknown()) : null;
  if (input.json) return terminal.printJson({ function: owner, version, report });
  terminal.print(`${owner.name} ${version.version} (${version.status})`);
  const facts = { sha256: version.sha256, size_bytes: version.size_bytes, ...version.settings, report };
  for (const [name, value] of Object.entries(facts)) {
    if (value === null) continue;
    terminal.print(`  ${name.padEnd(17)} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  }
  printInterpreted(terminal, await nodesThatRun(api, owner.id, version.version));
}

export async function showRoutes(input: ManageInput): Promise<void> {
  const { api, terminal, project } = input;
  const owner = input.name === '' ? null : await requireFunction(api, input.name, input);
  const all = await listAll(api, '/routes', Route, owner === null ? {} : { function_id: owner.id });
  const routes = all.filter((one) => project === null || one.project_id === project);
  if (input.json) return terminal.printJson(routes);
  const functions = await listAll(api, '/functions', EdgeFunction);
  const names = new Map(functions.map((one) => [one.id, one.name]));
  const rows = routes.map((one) => [
    one.methods.length === 0 ? 'any' : one.methods.join(','),
    one.host,
    one.path,
    names.get(one.function_id) ?? one.function_id,
    `${one.priority}`,
  ]);
  terminal.printTable([['METHODS', 'HOST', 'PATH', 'FUNCTION', 'PRIORITY'], ...rows]);
}

export async function deleteFunction(input: ManageInput): Promise<void> {
  const { api, terminal } = input;
  const owner = await requireFunction(api, input.name, input);
  await api.delete(`/functions/${owner.id}`);
  if (input.json) return terminal.printJson({ function: owner, deleted: true });
  terminal.print(`${owner.name} is deleted`);
}
