// A control plane inside the test: signs answers, holds heartbeats, serves artifacts, misbehaves on demand.
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { desiredDigest } from '../../src/model/rules/desired.ts';
import { defaultVersionSettings } from '../../src/model/function.ts';
import type {
  DesiredFunction,
  DesiredState,
  HeartbeatRequest,
  JoinRequest,
} from '../../src/model/protocol.ts';
import { functionId } from './harness.ts';

export const digest = (text: string): string => new Bun.CryptoHasher('sha256').update(text).digest('hex');

/** A function whose artifact is the text itself; function `n` answers at `/n`. */
export function desiredFunction(
  n: number,
  version: string,
  more: Partial<DesiredFunction> = {},
): DesiredFunction {
  const text = `f${n} ${version}`;
  return {
    function_id: functionId(n),
    project_id: 'p',
    name: `f${n}`,
    version,
    artifact_url: `/artifacts/${encodeURIComponent(text)}`,
    sha256: digest(text),
    size_bytes: text.length,
    settings: defaultVersionSettings,
    routes: [{ host: '*', path: `/${n}`, methods: [], priority: 0 }],
    ...more,
  };
}

export type Mode = 'up' | 'gone' | 'unauthenticated';

export type FakeControl = {
  readonly publicKey: string;
  readonly heartbeats: HeartbeatRequest[];
  readonly artifactReads: string[];
  readonly joins: string[];
  readonly joinBodies: JoinRequest[];
  mode: Mode;
  artifactMode: 'up' | 'gone' | 'tampered' | 'longer';
  /** Replace the next answers to heartbeats, one by one. */
  readonly scripted: ((body: string, signature: string) => Response)[];
  revision: number;
  /** Fields of every further answer, such as its epoch. */
  more: object;
  /** Raises the revision and answers the heartbeats that are held. */
  deploy(functions: DesiredFunction[]): void;
  /** Answers the heartbeats that are held with the current state. */
  release(): void;
  held(): number;
  fetch(request: Request): Promise<Response>;
  /** Signs any answer; returns its body and the signature. */
  sign(answer: object): { body: string; signature: string };
};

function artifactAnswer(control: FakeControl, path: string): Response {
  const text = decodeURIComponent(path.slice('/artifacts/'.length));
  control.artifactReads.push(text);
  if (control.artifactMode === 'gone') return new Response('no', { status: 503 });
  if (control.artifactMode === 'tampered') return new Response(text.replace('f', 'g'));
  return new Response(control.artifactMode === 'longer' ? `${text}!` : text);
}

const abortOf = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve()));

function createSigner(key: KeyObject): FakeControl['sign'] {
  return (answer) => {
    const body = JSON.stringify(answer);
    return { body, signature: sign(null, Buffer.from(body), key).toString('base64url') };
  };
}

type Tokens = { joinToken: string; nodeToken: string };

async function answerJoin(
  control: FakeControl,
  request: Request,
  { nodeId, joinToken, nodeToken: node_token }: Tokens & { nodeId: string },
): Promise<Response> {
  const token = request.headers.get('authorization') ?? '';
  control.joins.push(token);
  control.joinBodies.push((await request.json()) as JoinRequest);
  if (token !== `Bearer ${joinToken}`) return new Response('{}', { status: 401 });
  const { publicKey: control_public_key } = control;
  return Response.json({ node_id: nodeId, node_token, control_public_key });
}

async function route(
  control: FakeControl,
  request: Request,
  parts: Tokens & { nodeId: string; heartbeat: (request: Request) => Promise<Response> },
): Promise<Response> {
  const { pathname } = new URL(request.url);
  const token = request.headers.get('authorization');
  if (control.mode === 'gone') throw new Error('connection refused');
  if (pathname === '/api/v1/nodes/join') return await answerJoin(control, request, parts);
  if (control.mode === 'unauthenticated' || token !== `Bearer ${parts.nodeToken}`) {
    return new Response('{}', { status: 401 });
  }
  if (pathname.startsWith('/artifacts/')) return artifactAnswer(control, pathname);
  return await parts.heartbeat(request);
}

export function createFakeControl(
  nodeId = 'n1',
  tokens: Tokens = { joinToken: 'join-1', nodeToken: 'node-secret' },
): FakeControl {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { x = '' } = publicKey.export({ format: 'jwk' });
  let desired: DesiredState = { functions: [] };
  let wake = Promise.withResolvers<void>();
  let held = 0;

  const signed = createSigner(privateKey);
  const heartbeat = async (request: Request): Promise<Response> => {
    const report = (await request.json()) as HeartbeatRequest;
    control.heartbeats.push(report);
    if (
      report.applied_digest === desiredDigest(desired) &&
      report.hold_ms > 0 &&
      control.scripted.length === 0
    ) {
      held += 1;
      await Promise.race([wake.promise, abortOf(request.signal)]);
      held -= 1;
    }
    const digestNow = desiredDigest(desired);
    const { body, signature } = signed({
      node_id: nodeId,
      revision: control.revision,
      digest: digestNow,
      desired: report.applied_digest === digestNow ? null : desired,
      next_heartbeat_ms: 0,
      ...control.more,
    });
    const script = control.scripted.shift();
    if (script !== undefined) return script(body, signature);
    return new Response(body, { headers: { 'x-edge-signature': signature } });
  };
  const control: FakeControl = {
    publicKey: x,
    heartbeats: [],
    artifactReads: [],
    joins: [],
    joinBodies: [],
    mode: 'up',
    artifactMode: 'up',
    scripted: [],
    revision: 0,
    more: {},
    deploy(functions) {
      desired = { functions };
      control.revision += 1;
      control.release();
    },
    release() {
      wake.resolve();
      wake = Promise.withResolvers();
    },
    held: () => held,
    fetch: (request) => route(control, request, { ...tokens, nodeId, heartbeat }),
    sign: signed,
  };
  return control;
}
