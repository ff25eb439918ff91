// Presigned upload URLs of the disk store: who holds one may PUT the artifact of one version for a while.
import { CodedError } from '../../base/errors.ts';
import type { VersionKey } from '../../store/versions.ts';
import type { Auth } from '../auth/auth.ts';

export type UploadUrls = {
  /** `origin` is where the caller reached the control plane, unless the public URL is known. */
  issue(key: VersionKey, origin: string): { upload_url: string; expires_at: string };
  /** Refuses `upload_url_invalid` and `upload_url_expired`. */
  verify(key: VersionKey, query: { expires: string; signature: string }): void;
};

/** The signature covers method, path and expiry; the host is left out, so that a proxy may rename it. */
export function createUploadUrls(options: {
  keys: Auth['uploadKey'];
  nowMs: () => number;
  ttlMs: number;
  publicUrl: string | null;
}): UploadUrls {
  const { keys, nowMs, ttlMs, publicUrl } = options;
  const signed = (path: string, expires: string): string => `PUT\n${path}\n${expires}`;
  return {
    issue(key, origin) {
      const path = uploadPath(key);
      const expiresMs = nowMs() + ttlMs;
      const signature = keys.mac(signed(path, String(expiresMs)));
      const upload_url = `${publicUrl ?? origin}${path}?expires=${expiresMs}&signature=${signature}`;
      return { upload_url, expires_at: new Date(expiresMs).toISOString() };
    },
    verify(key, { expires, signature }) {
      if (!keys.isMac(signed(uploadPath(key), expires), signature))
        throw new CodedError('upload_url_invalid');
      if (Number(expires) <= nowMs()) throw new CodedError('upload_url_expired');
    },
  };
}

function uploadPath(key: VersionKey): string {
  return `/api/v1/uploads/${key.function_id}/${key.version}`;
}
