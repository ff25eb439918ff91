// Who calls: bearer tokens, what each caller may do, and the keys that the control plane signs with.
import { createPublicKey, verify } from 'node:crypto';
import { CodedError } from '../../base/errors.ts';
import { createSecret, type RandomBytes } from '../../base/id.ts';
import type { PrivateFiles } from '../../store/data_dir.ts';
import type { Store } from '../../store/store.ts';
import { accessOf } from './access.ts';
import { type KeyOptions, openKeys, type SigningKey, type UploadKey } from './keys.ts';

/** Who sent a request, as its token proves. */
export type Caller = { kind: 'admin'; name: string } | { kind: 'node'; nodeId: string };

export type Auth = {
  /** The admin token if this start made it, else null: only its hash is kept. */
  readonly newAdminToken: string | null;
  readonly signingKey: SigningKey;
  readonly uploadKey: UploadKey;
  /**
   * Who calls; null where no token is needed. `path` is what the router matches. Refuses `unauthenticated`
   * for a missing or unknown token and `forbidden` for a caller who may not do this.
   */
  callerOf(request: Request, path: string): Promise<Caller | null>;
  /** A token to hand out and the hash to keep; `prefix` tells its holder what it is for. */
  newToken(prefix: 'edge_join' | 'edge_node'): { token: string; hash: string };
};

/** Makes the keys and the first admin token where there are none. Throws where `openKeys` does. */
export async function openAuth(options: KeyOptions & { tokens: Store['tokens'] }): Promise<Auth> {
  const { tokens, random } = options;
  const { signingKey, uploadKey } = await openKeys(options);
  const newAdminToken = await ensureAdminToken(options);
  return {
    newAdminToken,
    signingKey,
    uploadKey,
    async callerOf(request, path) {
      const access = accessOf(request.method, path);
      if (access === 'open') return null;
      const token = bearerOf(request);
      const caller = token === null ? null : await tokens.holderOf(tokenHash(token));
      if (caller === null) throw new CodedError('unauthenticated');
      if (access !== 'node_or_admin' && access !== caller.kind) throw new CodedError('forbidden');
      return caller;
    },
    newToken(prefix) {
      const token = createSecret(prefix, random);
      return { token, hash: tokenHash(token) };
    },
  };
}

const BEARER = /^Bearer ([\x21-\x7e]{1,256})$/i;

/** The token of `authorization: Bearer …`, or null. */
export function bearerOf(request: Request): string | null {
  return BEARER.exec(request.headers.get('authorization') ?? '')?.[1] ?? null;
}

/** SHA-256 in hex; the store knows tokens only by it. */
export function tokenHash(token: string): string {
  return new Bun.CryptoHasher('sha256').update(token).digest('hex');
}

/** Whether `signature` is that of `text` by `publicKey`: Ed25519, both base64url. */
export function isSignedBy(publicKey: string, text: string, signature: string): boolean {
  try {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' });
    return verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64url'));
  } catch {
    return false;
  }
}

const ADMIN_TOKEN_FILE = 'admin-token';

/** Writes the file before the row, so that a start that ends between the two is repaired by the next one. */
async function ensureAdminToken(options: {
  tokens: Store['tokens'];
  files: PrivateFiles;
  random: RandomBytes;
}): Promise<string | null> {
  const { tokens, files, random } = options;
  if ((await tokens.adminCount()) > 0) return null;
  const token = createSecret('edge_admin', random);
  await files.write(ADMIN_TOKEN_FILE, `${token}\n`);
  await tokens.addAdmin({ hash: tokenHash(token), name: 'first', actor: 'control' });
  return token;
}
