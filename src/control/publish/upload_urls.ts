// Presigned upload URLs: whoever holds one may PUT the artifact of one version until it expires.
import { type Clock, createSteadyTime } from '../../base/clock.ts';
import { CodedError } from '../../base/errors.ts';
import { CONTROL_DEFAULTS } from '../../base/limits/control.ts';
import type { VersionKey } from '../../store/versions.ts';
import type { Auth } from '../auth/auth.ts';

export type UploadUrls = {
  issue(key: VersionKey, origin: string): { upload_url: string; expires_at: string };
  /** Refuses `upload_url_invalid` and `upload_url_expired`. */
  verify(key: VersionKey, signed: { expires: string; signature: string }): void;
};

/** Expiries are whole milliseconds. */
const ROUNDING_MS = 1;

/** `publicUrl` is the origin of every URL; without it, the one by which the caller reached us. */
export function createUploadUrls(options: {
  key: Auth['uploadKey'];
  clock: Clock;
  publicUrl: string | null;
}): UploadUrls {
  const { key: uploadKey, clock, publicUrl } = options;
  const time = createSteadyTime(clock);
  return {
    issue(key, origin) {
      const path = uploadPath(key);
      const expiresMs = Math.ceil(time.latestMs() + CONTROL_DEFAULTS.uploadUrlTtlMs);
      const signature = uploadKey.mac(signedText(path, String(expiresMs)));
      const upload_url = `${publicUrl ?? origin}${path}?expires=${expiresMs}&signature=${signature}`;
      return { upload_url, expires_at: new Date(expiresMs).toISOString() };
    },
    verify(key, { expires, signature }) {
      if (!uploadKey.isMac(signedText(uploadPath(key), expires), signature))
        throw new CodedError('upload_url_invalid');
      // A URL that was issued by a clock that ran ahead would be valid for too long.
      const leftMs = Number(expires) - time.latestMs();
      if (leftMs <= 0 || leftMs > CONTROL_DEFAULTS.uploadUrlTtlMs + ROUNDING_MS)
        throw new CodedError('upload_url_expired');
    },
  };
}

/** Covers method, path and expiry; leaves the host out, so that a proxy may change it. */
function signedText(path: string, expires: string): string {
  return `PUT\n${path}\n${expires}`;
}

function uploadPath(key: VersionKey): string {
  return `/api/v1/uploads/${key.function_id}/${key.version}`;
}
