// Sends a mutant the way of any upload: created, uploaded, deployed, called, and deleted.
import { ERRORS, MODULE_ERRORS, type ErrorCode } from '../../../src/base/errors.ts';
import { type Published, type Refused, publish, type Up } from '../../system/harness.ts';
import { type Mutant, nameOf } from './mutants.ts';

const EXECUTION_MS = 100;
const ANSWER_MS_MAX = 5_000;
/** Modules of the fixtures read the path, headers and body. */
const CALLS: readonly { path: string; init: RequestInit }[] = [
  { path: '/', init: {} },
  { path: '/a/1?x=2', init: { method: 'POST', body: 'name: value', headers: { 'x-test': 'y'.repeat(300) } } },
];

export type Ran = {
  upload: string;
  /** The state that the node reported, and for each call its status and code. */
  states: string[];
  answers: string[];
  /** What may not be; empty for a product that holds. */
  wrong: string[];
};

const isCode = (code: string | undefined): code is ErrorCode =>
  code !== undefined && Object.hasOwn(ERRORS, code);

async function call(
  up: Up,
  host: string,
  { path, init }: (typeof CALLS)[number],
): Promise<[string, string[]]> {
  const begun = performance.now();
  const headers = { ...(init.headers as Record<string, string> | undefined), host };
  const response = await fetch(`${up.publicUrl}${path}`, { ...init, headers, redirect: 'manual' });
  const text = Buffer.from(await response.arrayBuffer()).toString('latin1');
  const took = performance.now() - begun;
  const code = /^\{"error":\{"code":"(\w+)"/.exec(text)?.[1];
  const shown = `${response.status} ${code ?? ''}`.trim();
  const wrong: string[] = [];
  if (took > ANSWER_MS_MAX) wrong.push(`${shown} took ${took.toFixed(0)} ms`);
  if (response.headers.get('x-edge-function') === null) wrong.push(`${shown} names no function`);
  if (code !== undefined && !(isCode(code) && ERRORS[code].status === response.status))
    wrong.push(`${shown} is no code of the table`);
  return [shown, wrong];
}

async function remove(up: Up, id: string): Promise<string[]> {
  const headers = { authorization: `Bearer ${up.token}` };
  const undeployed = await up.api('POST', `/functions/${id}/undeploy`, {});
  if (undeployed.status !== 200) return [`undeploy answered ${JSON.stringify(undeployed)}`];
  const response = await fetch(`${up.controlUrl}/api/v1/functions/${id}`, { method: 'DELETE', headers });
  return response.status === 204 ? [] : [`delete answered ${response.status} ${await response.text()}`];
}

/** Never rejects: a failure of the test's own requests is among `wrong`. */
export async function runMutant(up: Up, mutant: Mutant): Promise<Ran> {
  const name = `mutant-${mutant.seed}-${mutant.index}`;
  const ran: Ran = { upload: '', states: [], answers: [], wrong: [] };
  try {
    const settings = { max_execution_ms: EXECUTION_MS };
    const published: Published | Refused = await publish(up, mutant.bytes, {
      name,
      host: `${name}.test`,
      settings,
    });
    if (!published.ok) {
      ran.upload = published.code;
      if (published.status !== 422 || !Object.hasOwn(MODULE_ERRORS, published.code))
        ran.wrong.push(`the upload answered ${published.status} ${published.code}`);
    } else {
      ran.upload = 'accepted';
      ran.states = published.nodes.map(({ state, error }) => `${state} ${error ?? ''}`.trim());
      for (const { error } of published.nodes)
        if (error !== null && !isCode(/^\w+/.exec(error)?.[0])) ran.wrong.push(`the node reported ${error}`);
      for (const each of published.nodes.every(({ state }) => state === 'cached') ? CALLS : []) {
        const [shown, wrong] = await call(up, `${name}.test`, each);
        ran.answers.push(shown);
        ran.wrong.push(...wrong);
      }
      ran.wrong.push(...(await remove(up, published.functionId)));
    }
  } catch (failure) {
    ran.wrong.push(String(failure));
  }
  ran.wrong = ran.wrong.map((what) => `${what}: ${nameOf(mutant)}`);
  return ran;
}
